"""Losses of a residual, quadratic near zero and linear beyond: quantile, absolute, asymmetric Huber, margins."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..loss import Array, ConicTerms, Proximal, ResidualForm, SecondOrder, SummedLoss
from ..rounding import down, up
from ..validate import flag, nonnegative
from .logistic import check_signs


@dataclass(frozen=True)
class Residual(SummedLoss, Proximal, ConicTerms, SecondOrder):
    """sum m(t), t = f - y, or with ``margin`` t = 1 - y f for labels y = +-1:

        m(t) = min_q [ q^2 + above max(t - q, 0) + below max(q - t, 0) ]      (q = 0 where not ``quadratic``)

    so m(t) = above t for t > 0 and -below t for t < 0, and where quadratic t^2 for -below/2 <= t <= above/2, continued
    linearly with the same slope. m*(u) = u^2/4 (0 where not quadratic) on [-below, above]. Quantile loss at level q:
    above = 1 - q, below = q; absolute: 1, 1; hinge: margin, 1, 0; Huber: quadratic, 2 delta, 2 delta. None (or math.inf)
    where quadratic: no linear part (the squared loss has None, None; the squared hinge margin, None, 0).
    """

    above: float | None = 1.0
    below: float | None = 1.0
    quadratic: bool = False
    margin: bool = False
    name = "residual"
    entrywise = True

    def __post_init__(self) -> None:
        for field in ("quadratic", "margin"):
            object.__setattr__(self, field, flag(getattr(self, field), field))
        for field in ("above", "below"):
            value = getattr(self, field)
            unlimited = self.quadratic is True and (value is None or (isinstance(value, float) and value == math.inf))
            object.__setattr__(self, field, None if unlimited else nonnegative(value, field))
        if self.above == 0.0 and self.below == 0.0:
            raise InputError("a residual loss needs a positive slope above or below; otherwise it is zero everywhere.")

    @property
    def prices(self) -> tuple[float, float]:
        """(above, below), math.inf where there is no linear part."""
        high, low = (math.inf if price is None else price for price in (self.above, self.below))
        return high, low

    def residual_form(self, targets: Array) -> ResidualForm:
        above, below = self.prices
        one = np.ones_like(targets)
        slope, intercept = (-targets, one) if self.margin else (one, -targets)
        return ResidualForm(slope, intercept, self.quadratic, above, below, one)

    def _residual(self, outputs: Array, targets: Array) -> Array:
        return np.asarray(1.0 - targets * outputs if self.margin else outputs - targets)

    def terms(self, outputs: Array, targets: Array) -> Array:
        return self.residual_form(targets).value(outputs)

    def gradient(self, outputs: Array, targets: Array) -> Array:
        above, below = self.prices
        t = self._residual(outputs, targets)
        if self.quadratic:
            slope = 2.0 * np.clip(t, -0.5 * below, 0.5 * above)
        else:
            slope = np.where(t > 0, above, np.where(t < 0, -below, 0.0))
        return np.asarray(-targets * slope if self.margin else slope)

    def _u(self, slopes: Array, targets: Array) -> Array:
        """The slope in t: exact, because labels are signs where it is not the slope itself."""
        return np.asarray(-targets * slopes if self.margin else slopes)

    def curvature_roots(self, outputs: Array, targets: Array) -> Array:
        return self.residual_form(targets).curvature_roots(outputs)

    def conjugate_terms(self, slopes: Array, targets: Array) -> Array:
        above, below = self.prices
        u = self._u(slopes, targets)
        value = (0.25 * np.square(u) if self.quadratic else 0.0) + slopes * targets
        return np.where((u <= above) & (u >= -below), value, math.inf)

    def project_dual(self, dual: Array, targets: Array) -> Array:
        above, below = self.prices
        return -self._u(np.clip(self._u(-dual, targets), -below, above), targets)

    def settle(self, dual: Array, targets: Array) -> Array:
        return dual

    def scale_limit(self, dual: Array, targets: Array) -> float:
        above, below = self.prices
        u = self._u(-dual, targets)
        limit = math.inf
        for size, price in ((float(np.max(u, initial=0.0)), above), (float(np.max(-u, initial=0.0)), below)):
            if size > 0 and price < math.inf:
                limit = min(limit, float(down(down(price / size))))
        return max(limit, 0.0)

    def curvature(self) -> float:
        return 2.0 if self.quadratic else math.inf

    def terms_upper(self, lo: Array, hi: Array, targets: Array) -> Array:
        above, below = self.prices
        if self.margin:
            far, near = np.where(targets > 0, lo, -hi), np.where(targets > 0, hi, -lo)
            top, bottom = up(1.0 - far), down(1.0 - near)
        else:
            top, bottom = up(hi - targets), down(lo - targets)
        # m falls to its least value 0 at t = 0 and rises from there
        value = np.maximum(self._upper(np.maximum(top, 0.0), above), self._upper(np.maximum(-bottom, 0.0), below))
        return np.where(np.isnan(top) | np.isnan(bottom), math.inf, value)

    def _upper(self, size: Array, price: float) -> Array:
        """Rigorous upper bound on m at a residual of that size on the side of that price."""
        if price == 0.0:
            return np.zeros_like(size)
        with np.errstate(over="ignore", invalid="ignore"):
            if not self.quadratic:
                return np.where(size == 0.0, 0.0, up(price * size))
            square = np.where(size == 0.0, 0.0, up(size * size))
            if price == math.inf:
                return square
            line = up(up(price * size) - down(0.25 * down(price * price)))
            # the line is m beyond price / 2, and t^2 is above m everywhere
            return np.where(size <= 0.5 * price, square, np.minimum(square, np.maximum(line, 0.0)))

    def dual_terms_lower(self, dual: Array, lo: Array, hi: Array, targets: Array) -> Array:
        def lower(s: Array) -> Array:  # s <Z, Y> - s^2 Z^2/4 at an exact s; concave in s, so that the ends suffice
            with np.errstate(over="ignore", invalid="ignore"):
                product = dual * targets
                inner = np.where(np.abs(targets) == 1.0, product, down(product))
                linear = np.where(s == 1.0, inner, down(s * inner))
                if not self.quadratic:
                    return np.asarray(linear)
                return np.asarray(down(linear - 0.25 * up(up(s * s) * up(dual * dual))))

        above, below = self.prices
        u = self._u(-dual, targets)
        with np.errstate(over="ignore", invalid="ignore"):
            reach = np.where(hi == 1.0, np.abs(u), np.where(u == 0.0, 0.0, up(hi * np.abs(u))))
        inside = reach <= np.where(u >= 0, above, below)
        value = np.minimum(lower(lo), lower(hi))
        return np.where(inside & ~np.isnan(value), value, -math.inf)

    def proximal(self, outputs: Array, targets: Array, step: Array | float) -> Array:
        above, below = self.prices
        t, step = self._residual(outputs, targets), np.asarray(step, dtype=np.float64)
        inner = t / (1.0 + 2.0 * step) if self.quadratic else np.zeros_like(t)
        high, low = (0.5 * above, -0.5 * below) if self.quadratic else (0.0, 0.0)
        point = np.asarray(inner)
        if above < math.inf:
            point = np.where(t - above * step > high, t - above * step, point)
        if below < math.inf:
            point = np.where(t + below * step < low, t + below * step, point)
        return np.asarray(targets * (1.0 - point) if self.margin else targets + point)

    def check_targets(self, targets: Array) -> None:
        if self.margin:
            check_signs(targets, self.name)

    def expression(self, outputs: Any, targets: Array) -> Any:
        import cvxpy

        return cvxpy.sum(self.expression_terms(outputs, targets))

    def expression_terms(self, outputs: Any, targets: Array) -> Any:
        above, below = self.prices
        import cvxpy

        t = 1.0 - cvxpy.multiply(targets, outputs) if self.margin else outputs - targets
        parts = []
        for price, side in ((above, cvxpy.pos(t)), (below, cvxpy.neg(t))):
            if price == math.inf:
                parts.append(cvxpy.square(side))
            elif price > 0:
                parts.append(cvxpy.huber(side, 0.5 * price) if self.quadratic else price * side)
        return sum(parts[1:], parts[0])

    def torch_terms(self, outputs: Any, targets: Any) -> Any:
        above, below = self.prices
        t = 1.0 - targets * outputs if self.margin else outputs - targets
        total = 0.0 * t
        for price, side in ((above, t.clamp(min=0.0)), (below, (-t).clamp(min=0.0))):
            if not self.quadratic:
                total = total + price * side
            elif price > 0:
                near = side if price == math.inf else side.clamp(max=0.5 * price)
                total = total + near * (2.0 * side - near)
        return total

"""The Huber loss: quadratic near the target, linear far away."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..loss import Array, ConicTerms, Proximal, ResidualForm, SecondOrder, SummedLoss
from ..rounding import down, up
from ..validate import positive
from .logistic import unit_limit


@dataclass(frozen=True)
class Huber(SummedLoss, Proximal, ConicTerms, SecondOrder):
    """sum h(f - y), h(r) = r^2 for |r| <= delta, else 2 delta |r| - delta^2 (no factor 1/2, as for the squared loss).

    The conjugate is s y + s^2/4 on |s| <= 2 delta.
    """

    delta: float = 1.0
    name = "huber"

    def __post_init__(self) -> None:
        object.__setattr__(self, "delta", positive(self.delta, "delta"))

    def terms(self, outputs: Array, targets: Array) -> Array:
        size = np.abs(outputs - targets)
        inner = np.minimum(size, self.delta)
        return np.asarray(inner * (2.0 * size - inner))

    def gradient(self, outputs: Array, targets: Array) -> Array:
        return 2.0 * np.clip(outputs - targets, -self.delta, self.delta)

    def curvature_roots(self, outputs: Array, targets: Array) -> Array:
        return self.residual_form(targets).curvature_roots(outputs)

    def conjugate_terms(self, slopes: Array, targets: Array) -> Array:
        inside = np.abs(slopes) <= 2.0 * self.delta
        return np.where(inside, slopes * targets + 0.25 * np.square(slopes), math.inf)

    def project_dual(self, dual: Array, targets: Array) -> Array:
        return np.clip(dual, -2.0 * self.delta, 2.0 * self.delta)

    def settle(self, dual: Array, targets: Array) -> Array:
        return dual

    def scale_limit(self, dual: Array, targets: Array) -> float:
        with np.errstate(over="ignore"):
            return unit_limit(up(np.abs(dual) / (2.0 * self.delta)))

    def curvature(self) -> float:
        return 2.0

    def terms_upper(self, lo: Array, hi: Array, targets: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            size = np.maximum(np.abs(down(targets - hi)), np.abs(up(targets - lo)))
            # h is increasing in |r|; the linear branch bounds it from below and the square from above for all r
            square = up(size * size)
            line = up(up(2.0 * up(self.delta * size)) - down(self.delta * self.delta))
            value = np.where(size <= self.delta, square, np.minimum(square, np.maximum(line, 0.0)))
        return np.where(np.isnan(value), math.inf, value)

    def dual_terms_lower(self, dual: Array, lo: Array, hi: Array, targets: Array) -> Array:
        def lower(s: Array) -> Array:  # s <Z, Y> - s^2 Z^2/4 at an exact s; concave in s
            with np.errstate(over="ignore", invalid="ignore"):
                product = dual * targets
                inner = np.where(np.abs(targets) == 1.0, product, down(product))
                return np.asarray(down(down(s * inner) - 0.25 * up(up(s * s) * up(dual * dual))))

        with np.errstate(over="ignore"):
            reach = np.where(hi == 1.0, np.abs(dual), up(hi * np.abs(dual)))
        inside = reach <= 2.0 * self.delta
        value = np.minimum(lower(lo), lower(hi))
        return np.where(inside & ~np.isnan(value), value, -math.inf)

    def proximal(self, outputs: Array, targets: Array, step: Array | float) -> Array:
        r = outputs - targets
        inner = r / (1.0 + 2.0 * np.asarray(step))
        far = np.sign(r) * np.maximum(np.abs(r) - 2.0 * self.delta * np.asarray(step), self.delta)
        return np.asarray(targets + np.where(np.abs(inner) <= self.delta, inner, far))

    def check_targets(self, targets: Array) -> None:
        return None

    def residual_form(self, targets: Array) -> ResidualForm:
        one = np.ones_like(targets)
        return ResidualForm(one, -targets, True, 2.0 * self.delta, 2.0 * self.delta, one)

    def expression(self, outputs: Any, targets: Array) -> Any:
        import cvxpy

        return cvxpy.sum(self.expression_terms(outputs, targets))

    def expression_terms(self, outputs: Any, targets: Array) -> Any:
        import cvxpy

        return cvxpy.huber(outputs - targets, self.delta)

    def torch_terms(self, outputs: Any, targets: Any) -> Any:
        size = (outputs - targets).abs()
        inner = size.clamp(max=self.delta)
        return inner * (2.0 * size - inner)

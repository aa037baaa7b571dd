"""The squared loss |Y - F|^2 (Frobenius norm, no factor 1/2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..loss import Array, ConicTerms, Loss, Proximal, ResidualForm, SecondOrder, SummedLoss
from ..rounding import dot_bounds, down, square_interval, sum_upper, up


@dataclass(frozen=True)
class Squared(Loss, ConicTerms, SecondOrder):
    """|Y - F|^2; L*(S) = <S, Y> + |S|^2/4; D(Z) = <Z, Y> - |Z|^2/4."""

    name = "squared"
    entrywise = True

    def value(self, outputs: Array, targets: Array) -> float:
        residual = targets - outputs
        return float(np.vdot(residual, residual))

    def gradient(self, outputs: Array, targets: Array) -> Array:
        return 2.0 * (outputs - targets)

    def curvature_roots(self, outputs: Array, targets: Array) -> Array:
        return np.full_like(outputs, math.sqrt(2.0))

    def conjugate(self, slopes: Array, targets: Array) -> float:
        return float(np.vdot(slopes, targets) + 0.25 * np.vdot(slopes, slopes))

    def project_dual(self, dual: Array, targets: Array) -> Array:
        return dual

    def curvature(self) -> float:
        return 2.0

    def value_upper(self, lo: Array, hi: Array, targets: Array) -> float:
        _, high = square_interval(down(targets - hi), up(targets - lo))
        return float(sum_upper(high))

    def dual_lower(self, dual: Array, targets: Array, scale: float) -> float:
        if not 0 <= scale < math.inf:
            return -math.inf
        inner, _ = dot_bounds(dual, targets)
        _, norm = dot_bounds(dual, dual)
        quadratic = up(up(up(scale * scale) * norm) * 0.25)
        return float(down(down(scale * inner) - quadratic))

    def check_targets(self, targets: Array) -> None:
        return None

    def residual_form(self, targets: Array) -> ResidualForm:
        one = np.ones_like(targets)
        return ResidualForm(one, -targets, True, math.inf, math.inf, one)

    def expression(self, outputs: Any, targets: Array) -> Any:
        import cvxpy

        return cvxpy.sum_squares(outputs - targets)

    def torch_twin(self) -> Callable[[Any, Any], Any]:
        return lambda outputs, targets: (outputs - targets).square().sum((-2, -1))

    def best_scale(self, dual: Array, targets: Array, limit: float) -> float:
        norm = float(np.vdot(dual, dual))
        peak = 0.0 if norm == 0 else 2.0 * float(np.vdot(dual, targets)) / norm
        return float(min(max(peak, 0.0), limit))


@dataclass(frozen=True)
class SquaredTerms(SummedLoss, Proximal, ConicTerms, SecondOrder):
    """The squared loss entry by entry: what weights act on. Alone, use ``Squared``, whose bounds are sharper."""

    name = "squared_terms"

    def terms(self, outputs: Array, targets: Array) -> Array:
        return np.square(outputs - targets)

    def gradient(self, outputs: Array, targets: Array) -> Array:
        return 2.0 * (outputs - targets)

    def curvature_roots(self, outputs: Array, targets: Array) -> Array:
        return np.full_like(outputs, math.sqrt(2.0))

    def conjugate_terms(self, slopes: Array, targets: Array) -> Array:
        return np.asarray(slopes * targets + 0.25 * np.square(slopes))

    def project_dual(self, dual: Array, targets: Array) -> Array:
        return dual

    def settle(self, dual: Array, targets: Array) -> Array:
        return dual

    def scale_limit(self, dual: Array, targets: Array) -> float:
        return math.inf

    def curvature(self) -> float:
        return 2.0

    def terms_upper(self, lo: Array, hi: Array, targets: Array) -> Array:
        with np.errstate(over="ignore"):
            _, high = square_interval(down(targets - hi), up(targets - lo))
        return np.where(np.isnan(high), math.inf, high)

    def dual_terms_lower(self, dual: Array, lo: Array, hi: Array, targets: Array) -> Array:
        def lower(s: Array) -> Array:  # s z y - s^2 z^2/4 at an exact s; concave in s, so the ends suffice
            with np.errstate(over="ignore", invalid="ignore"):
                return np.asarray(down(down(s * down(dual * targets)) - 0.25 * up(up(s * s) * up(dual * dual))))

        value = np.minimum(lower(lo), lower(hi))
        return np.where(np.isnan(value), -math.inf, value)

    def proximal(self, outputs: Array, targets: Array, step: Array | float) -> Array:
        return np.asarray((outputs + 2.0 * step * targets) / (1.0 + 2.0 * np.asarray(step)))

    def check_targets(self, targets: Array) -> None:
        return None

    def residual_form(self, targets: Array) -> ResidualForm:
        one = np.ones_like(targets)
        return ResidualForm(one, -targets, True, math.inf, math.inf, one)

    def expression(self, outputs: Any, targets: Array) -> Any:
        import cvxpy

        return cvxpy.sum_squares(outputs - targets)

    def expression_terms(self, outputs: Any, targets: Array) -> Any:
        import cvxpy

        return cvxpy.square(outputs - targets)

    def torch_terms(self, outputs: Any, targets: Any) -> Any:
        return (outputs - targets).square()

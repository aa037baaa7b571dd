"""The squared loss |Y - F|^2 (Frobenius norm, no factor 1/2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..loss import Array, Loss
from ..rounding import dot_bounds, down, square_interval, sum_upper, up


@dataclass(frozen=True)
class Squared(Loss):
    """|Y - F|^2; L*(S) = <S, Y> + |S|^2/4; D(Z) = <Z, Y> - |Z|^2/4."""

    name = "squared"

    def value(self, outputs: Array, targets: Array) -> float:
        residual = targets - outputs
        return float(np.vdot(residual, residual))

    def gradient(self, outputs: Array, targets: Array) -> Array:
        return 2.0 * (outputs - targets)

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
        inner, _ = dot_bounds(dual, targets)
        _, norm = dot_bounds(dual, dual)
        quadratic = up(up(up(scale * scale) * norm) * 0.25)
        return float(down(down(scale * inner) - quadratic))

    def check_targets(self, targets: Array) -> None:
        return None

    def expression(self, outputs: Any, targets: Array) -> Any:
        import cvxpy

        return cvxpy.sum_squares(outputs - targets)

    def torch_twin(self) -> Callable[[Any, Any], Any]:
        return lambda outputs, targets: (outputs - targets).square().sum((-2, -1))

    def best_scale(self, dual: Array, targets: Array, limit: float) -> float:
        norm = float(np.vdot(dual, dual))
        peak = 0.0 if norm == 0 else 2.0 * float(np.vdot(dual, targets)) / norm
        return float(min(max(peak, 0.0), limit))

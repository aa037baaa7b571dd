"""The hinge loss max(0, 1 - y f) and its square, labels y = +-1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..loss import Array, ConicTerms, Proximal, ResidualForm, SecondOrder, SummedLoss
from ..rounding import down, up
from .logistic import check_signs, scaled_margin, unit_limit


def slack_upper(lo: Array, hi: Array, targets: Array) -> Array:
    """Rigorous upper bound on max(0, 1 - y f) over f in [lo, hi]."""
    margin = np.where(targets > 0, lo, -hi)
    return np.where(np.isnan(margin), math.inf, np.maximum(np.where(margin >= 1.0, 0.0, up(1.0 - margin)), 0.0))


@dataclass(frozen=True)
class Hinge(SummedLoss, Proximal, ConicTerms):
    """sum max(0, 1 - y f); the conjugate is y s on -1 <= y s <= 0."""

    name = "hinge"

    def terms(self, outputs: Array, targets: Array) -> Array:
        return np.maximum(0.0, 1.0 - targets * outputs)

    def gradient(self, outputs: Array, targets: Array) -> Array:
        return np.where(targets * outputs < 1.0, -targets, 0.0)

    def conjugate_terms(self, slopes: Array, targets: Array) -> Array:
        s = targets * slopes
        return np.where((s >= -1) & (s <= 0), s, math.inf)

    def project_dual(self, dual: Array, targets: Array) -> Array:
        return targets * np.clip(targets * dual, 0.0, 1.0)

    def settle(self, dual: Array, targets: Array) -> Array:
        return dual

    def scale_limit(self, dual: Array, targets: Array) -> float:
        return unit_limit(np.abs(dual))

    def curvature(self) -> float:
        return math.inf

    def terms_upper(self, lo: Array, hi: Array, targets: Array) -> Array:
        return slack_upper(lo, hi, targets)

    def dual_terms_lower(self, dual: Array, lo: Array, hi: Array, targets: Array) -> Array:
        t = targets * dual
        low, high = scaled_margin(t, lo, hi)
        return np.where((t >= 0) & (high <= 1), low, -math.inf)

    def proximal(self, outputs: Array, targets: Array, step: Array | float) -> Array:
        margin = targets * outputs
        return np.asarray(targets * np.where(margin >= 1.0, margin, np.minimum(margin + step, 1.0)))

    def check_targets(self, targets: Array) -> None:
        check_signs(targets, self.name)

    def residual_form(self, targets: Array) -> ResidualForm:
        one = np.ones_like(targets)
        return ResidualForm(-targets, one, False, 1.0, 0.0, one)

    def expression(self, outputs: Any, targets: Array) -> Any:
        import cvxpy

        return cvxpy.sum(self.expression_terms(outputs, targets))

    def expression_terms(self, outputs: Any, targets: Array) -> Any:
        import cvxpy

        return cvxpy.pos(1.0 - cvxpy.multiply(targets, outputs))

    def torch_terms(self, outputs: Any, targets: Any) -> Any:
        return (1.0 - targets * outputs).clamp(min=0.0)


@dataclass(frozen=True)
class SquaredHinge(SummedLoss, Proximal, ConicTerms, SecondOrder):
    """sum max(0, 1 - y f)^2; with s = y S <= 0 the conjugate is s + s^2/4."""

    name = "squared_hinge"

    def terms(self, outputs: Array, targets: Array) -> Array:
        return np.square(np.maximum(0.0, 1.0 - targets * outputs))

    def gradient(self, outputs: Array, targets: Array) -> Array:
        return np.asarray(-2.0 * targets * np.maximum(0.0, 1.0 - targets * outputs))

    def curvature_roots(self, outputs: Array, targets: Array) -> Array:
        return self.residual_form(targets).curvature_roots(outputs)

    def conjugate_terms(self, slopes: Array, targets: Array) -> Array:
        s = targets * slopes
        return np.where(s <= 0, s + 0.25 * np.square(s), math.inf)

    def project_dual(self, dual: Array, targets: Array) -> Array:
        return targets * np.maximum(targets * dual, 0.0)

    def settle(self, dual: Array, targets: Array) -> Array:
        return dual

    def scale_limit(self, dual: Array, targets: Array) -> float:
        return math.inf

    def curvature(self) -> float:
        return 2.0

    def terms_upper(self, lo: Array, hi: Array, targets: Array) -> Array:
        slack = slack_upper(lo, hi, targets)
        with np.errstate(over="ignore"):
            return np.where(slack == 0.0, 0.0, up(slack * slack))

    def dual_terms_lower(self, dual: Array, lo: Array, hi: Array, targets: Array) -> Array:
        t = targets * dual
        low, high = scaled_margin(t, lo, hi)

        def lower(u: Array) -> Array:  # u - u^2/4 for an exact u; concave, so the ends of [low, high] suffice
            with np.errstate(over="ignore"):
                return np.asarray(down(u - 0.25 * up(u * u)))

        return np.where(t >= 0, np.minimum(lower(low), lower(high)), -math.inf)

    def proximal(self, outputs: Array, targets: Array, step: Array | float) -> Array:
        margin = targets * outputs
        return np.asarray(targets * np.where(margin >= 1.0, margin, (margin + 2.0 * step) / (1.0 + 2.0 * step)))

    def check_targets(self, targets: Array) -> None:
        check_signs(targets, self.name)

    def residual_form(self, targets: Array) -> ResidualForm:
        one = np.ones_like(targets)
        return ResidualForm(-targets, one, True, math.inf, 0.0, one)

    def expression(self, outputs: Any, targets: Array) -> Any:
        import cvxpy

        return cvxpy.sum_squares(cvxpy.pos(1.0 - cvxpy.multiply(targets, outputs)))

    def expression_terms(self, outputs: Any, targets: Array) -> Any:
        import cvxpy

        return cvxpy.square(cvxpy.pos(1.0 - cvxpy.multiply(targets, outputs)))

    def torch_terms(self, outputs: Any, targets: Any) -> Any:
        return (1.0 - targets * outputs).clamp(min=0.0).square()

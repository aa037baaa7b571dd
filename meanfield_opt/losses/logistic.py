"""The logistic loss log(1 + exp(-y f)), labels y = +-1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from ..errors import InputError
from ..loss import Array, ExponentialForm, ExponentialTerms, SecondOrder, SummedLoss
from ..rounding import down, up

MARGIN = 1.0 - 2.0**-50  # dual points stay this far inside a closed domain, so that rounding cannot leave it


def check_signs(targets: Array, name: str) -> None:
    """InputError unless all labels are -1 or +1."""
    if not np.isin(targets, (-1.0, 1.0)).all():
        raise InputError(f"the {name} loss needs labels -1 and +1 in Y; other values were found.")


def unit_limit(size: Array) -> float:
    """The largest s, rounded down, with s * size <= 1 everywhere (size >= 0)."""
    largest = float(np.max(size, initial=0.0))
    return math.inf if largest == 0.0 else float(down(down(1.0 / largest)))


def scaled_margin(t: Array, lo: Array, hi: Array) -> tuple[Array, Array]:
    """Enclosure of s t for t >= 0 and s in [lo, hi]; a factor of exactly one costs no rounding."""
    low = np.where(lo == 1.0, t, np.maximum(down(lo * t), 0.0))
    high = np.where(hi == 1.0, t, np.where(t == 0.0, 0.0, up(hi * t)))
    return low, high


@dataclass(frozen=True)
class Logistic(SummedLoss, ExponentialTerms, SecondOrder):
    """sum log(1 + exp(-y f)); with t = -y s in [0, 1] the conjugate is t log t + (1 - t) log(1 - t)."""

    name = "logistic"
    entrywise = True

    def terms(self, outputs: Array, targets: Array) -> Array:
        return np.asarray(np.logaddexp(0.0, -targets * outputs))

    def gradient(self, outputs: Array, targets: Array) -> Array:
        return np.asarray(-targets * special.expit(-targets * outputs))

    def curvature_roots(self, outputs: Array, targets: Array) -> Array:
        return np.asarray(np.sqrt(special.expit(outputs) * special.expit(-outputs)))

    def conjugate_terms(self, slopes: Array, targets: Array) -> Array:
        t = -targets * slopes
        inside = (t >= 0) & (t <= 1)
        p = np.where(inside, t, 0.5)
        return np.where(inside, -special.entr(p) - special.entr(1.0 - p), math.inf)

    def project_dual(self, dual: Array, targets: Array) -> Array:
        return targets * np.clip(targets * dual, 0.0, MARGIN)

    def settle(self, dual: Array, targets: Array) -> Array:
        return dual

    def scale_limit(self, dual: Array, targets: Array) -> float:
        return unit_limit(np.abs(dual))

    def curvature(self) -> float:
        return 0.25

    def terms_upper(self, lo: Array, hi: Array, targets: Array) -> Array:
        margin = np.where(targets > 0, lo, -hi)  # the loss falls with the margin
        terms = np.logaddexp(0.0, -margin)
        return np.where(np.isnan(margin), math.inf, up(terms * (1 + 2.0**-48) + 2.0**-1000))

    def dual_terms_lower(self, dual: Array, lo: Array, hi: Array, targets: Array) -> Array:
        t = targets * dual
        low, high = scaled_margin(t, lo, hi)
        inside = (t >= 0) & (high <= 1)
        low, high = np.where(inside, low, 0.5), np.where(inside, high, 0.5)

        # the entropy is concave, so its least value on [low, high] is at an end
        def entropy(p: Array) -> Array:
            return np.asarray(special.entr(p) + special.entr(1.0 - p))

        # 1 - p is exact for p >= 1/2, and otherwise off by at most 2^-54 where the entropy's slope in it is below 1
        least = np.minimum(entropy(low), entropy(high)) * (1 - 2.0**-48) - 2.0**-52
        return np.where(inside, np.maximum(down(least), 0.0), -math.inf)

    def check_targets(self, targets: Array) -> None:
        check_signs(targets, self.name)

    def exponential_form(self, targets: Array) -> ExponentialForm:
        every = np.arange(targets.size)  # exponents 0, then -y f
        return ExponentialForm(np.tile(every, 2), targets.size + every, every, -targets.ravel(), np.ones(targets.size))

    def expression(self, outputs: Any, targets: Array) -> Any:
        import cvxpy

        return cvxpy.sum(self.expression_terms(outputs, targets))

    def expression_terms(self, outputs: Any, targets: Array) -> Any:
        import cvxpy

        return cvxpy.logistic(-cvxpy.multiply(targets, outputs))

    def torch_terms(self, outputs: Any, targets: Any) -> Any:
        from torch.nn.functional import softplus

        return softplus(-targets * outputs, threshold=50.0)

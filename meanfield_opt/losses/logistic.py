"""The logistic loss log(1 + exp(-y f)), labels y = +-1."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from ..errors import InputError
from ..loss import Array, Loss, golden_scale
from ..rounding import down, sum_lower, sum_upper, up


@dataclass(frozen=True)
class Logistic(Loss):
    """sum log(1 + exp(-y f)); with t = -y s in [0, 1] the conjugate is t log t + (1 - t) log(1 - t)."""

    name = "logistic"

    def value(self, outputs: Array, targets: Array) -> float:
        return float(np.sum(np.logaddexp(0.0, -targets * outputs)))

    def gradient(self, outputs: Array, targets: Array) -> Array:
        return np.asarray(-targets * special.expit(-targets * outputs))

    def conjugate(self, slopes: Array, targets: Array) -> float:
        t = -targets * slopes
        if (t < 0).any() or (t > 1).any():
            return math.inf
        return float(-np.sum(special.entr(t) + special.entr(1.0 - t)))

    def project_dual(self, dual: Array, targets: Array) -> Array:
        return targets * np.clip(targets * dual, 0.0, 1.0)

    def curvature(self) -> float:
        return 0.25

    def value_upper(self, lo: Array, hi: Array, targets: Array) -> float:
        margin = np.where(targets > 0, lo, -hi)  # the loss falls with the margin
        terms = np.logaddexp(0.0, -margin)
        return float(sum_upper(up(terms * (1 + 2.0**-48) + 2.0**-1000)))

    def dual_lower(self, dual: Array, targets: Array, scale: float) -> float:
        t = targets * dual
        lo, hi = down(scale * t), up(scale * t)
        lo, hi = np.where(t == 0, 0.0, lo), np.where(t == 0, 0.0, hi)
        if not ((lo >= 0).all() and (hi <= 1).all()):
            return -math.inf

        # the entropy is concave, so its least value on [lo, hi] is at an end
        def entropy(p: Array) -> Array:
            return np.asarray(special.entr(p) + special.entr(1.0 - p))

        # 1 - p is rounded by at most 2^-53, which moves the entropy by at most 2^-53 (1 + |log p(1-p)|) < 2^-42
        least = np.minimum(entropy(lo), entropy(hi)) * (1 - 2.0**-48) - 2.0**-42
        return float(sum_lower(down(np.maximum(least, 0.0))))

    def check_targets(self, targets: Array) -> None:
        if not np.isin(targets, (-1.0, 1.0)).all():
            raise InputError("the logistic loss needs labels -1 and +1 in Y; other values were found.")

    def expression(self, outputs: Any, targets: Array) -> Any:
        import cvxpy

        return cvxpy.sum(cvxpy.logistic(-cvxpy.multiply(targets, outputs)))

    def torch_twin(self) -> Callable[[Any, Any], Any]:
        from torch.nn.functional import softplus

        return lambda outputs, targets: softplus(-targets * outputs).sum((-2, -1))

    def best_scale(self, dual: Array, targets: Array, limit: float) -> float:
        largest = float(np.max(np.abs(dual), initial=0.0))
        ceiling = 0.0 if largest == 0 else min(limit, float(down(1.0 / largest)))
        return golden_scale(self, dual, targets, ceiling)

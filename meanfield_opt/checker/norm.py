"""Replay of the norm bound."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..problem import TwoLayerProblem
from ..rounding import gram_norm_upper, up
from .bounds import tau_bounds


def norm_sigma(problem: TwoLayerProblem, dual: NDArray[np.float64]) -> float:
    """Rigorous upper bound on sup_h |Z phi(h)| / sqrt(tau c(h)) from norms alone."""
    ratio = problem.activation.ratio_bound()
    norm = float(up(gram_norm_upper(dual.T) * problem.geometry.norm_bound()))
    tau, _ = tau_bounds(problem)
    if not tau > 0:
        return math.inf
    return float(up(up(math.sqrt(float(up(norm / tau)))) * ratio))

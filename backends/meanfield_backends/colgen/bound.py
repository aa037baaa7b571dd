"""The dual bound that sampling suggests. It proves nothing: a supremum proof does (meanfield_opt.certify)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.problem import TwoLayerProblem

Array = NDArray[np.float64]


def lower_estimate(problem: TwoLayerProblem, dual: Array, top: float) -> float:
    """The dual value if ``top`` (ratio squared, or excess) were the supremum of the level at Z."""
    if problem.width is not None:
        return float(problem.loss.dual_value(dual, problem.targets) - problem.width * max(0.0, top))
    limit = math.inf if top <= 0 else 1.0 / math.sqrt(top)
    scale = problem.loss.best_scale(dual, problem.targets, limit)
    return float(problem.loss.dual_value(scale * dual, problem.targets))


def relative_gap(energy: float, lower: float) -> float:
    """(energy - lower) / max(1e-300, |energy|)."""
    return (energy - lower) / max(1e-300, abs(energy))


def affordable(energy: float, lower: float, tolerance: float, share: float) -> float:
    """The energy that fewer atoms may cost: up to ``share`` of the tolerance above this one, and a gap within the tolerance stays within it."""
    most = energy + share * tolerance * abs(energy)
    if relative_gap(energy, lower) > tolerance:
        return most
    ceiling = lower / (1.0 - math.copysign(tolerance, energy))
    return max(energy, min(most, ceiling - 1e-12 * abs(ceiling)))

"""Replay of level enumerations: an activation with finitely many values has finitely many feature patterns.

For every assignment of samples to levels, phi(h) is known and h lies in a box [a, b]; for any y,
c(h) >= 2 y . h - y . K_X y >= sum_p 2 min(y_p a_p, y_p b_p) - y . K_X y. The multipliers y are the proof.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CertificateError
from ..problem import TwoLayerProblem
from ..rounding import down, matmul_bounds, square_interval, sum_lower, sum_upper, up
from .bounds import tau_bounds
from .codec import decode_array
from .envelope import apply_enclosed

Array = NDArray[np.float64]

MOST_PATTERNS = 20_000


def patterns(problem: TwoLayerProblem) -> tuple[Array, Array, Array]:
    """(values, lows, highs), each (N, P): all assignments of samples to levels, in one fixed order."""
    levels = problem.activation.levels
    if levels is None or len(levels) ** problem.n_samples > MOST_PATTERNS:
        raise CertificateError("the activation's values cannot be enumerated for this problem.")
    index = np.array(list(itertools.product(range(len(levels)), repeat=problem.n_samples)))
    table = np.array(levels)
    return table[index, 2], table[index, 0], table[index, 1]


def cost_lower(problem: TwoLayerProblem, y: Array, lows: Array, highs: Array) -> Array:
    """Rigorous lower bounds on c(h) over the boxes, from multipliers y (N, P); never below 0."""
    y = np.where(np.isinf(highs), np.maximum(y, 0.0), y)
    y = np.where(np.isinf(lows), np.minimum(y, 0.0), y)
    with np.errstate(invalid="ignore"):
        ends = np.minimum(np.where(y == 0.0, 0.0, y * lows), np.where(y == 0.0, 0.0, y * highs))
    k_lo, k_hi = apply_enclosed(problem.geometry, y)
    quadratic = sum_upper(up(np.maximum(y * k_lo, y * k_hi)), axis=1)
    return np.maximum(down(2.0 * sum_lower(down(ends), axis=1) - quadratic), 0.0)


def supremum(problem: TwoLayerProblem, dual: Array, y: Array) -> float:
    """kappa under a width, sigma for free mass."""
    values, lows, highs = patterns(problem)
    if y.shape != values.shape:
        raise CertificateError("the multipliers do not fit the level patterns.")
    lo, hi = matmul_bounds(values, dual.T)
    _, squares = square_interval(lo, hi)
    top = sum_upper(squares, axis=1)
    cost = cost_lower(problem, y, lows, highs)
    silent = ~values.any(axis=1)
    if problem.width is not None:
        gain = up(top / down(4.0 * problem.lambda2))
        excess = np.where(silent, 0.0, up(gain - down(problem.lambda1 * cost)))
        worst = float(np.max(np.maximum(excess, 0.0)))
        return worst if math.isfinite(worst) else math.inf
    tau, _ = tau_bounds(problem)
    with np.errstate(divide="ignore"):
        ratio = np.where(silent, 0.0, up(top / down(tau * cost)))
    worst = float(up(np.sqrt(np.max(ratio)))) if (ratio >= 0).all() else math.inf
    return worst if math.isfinite(worst) else math.inf


def replay(problem: TwoLayerProblem, dual: Array, claimed: float, artefact: dict[str, Any]) -> float:
    """Recompute the supremum over all patterns from the multipliers."""
    return supremum(problem, dual, decode_array(artefact["multipliers"], "the multipliers", ndim=2))

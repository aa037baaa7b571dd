"""Exact enumeration for activations with finitely many values (step, sign): one box-constrained cost a pattern."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..checker import levels
from ..checker.codec import encode_array
from .engine import Limits, Outcome, ProofEngine, Question, SupremumProof

Array = NDArray[np.float64]


def box_minimisers(inverse: Array, lows: Array, highs: Array) -> Array:
    """argmin h^T Q h over boxes, (N, P): accelerated projected gradients with restarts, all boxes at once."""
    size = float(np.linalg.norm(inverse, 2))
    h = np.clip(0.0, lows, highs)
    ahead, previous, inertia = h, h, np.ones((h.shape[0], 1))
    for _ in range(1500):
        h = np.clip(ahead - ahead @ inverse / size, lows, highs)
        turned = np.einsum("np,np->n", ahead - h, h - previous) > 0
        following = np.where(turned[:, None], 1.0, 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * np.square(inertia))))
        ahead = h + np.where(turned[:, None], 0.0, (inertia - 1.0) / following) * (h - previous)
        if np.abs(h - previous).max() < 1e-14:
            break
        previous, inertia = h, following
    return np.asarray(h)


@dataclass(frozen=True)
class LevelsEngine(ProofEngine):
    """All feature patterns of a piecewise constant activation, each with the least cost of its box."""

    name = "levels"

    def refusal(self, question: Question) -> str | None:
        values = question.problem.activation.levels
        if values is None:
            return f"{question.problem.activation.name} has not finitely many values."
        if len(values) ** question.problem.n_samples > levels.MOST_PATTERNS:
            return f"{len(values)}^{question.problem.n_samples} patterns are too many (at most {levels.MOST_PATTERNS})."
        return None

    def predicted_seconds(self, question: Question) -> float:
        return 1e-3

    def tightness(self, question: Question) -> int:
        return 0

    def prove(self, question: Question, limits: Limits) -> Outcome:
        problem = question.problem
        kernel = problem.geometry.apply(np.eye(problem.n_samples))
        inverse = np.asarray(np.linalg.pinv(0.5 * (kernel + kernel.T), rcond=1e-12, hermitian=True), dtype=np.float64)
        _, lows, highs = levels.patterns(problem)
        y = box_minimisers(inverse, lows, highs) @ inverse
        bound = levels.supremum(problem, np.asarray(question.dual, dtype=np.float64), y)
        if not math.isfinite(bound):
            return Outcome(None, complete=False)
        words = f"enumeration of all {len(y)} feature patterns of a piecewise constant activation"
        bound = bound * (1.0 + 1e-12) + 1e-300
        return Outcome(SupremumProof("levels", words, bound, {"multipliers": encode_array(y)}))


ENGINE = LevelsEngine()

"""Whitened inputs with few kinds of labels: samples of one kind are exchangeable, so P samples prove like T kinds.

With white inputs and a bias every two samples of equal label are exchangeable, however the labels are distributed: d_Y
signs leave at most 2^d_Y types. The semidefinite program has order T; PSD + N is exact for T <= 4 (d_Y <= 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..checker.codec import encode_array, encode_float
from ..checker.exchange import Types, exchange_sigma, types_of
from ..checker.lift import reducible
from ..geometry import DiagonalPlusLowRank
from ..problem import TwoLayerProblem
from ..rounding import up
from .copositive_engine import polished, solve_split
from .engine import Limits, Outcome, ProofEngine, Question, SupremumProof

Array = NDArray[np.float64]


def average_over_types(problem: TwoLayerProblem, dual: Array) -> Array | None:
    """The mean of Z over exchangeable samples (equal lambda, b and targets); None where the reduction does not apply."""
    space = problem.geometry
    if problem.width is not None or not isinstance(space, DiagonalPlusLowRank) or not reducible(problem):
        return None
    rows = np.vstack([space.diagonal, space.columns.T, problem.targets + 0.0])
    _, kind, counts = np.unique(rows, axis=1, return_inverse=True, return_counts=True)
    if counts.size == problem.n_samples:
        return None
    means = np.array([np.bincount(kind.ravel(), weights=row) / counts for row in dual])
    return np.asarray(means[:, kind.ravel()])


@dataclass(frozen=True)
class ExchangeEngine(ProofEngine):
    """relu, K_X = diagonal + one column of one sign, a dual point that takes few values on few kinds of samples."""

    name = "exchange"

    def refusal(self, question: Question) -> str | None:
        if question.mode != "ratio":
            return "the copositive form is for free mass."
        types = types_of(question.problem, question.dual)
        if types is None:
            return "the samples are not exchangeable in few types, or the form of order P does not apply."
        return None

    def predicted_seconds(self, question: Question) -> float:
        types = types_of(question.problem, question.dual)
        return math.inf if types is None else 0.02 + 10 * (types.counts.size / 40) ** 6

    def tightness(self, question: Question) -> int:
        types = types_of(question.problem, question.dual)
        return 0 if types is not None and types.counts.size <= 4 else 1

    def prove(self, question: Question, limits: Limits) -> Outcome:
        types = types_of(question.problem, question.dual)
        assert types is not None
        best: tuple[float, float, Array] | None = None
        for t, slack in _proposals(types, limits.seconds):
            found = _accept(question.problem, types, t, slack)
            if found is not None and (best is None or found[0] < best[0]):
                best = found
        if best is None:
            return Outcome(None, complete=False)
        sigma, t, slack = best
        size = types.counts.size
        words = (
            f"symmetry: {question.problem.n_samples} samples are exchangeable within {size} types; copositive form of order "
            f"{size} = positive semidefinite + entrywise nonnegative (exact rationals)"
        )
        artefact = {"t": encode_float(t), "slack": encode_array(slack)}
        return Outcome(SupremumProof("exchange", words, sigma, artefact), complete=sigma <= 1 + 10 * limits.target)


ENGINE = ExchangeEngine()


def _proposals(types: Types, seconds: float) -> list[tuple[float, Array]]:
    """(t, N) from a semidefinite program in units where Q has diagonal 1 and t is about 1, and the same polished."""
    inverse = 1.0 / (types.counts * types.diagonal)
    beta = types.column / types.diagonal
    k = 0.0 if types.weight == 0 else 1.0 / (1.0 / types.weight + float(types.counts @ (types.column * beta)))
    scale = np.sqrt(inverse)
    base = np.eye(scale.size) - k * np.outer(beta / scale, beta / scale)
    z = types.dual / scale
    gram = z.T @ z
    unit = float(np.max(np.linalg.eigvals(np.linalg.solve(base, gram)).real, initial=0.0))
    if not (math.isfinite(unit) and unit > 0):
        return [(0.0, np.zeros_like(gram))] if not types.dual.any() else []
    first = solve_split(base, gram / unit, 0, seconds)
    if first is None:
        return []
    out = []
    for t, _, slack in (first, polished(base, gram / unit, first)):
        n = np.maximum(0.5 * (slack + slack.T), 0.0) * unit * np.outer(scale, scale)
        np.fill_diagonal(n, 0.0)
        out.append((t * unit, n))
    return out


def _accept(problem: TwoLayerProblem, types: Types, t: float, slack: Array) -> tuple[float, float, Array] | None:
    """The least raise of t (by factors of 4) with which the exact test accepts: (sigma, t, N)."""
    raise_ = 1e-15
    while raise_ < 16.0:
        level = float(up(max(t, 0.0) * (1.0 + raise_)))
        sigma = exchange_sigma(problem, types, level, slack)
        if math.isfinite(sigma):
            return sigma, level, slack
        raise_ *= 4.0
    return None

"""Whitened inputs with few kinds of labels: samples of one kind are exchangeable, so P samples prove like T kinds.

With white inputs and a bias every two samples of equal label are exchangeable, however the labels are distributed: d_Y
signs leave at most 2^d_Y types. The semidefinite program has order T; PSD + N is exact for T <= 4 (d_Y <= 2).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..checker.codec import encode_array, encode_float
from ..checker.copositive_file import encode
from ..checker.exchange import Types, exchange_sigma, integer_form, types_of
from ..checker.lift import reducible
from ..checker.symmetric import sqrt_upper, tau_exact
from ..copositive.answer import Copositive, NotCopositive
from ..geometry import DiagonalPlusLowRank
from ..problem import TwoLayerProblem
from ..rounding import up
from .engine import Limits, Outcome, ProofEngine, Question, SupremumProof
from .lift_program import polished, solve_cone, solve_split

Array = NDArray[np.float64]

MOST_EXACT = 16  # types, for exact copositivity proofs


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
        return 0 if types is not None and types.counts.size <= MOST_EXACT else 1

    def prove(self, question: Question, limits: Limits) -> Outcome:
        types = types_of(question.problem, question.dual)
        assert types is not None
        best: tuple[float, float, Array] | None = None
        deadline = time.monotonic() + 0.5 * limits.seconds
        for t, slack in _proposals(types, 0.25 * limits.seconds):
            found = _accept(question.problem, types, t, slack, deadline)
            if found is not None and (best is None or found[0] < best[0]):
                best = found
        size = types.counts.size
        words = f"symmetry: {question.problem.n_samples} samples are exchangeable within {size} types; copositive form of order {size}"
        tau = 4.0 * question.problem.lambda1 * question.problem.lambda2
        met = math.sqrt(_largest_ratio(types) / tau) if tau > 0 else math.inf
        if size > 4 and (best is None or best[0] > met * (1.0 + limits.target)):
            exact = _any_proof(question.problem, types, limits)
            if exact is not None and (best is None or exact[0] < best[0]):
                sigma, artefact = exact
                proof = SupremumProof("exchange", f"{words}, proved copositive exactly", sigma, artefact)
                return Outcome(proof, complete=True)
        if best is None:
            return Outcome(None, complete=False)
        sigma, t, slack = best
        words += " = positive semidefinite + entrywise nonnegative (exact rationals)"
        artefact = {"t": encode_float(t), "slack": encode_array(slack)}
        return Outcome(
            SupremumProof("exchange", words, sigma, artefact),
            complete=sigma <= max(1.0, met) * (1.0 + 10.0 * limits.target),
        )


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
    begun = time.monotonic()
    first = solve_split(base, gram / unit, 0, seconds)
    found = [] if first is None else [first, polished(base, gram / unit, first)]
    # the second program is the larger one: only where the first left time for it
    left = seconds - 4.0 * (time.monotonic() - begun)
    white = _solve_white(base, gram / unit, left) if left > 0 or not found else None
    out = []
    for t, _, slack in found if white is None else [*found, white]:
        n = np.maximum(0.5 * (slack + slack.T), 0.0) * unit * np.outer(scale, scale)
        np.fill_diagonal(n, 0.0)
        out.append((t * unit, n))
    return out


def _any_proof(problem: TwoLayerProblem, types: Types, limits: Limits) -> tuple[float, dict[str, Any]] | None:
    """(sigma, artefact) from exact copositivity proofs at t a little above the largest ratio met; witnesses raise it."""
    if types.counts.size > MOST_EXACT:
        return None
    from ..copositive import check

    deadline = time.monotonic() + 0.7 * limits.seconds
    least, raise_ = _largest_ratio(types), 0.5 * limits.target
    for _ in range(12):
        left = deadline - time.monotonic()
        t = float(up(least * (1.0 + 2.0 * raise_)))
        if left <= 0 or not (math.isfinite(t) and t > 0):
            return None
        answer = check(integer_form(types, t), time_limit=left)
        if isinstance(answer, Copositive):
            sigma = sqrt_upper(Fraction(t) / tau_exact(problem))
            return sigma, {"t": encode_float(t), "copositivity": encode(answer.proof.artefact)}
        if isinstance(answer, NotCopositive):
            x = np.array([float(v) for v in answer.witness])
            least = max(least, _ratio(types, x[None, :]))
        raise_ *= 2.0
    return None


def _ratio(types: Types, x: Array) -> float:
    """The largest |z x|^2 / x^T [..] x over the rows of x (n, T), in floating point: what t must be at least."""
    beta = types.column / types.diagonal
    k = 0.0 if types.weight == 0 else 1.0 / (1.0 / types.weight + float(types.counts @ (types.column * beta)))
    cost = np.square(x) @ (1.0 / (types.counts * types.diagonal)) - k * np.square(x @ beta)
    gain = np.square(x @ types.dual.T).sum(axis=1)
    good = cost > 0
    return float(np.max(gain[good] / cost[good], initial=0.0))


def _largest_ratio(types: Types) -> float:
    """A good lower estimate of t: x <- the nonnegative part of B^-1 G x from many starts."""
    beta = types.column / types.diagonal
    size = types.counts.size
    k = 0.0 if types.weight == 0 else 1.0 / (1.0 / types.weight + float(types.counts @ (types.column * beta)))
    base = np.diag(1.0 / (types.counts * types.diagonal)) - k * np.outer(beta, beta)
    x = np.vstack([np.eye(size), np.abs(np.random.default_rng(0).standard_normal((200, size))) * types.counts])
    power = np.linalg.solve(base, types.dual.T @ types.dual)
    best = _ratio(types, x)
    for _ in range(300):
        x = np.maximum(x @ power.T, 0.0)
        x /= np.maximum(x.max(axis=1, keepdims=True), 1e-300)
        best = max(best, _ratio(types, x))
    return best


def _solve_white(base: Array, fixed: Array, seconds: float) -> tuple[float, Array, Array] | None:
    """min t: t base - fixed - N PSD, N >= 0, in coordinates where base is the identity.

    The least eigenvalue of base is about 1 / P: what the solver leaves of the cone in the plain coordinates costs P times
    as much of t, here only as much.
    """
    values, vectors = np.linalg.eigh(base)
    if not values[0] > 0:
        return None
    root = (vectors / np.sqrt(values)) @ vectors.T
    order = base.shape[0]
    col, row = np.tril_indices(order)
    weight = np.where(row == col, 1.0, math.sqrt(2.0))
    i, j = np.triu_indices(order, 1)
    pairs, m = i.size, row.size
    size = 2.0 * np.linalg.norm(root[i], axis=1) * np.linalg.norm(root[j], axis=1)
    a = np.zeros((m + pairs, 1 + pairs))
    a[:m, 0] = -weight * np.eye(order)[row, col]
    a[:m, 1:] = (weight * (root[i][:, row] * root[j][:, col] + root[j][:, row] * root[i][:, col]) / size[:, None]).T
    a[m:, 1:] = -np.eye(pairs)
    white = root @ fixed @ root
    b = np.concatenate([-weight * (0.5 * (white + white.T))[row, col], np.zeros(pairs)])
    cost = np.zeros(1 + pairs)
    cost[0] = 1.0
    x = solve_cone(sparse.csc_matrix(a), b, cost, order, m, pairs, seconds)
    if x is None or not np.isfinite(x).all():
        return None
    slack = np.zeros((order, order))
    slack[i, j] = slack[j, i] = x[1:] / size
    return float(x[0]), np.empty(0), slack


def _accept(
    problem: TwoLayerProblem, types: Types, t: float, slack: Array, deadline: float
) -> tuple[float, float, Array] | None:
    """The least raise of t (by factors of 4) with which the exact test accepts: (sigma, t, N). None when time is up."""
    raise_ = 1e-15
    while raise_ < 16.0 and (raise_ < 1e-14 or time.monotonic() < deadline):
        level = float(up(max(t, 0.0) * (1.0 + raise_)))
        sigma = exchange_sigma(problem, types, level, slack)
        if math.isfinite(sigma):
            return sigma, level, slack
        raise_ *= 4.0
    return None

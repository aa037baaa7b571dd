"""Replay of the certificate for exchangeable samples: an order-P copositive form becomes one of order T, exactly.

For relu and K_X = Lambda + w b b^T with the entries of b of one sign (or no column at all), K_X^-1 has no positive
off-diagonal entry, so nonnegative patterns x suffice (theory section 3.1) and the bound t >= sigma^2 tau holds if and
only if t x^T Q x - |Z x|^2 >= 0 for all x >= 0. Samples with equal Lambda, b and column of Z form a type c of n_c samples.
Only x^T Lambda^-1 x depends on more than the sums X_c over types, and it is least, X_c^2 / (n_c lambda_c), for x constant on
types. So the form of order P is copositive exactly if this one of order T is:

    M = t [diag(1 / (n_c lambda_c)) - k beta beta^T] - z^T z,   beta_c = b_c / lambda_c,   k = 1 / (1/w + sum n_c b_c^2 / lambda_c).

The types are read from the arrays, and M = PSD + N with N >= 0 is tested in exact rationals; from order 5 on, where that can
be loose, a copositivity proof of any kind that ``checker.copositive`` replays may stand in its place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import flint
import numpy as np
from numpy.typing import NDArray

from ..errors import CertificateError
from ..geometry import DiagonalPlusLowRank
from ..problem import TwoLayerProblem
from .codec import decode_array, decode_float, expect_keys
from .copositive import replay as replay_copositive
from .exact import is_psd, rational, rational_matrix
from .lift import reducible
from .symmetric import sqrt_upper, tau_exact

Array = NDArray[np.float64]

MOST_TYPES = 48


@dataclass(frozen=True, eq=False)
class Types:
    """Counts (T,), and for each type lambda, b (0 without a column) and the column of Z (d_Y, T)."""

    counts: NDArray[np.int64]
    diagonal: Array
    column: Array
    weight: float
    dual: Array

    @cached_property
    def _parts(self) -> tuple[flint.fmpq_mat, flint.fmpq_mat]:
        """(B, z^T z) with M = t B - z^T z, exactly."""
        size = self.counts.size
        counts = [flint.fmpq(int(n)) for n in self.counts]
        diagonal, column = [rational(x) for x in self.diagonal], [rational(x) for x in self.column]
        beta = [b / d for b, d in zip(column, diagonal)]
        total = sum((n * b * x for n, b, x in zip(counts, column, beta)), flint.fmpq(0))
        k = flint.fmpq(0) if self.weight == 0 else 1 / (1 / rational(self.weight) + total)
        base = flint.fmpq_mat(
            size, size, [
                -k * beta[i] * beta[j] + (1 / (counts[i] * diagonal[i]) if i == j else 0)
                for i in range(size) for j in range(size)
            ],
        )  # fmt: skip
        z = rational_matrix(self.dual)
        return base, z.transpose() * z

    def form(self, t: float) -> flint.fmpq_mat:
        """M, exactly."""
        base, gram = self._parts
        return rational(t) * base - gram


def types_of(problem: TwoLayerProblem, dual: Array) -> Types | None:
    """The types of samples with respect to K_X and Z, or None if the reduction does not apply or there are too many."""
    space = problem.geometry
    if not isinstance(space, DiagonalPlusLowRank) or not reducible(problem) or dual.shape != problem.targets.shape:
        return None
    # a quick look at evenly spread samples before all are copied and sorted
    look = dual[:, :: max(1, dual.shape[1] // (8 * MOST_TYPES))] + 0.0
    if len({row.tobytes() for row in look.T}) > MOST_TYPES:
        return None
    b = space.columns[:, 0] if space.weight.size else np.zeros(space.n_samples)
    rows = np.vstack([space.diagonal, b, dual + 0.0])
    kind = np.zeros(rows.shape[1], np.int64)
    for row in rows:  # row by row: sorting whole columns is slow
        values, place = np.unique(row, return_inverse=True)
        _, first, kind = np.unique(kind * values.size + place, return_index=True, return_inverse=True)
        if first.size > MOST_TYPES:
            return None
    unique, counts = rows[:, first], np.bincount(kind)
    weight = float(space.weight[0]) if space.weight.size else 0.0
    return Types(counts.astype(np.int64), unique[0], unique[1], weight, unique[2:])


def exchange_sigma(problem: TwoLayerProblem, types: Types, t: float, slack: Array) -> float:
    """sigma if M - N is PSD for the given t and N (T, T), else inf."""
    size = types.counts.size
    if not (math.isfinite(t) and t >= 0) or slack.shape != (size, size):
        return math.inf
    if not ((slack >= 0).all() and np.isfinite(slack).all() and np.array_equal(slack, slack.T)):
        return math.inf
    rest = types.form(t) - rational_matrix(slack)
    return sqrt_upper(Fraction(t) / tau_exact(problem)) if is_psd(rest) else math.inf


def integer_form(types: Types, t: float) -> list[list[int]]:
    """The matrix M times the least common denominator of its entries."""
    numerators, _ = types.form(t).numer_denom()
    return [[int(value) for value in row] for row in numerators.tolist()]


def replay_exchange(problem: TwoLayerProblem, dual: Array, claimed: float, artefact: dict[str, Any]) -> float:
    """The sigma that the artefact proves."""
    other = "copositivity" if "copositivity" in artefact else "slack"
    expect_keys(artefact, {"t", other}, "the proof by exchangeable samples")
    types = types_of(problem, dual)
    if types is None:
        raise CertificateError("the samples are not exchangeable in few types, or the reduced form does not apply.")
    t = decode_float(artefact["t"], "t")
    if other == "slack":
        return exchange_sigma(problem, types, t, decode_array(artefact["slack"], "the matrix N", ndim=2))
    if t < 0:
        raise CertificateError("t is negative.")
    replay_copositive(integer_form(types, t), artefact["copositivity"])
    return sqrt_upper(Fraction(t) / tau_exact(problem))

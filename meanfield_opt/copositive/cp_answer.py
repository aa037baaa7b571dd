"""Answers of a completely positive factorisation, each with what it takes to check it again."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ..checker.copositive import replay
from ..errors import CertificateError
from .answer import ProofTree
from .matrix import ExactMatrix, exact_matrix

Array = NDArray[np.float64]


@final
@dataclass(frozen=True, eq=False)
class Factorization:
    """K - sum_k weights_k b_k b_k^T = R with |r_ij| <= residual for all entries, exactly (residual 0: K is proved CP).

    vectors: rows b_k >= 0, rational. B: (n, k) floats with K ~ B B^T.
    """

    matrix: ExactMatrix = field(repr=False)
    vectors: tuple[tuple[Fraction, ...], ...] = field(repr=False)
    weights: tuple[Fraction, ...] = field(repr=False)
    residual: Fraction

    completely_positive = True

    @property
    def exact(self) -> bool:
        """Whether K is proved completely positive (residual 0)."""
        return self.residual == 0

    @property
    def B(self) -> Array:
        """Nonnegative (n, k) floats, K ~ B B^T."""
        columns = [[float(v) * float(w) ** 0.5 for v in b] for b, w in zip(self.vectors, self.weights)]
        return np.array(columns, dtype=np.float64).T.reshape(self.matrix.order, len(columns))

    def replay(self) -> None:
        """Recompute the residual exactly; CertificateError if it is larger than claimed or a factor is negative."""
        if any(v < 0 for b in self.vectors for v in b) or any(w < 0 for w in self.weights):
            raise CertificateError("a factor is negative.")
        if residual_of(self.matrix, self.vectors, self.weights) > self.residual:
            raise CertificateError("the factors do not reproduce the matrix.")


@final
@dataclass(frozen=True, eq=False)
class NotCompletelyPositive:
    """<C,K> = value < 0 for a copositive C (``proof``): K is proved not completely positive."""

    matrix: ExactMatrix = field(repr=False)
    reason: str
    separator: tuple[tuple[Fraction, ...], ...] = field(repr=False)
    proof: ProofTree = field(repr=False)
    value: Fraction

    completely_positive = False

    def replay(self) -> None:
        """Check C copositive and <C,K> < 0 again; CertificateError otherwise."""
        c = exact_matrix(self.separator)
        replay(c.entries, self.proof.artefact)
        if inner_product(self.matrix, self.separator) != self.value or not self.value < 0:
            raise CertificateError("the separator does not separate.")


@final
@dataclass(frozen=True, eq=False)
class NoFactorization:
    """Neither a factorisation nor a separator was found; ``residual`` is the best floating-point |K - B B^T|_max met."""

    matrix: ExactMatrix = field(repr=False)
    reason: str
    residual: float

    completely_positive = None


FactorAnswer = Factorization | NotCompletelyPositive | NoFactorization


def inner_product(a: ExactMatrix, c: Any) -> Fraction:
    """<C, K>, exactly."""
    n = a.order
    return sum((a.entries[i][j] * Fraction(c[i][j]) for i in range(n) for j in range(n)), Fraction(0)) / a.denominator


def residual_of(a: ExactMatrix, vectors: Any, weights: Any) -> Fraction:
    """max |K - sum w b b^T|, exactly."""
    n = a.order
    rest = [list(row) for row in a.rational]
    for v, w in zip(vectors, weights):
        support = [i for i in range(n) if v[i]]
        for i, j in itertools.product(support, repeat=2):
            rest[i][j] -= w * v[i] * v[j]
    return max(abs(v) for row in rest for v in row)

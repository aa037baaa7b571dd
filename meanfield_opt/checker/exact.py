"""Exact linear algebra over the rationals (python-flint): inputs are taken at face value, floats as the dyadic
numbers they are. Nothing is rounded, so the answers are theorems about the very matrix that is given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import flint
import numpy as np

from ..errors import InputError


def rational(x: Any) -> flint.fmpq:
    """An int, Fraction, float (exactly) or flint number as a flint rational."""
    if isinstance(x, flint.fmpq):
        return x
    if isinstance(x, flint.fmpz):
        return flint.fmpq(x)
    if isinstance(x, (bool, np.bool_)):
        raise InputError("exact arithmetic takes numbers; a truth value was given.")
    if isinstance(x, (int, np.integer)):
        return flint.fmpq(int(x))
    if isinstance(x, Fraction):
        return flint.fmpq(x.numerator, x.denominator)
    if isinstance(x, (float, np.floating)):
        if not math.isfinite(x):
            raise InputError("exact arithmetic takes finite numbers; NaN or infinity was given.")
        return flint.fmpq(*float(x).as_integer_ratio())
    if hasattr(x, "numerator") and hasattr(x, "denominator"):
        return flint.fmpq(int(x.numerator), int(x.denominator))
    raise InputError(f"exact arithmetic takes ints, Fractions and floats, not {type(x).__name__}.")


def rational_matrix(matrix: Any) -> flint.fmpq_mat:
    """A matrix of exact numbers: a float array (entries exact), nested sequences, or a flint matrix."""
    if isinstance(matrix, flint.fmpq_mat):
        return matrix
    if isinstance(matrix, flint.fmpz_mat):
        return flint.fmpq_mat(matrix)
    rows = [list(row) if isinstance(row, Iterable) else [row] for row in matrix]
    if len({len(row) for row in rows}) > 1:
        raise InputError("the rows of the matrix differ in length.")
    return flint.fmpq_mat(len(rows), len(rows[0]) if rows else 0, [rational(x) for row in rows for x in row])


def _symmetric(matrix: Any) -> flint.fmpq_mat:
    m = rational_matrix(matrix)
    if m.nrows() != m.ncols():
        raise InputError(f"a square matrix is needed; the shape is ({m.nrows()}, {m.ncols()}).")
    if m != m.transpose():
        raise InputError("the matrix is not exactly symmetric.")
    return m


def is_psd(matrix: Any) -> bool:
    """Whether a symmetric rational matrix is positive semidefinite, exactly, singular matrices included."""
    return semidefinite_rank(_symmetric(matrix).numer_denom()[0]) is not None


def semidefinite_rank(m: flint.fmpz_mat) -> int | None:
    """The rank of a symmetric integer matrix that is positive semidefinite, None if it is not; exact.

    The signs of the characteristic polynomial alternate (weakly) if and only if no eigenvalue is negative, and its
    lowest power is the multiplicity of the eigenvalue 0. It is computed modulo primes in C: order 100 takes a second.
    """
    n = int(m.nrows())
    for i in range(n):  # cheap refusals first
        if m[i, i] < 0 or (m[i, i] == 0 and any(m[i, j] != 0 for j in range(n))):
            return None
    if n == 0:
        return 0
    coefficients = m.charpoly().coeffs()
    if any((c if (n - k) % 2 == 0 else -c) < 0 for k, c in enumerate(coefficients)):
        return None
    return n - next(k for k, c in enumerate(coefficients) if c != 0)


@dataclass(frozen=True)
class Elimination:
    """The outcome of symmetric elimination: M = L D L^T with L unit lower triangular, if M is PSD.

    pivots: the diagonal of D as far as it went. negative: an exact direction x with x^T M x < 0, or None if PSD.
    """

    pivots: list[Fraction]
    negative: list[Fraction] | None

    @property
    def psd(self) -> bool:
        return self.negative is None


def ldlt(matrix: Any) -> Elimination:
    """Exact LDL^T with zero pivots. Either M is PSD, or a direction of negative curvature is returned."""
    m = _symmetric(matrix)
    n = m.nrows()
    work = [[m[i, j] for j in range(n)] for i in range(n)]
    lower: list[list[Any]] = [[flint.fmpq(0)] * n for _ in range(n)]
    pivots: list[Any] = []

    def pulled_back(y: list[Any]) -> list[Fraction]:
        """x with L^T x = y on the eliminated rows: then x^T M x = y^T (remaining Schur complement) y."""
        x = list(y)
        for i in range(len(pivots) - 1, -1, -1):
            x[i] = -sum((lower[j][i] * x[j] for j in range(i + 1, n)), flint.fmpq(0))
        return [Fraction(int(v.p), int(v.q)) for v in x]

    for k in range(n):
        pivot = work[k][k]
        unit = [flint.fmpq(int(i == k)) for i in range(n)]
        if pivot < 0:
            return Elimination([Fraction(int(p.p), int(p.q)) for p in pivots], pulled_back(unit))
        if pivot == 0:
            for j in range(k + 1, n):
                b = work[j][k]
                if b != 0:
                    # (t, 1) on (k, j): 2 t b + c < 0 for t = -(|c| + 1) / b
                    c = work[j][j]
                    unit[j], unit[k] = flint.fmpq(1), -(abs(c) + 1) / b
                    return Elimination([Fraction(int(p.p), int(p.q)) for p in pivots], pulled_back(unit))
        pivots.append(pivot)
        if pivot == 0:
            continue
        for i in range(k + 1, n):
            factor = work[i][k] / pivot
            lower[i][k] = factor
            if factor == 0:
                continue
            for j in range(k + 1, i + 1):
                work[i][j] -= factor * work[j][k]
                work[j][i] = work[i][j]
    return Elimination([Fraction(int(p.p), int(p.q)) for p in pivots], None)


def quadratic_form(matrix: Any, x: Iterable[Any]) -> Fraction:
    """x^T M x, exactly."""
    m = rational_matrix(matrix)
    v = flint.fmpq_mat(m.nrows(), 1, [rational(t) for t in x])
    value = (v.transpose() * m * v)[0, 0]
    return Fraction(int(value.p), int(value.q))

"""Semidefiniteness of symmetric integer matrices: floating point with a proved error bound first, then exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import flint
import numpy as np
from numpy.typing import NDArray

from .definite import proved_psd
from .exact import semidefinite_rank

Rows = Sequence[Sequence[int]]

FLOATS_FROM = 13  # from this order on the floating-point proof of definiteness is quicker than the exact one
LONG_ENTRIES = 400  # bits: from these on an exact rank is far quicker than a characteristic polynomial


def quadratic_value(matrix: Rows, x: Sequence[Fraction]) -> Fraction:
    """x^T M x, exactly."""
    support = [i for i, value in enumerate(x) if value]
    common = math.lcm(*(x[i].denominator for i in support))
    whole = {i: x[i].numerator * (common // x[i].denominator) for i in support}
    total = sum(v * sum(matrix[i][j] * w for j, w in whole.items()) for i, v in whole.items())
    return Fraction(total, common * common)


def psd_rank(matrix: Rows) -> int | None:
    """The rank if M is positive semidefinite, None if it is not (exact for every size of entry)."""
    n = len(matrix)
    if n >= FLOATS_FROM:
        if definite_float(matrix):
            return n
        if max(row[i].bit_length() for i, row in enumerate(matrix)) > LONG_ENTRIES:
            rank = _rank_by_pivots(matrix)
            if rank is not None:
                return rank
    return semidefinite_rank(flint.fmpz_mat([list(row) for row in matrix]) if n else flint.fmpz_mat(0, 0))


def _rank_by_pivots(matrix: Rows) -> int | None:
    """The rank r if r rows are found whose block is definite and no rank beyond theirs is left; None says nothing."""
    chosen = _pivots(scaled_floats(matrix))
    if not chosen or len(chosen) == len(matrix) or not definite_float([[matrix[i][j] for j in chosen] for i in chosen]):
        return None
    # rank r (exact) and r positive eigenvalues: no others
    return len(chosen) if int(flint.fmpz_mat([list(row) for row in matrix]).rank()) == len(chosen) else None


def _pivots(a: NDArray[np.float64]) -> list[int]:
    """Pivots of a diagonally pivoted floating-point Cholesky, down to a relative 1e-9."""
    work, chosen = a.copy(), []
    diagonal = work.diagonal().copy()
    for _ in range(len(a)):
        k = int(np.argmax(diagonal))
        if not diagonal[k] > 1e-9:
            break
        chosen.append(k)
        column = work[:, k] / np.sqrt(diagonal[k])
        work -= np.outer(column, column)
        diagonal = work.diagonal().copy()
        diagonal[chosen] = -np.inf
    return chosen


def scaled_floats(matrix: Rows) -> NDArray[np.float64]:
    """D M D in floating point with D = diag(m_ii^-1/2) (a power of two where m_ii <= 0); integers of any size."""
    block = _binary_scaled(matrix)
    root = np.sqrt(np.where(block.diagonal() > 0, block.diagonal(), 1.0))
    return np.asarray(block / root[:, None] / root[None, :])


def definite_float(matrix: Rows) -> bool:
    """True only if M is proved positive definite in floating point.

    M is scaled by powers of two to a diagonal in [1, 4) and its entries are rounded once; a small multiple of the
    identity is taken off, and what is left is proved semidefinite with the rounding as radius.
    """
    if any(row[i] <= 0 for i, row in enumerate(matrix)):
        return False
    block = _binary_scaled(matrix)
    if not np.abs(block).max() < 1e6:
        return False
    radius = 2.0**-51 * np.abs(block) + 2.0**-1000
    block[np.diag_indices(len(block))] -= 2.0**-48
    return proved_psd(block, radius)


def _binary_scaled(matrix: Rows) -> NDArray[np.float64]:
    """M scaled by powers of two to a diagonal in [1, 4), every entry rounded once (inf where it overflows)."""
    size = [row[i] if row[i] > 0 else max(map(abs, row), default=1) or 1 for i, row in enumerate(matrix)]
    half = np.array([(v.bit_length() - 1) // 2 for v in size], dtype=np.int64)
    shift = -np.add.outer(half, half)
    if max((v.bit_length() for row in matrix for v in row), default=0) < 1000:
        block = np.array([[float(v) for v in row] for row in matrix])
    else:
        block = np.array([[float(v >> max(0, v.bit_length() - 1000)) for v in row] for row in matrix])
        shift += np.array([[max(0, v.bit_length() - 1000) for v in row] for row in matrix])
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(np.ldexp(block, np.clip(shift, -4000, 4000).astype(np.int32)))

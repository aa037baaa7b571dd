"""Exact linear algebra on symmetric integer matrices: semidefiniteness by fraction-free elimination or by rank."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import flint
import numpy as np
from numpy.typing import NDArray

from ..rounding import UNIT, gamma

Rows = Sequence[Sequence[int]]

ELIMINATION_LIMIT = 48  # up to this order plain elimination is quicker than rank + floating-point Cholesky
LONG_ENTRIES = 400  # bits: and for shorter entries than these


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
    if n > 12 and definite_float(matrix, range(n)):
        return n
    if n > ELIMINATION_LIMIT or (n > 12 and max(matrix[i][i].bit_length() for i in range(n)) > LONG_ENTRIES):
        rank = _rank_large(matrix)
        if rank is not None:
            return rank
    return _eliminate(matrix)


def _eliminate(matrix: Rows) -> int | None:
    """Symmetric Bareiss elimination with diagonal pivoting: every entry stays a minor of M."""
    work = [list(row) for row in matrix]
    alive = list(range(len(work)))
    last, rank = 1, 0
    while alive:
        pivot = None
        for i in alive:
            if work[i][i] < 0:
                return None
            if work[i][i] > 0 and (pivot is None or work[i][i] < work[pivot][pivot]):
                pivot = i
        if pivot is None:
            return rank if all(work[i][j] == 0 for i in alive for j in alive) else None
        alive.remove(pivot)
        p, row = work[pivot][pivot], work[pivot]
        for a, i in enumerate(alive):
            if work[i][i] == 0 and row[i] != 0:
                return None
            mine, factor = work[i], work[i][pivot]
            for j in alive[a:]:
                mine[j] = (mine[j] * p - factor * row[j]) // last
                work[j][i] = mine[j]
        last, rank = p, rank + 1
    return rank


def _rank_large(matrix: Rows) -> int | None:
    """Exact rank of a semidefinite M, by one of two proofs; None if none applies (which says nothing)."""
    n = len(matrix)
    rank = _few_eigenvalues(matrix)
    if rank is not None:
        return rank
    pivots = _pivots(scaled_floats(matrix))
    if not pivots or len(pivots) == n or not definite_float(matrix, pivots):
        return None
    # rank r (exact) and r positive eigenvalues: no others
    return len(pivots) if int(flint.fmpz_mat([list(row) for row in matrix]).rank()) == len(pivots) else None


def _few_eigenvalues(matrix: Rows) -> int | None:
    """prod_k (M - z_k I) = 0 exactly for a few integers z_k >= 0: the spectrum lies in {z_k} (M is symmetric)."""
    n = len(matrix)
    divisor = math.gcd(*(v for row in matrix for v in row)) or 1
    small = [[v // divisor for v in row] for row in matrix]
    if max(abs(v) for row in small for v in row) > 1 << 40:
        return None
    spectrum = np.linalg.eigvalsh(np.array(small, dtype=float))
    values = sorted({round(float(v)) for v in spectrum})
    if len(values) > 12 or values[0] < 0 or np.abs(spectrum - np.round(spectrum)).max() > 1e-3:
        return None
    base = flint.fmpz_mat(small)
    product = None
    for value in values:
        shifted = base - flint.fmpz_mat([[value * (i == j) for j in range(n)] for i in range(n)])
        product = shifted if product is None else product * shifted
    if product is None or not product.is_zero():
        return None
    # full rank is exact (0 is none of the values); a smaller multiplicity is read off the floating-point spectrum
    return n if values[0] > 0 else min(n - 1, n - int(np.count_nonzero(np.abs(spectrum) < 0.5)))


def scaled_floats(matrix: Rows) -> NDArray[np.float64]:
    """D M D in floating point with D = diag(m_ii^-1/2) (a power of two where m_ii <= 0); integers of any size."""
    block = _binary_scaled(matrix, range(len(matrix)))
    root = np.sqrt(np.where(block.diagonal() > 0, block.diagonal(), 1.0))
    return np.asarray(block / root[:, None] / root[None, :])


def _binary_scaled(matrix: Rows, index: Sequence[int]) -> NDArray[np.float64]:
    """The block scaled by powers of two to a diagonal in [1, 4), every entry rounded once (inf where it overflows)."""
    size = [matrix[i][i] if matrix[i][i] > 0 else max(map(abs, matrix[i]), default=1) or 1 for i in index]
    half = [(v.bit_length() - 1) // 2 for v in size]
    if max((v.bit_length() for i in index for v in matrix[i]), default=0) < 1000:
        block, cut = np.array([[float(matrix[i][j]) for j in index] for i in index]), 0
    else:
        cut = max(v.bit_length() for i in index for v in matrix[i])
        block = np.array([[_mantissa(matrix[i][j]) for j in index] for i in index])
    shift = -np.add.outer(np.array(half, dtype=np.int64), np.array(half, dtype=np.int64))
    if cut:
        shift += np.array([[max(0, matrix[i][j].bit_length() - 1000) for j in index] for i in index])
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(np.ldexp(block, np.clip(shift, -4000, 4000).astype(np.int32)))


def _mantissa(value: int) -> float:
    return float(value >> max(0, value.bit_length() - 1000))


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


def definite_float(matrix: Rows, index: Sequence[int]) -> bool:
    """True only if the principal block is proved positive definite, by floating-point Cholesky with Rump's bound.

    The block is scaled by powers of two to a diagonal in [1, 4) and its entries are rounded once; both the rounding
    and the factorisation error are subtracted from the diagonal beforehand (Rump, Acta Numerica 2010, section 10.8).
    """
    n = len(index)
    if any(matrix[i][i] <= 0 for i in index):
        return False
    block = _binary_scaled(matrix, index)
    size = float(np.abs(block).max())
    if not np.isfinite(size) or size > 1e6:
        return False
    trace = float(np.trace(block))
    # entries carry a relative error 2^-52 or an underflow far below; the factorisation at most gamma_{n+1}/(1-..) trace
    shift_by = 4.0 * (n * size * UNIT * 4.0 + 2.0 * gamma(n + 2) * trace) + 1e-290
    try:
        factor = np.linalg.cholesky(block - shift_by * np.eye(n))
    except np.linalg.LinAlgError:
        return False
    return bool(np.isfinite(factor).all())

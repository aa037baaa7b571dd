"""The one place for the order of symmetric matrices as vectors.

svec lists the lower triangle column by column, off-diagonal entries times sqrt(2), so that <A, B> = svec A . svec B:
(0,0), (1,0), ..., (n-1,0), (1,1), (2,1), ... This is the order of SCS and of MOSEK's svec domain; Clarabel lists the
upper triangle column by column (``upper_order``).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Array = NDArray[np.float64]
Index = NDArray[np.int64]

ROOT2 = math.sqrt(2.0)


def svec_size(order: int) -> int:
    """n (n + 1) / 2."""
    return order * (order + 1) // 2


@lru_cache(maxsize=256)
def lower_indices(order: int) -> tuple[Index, Index]:
    """(rows, columns) of the entries of svec, rows >= columns."""
    columns, rows = np.triu_indices(order)
    return np.asarray(rows, dtype=np.int64), np.asarray(columns, dtype=np.int64)


def position(order: int, rows: Index, columns: Index) -> Index:
    """Where the entries (row, column), in either triangle, stand in svec."""
    high, low = np.maximum(rows, columns), np.minimum(rows, columns)
    return np.asarray(low * order - low * (low - 1) // 2 + high - low, dtype=np.int64)


@lru_cache(maxsize=256)
def svec_weights(order: int) -> Array:
    """1 on the diagonal, sqrt(2) off it."""
    rows, columns = lower_indices(order)
    return np.where(rows == columns, 1.0, ROOT2)


def svec(matrix: Array) -> Array:
    """The vector of a symmetric matrix (its lower triangle is read)."""
    rows, columns = lower_indices(matrix.shape[0])
    return np.asarray(matrix[rows, columns] * svec_weights(matrix.shape[0]))


def smat(vector: Array) -> Array:
    """The symmetric matrix of a vector."""
    order = order_of(vector.size)
    rows, columns = lower_indices(order)
    values = vector / svec_weights(order)
    matrix = np.zeros((order, order))
    matrix[rows, columns] = values
    matrix[columns, rows] = values
    return matrix


def order_of(size: int) -> int:
    """n for a vector of n (n + 1) / 2 entries."""
    order = (math.isqrt(8 * size + 1) - 1) // 2
    if svec_size(order) != size:
        raise ValueError(f"{size} is not n (n + 1) / 2 for any n.")
    return order


@lru_cache(maxsize=256)
def upper_order(order: int) -> Index:
    """p with upper = svec[p], where ``upper`` lists the upper triangle column by column."""
    columns, rows = np.tril_indices(order)  # entry (row <= column), column by column
    return position(order, np.asarray(rows, dtype=np.int64), np.asarray(columns, dtype=np.int64))


@lru_cache(maxsize=64)
def unpacking(order: int) -> sparse.csr_array:
    """The sparse map from svec to the full matrix in column-major order (n^2 rows)."""
    rows, columns = lower_indices(order)
    size = svec_size(order)
    k = np.arange(size)
    off = rows != columns
    values = 1.0 / svec_weights(order)
    full = np.concatenate([rows + columns * order, columns[off] + rows[off] * order])
    return sparse.csr_array(
        (np.concatenate([values, values[off]]), (full, np.concatenate([k, k[off]]))), shape=(order * order, size)
    )

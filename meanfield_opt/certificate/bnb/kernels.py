"""Pieces that the compiled searches share: the copositivity test of a cone and the choice of where to cut it.

Arithmetic that decides the *shape* of the partition (products with the generators, cut positions) is written out in
one fixed order, the same as in ``checker.cones``, so that both see the same cones to the last bit. Soundness does not
rest on that: the checker proves whatever cones it regenerates.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: rows whose values at all generators are above -NEAR |a|_1 (or below NEAR |a|_1) count as one-sided
NEAR = 1e-13

MAX_DEPTH = 400
#: options of pieces that only compiled code calls: nothing to call them from Python is made
INNER = {"no_rewrites": True, "no_cfunc_wrapper": True, "no_cpython_wrapper": True}


def workspace(n_rows: int, r: int) -> tuple[NDArray[np.int32], Array, NDArray[np.int64]]:
    """(pool of row numbers, all rows first; stack of cones; start and length of each cone's rows in the pool) for one call.

    Allocated here and not in the compiled code, where each allocation costs up to a second of compilation.
    """
    pool = np.empty(n_rows * 48 + 64, np.int32)
    pool[:n_rows] = np.arange(n_rows)
    return pool, np.empty((MAX_DEPTH, r, r)), np.empty((2, MAX_DEPTH), np.int64)


@njit(cache=True, nogil=True, error_model="numpy", **INNER)
def copositive(m, r, work):  # type: ignore[no-untyped-def]
    """Sufficient test: entrywise nonnegative, or PSD, or PSD once positive off-diagonal entries are dropped."""
    nonnegative = True
    for i in range(r):
        for j in range(i + 1):
            if not m[i, j] >= 0.0:
                if i == j:
                    return False
                nonnegative = False
    if nonnegative:
        return True
    for attempt in range(2):
        definite = True
        for j in range(r):
            t = m[j, j]
            for k in range(j):
                t -= work[j, k] * work[j, k]
            definite = t > 0.0
            if not definite:
                break
            d = np.sqrt(t)
            work[j, j] = d
            for i in range(j + 1, r):
                t = m[i, j]
                if attempt == 1 and t > 0.0:
                    t = 0.0
                for k in range(j):
                    t -= work[i, k] * work[j, k]
                work[i, j] = t / d
        if definite:
            return True
    return False


@njit(cache=True, nogil=True, **INNER)
def copy(source, n, target, m, rows):  # type: ignore[no-untyped-def]
    """target[m] = source[n] for stacks of matrices, written out: assigning slices takes seconds to compile."""
    for i in range(rows):
        for k in range(target.shape[2]):
            target[m, i, k] = source[n, i, k]


@njit(cache=True, nogil=True, **INNER)
def longest_edge(stack, top, r):  # type: ignore[no-untyped-def]
    """The pair i < j of generators of cone ``top`` that are farthest apart."""
    longest = -1.0
    first = 0
    second = 1
    for i in range(r):
        for j in range(i + 1, r):
            x = 0.0
            for l in range(r):
                t = stack[top, i, l] - stack[top, j, l]
                x += t * t
            if x > longest:
                longest = x
                first = i
                second = j
    return first, second


@njit(cache=True, nogil=True, **INNER)
def cut(stack, top, pair_i, pair_j, alpha, r):  # type: ignore[no-untyped-def]
    """Replace cone ``top`` of the stack by its children: v = (1 - alpha) v_i + alpha v_j replaces v_j there, and v_i in
    the first child, which goes on top (so that it is taken up next)."""
    beta = 1.0 - alpha
    copy(stack, top, stack, top + 1, r)
    for k in range(r):
        v = beta * stack[top, pair_i, k] + alpha * stack[top, pair_j, k]
        stack[top + 1, pair_i, k] = v
        stack[top, pair_j, k] = v


@njit(cache=True, nogil=True)
def _fill_depths(ops, out, stack):  # type: ignore[no-untyped-def]
    top = -1
    for n in range(ops.size):
        depth = 0
        if top >= 0:
            depth = stack[top]
            top -= 1
        out[n] = depth
        if ops[n] != 0:
            stack[top + 1] = depth + 1
            stack[top + 2] = depth + 1
            top += 2


def depths(ops: NDArray[np.int32]) -> NDArray[np.int32]:
    """Depth of each node of a preorder sequence of binary trees (op 0 is a leaf)."""
    out = np.empty(ops.size, np.int32)
    _fill_depths(ops, out, np.empty(4096, np.int32))
    return out

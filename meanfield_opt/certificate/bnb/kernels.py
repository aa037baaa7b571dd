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


def workspace(n_rows: int, r: int) -> tuple[NDArray[np.int32], Array, NDArray[np.int64], Array]:
    """(pool of row numbers, stack of cones, spots of each entry's rows in the pool, small matrices) for one call.

    Allocated here and not in the compiled code, where each allocation costs a second of compilation.
    """
    return (
        np.empty(n_rows * 48 + 64, np.int32),
        np.empty((MAX_DEPTH, r, r)),
        np.empty((2, MAX_DEPTH), np.int64),
        np.empty((7, r, r)),
    )


@njit(cache=True, nogil=True)
def _cholesky_passes(m, r, work):  # type: ignore[no-untyped-def]
    for j in range(r):
        s = m[j, j]
        for k in range(j):
            s -= work[j, k] * work[j, k]
        if not s > 0.0:
            return False
        d = np.sqrt(s)
        work[j, j] = d
        for i in range(j + 1, r):
            t = m[i, j]
            for k in range(j):
                t -= work[i, k] * work[j, k]
            work[i, j] = t / d
    return True


@njit(cache=True, nogil=True)
def copositive(m, r, work, clipped):  # type: ignore[no-untyped-def]
    """Sufficient test: entrywise nonnegative, or PSD, or PSD once positive off-diagonal entries are dropped."""
    nonnegative = True
    for i in range(r):
        if not m[i, i] >= 0.0:
            return False
        for j in range(i):
            if not m[i, j] >= 0.0:
                nonnegative = False
    if nonnegative:
        return True
    if _cholesky_passes(m, r, work):
        return True
    for i in range(r):
        for j in range(r):
            clipped[i, j] = m[i, j] if i == j or m[i, j] < 0.0 else 0.0
    return bool(_cholesky_passes(clipped, r, work))


@njit(cache=True, nogil=True)
def copy(source, n, target, m, r):  # type: ignore[no-untyped-def]
    """target[m] = source[n] for stacks of r x r matrices, written out: assigning slices takes seconds to compile."""
    for i in range(r):
        for k in range(r):
            target[m, i, k] = source[n, i, k]


@njit(cache=True, nogil=True)
def longest_edge(v, r):  # type: ignore[no-untyped-def]
    """(number, i, j) of the pair of generators that are farthest apart."""
    longest = -1.0
    choice = 0
    first = 0
    second = 1
    c = 0
    for i in range(r):
        for j in range(i + 1, r):
            x = 0.0
            for l in range(r):
                x += (v[i, l] - v[j, l]) ** 2
            if x > longest:
                longest = x
                choice = c
                first = i
                second = j
            c += 1
    return choice, first, second


@njit(cache=True, nogil=True)
def cut(stack, top, pair_i, pair_j, alpha):  # type: ignore[no-untyped-def]
    """Replace cone ``top`` of the stack by its children: v = (1 - alpha) v_i + alpha v_j replaces v_j there, and v_i in
    the first child, which goes on top (so that it is taken up next)."""
    r = stack.shape[1]
    beta = 1.0 - alpha
    copy(stack, top, stack, top + 1, r)
    for k in range(r):
        v = beta * stack[top, pair_i, k] + alpha * stack[top, pair_j, k]
        stack[top + 1, pair_i, k] = v
        stack[top, pair_j, k] = v


@njit(cache=True, nogil=True)
def depths(ops):  # type: ignore[no-untyped-def]
    """Depth of each node of a preorder sequence of binary trees (op 0 is a leaf)."""
    out = np.empty(ops.size, np.int32)
    stack = np.empty(4096, np.int32)
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
    return out

"""Pieces that the compiled searches share: the copositivity test of a cone and the choice of where to cut it.

Arithmetic that decides the *shape* of the partition (products with the generators, cut positions) is written out in
one fixed order, the same as in ``checker.cones``, so that both see the same cones to the last bit. Soundness does not
rest on that: the checker proves whatever cones it regenerates.
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: rows whose values at all generators are above -NEAR |a|_1 (or below NEAR |a|_1) count as one-sided
NEAR = 1e-13


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
def cut(parent, pair_i, pair_j, alpha, first, second):  # type: ignore[no-untyped-def]
    """Children of the cone with generator rows ``parent``: v = (1 - alpha) v_i + alpha v_j replaces v_i, then v_j."""
    r = parent.shape[0]
    beta = 1.0 - alpha
    for i in range(r):
        for k in range(r):
            first[i, k] = parent[i, k]
            second[i, k] = parent[i, k]
    for k in range(r):
        v = beta * parent[pair_i, k] + alpha * parent[pair_j, k]
        first[pair_i, k] = v
        second[pair_j, k] = v


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

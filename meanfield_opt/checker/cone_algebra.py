"""Vectorised pieces of the cone checker: sums over runs of pairs, and copositivity of many small matrices up to a slack."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


def segment_sum(values: Array, node: Ints, n: int) -> Array:
    """Sums of ``values`` (pairs, ...) over pairs of the same node (sorted), zero where a node has none.

    Summed in runs of 128 and then over the runs, so that P terms cost a relative error of gamma(128 + P/128 + 1).
    """
    out = np.zeros((n, *values.shape[1:]))
    if node.size:
        fresh = np.diff(node, prepend=-1) != 0
        starts = np.flatnonzero(fresh)
        within = np.arange(node.size) - starts[np.cumsum(fresh) - 1]
        runs = np.flatnonzero(within % 128 == 0)
        partial = np.add.reduceat(values, runs, axis=0)
        out[node[starts]] = np.add.reduceat(partial, np.searchsorted(runs, starts), axis=0)
    return out


def copositive_up_to(m: Array, slack: float) -> NDArray[np.bool_]:
    """For each matrix: entrywise >= -slack, or M + slack I PSD, or so after dropping positive off-diagonal entries.

    Each implies lam^T M lam >= -slack (sum lam)^2 for lam >= 0, up to the rounding of the floating Cholesky.
    """
    passed: NDArray[np.bool_] = np.asarray((m >= -slack).all(axis=(1, 2)))
    rest = np.flatnonzero(~passed)
    if rest.size:
        passed[rest] = _cholesky_passes(m[rest], slack)
    rest = np.flatnonzero(~passed)
    if rest.size:
        diagonal = np.eye(m.shape[1], dtype=bool)
        passed[rest] = _cholesky_passes(np.where(diagonal, m[rest], np.minimum(m[rest], 0.0)), slack)
    return passed


def _cholesky_passes(m: Array, slack: float) -> NDArray[np.bool_]:
    n, r = m.shape[0], m.shape[1]
    factor = np.zeros_like(m)
    good = np.ones(n, np.bool_)
    for j in range(r):
        s = m[:, j, j] + slack
        for k in range(j):
            s = s - factor[:, j, k] ** 2
        good &= s > 0.0
        d = np.sqrt(np.where(s > 0.0, s, 1.0))
        factor[:, j, j] = d
        for i in range(j + 1, r):
            t = m[:, i, j]
            for k in range(j):
                t = t - factor[:, i, k] * factor[:, j, k]
            factor[:, i, j] = t / d
    return good

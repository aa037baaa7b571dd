"""Vectorised pieces of the cone checker: sums over runs of pairs, and copositivity of many small matrices up to a slack."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


class Segments:
    """Sums over pairs of the same node (``node`` is sorted, of n nodes), zero where a node has none.

    Summed in runs of 128 and then over the runs, so that P terms cost a relative error of gamma(128 + P/128 + 1).
    """

    def __init__(self, node: Ints, n: int) -> None:
        self.n, self.some = n, node.size > 0
        if self.some:
            starts = np.flatnonzero(np.diff(node, prepend=-1) != 0)
            lengths = np.diff(starts, append=node.size)
            parts = -(-lengths // 128)
            self.firsts = np.cumsum(parts) - parts
            self.runs = np.repeat(starts - 128 * self.firsts, parts) + 128 * np.arange(int(parts.sum()))
            self.filled, self.single = node[starts], bool((parts == 1).all())

    def sum(self, values: Array) -> Array:
        """The sums (n, ...) of values (pairs, ...)."""
        out = np.zeros((self.n, *values.shape[1:]))
        if self.some:
            partial = np.add.reduceat(values, self.runs, axis=0)
            out[self.filled] = partial if self.single else np.add.reduceat(partial, self.firsts, axis=0)
        return out

    def gram(self, columns: list[Array]) -> Array:
        """sum x x^T, (n, k, k), for x given by its k coordinates as arrays over pairs: long axes are the fast ones."""
        k = len(columns)
        out = np.zeros((self.n, k, k))
        for i in range(k):
            for j in range(i + 1):
                out[:, i, j] = out[:, j, i] = self.sum(columns[i] * columns[j])
        return out

    def products(self, left: list[Array], right: list[Array]) -> Array:
        """sum x y^T, (n, k, l), for x and y given by their coordinates as arrays over pairs."""
        out = np.zeros((self.n, len(left), len(right)))
        for i, x in enumerate(left):
            for j, y in enumerate(right):
                out[:, i, j] = self.sum(x * y)
        return out


def segment_sum(values: Array, node: Ints, n: int) -> Array:
    """``Segments.sum`` for one array."""
    return Segments(node, n).sum(values)


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

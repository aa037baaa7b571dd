"""Matrices known up to an entrywise radius: |M - mid| <= rad. A few operations, each rounded outward."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..rounding import TINY, UNIT, matmul_bounds, up

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ball:
    """All matrices within ``rad`` (>= 0) of ``mid``, entry by entry. NaN or infinity in either says nothing is known."""

    mid: Array
    rad: Array

    @staticmethod
    def exact(matrix: Array) -> Ball:
        """One point matrix."""
        return Ball(matrix, np.zeros_like(matrix))

    @staticmethod
    def between(lo: Array, hi: Array) -> Ball:
        """All matrices in [lo, hi]."""
        mid = 0.5 * lo + 0.5 * hi
        return Ball(mid, np.maximum(up(hi - mid), up(mid - lo)))

    def __add__(self, other: Ball) -> Ball:
        mid = self.mid + other.mid
        return Ball(mid, up(up(self.rad + other.rad) + up(UNIT * np.abs(mid))))

    def __neg__(self) -> Ball:
        return Ball(-self.mid, self.rad)

    def __sub__(self, other: Ball) -> Ball:
        return self + (-other)

    def __matmul__(self, other: Ball) -> Ball:
        lo, hi = matmul_bounds(self.mid, other.mid)
        product = Ball.between(lo, hi)
        rad = product.rad
        for left, right in ((np.abs(self.mid), other.rad), (self.rad, up(np.abs(other.mid) + other.rad))):
            if left.any() and right.any():
                rad = up(rad + matmul_bounds(left, right)[1])
        return Ball(product.mid, rad)

    def times(self, factor: float) -> Ball:
        """The product with a number."""
        mid = factor * self.mid
        return Ball(mid, up(up(abs(factor) * self.rad) + up(UNIT * np.abs(mid) + TINY)))

    def scaled(self, weights: Array) -> Ball:
        """The product of each column with its weight."""
        mid = self.mid * weights
        return Ball(mid, up(up(self.rad * np.abs(weights)) + up(UNIT * np.abs(mid) + TINY)))

    @property
    def transpose(self) -> Ball:
        """The transposed matrices."""
        return Ball(np.ascontiguousarray(self.mid.T), np.ascontiguousarray(self.rad.T))

    def symmetric(self) -> Ball:
        """The same set, seen as one of symmetric matrices only: with an exactly symmetric midpoint."""
        mid = 0.5 * self.mid + 0.5 * self.mid.T
        mid = np.tril(mid) + np.tril(mid, -1).T
        rad = np.maximum(self.rad, self.rad.T)
        off = np.maximum(np.abs(up(self.mid - mid)), np.abs(up(mid - self.mid)))
        return Ball(mid, up(rad + np.maximum(off, off.T)))

    @staticmethod
    def blocks(rows: list[list[Ball]]) -> Ball:
        """A block matrix."""
        return Ball(np.block([[b.mid for b in row] for row in rows]), np.block([[b.rad for b in row] for row in rows]))

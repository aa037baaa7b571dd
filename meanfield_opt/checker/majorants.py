"""Majorants on boxes: of a function of one number by a line, of a quadratic by its value, in outward rounding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..rounding import down, gamma, sum_upper, up
from .frames import VANISHED

Array = NDArray[np.float64]
Interval = tuple[Array, Array]


@dataclass(frozen=True, eq=False)
class Tent:
    """f(h + s) <= f(h) + b s + max((high - b) right, (b - low) left) on an interval, for every slope b in [low, high].

    For s >= 0 both f(h) + high s and f(end) - low (end - h - s) are above f; they meet at s <= ``right``; so on the left.
    """

    low: Array
    high: Array
    right: Array
    left: Array

    def above(self, slope: Array) -> Array:
        """What is to be added for the slopes b, rounded up."""
        return np.maximum(up(up(self.high - slope) * self.right), up(up(slope - self.low) * self.left))

    def even(self) -> Array:
        """The slopes for which that is least, nearly."""
        total = self.left + self.right
        weight = np.where(total > 0, self.right / np.where(total > 0, total, 1.0), 0.5)
        return np.clip(self.low + weight * (self.high - self.low), self.low, self.high)


def tent(slopes: Interval, here: Interval, ends: tuple[Interval, Interval], at: Interval, t: Interval) -> Tent:
    """The tent of f on [t] around some h in [at]: ranges of its difference quotients on [t], of f(h) and at both ends of [t]."""
    low, high = slopes
    wide = down(high - low)
    right, left = up(t[1] - at[0]), up(at[1] - t[0])
    # f(end) - f(h) - low (end - h), and the same on the left
    least = down(np.minimum(low * right, low * down(t[1] - at[1])))
    most = up(np.maximum(high * left, high * down(at[0] - t[0])))
    a = np.maximum(up(up(ends[1][1] - here[0]) - least), 0.0)
    b = np.maximum(up(up(ends[0][1] - here[0]) + most), 0.0)
    narrow = np.where(wide > 0, wide, 1.0)
    apex = (np.where(wide > 0, up(x / narrow), np.inf) for x in (a, b))
    right, left = (np.minimum(x, y) for x, y in zip((right, left), apex))
    return Tent(low, high, right, left)


def quadratic_upper(g: Array, h: Array, rad: Array, pairs: Array) -> Array:
    """Upper bounds of g.d + d.H d / 2 over |d_i| <= rad_i; g (n, r), H (n, r, r) symmetric; pairs >= rad_i rad_j / 2.

    For any L and y: g.d - |L^T d|^2 / 2 <= |y|^2 / 2 + |g - L y| . rad, and d.(H + L L^T) d / 2 is bounded entry by entry.
    """
    n, r = g.shape
    lower = np.zeros((n, r, r))
    for j in range(r):  # Cholesky's decomposition of -H as far as it is positive
        column = -h[:, j:, j] - (lower[:, j:, :j] @ lower[:, j, :j, None])[:, :, 0]
        good = column[:, 0] > 2.0**-40 * np.abs(h[:, j, j])
        root = np.sqrt(np.where(good, column[:, 0], 1.0))
        lower[:, j:, j] = np.where(good[:, None], column / root[:, None], 0.0)
    gram = lower @ lower.transpose(0, 2, 1)
    diagonal = np.maximum(np.einsum("nii->ni", gram), 1e-300)
    x = np.zeros_like(g)
    left = g.copy()
    for _ in range(4):  # coordinate ascent within the box
        for i in range(r):
            step = np.clip(x[:, i] + left[:, i] / diagonal[:, i], -rad[:, i], rad[:, i]) - x[:, i]
            x[:, i] += step
            left -= gram[:, :, i] * step[:, None]
    y = (x[:, None, :] @ lower)[:, 0]
    slack = (1.0 + 2.0**-30) * gamma(r + 8)
    size = np.abs(lower)
    rest = np.abs(g - (lower @ y[:, :, None])[:, :, 0])
    rest = up(rest + up(slack * (np.abs(g) + (size @ np.abs(y)[:, :, None])[:, :, 0]) + VANISHED))
    other = up(np.abs(h + gram) + up(slack * (np.abs(h) + size @ size.transpose(0, 2, 1)) + VANISHED))
    total = up(0.5 * sum_upper(up(y * y), axis=1) + sum_upper(up(rest * rad), axis=1))
    return up(total + sum_upper(up(other * pairs).reshape(n, -1), axis=1))

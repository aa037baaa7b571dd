"""Taylor tables of formulas: enclosures at points and ranges on intervals, made once in ball arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..activation import Array
from ..rounding import down, up
from . import formula
from .formula_tail import tail_by_slope

REACH = 16.0  # the table covers [-REACH, REACH]; beyond, ranges come from interval arithmetic on the tails
PER_UNIT = 32
ORDER = 8


@dataclass(frozen=True, eq=False)
class Table:
    """Taylor polynomials of one branch on cells of width 1/PER_UNIT of [left, right], and its ranges on the tails."""

    left: float
    right: float
    centres: Array
    coefficients: Array  # (cells, ORDER + 1)
    error: Array
    slope: Array  # (cells, 2)
    low_tail: tuple[float, float, float, float]  # value and slope ranges on (-inf, left]
    high_tail: tuple[float, float, float, float]

    def points(self, t: Array) -> tuple[Array, Array]:
        """Enclosures at points of [left, right]."""
        cell = self.cell(t)
        delta = t - self.centres[cell]
        k = self.coefficients[cell]
        value, size = np.zeros_like(t), np.zeros_like(t)
        for j in range(ORDER, -1, -1):
            value = value * delta + k[..., j]
            size = size * np.abs(delta) + np.abs(k[..., j])
        slack = up(self.error[cell] + 2.0**-48 * size + 2.0**-1000)
        return value - slack, value + slack

    def cell(self, t: Array) -> Any:
        """Index of the cell of each point."""
        index = np.floor((t - self.left) * PER_UNIT).astype(np.intp)
        return np.clip(index, 0, self.centres.size - 1)

    def bounds(self, lo: Array, hi: Array) -> tuple[Array, Array, Array, Array]:
        """(low, high, slope low, slope high) on each [lo, hi], any ends with lo <= hi inside the branch's domain."""
        a, b = np.clip(lo, self.left, self.right), np.clip(hi, self.left, self.right)
        first, last = self.cell(a), self.cell(b)
        s_lo, s_hi = (
            _running(self.slope[:, 0], first, last, np.minimum),
            _running(self.slope[:, 1], first, last, np.maximum),
        )
        a_lo, a_hi = self.points(a)
        b_lo, b_hi = self.points(b)
        width = up(b - a)
        with np.errstate(invalid="ignore"):
            # from both ends with the extreme slopes, and cell by cell through the middle
            low = np.maximum(a_lo + np.minimum(s_lo, 0.0) * width, b_lo - np.maximum(s_hi, 0.0) * width)
            high = np.minimum(a_hi + np.maximum(s_hi, 0.0) * width, b_hi - np.minimum(s_lo, 0.0) * width)
        size = 2.0**-48 * (np.abs(low) + np.abs(high))
        low, high = np.where(np.isnan(low), -np.inf, low) - size, np.where(np.isnan(high), np.inf, high) + size
        c_lo, c_hi = self.ranges
        low = np.maximum(low, _running(c_lo, first, last, np.minimum))
        high = np.minimum(high, _running(c_hi, first, last, np.maximum))
        for beyond, tail in ((lo < self.left, self.low_tail), (hi > self.right, self.high_tail)):
            low, high = (
                np.where(beyond, np.minimum(low, tail[0]), low),
                np.where(beyond, np.maximum(high, tail[1]), high),
            )
            s_lo = np.where(beyond, np.minimum(s_lo, tail[2]), s_lo)
            s_hi = np.where(beyond, np.maximum(s_hi, tail[3]), s_hi)
        return low, high, s_lo, s_hi

    @property
    def ranges(self) -> tuple[Array, Array]:
        """Ranges of the formula on the cells."""
        half = 0.5 / PER_UNIT * (1 + 2.0**-40)
        steep = np.maximum(np.abs(self.slope[:, 0]), np.abs(self.slope[:, 1]))
        low, high = self.points(self.centres)
        return down(low - up(steep * half)), up(high + up(steep * half))


def _running(x: Array, first: Any, last: Any, best: Any) -> Array:
    """min or max of x over index ranges, by doubling."""
    levels = [x]
    while 2 ** len(levels) <= x.size:
        step = 2 ** (len(levels) - 1)
        levels.append(best(levels[-1][:-step], levels[-1][step:]))
    span = last - first + 1
    k = np.frexp(span.astype(np.float64))[1] - 1
    out = np.empty(span.shape)
    for level, values in enumerate(levels):
        here = k == level
        if here.any():
            out[here] = best(values[first[here]], values[last[here] - 2**level + 1])
    return out


@lru_cache(maxsize=64)
def build(text: str, left: float, right: float) -> Table:
    """The table of one formula."""
    expression = formula.parse(text)
    cells = round((right - left) * PER_UNIT)
    centres = left + (np.arange(cells) + 0.5) / PER_UNIT
    # a little wider than the cell: the cell of a point is found in floating point
    rows = [formula.taylor(expression, float(c), 0.5 / PER_UNIT * (1 + 2.0**-40), ORDER) for c in centres]
    slope = expression.diff(*expression.free_symbols) if expression.free_symbols else expression * 0
    tails = []
    for lo, hi in ((-math.inf, left), (right, math.inf)):
        values = tail_by_slope(expression, lo, hi)
        slopes = tail_by_slope(slope, lo, hi) if not slope.is_zero else (0.0, 0.0)
        tails.append((*values, *slopes))
    return Table(
        left,
        right,
        centres,
        np.array([r[0] for r in rows]),
        np.array([r[1] for r in rows]),
        np.array([r[2:] for r in rows]),
        tails[0],
        tails[1],
    )

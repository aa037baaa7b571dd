"""Rigorous suprema over one number: sup_t 2 r phi(t) - a t^2 - 2 c t, for many (r, c) at once, any activation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..activation import Activation
from ..rounding import up

Array = NDArray[np.float64]
Pair = tuple[Array, Array]

EDGES = np.array([-np.inf, -8.0, -4.0, -2.0, -1.0, -0.5, -0.125, 0.0, 0.125, 0.5, 1.0, 2.0, 4.0, 8.0, np.inf])
ROUNDS = 80
CHUNK = 20_000
MOST_CELLS = (
    1_000_000  # at once: beyond, bounds are taken as they are (numbers in a file may ask for endless subdivision)
)
SLACK = 2.0**-46  # far above the rounding of the few operations below, relative to the sizes of what they combine


def suprema(phi: Activation, r: Pair, c: Pair, a: float, tolerance: float) -> Array:
    """Upper bounds, within about ``tolerance`` where the bounds of phi allow, for every r and c in the given intervals."""
    out = np.empty(r[0].size)
    if not 0.0 < a < np.inf:  # a coefficient that underflowed leaves no parabola to hold the supremum down
        return np.full_like(out, np.inf)
    for start in range(0, out.size, CHUNK):
        part = slice(start, start + CHUNK)
        out[part] = _suprema(phi, (r[0][part], r[1][part]), (c[0][part], c[1][part]), a, tolerance)
    return out


def _suprema(phi: Activation, r: Pair, c: Pair, a: float, tolerance: float) -> Array:
    n = r[0].size
    who = np.repeat(np.arange(n), EDGES.size - 1)
    left, right = np.tile(EDGES[:-1], n), np.tile(EDGES[1:], n)
    top = np.full(n, -np.inf)  # the largest bound of a finished cell
    seen = np.full(n, -np.inf)  # the largest value met: decides only what is worth splitting
    for _ in range(ROUNDS):
        bound, value = _cells(phi, (r[0][who], r[1][who]), (c[0][who], c[1][who]), a, left, right)
        np.maximum.at(seen, who, value)
        done = bound <= seen[who] + tolerance
        np.maximum.at(top, who[done], bound[done])
        # a cell below what is proved already needs no splitting either
        live = ~done & ~(bound <= top[who])
        if not live.any():
            return top
        who, left, right, bound = who[live], left[live], right[live], bound[live]
        middle = np.where(
            np.isinf(left), 2.0 * right - 1.0, np.where(np.isinf(right), 2.0 * left + 1.0, 0.5 * (left + right))
        )
        stuck = ~((middle > left) & (middle < right) & np.isfinite(middle))
        np.maximum.at(top, who[stuck], bound[stuck])
        keep = ~stuck
        who = np.concatenate([who[keep], who[keep]])
        left, right = np.concatenate([left[keep], middle[keep]]), np.concatenate([middle[keep], right[keep]])
        if who.size == 0:
            return top
        if who.size > MOST_CELLS:
            break
    bound, _ = _cells(phi, (r[0][who], r[1][who]), (c[0][who], c[1][who]), a, left, right)
    np.maximum.at(top, who, bound)
    return top


def _product(x: Pair, y: Pair) -> Pair:
    """Interval products; 0 times infinity counts as 0 (a factor that is exactly zero)."""
    with np.errstate(invalid="ignore", over="ignore"):
        four = np.stack([x[0] * y[0], x[0] * y[1], x[1] * y[0], x[1] * y[1]])
    four = np.where(np.isnan(four), 0.0, four)
    return four.min(axis=0), four.max(axis=0)


def _cells(phi: Activation, r: Pair, c: Pair, a: float, left: Array, right: Array) -> tuple[Array, Array]:
    """(upper bound on each cell, a value taken on it up to rounding)."""
    with np.errstate(invalid="ignore", over="ignore"):
        at_left, size_left = _point(phi, r, c, a, left)
        at_right, size_right = _point(phi, r, c, a, right)
        # the ranges of phi and of the quadratic apart
        values = _product(r, phi.bound_on(left, right))
        peak_lo = np.clip(-c[1] / a, left, right)
        peak_hi = np.clip(-c[0] / a, left, right)
        quadratic = np.maximum.reduce([_quadratic(c, a, t) for t in (peak_lo, peak_hi)])
        # over the interval of c the largest is c_lo for t >= 0 and c_hi below, each with its own peak: both are met
        farthest = np.maximum(np.abs(peak_lo), np.abs(peak_hi))
        sizes = a * np.square(farthest) + 2.0 * np.maximum(np.abs(c[0]), np.abs(c[1])) * farthest
        apart = 2.0 * values[1] + quadratic + SLACK * (sizes + np.abs(values[1])) + 2.0**-1000
        # slopes: f lies below the lines from both ends
        slope = _product(r, phi.slope_bound_on(left, right))
        s_hi = 2.0 * slope[1] - 2.0 * a * left - 2.0 * c[0]
        s_lo = 2.0 * slope[0] - 2.0 * a * right - 2.0 * c[1]
        s_size = SLACK * (2.0 * np.abs(slope[1]) + 2.0 * a * np.abs(left) + 2.0 * np.abs(c[0]))
        t_size = SLACK * (2.0 * np.abs(slope[0]) + 2.0 * a * np.abs(right) + 2.0 * np.abs(c[1]))
        s_hi = np.where(np.isfinite(left), s_hi + s_size, np.inf)
        s_lo = np.where(np.isfinite(right), s_lo - t_size, -np.inf)
        width = right - left
        x = np.clip((at_right - s_lo * width - at_left) / (s_hi - s_lo), 0.0, width)
        x = np.where(np.isnan(x), 0.5 * width, x)
        # at any x in the cell the bound is the larger of both lines' values where they would cross: take both lines there
        rise, fall = s_hi * x, -s_lo * (width - x)
        lines = np.maximum(at_left + rise, at_right + fall) + SLACK * (
            np.abs(rise) + np.abs(fall) + size_left + size_right
        )
        lines = np.where((s_hi > 0) & (s_lo < 0), lines, np.inf)
        # decreasing: the left end; increasing: the right end
        lines = np.where(s_hi <= 0, at_left, np.where(s_lo >= 0, at_right, lines))
        bound = np.minimum(np.where(np.isnan(apart), np.inf, apart), np.where(np.isnan(lines), np.inf, lines))
        seen = np.maximum(
            np.where(np.isfinite(left), at_left, -np.inf), np.where(np.isfinite(right), at_right, -np.inf)
        )
    return up(bound), seen


def _quadratic(c: Pair, a: float, t: Array) -> Array:
    """An upper value of -a t^2 - 2 c t over c, up to rounding; -inf at infinity."""
    value = -a * np.square(t) - 2.0 * np.where(t >= 0, c[0], c[1]) * t
    return np.where(np.isfinite(t), value, -np.inf)


def _point(phi: Activation, r: Pair, c: Pair, a: float, t: Array) -> tuple[Array, Array]:
    """(upper bound of f at t over r and c, the size of its parts); +inf and 0 at infinite t."""
    finite = np.isfinite(t)
    s = np.where(finite, t, 0.0)
    values = _product(r, phi.bound_on(s, s))[1]
    linear = np.maximum(-c[0] * s, -c[1] * s)
    size = 2.0 * np.abs(values) + a * np.square(s) + 2.0 * np.abs(linear)
    top = 2.0 * values - a * np.square(s) + 2.0 * linear + SLACK * size + 2.0**-1000
    return np.where(finite, top, np.inf), np.where(finite, size, 0.0)

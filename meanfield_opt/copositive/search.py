"""Floating-point search for nonnegative vectors of small value. It proposes supports; exact arithmetic decides."""

from __future__ import annotations

import math
import time
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ..checker.psd import Rows, quadratic_value, scaled_floats
from .reduce import principal
from .tree import LimitReached, TreeSearch, WitnessFound

Array = NDArray[np.float64]


BATCH = 64  # starts that descend together


def local_minima(
    a: Array, starts: int, rng: np.random.Generator, steps: int = 400, deadline: float = math.inf
) -> list[tuple[float, Array]]:
    """Local minima of x^T A x over the unit simplex by pairwise descent from vertices, pairs and random points."""
    n = len(a)
    vertices = min(n, starts // 2)
    points = [np.eye(n)[:vertices]]
    for _ in range(starts - vertices):
        points.append(rng.dirichlet(np.full(n, rng.choice([0.1, 0.5, 1.0])))[None])
    x = np.concatenate(points)
    out: list[tuple[float, Array]] = []
    for begin in range(0, len(x), BATCH):
        if time.monotonic() > deadline:
            break
        ends = descend(a, x[begin : begin + BATCH], steps)
        out += [(float(p @ a @ p), p) for p in ends]
    out.sort(key=lambda item: item[0])
    return out


def descend(a: Array, starts: Array, steps: int) -> Array:
    """Pairwise exact line search from every row of ``starts`` (s, n): mass moves from the worst index to the best one."""
    x = np.array(starts, dtype=np.float64)
    g = x @ a
    moving = np.arange(len(x))
    diagonal = a.diagonal()
    for _ in range(steps):
        mine, slopes = x[moving], g[moving]
        down = slopes.argmin(axis=1)
        up = np.where(mine > 0, slopes, -np.inf).argmax(axis=1)
        row = np.arange(len(moving))
        slope = slopes[row, down] - slopes[row, up]
        go = slope < -1e-13
        if not go.any():
            break
        moving, down, up, slope = moving[go], down[go], up[go], slope[go]
        curvature = diagonal[down] + diagonal[up] - 2 * a[down, up]
        most = x[moving, up]
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.where(curvature <= 0, most, np.minimum(most, -slope / curvature))
        x[moving, down] += step
        x[moving, up] = np.where(step == most, 0.0, x[moving, up] - step)
        g[moving] += step[:, None] * (a[down] - a[up])
    return x


def find_witness(matrix: Rows, deadline: float, starts: int = 40, seed: int = 0) -> list[Fraction] | None:
    """An exact x >= 0 with x^T M x < 0, or None if the search met none. All diagonal entries must be positive."""
    a = scaled_floats(matrix)
    if not np.isfinite(a).all():
        return None
    d = _unscale(matrix)
    seen: set[tuple[int, ...]] = set()
    for value, x in local_minima(a, starts, np.random.default_rng(seed), deadline=deadline):
        index = tuple(int(i) for i in np.flatnonzero(x > 1e-9))
        if value > 1e-9 or len(seen) >= 5 or time.monotonic() > deadline:
            break
        if index in seen:
            continue
        seen.add(index)
        if value < -1e-13:
            y = [Fraction(float(v)) * s if v > 0 else Fraction(0) for v, s in zip(x, d)]
            if quadratic_value(matrix, y) < 0:
                return shorten(matrix, y)
        search = TreeSearch(principal(matrix, list(index)), max_nodes=200, deadline=deadline)
        try:
            search.run()
        except WitnessFound as found:
            z = [Fraction(0)] * len(matrix)
            for i, v in zip(index, found.witness):
                z[i] = v
            return z
        except LimitReached:
            pass
    return None


def _unscale(matrix: Rows) -> list[Fraction]:
    """Rationals close to m_ii^-1/2 up to a common factor: exact in nothing, so the result is checked exactly."""
    out = []
    for i in range(len(matrix)):
        v = matrix[i][i]
        half = (v.bit_length() - 1) // 2
        root = float(np.sqrt(float(Fraction(v, 1 << (2 * half)))))
        out.append(Fraction(1, 1 << half) * Fraction(1.0 / root))
    return out


def shorten(matrix: Rows, x: list[Fraction]) -> list[Fraction]:
    """A witness with short denominators near x, if one exists; x itself otherwise."""
    top = max(x)
    for limit in (1, 4, 16, 100, 1000, 10**5, 10**8):
        y = [(v / top).limit_denominator(limit) for v in x]
        if quadratic_value(matrix, y) < 0:
            return y
    return x

"""Rigorous floating-point bounds: every function returns numbers that enclose the exact real result.

All rest on IEEE-754 binary64 with round to nearest. Products that may underflow carry an explicit absolute term.
References: Rump, "Verification methods", Acta Numerica 2010; Higham, "Accuracy and Stability", section 3.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

UNIT = 2.0**-53  # unit roundoff
TINY = 2.0**-1074  # smallest positive number; bounds the absolute error of one underflowing product


def up(x: Array | float) -> Array:
    """The next float above (elementwise): a rigorous upper bound after one correctly rounded operation."""
    return _next(x, 1)


def down(x: Array | float) -> Array:
    """The next float below (elementwise)."""
    return _next(x, -1)


def _next(x: Array | float, sign: int) -> Array:
    """``np.nextafter(x, sign * inf)``, eight times as fast on arrays: finite floats are ordered like their bits."""
    plain = np.add(x, 0.0)  # turns -0.0 into 0.0
    if plain.size < 64 or plain.dtype != np.float64 or not np.isfinite(plain).all():
        return np.asarray(np.nextafter(x, sign * np.inf))
    bits = plain.view(np.int64)
    if sign < 0:  # the largest float below x is minus the smallest above -x
        np.negative(plain, out=plain)
        plain += 0.0
    step = np.right_shift(bits, 63)
    step |= 1
    step += bits
    found = step.view(np.float64)
    return np.negative(found, out=found) if sign < 0 else found


def gamma(n: int) -> float:
    """Upper bound on gamma_n = n u / (1 - n u), the relative error of a sum of n products in any order."""
    if n * UNIT >= 0.5:
        raise OverflowError(f"a sum of {n} terms is too long for a rounding bound")
    return float(up(up(n * UNIT) / down(1.0 - n * UNIT)))


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """(p, e) with p + e = a b exactly unless something over- or underflows (Dekker / Veltkamp splitting)."""
    split = 134217729.0
    p = a * b
    ca, cb = split * a, split * b
    ah = ca - (ca - a)
    bh = cb - (cb - b)
    al, bl = a - ah, b - bh
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def dot_bounds(a: Array, b: Array) -> tuple[float, float]:
    """(lo, hi) with lo <= sum a b <= hi, about one unit in the last place apart in the ordinary range of numbers."""
    x, y = np.ravel(a).astype(np.float64), np.ravel(b).astype(np.float64)
    largest = max(float(np.max(np.abs(x), initial=0.0)), float(np.max(np.abs(y), initial=0.0)))
    if not math.isfinite(largest):
        return -math.inf, math.inf
    if largest > 1e140:  # splitting could overflow: fall back to the a-priori bound
        with np.errstate(over="ignore", invalid="ignore"):
            lo, hi = matmul_bounds(x[None, :], y[:, None])
        return float(lo[0, 0]), float(hi[0, 0])
    p, e = two_product(x, y)
    total = math.fsum(p) if x.size == 0 else math.fsum(np.concatenate([p, e]))
    # a pair whose product lies below 2^-960 loses at most a few TINY in e
    slack = 8.0 * TINY * x.size
    return float(down(down(total) - slack)), float(up(up(total) + slack))


def sum_bounds(x: Array) -> tuple[float, float]:
    """(lo, hi) enclosing the exact sum of the entries."""
    try:
        total = math.fsum(np.ravel(x))
    except (OverflowError, ValueError):  # beyond the largest float, or inf - inf
        return -math.inf, math.inf
    if not math.isfinite(total):
        return -math.inf, math.inf
    return float(down(total)), float(up(total))


def matmul_bounds(a: Array, b: Array) -> tuple[Array, Array]:
    """(lo, hi) enclosing the exact matrix product of two point matrices (any summation order, FMA allowed)."""
    n = a.shape[-1]
    mid = a @ b
    size = np.abs(a) @ np.abs(b)
    # size itself is rounded: it is at least (1 - gamma_n) times the exact |a||b| (less underflow)
    g = gamma(n + 2)
    radius = up(up(g * up(size / down(1.0 - g))) + up(2.0 * n * TINY))
    lo, hi = down(mid - radius), up(mid + radius)
    # overflow and NaN say nothing: the whole line
    fine = np.isfinite(lo) & np.isfinite(hi)
    return np.where(fine, lo, -np.inf), np.where(fine, hi, np.inf)


def matmul_interval(a: Array, b_lo: Array, b_hi: Array) -> tuple[Array, Array]:
    """(lo, hi) enclosing a @ B for every B in [b_lo, b_hi] (a a point matrix)."""
    mid = 0.5 * (b_lo + b_hi)
    rad = up(np.maximum(up(b_hi - mid), up(mid - b_lo)))
    lo, hi = matmul_bounds(a, mid)
    _, extra = matmul_bounds(np.abs(a), rad)
    return down(lo - extra), up(hi + extra)


def square_interval(lo: Array, hi: Array) -> tuple[Array, Array]:
    """(lo, hi) enclosing the squares of all numbers in [lo, hi], entry by entry."""
    big = np.maximum(np.abs(lo), np.abs(hi))
    small = np.where((lo <= 0) & (hi >= 0), 0.0, np.minimum(np.abs(lo), np.abs(hi)))
    return np.maximum(down(small * small), 0.0), up(big * big)


def sum_upper(x: Array, axis: int | None = None) -> Array:
    """Upper bound on the exact sums of entries that are themselves upper bounds (entries of any sign)."""
    n = x.size if axis is None else x.shape[axis]
    g = gamma(max(n, 1))
    return up(np.sum(x, axis=axis) + up(up(g * np.sum(np.abs(x), axis=axis)) * (1 + 4 * g)))


def sum_lower(x: Array, axis: int | None = None) -> Array:
    """Lower bound on the exact sums of entries that are themselves lower bounds."""
    return -sum_upper(-x, axis=axis)


def gram_norm_upper(factor: Array) -> float:
    """Rigorous upper bound on the largest eigenvalue of F^T F for F (n, k), k small.

    Collatz-Wielandt: max_i (|G| x)_i / x_i bounds the spectral radius of |G| for every x > 0.
    """
    lo, hi = matmul_bounds(factor.T, factor)
    size = np.maximum(np.abs(lo), np.abs(hi))
    if not np.isfinite(size).all():
        return math.inf
    x = np.ones(size.shape[0])
    for _ in range(100):
        y = size @ x
        top = float(y.max(initial=0.0))
        if not 0.0 < top < math.inf:
            break
        x = np.maximum(y / top, 1e-8)
    _, product = matmul_bounds(size, x[:, None])
    return float(np.max(up(product[:, 0] / x), initial=0.0))

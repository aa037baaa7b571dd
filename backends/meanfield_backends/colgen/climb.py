"""Compiled first-order ascent for degree 1 in few dimensions: one start after the other, everything in the processor's cache.

The iteration is that of ``search`` (theta <- theta + gamma (A^T (phi' Z^T Z phi) / (tau level) - theta), scaled to length 1, gamma kept by
success), for phi(t) = left t below 0 and right t above, with momentum: at kinks steps along the gradient alone zigzag. Arrays of many
starts at once only move memory where A has few columns. Rows are taken four at a time, so that each number loaded serves four products; in
single precision a step costs half.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


def padded(x: NDArray[Any], rows: int, columns: int, dtype: type[np.floating[Any]]) -> NDArray[Any]:
    """x (a, b) as an array of ``dtype`` with zeros added up to multiples of ``rows`` and ``columns``."""
    a, b = x.shape
    out = np.zeros((-(-a // rows) * rows, -(-b // columns) * columns), dtype)
    out[:a, :b] = x
    return out


@njit(
    cache=True,
    nogil=True,
    error_model="numpy",
    fastmath={"reassoc", "contract", "nsz"},
    no_rewrites=True,
    no_cfunc_wrapper=True,
)
def _climb(at, dual, left, right, theta, level, iterations, floors, least, h, push, q, pull, trial, last):  # type: ignore[no-untyped-def]
    real = at.dtype.type
    zero, one = real(0.0), real(1.0)
    # first: the length of the first step, where 1 would be the fixed point; longer ones overshoot, so that the first ten steps gained little
    # keep: the share of a step that gained which goes into the next one
    first, grow, shrink, keep = real(0.25), real(1.1), real(0.7), real(0.9)
    tiny, least_size = real(1e-6), real(1e-18)
    n, samples = at.shape
    d = dual.shape[0]
    for start in range(theta.shape[0]):
        gamma, best = first, -one
        for i in range(n):
            trial[i] = theta[start, i]
        for step in range(iterations + 1):
            size = zero
            for i in range(n):
                size += trial[i] * trial[i]
            size = one / max(np.sqrt(size), least_size)
            for i in range(n):
                trial[i] *= size
            t0, t1, t2, t3 = trial[0], trial[1], trial[2], trial[3]
            for p in range(samples):
                h[p] = t0 * at[0, p] + t1 * at[1, p] + t2 * at[2, p] + t3 * at[3, p]
            for i in range(4, n, 4):
                t0, t1, t2, t3 = trial[i], trial[i + 1], trial[i + 2], trial[i + 3]
                for p in range(samples):
                    h[p] += t0 * at[i, p] + t1 * at[i + 1, p] + t2 * at[i + 2, p] + t3 * at[i + 3, p]
            for p in range(samples):
                push[p] = (right if h[p] > zero else left) * h[p]
            value = zero
            for k in range(0, d, 4):
                s0, s1, s2, s3 = zero, zero, zero, zero
                for p in range(samples):
                    t = push[p]
                    s0 += dual[k, p] * t
                    s1 += dual[k + 1, p] * t
                    s2 += dual[k + 2, p] * t
                    s3 += dual[k + 3, p] * t
                q[k], q[k + 1], q[k + 2], q[k + 3] = s0, s1, s2, s3
                value += s0 * s0 + s1 * s1 + s2 * s2 + s3 * s3
            if value > best:
                gained, best = value - best, value
                if step > 0:
                    gamma *= grow
                t0, t1, t2, t3 = q[0], q[1], q[2], q[3]
                for p in range(samples):
                    push[p] = t0 * dual[0, p] + t1 * dual[1, p] + t2 * dual[2, p] + t3 * dual[3, p]
                for k in range(4, d, 4):
                    t0, t1, t2, t3 = q[k], q[k + 1], q[k + 2], q[k + 3]
                    for p in range(samples):
                        push[p] += t0 * dual[k, p] + t1 * dual[k + 1, p] + t2 * dual[k + 2, p] + t3 * dual[k + 3, p]
                for p in range(samples):
                    push[p] *= right if h[p] > zero else left
                for i in range(0, n, 4):
                    s0, s1, s2, s3 = zero, zero, zero, zero
                    for p in range(samples):
                        t = push[p]
                        s0 += t * at[i, p]
                        s1 += t * at[i + 1, p]
                        s2 += t * at[i + 2, p]
                        s3 += t * at[i + 3, p]
                    pull[i], pull[i + 1], pull[i + 2], pull[i + 3] = s0, s1, s2, s3
                inv = one / best if best > zero else zero
                for i in range(n):
                    last[i] = keep * (trial[i] - theta[start, i]) if step > 0 else zero
                    theta[start, i] = trial[i]
                    pull[i] = pull[i] * inv - trial[i]
                if step > 0 and gained <= least * best:
                    break
            else:
                gamma *= shrink
                if gamma < tiny:
                    break
                for i in range(n):
                    last[i] = zero
            if best < floors[step]:
                break
            for i in range(n):
                trial[i] = theta[start, i] + gamma * pull[i] + last[i]
        level[start] = best


def climb(
    at: NDArray[Any],
    dual: NDArray[Any],
    left: np.floating[Any],
    right: np.floating[Any],
    theta: NDArray[Any],
    level: NDArray[Any],
    iterations: int,
    floors: NDArray[Any],
    least: np.floating[Any],
) -> None:
    """Ascend from each row of ``theta`` (N, n) in place; ``level`` (N,) gets |Z phi(A theta)|^2 at the end, |theta| = 1.

    at: A^T (n, P). dual: Z (d, P). n and d are multiples of four (``padded``), and all of one type, numbers included. floors (iterations + 1,):
    starts below this level after so many steps are given up; they do not matter. least: relative gain of a step that ends the ascent.
    """
    n, kind = at.shape[0], at.dtype
    # room is made here: each allocation would cost a tenth of a second of compilation
    room = [*np.empty((2, at.shape[1]), kind), np.empty(dual.shape[0], kind), *np.empty((3, n), kind)]
    _climb(at, dual, left, right, theta, level, iterations, floors, least, *room)

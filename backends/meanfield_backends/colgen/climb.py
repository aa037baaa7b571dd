"""Compiled first-order ascent for degree 1 in few dimensions: one start after the other, everything in the processor's cache.

The iteration is that of ``search`` (theta <- theta + gamma (A^T (phi' Z^T Z phi) / (tau level) - theta), scaled to length 1, gamma kept by
success), for phi(t) = left t below 0 and right t above. Arrays of many starts at once only move memory where A has few columns.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def climb(at, dual, left, right, theta, level, iterations, floor):  # type: ignore[no-untyped-def]
    """Ascend from each row of ``theta`` (N, n) in place; ``level`` (N,) gets |Z phi(A theta)|^2 at the end, |theta| = 1.

    at: A^T (n, P). dual: Z (d, P). floor: after 12 steps starts below this level are given up; they do not matter.
    """
    n, samples = at.shape
    d = dual.shape[0]
    h, push = np.empty(samples), np.empty(samples)
    q, pull, trial, up = np.empty(d), np.empty(n), np.empty(n), np.empty(n)
    for start in range(theta.shape[0]):
        gamma, best = 1.0, -1.0
        for i in range(n):
            trial[i] = theta[start, i]
        for step in range(iterations + 1):
            size = 0.0
            for i in range(n):
                size += trial[i] * trial[i]
            size = 1.0 / max(np.sqrt(size), 1e-300)
            for i in range(n):
                trial[i] *= size
            for p in range(samples):
                h[p] = trial[0] * at[0, p]
            for i in range(1, n):
                t = trial[i]
                for p in range(samples):
                    h[p] += t * at[i, p]
            value = 0.0
            for k in range(d):
                s = 0.0
                for p in range(samples):
                    s += dual[k, p] * (right if h[p] > 0.0 else left) * h[p]
                q[k] = s
                value += s * s
            if value > best:
                gained, best = value - best, value
                if step > 0:
                    gamma *= 1.5
                for p in range(samples):
                    push[p] = q[0] * dual[0, p]
                for k in range(1, d):
                    s = q[k]
                    for p in range(samples):
                        push[p] += s * dual[k, p]
                for p in range(samples):
                    push[p] *= right if h[p] > 0.0 else left
                for i in range(n):
                    s = 0.0
                    for p in range(samples):
                        s += push[p] * at[i, p]
                    up[i] = s
                for i in range(n):
                    theta[start, i] = trial[i]
                    pull[i] = up[i] / max(best, 1e-300) - trial[i]
                if step > 0 and gained <= 1e-9 * best:
                    break
            else:
                gamma *= 0.3
                if gamma < 1e-6:
                    break
            if step >= 12 and best < floor:
                break
            for i in range(n):
                trial[i] = theta[start, i] + gamma * pull[i]
        level[start] = best

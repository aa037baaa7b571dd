"""Compiled Newton ascent to exact local maxima, one start after the other: what ``ascent`` does for degree 1.

The maxima over theta of |Z phi_eps(A theta)| - |theta|^2 / 2 for phi_eps(t) = left t + (right - left) (t + sqrt(t^2 + eps^2)) / 2, eps falling.
Samples away from a kink add nothing to the Hessian, so that a step costs about three products with A.
"""

from __future__ import annotations

import numpy as np
from numba import njit

FAST = {"reassoc", "contract", "nsz"}


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def sharp(at, dual, left, right, theta, level, epsilons, tau):  # type: ignore[no-untyped-def]
    """Ascend from each row of ``theta`` (N, n), of unit length, in place to unit length; ``level`` (N,) gets the ratio, or -1 if given up.

    at: A^T (n, P). dual: Z (d, P). epsilons: relative to the root mean square preactivation of each start, four steps each. tau: of the
    ratio |Z phi|^2 / (tau |theta|^2); starts that are clearly on the way to a maximum below 1 are given up.
    """
    n, samples = at.shape
    d = dual.shape[0]
    rows = np.ascontiguousarray(at.T)
    h, slope, phi, part = np.empty(samples), np.empty(samples), np.empty(samples), np.empty(samples)
    q, unit, jacobian = np.empty(d), np.empty(d), np.empty((d, n))
    now, trial, along, step = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    minus, factor = np.empty((n, n)), np.empty((n, n))
    square = np.zeros(samples)
    for i in range(n):
        for p in range(samples):
            square[p] += at[i, p] * at[i, p]
    mean, half = 0.5 * (left + right), 0.5 * (right - left)

    for start in range(theta.shape[0]):
        for i in range(n):
            now[i] = theta[start, i]
        for p in range(samples):
            h[p] = 0.0
        for i in range(n):
            t = now[i]
            for p in range(samples):
                h[p] += t * at[i, p]
        typical = 0.0
        for p in range(samples):
            typical += h[p] * h[p]
            phi[p] = (right if h[p] > 0.0 else left) * h[p]
        typical = np.sqrt(typical / samples)
        size = 0.0
        for k in range(d):
            s = 0.0
            for p in range(samples):
                s += dual[k, p] * phi[p]
            size += s * s
        size = np.sqrt(size)
        level[start] = -1.0
        if not size * size > 1e-16 * tau:
            continue
        for i in range(n):  # at a maximum |theta| is the value of the ratio there
            now[i] *= size
        for p in range(samples):
            h[p] *= size
        for relative in epsilons:
            eps = relative * typical * size
            square_eps = eps * eps
            for _step in range(4):
                for p in range(samples):
                    root = np.sqrt(h[p] * h[p] + square_eps)
                    phi[p] = mean * h[p] + half * root
                    slope[p] = mean + half * h[p] / root
                norm, length = 0.0, 0.0
                for k in range(d):
                    s = 0.0
                    for p in range(samples):
                        s += dual[k, p] * phi[p]
                    q[k] = s
                    norm += s * s
                norm = max(np.sqrt(norm), 1e-300)
                for i in range(n):
                    length += now[i] * now[i]
                    along[i] = 0.0
                old = norm - 0.5 * length
                for p in range(samples):
                    part[p] = 0.0
                for k in range(d):
                    unit[k] = q[k] / norm
                    s = unit[k]
                    for p in range(samples):
                        part[p] += s * dual[k, p]
                for i in range(n):
                    for k in range(d):
                        s = 0.0
                        for p in range(samples):
                            s += dual[k, p] * slope[p] * at[i, p]
                        jacobian[k, i] = s
                        along[i] += unit[k] * s
                for i in range(n):
                    for j in range(i + 1):
                        s = -along[i] * along[j]
                        for k in range(d):
                            s += jacobian[k, i] * jacobian[k, j]
                        minus[i, j] = (1.0 if i == j else 0.0) - s / norm
                for p in range(samples):
                    root = h[p] * h[p] + square_eps
                    weight = half * square_eps / (root * np.sqrt(root)) * part[p]
                    if abs(weight) * square[p] > 1e-5:
                        for i in range(n):
                            s = weight * rows[p, i]
                            for j in range(i + 1):
                                minus[i, j] -= s * rows[p, j]
                # (-H + shift)^-1 gradient, the shift raised until no pivot is below 0.05
                shift = 0.0
                definite = False
                while not definite and shift < 1e12:
                    definite = True
                    for i in range(n):
                        for j in range(i + 1):
                            s = minus[i, j]
                            for k in range(j):
                                s -= factor[i, k] * factor[j, k]
                            if i == j:
                                s += shift
                                if not s > 0.05:
                                    definite = False
                                    break
                                factor[i, i] = np.sqrt(s)
                            else:
                                factor[i, j] = s / factor[j, j]
                        if not definite:
                            break
                    if not definite:
                        shift = max(0.1, 3.0 * shift)
                if not definite:
                    break
                for i in range(n):
                    s = along[i] - now[i]
                    for k in range(i):
                        s -= factor[i, k] * step[k]
                    step[i] = s / factor[i, i]
                far, rise = 0.0, 0.0
                for i in range(n - 1, -1, -1):
                    s = step[i]
                    for k in range(i + 1, n):
                        s -= factor[k, i] * step[k]
                    step[i] = s / factor[i, i]
                    far += step[i] * step[i]
                    rise += step[i] * (along[i] - now[i])
                far = np.sqrt(far)
                t = min(1.0, 0.3 * size / max(far, 1e-300))
                accepted = False
                for _backtrack in range(4):
                    for i in range(n):
                        trial[i] = now[i] + t * step[i]
                    for p in range(samples):
                        part[p] = 0.0
                    length = 0.0
                    for i in range(n):
                        s = trial[i]
                        length += s * s
                        for p in range(samples):
                            part[p] += s * at[i, p]
                    for p in range(samples):
                        phi[p] = mean * part[p] + half * np.sqrt(part[p] * part[p] + square_eps)
                    norm = 0.0
                    for k in range(d):
                        s = 0.0
                        for p in range(samples):
                            s += dual[k, p] * phi[p]
                        norm += s * s
                    if np.sqrt(norm) - 0.5 * length >= old - 1e-15 * abs(old):
                        accepted = True
                        break
                    t *= 0.25
                if not accepted:
                    break
                for i in range(n):
                    now[i] = trial[i]
                for p in range(samples):
                    h[p] = part[p]
                if rise <= 1e-3 * relative * size * size and t == 1.0:
                    break
            length, norm = 0.0, 0.0
            for i in range(n):
                length += now[i] * now[i]
            for k in range(d):
                s = 0.0
                for p in range(samples):
                    s += dual[k, p] * (right if h[p] > 0.0 else left) * h[p]
                norm += s * s
            here = norm / max(length * tau, 1e-300)
            # not(...): NaN gives up too
            if not here >= 1.0 - 3.0 * np.sqrt(relative):
                here = -1.0
                break
        if here < 0.0:
            continue
        length = 1.0 / np.sqrt(length)
        for i in range(n):
            theta[start, i] = now[i] * length
        level[start] = here

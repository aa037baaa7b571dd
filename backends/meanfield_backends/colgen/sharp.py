"""Compiled Newton ascent to exact local maxima, one start after the other: what ``ascent`` does for degree 1.

The maxima over theta of |Z phi_eps(A theta)| - |theta|^2 / 2 for phi_eps(t) = left t + (right - left) (t + sqrt(t^2 + eps^2)) / 2, eps falling.
Samples away from a kink add nothing to the Hessian, so that a step costs about three products with A.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

FAST = {"reassoc", "contract", "nsz"}
#: options of pieces that only compiled code calls: nothing to call them from Python is made
INNER = {"no_rewrites": True, "no_cfunc_wrapper": True, "no_cpython_wrapper": True}


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST, **INNER)
def _combine(x, a, out):  # type: ignore[no-untyped-def]
    """out (P,) = x^T a; x (n,), a (n, P)."""
    out[:] = 0.0
    for i in range(x.size):
        t = x[i]
        for p in range(out.size):
            out[p] += t * a[i, p]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST, **INNER)
def _respond(h, dual, mean, half, square, root, phi, q):  # type: ignore[no-untyped-def]
    """|q|^2 of q (d,) = Z phi_eps(h), where phi_eps = mean h + half root and root = sqrt(h^2 + square)."""
    for p in range(h.size):
        t = np.sqrt(h[p] * h[p] + square)
        root[p] = t
        phi[p] = mean * h[p] + half * t
    total = 0.0
    for k in range(q.size):
        s = 0.0
        for p in range(h.size):
            s += dual[k, p] * phi[p]
        q[k] = s
        total += s * s
    return total


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST, **INNER)
def _solve(minus, factor, right, step):  # type: ignore[no-untyped-def]
    """step = (minus + shift)^-1 right by Cholesky, the shift raised until no pivot is below 0.05; whether there is one."""
    n = right.size
    shift = 0.0
    definite = False
    while not definite and shift < 1e12:
        definite = True
        for i in range(n):
            t = right[i]
            for j in range(i + 1):
                s = minus[i, j]
                for k in range(j):
                    s -= factor[i, k] * factor[j, k]
                if i > j:
                    factor[i, j] = s / factor[j, j]
                    t -= factor[i, j] * step[j]
            s += shift
            if not s > 0.05:
                definite = False
                break
            factor[i, i] = np.sqrt(s)
            step[i] = t / factor[i, i]
        if not definite:
            shift = max(0.1, 3.0 * shift)
    for i in range(n - 1, -1, -1):
        s = step[i]
        for k in range(i + 1, n):
            s -= factor[k, i] * step[k]
        step[i] = s / factor[i, i]
    return definite


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST, no_rewrites=True, no_cfunc_wrapper=True)
def _sharp(  # type: ignore[no-untyped-def]
    at,
    rows,
    dual,
    mean,
    half,
    theta,
    level,
    epsilons,
    tau,
    square,
    h,
    slope,
    phi,
    part,
    root,
    now,
    trial,
    along,
    step,
    unit,
    jacobian,
    minus,
    factor,
):
    n, samples = at.shape
    d = dual.shape[0]
    for start in range(theta.shape[0]):
        level[start] = -1.0
        for i in range(n):
            now[i] = theta[start, i]
        _combine(now, at, h)
        typical = 0.0
        for p in range(samples):
            typical += h[p] * h[p]
        size = np.sqrt(_respond(h, dual, mean, half, 0.0, root, phi, unit))
        if not size * size > 1e-16 * tau:
            continue
        typical = np.sqrt(typical / samples)
        length = 0.0
        for i in range(n):  # at a maximum |theta| is the value of the ratio there
            now[i] *= size
            length += now[i] * now[i]
        for p in range(samples):
            h[p] *= size
        here = 0.0
        for relative in epsilons:
            eps = relative * typical * size
            norm = np.sqrt(_respond(h, dual, mean, half, eps * eps, root, phi, unit))
            for _step in range(4):
                norm = max(norm, 1e-300)
                old = norm - 0.5 * length
                for k in range(d):
                    unit[k] /= norm
                _combine(unit, dual, part)
                for p in range(samples):
                    slope[p] = mean + half * h[p] / root[p]
                for i in range(n):
                    along[i] = 0.0
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
                        minus[i, j] = -s / norm
                    minus[i, i] += 1.0
                for p in range(samples):
                    weight = half * eps * eps / (root[p] * root[p] * root[p]) * part[p]
                    if abs(weight) * square[p] > 1e-5:
                        for i in range(n):
                            s = weight * rows[p, i]
                            for j in range(i + 1):
                                minus[i, j] -= s * rows[p, j]
                for i in range(n):
                    along[i] -= now[i]
                if not _solve(minus, factor, along, step):
                    break
                far = 0.0
                rise = 0.0
                for i in range(n):
                    far += step[i] * step[i]
                    rise += step[i] * along[i]
                t = min(1.0, 0.3 * size / max(np.sqrt(far), 1e-300))
                accepted = False
                for _backtrack in range(4):
                    length = 0.0
                    for i in range(n):
                        trial[i] = now[i] + t * step[i]
                        length += trial[i] * trial[i]
                    _combine(trial, at, part)
                    norm = np.sqrt(_respond(part, dual, mean, half, eps * eps, root, phi, unit))
                    accepted = norm - 0.5 * length >= old - 1e-15 * abs(old)
                    if accepted:
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
            length = 0.0
            for i in range(n):
                length += now[i] * now[i]
            here = _respond(h, dual, mean, half, 0.0, root, phi, unit) / max(length * tau, 1e-300)
            # rounded kinks leave the level lower by about half of this at most; not(...): NaN gives up too
            if not here >= 1.0 - max(4.0 * relative, 1e-3):
                here = -1.0
                break
        if here < 0.0:
            continue
        length = 1.0 / np.sqrt(length)
        for i in range(n):
            theta[start, i] = now[i] * length
        level[start] = here


def sharp(
    at: NDArray[np.float64],
    dual: NDArray[np.float64],
    left: float,
    right: float,
    theta: NDArray[np.float64],
    level: NDArray[np.float64],
    epsilons: NDArray[np.float64],
    tau: float,
) -> None:
    """Ascend from each row of ``theta`` (N, n), of unit length, in place to unit length; ``level`` (N,) gets the ratio, or -1 if given up.

    at: A^T (n, P). dual: Z (d, P). epsilons: relative to the root mean square preactivation of each start, four steps each. tau: of the
    ratio |Z phi|^2 / (tau |theta|^2); starts that are clearly on the way to a maximum below 1 are given up.
    """
    (n, samples), d, rows = at.shape, dual.shape[0], np.ascontiguousarray(at.T)
    # room is made here: each allocation would cost a tenth of a second of compilation
    room: list[Any] = [(at**2).sum(axis=0), *np.empty((5, samples)), *np.empty((4, n)), np.empty(d), np.empty((d, n))]
    mean, half = 0.5 * (left + right), 0.5 * (right - left)
    _sharp(at, rows, dual, mean, half, theta, level, epsilons, tau, *room, *np.empty((2, n, n)))

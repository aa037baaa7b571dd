"""Compiled passes over rows of preactivations, between two matrix products (phi(t) = left t below 0 and right t above)."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def respond(h, dual, left, right, level):  # type: ignore[no-untyped-def]
    """For each row of h (N, P): level = |Z phi(h)|^2, and h becomes phi'(h) Z^T Z phi(h). dual: Z (d, P)."""
    d, samples = dual.shape
    zero = h.dtype.type(0)
    q, push = np.empty(d, h.dtype), np.empty(samples, h.dtype)
    for i in range(h.shape[0]):
        row = h[i]
        total = zero
        for k in range(d):
            s = zero
            for p in range(samples):
                s += dual[k, p] * (right * row[p] if row[p] > zero else left * row[p])
            q[k] = s
            total += s * s
        level[i] = total
        s = q[0]
        for p in range(samples):
            push[p] = s * dual[0, p]
        for k in range(1, d):
            s = q[k]
            for p in range(samples):
                push[p] += s * dual[k, p]
        for p in range(samples):
            row[p] = push[p] * (right if row[p] > zero else left)


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def gather(h, v, left, right, eps, outputs):  # type: ignore[no-untyped-def]
    """outputs (d, P) += v^T phi_eps(h); h (N, P), v (N, d), the kink at 0 rounded by eps."""
    half, mean, square = h.dtype.type(0.5) * (right - left), h.dtype.type(0.5) * (right + left), eps * eps
    phi = np.empty(h.shape[1], h.dtype)
    for i in range(h.shape[0]):
        row = h[i]
        for p in range(row.size):
            phi[p] = mean * row[p] + half * np.sqrt(row[p] * row[p] + square)
        for k in range(v.shape[1]):
            s, out = v[i, k], outputs[k]
            for p in range(row.size):
                out[p] += s * phi[p]


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def scatter(h, v, left, right, eps, back, response):  # type: ignore[no-untyped-def]
    """response (N, d) = phi_eps(h) back^T, and h becomes phi_eps'(h) (v back); back (d, P)."""
    one = h.dtype.type(1)
    half, mean, square = h.dtype.type(0.5) * (right - left), h.dtype.type(0.5) * (right + left), eps * eps
    size = h.shape[1]
    phi, push = np.empty(size, h.dtype), np.empty(size, h.dtype)
    for i in range(h.shape[0]):
        row = h[i]
        for p in range(size):
            root = np.sqrt(row[p] * row[p] + square)
            phi[p] = mean * row[p] + half * root
            row[p] = mean + half * row[p] * (one / root)
            push[p] = 0
        for k in range(v.shape[1]):
            s, t = v[i, k], h.dtype.type(0)
            for p in range(size):
                push[p] += s * back[k, p]
                t += phi[p] * back[k, p]
            response[i, k] = t
        for p in range(size):
            row[p] *= push[p]

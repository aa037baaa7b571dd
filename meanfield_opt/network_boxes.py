"""Rigorous bounds on networks whose neurons lie in given boxes, and good output weights there (``network_bound``)."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from .rounding import gamma

Array = NDArray[np.float64]

SWEEPS = 20
ROUNDS, STEPS = 2, 6


class BoxBounds:
    """phi(t) = low t for t <= 0 and high t for t >= 0, squared loss; tuples of M boxes on the faces of the cube [-1, 1]^r."""

    def __init__(self, rows: Array, targets: Array, slopes: tuple[float, float], tau: float) -> None:
        self.rows, self.y, self.slopes, self.tau = rows, targets, slopes, tau
        (p, r), d = rows.shape, targets.shape[0]
        self.picks = np.array(list(itertools.product((0, 1), repeat=r - 1)), dtype=np.intp).reshape(2 ** (r - 1), r - 1)
        #: relative error of a row, of Z phi and of products of these, far above what so few operations can cost
        self.unit = 8.0 * gamma(p * d + 4 * r + 40)
        self.size = np.abs(rows).sum(axis=1)  # |a_p . v| <= |a_p|_1 at points of the cube

    def dual_bound(self, z: Array, corners: Array) -> Array:
        """D(s Z), rounded down, for the best s that the boxes allow."""
        sigma2 = self.sigma2(z, corners)
        with np.errstate(all="ignore"):
            inner, square = np.einsum("ndp,dp->n", z, self.y), np.einsum("ndp,ndp->n", z, z)
            size = np.einsum("ndp,dp->n", np.abs(z), np.abs(self.y))
            s = np.minimum(1.0 / np.sqrt(sigma2), 2.0 * inner / square) * (1.0 - 2.0**-40)
            s = np.where(np.isfinite(s) & (s > 0), s, 0.0)
            value = s * inner - 0.25 * s * s * square - self.unit * (s * size + s * s * square)
        return np.where(np.isfinite(value) & (value > 0), value, 0.0)

    def corners_of(self, lo: Array, hi: Array) -> Array:
        """(N, M, G, r), each corner once: the coordinate of a box's face takes one value."""
        n, m, r = lo.shape
        fixed = (lo == hi).argmax(axis=2)
        free = np.array([[k for k in range(r) if k != axis] for axis in range(r)], dtype=np.intp).reshape(r, r - 1)[
            fixed
        ]  # (N, M, r - 1)
        low, high = np.take_along_axis(lo, free, axis=2), np.take_along_axis(hi, free, axis=2)
        inner = np.where(self.picks[:, None, None, :] == 0, low, high).transpose(1, 2, 0, 3)
        out = np.empty((n, m, len(self.picks), r))
        out[:] = lo[:, :, None, :]
        np.put_along_axis(out, np.broadcast_to(free[:, :, None, :], inner.shape), inner, axis=3)
        return out

    def sigma2(self, z: Array, corners: Array) -> Array:
        """Upper bounds on sup |Z phi(A theta)|^2 / (tau |theta|^2) over the cones of each tuple."""
        low, high = self.slopes
        h = corners @ self.rows.T  # (N, M, G, P)
        near = 1e-13 * self.size
        up = (h > near).any(axis=2, keepdims=True)
        down = (h < -near).any(axis=2, keepdims=True)
        # phi is one of its lines where the sample keeps its side; else between the chord and the line of the larger part
        straight = np.where(up, high, low) * h
        chord = np.where(h >= 0, high, low) * h
        line = np.where(h.sum(axis=2, keepdims=True) >= 0, high, low) * h
        both = up & down
        one = np.where(both, 0.5 * (chord + line), straight)
        half = np.where(both, 0.5 * np.abs(chord - line), 0.0)
        m = np.einsum("ndp,nkgp->nkgd", z, one)
        lengths = np.sqrt(np.einsum("ndp,ndp->np", z, z))
        radius = np.einsum("np,nkgp->nkg", lengths, half)
        steep = max(abs(low), abs(high))
        # near the kink a sample may be on the other side of what is assumed by ``near``
        lost = (self.unit + 4e-13) * steep * np.einsum("np,p->n", lengths, self.size)
        radius = radius * (1.0 + self.unit) + lost[:, None, None]
        length = np.sqrt(np.einsum("nkgd,nkgd->nkg", m, m))
        form = np.einsum("nkgd,nked->nkge", m, m)
        form = form + length[..., :, None] * radius[..., None, :] + radius[..., :, None] * length[..., None, :]
        form = form + radius[..., :, None] * radius[..., None, :]
        form = form + self.unit * (length[..., :, None] + radius[..., :, None]) * (
            length[..., None, :] + radius[..., None, :]
        )
        v = np.einsum("nkgr,nker->nkge", corners, corners) - self.unit * corners.shape[-1]
        with np.errstate(all="ignore"):
            ratio = np.where(v > 0, np.maximum(form, 0.0) / (self.tau * v), math.inf)
        top = ratio.max(axis=(1, 2, 3)) * (1.0 + 2.0**-45)
        return np.where(np.isnan(top), math.inf, top)

    def responses(self, points: Array) -> Array:
        """phi(A theta) / |theta| at points (..., r)."""
        low, high = self.slopes
        h = points @ self.rows.T
        return np.asarray(np.where(h >= 0, high, low) * h / np.linalg.norm(points, axis=-1, keepdims=True))

    def fitted(self, u: Array, sweeps: int = SWEEPS, v: Array | None = None) -> tuple[Array, Array]:
        """(output weights (N, J, d), what is left of Y) for the directions u (N, J, P), by block coordinates."""
        square = np.maximum(np.einsum("nkp,nkp->nk", u, u), 1e-300)
        v = np.zeros((*u.shape[:2], self.y.shape[0])) if v is None else v
        root = math.sqrt(self.tau)
        rest = self.y - np.einsum("nkd,nkp->ndp", v, u)
        for _ in range(sweeps):
            for k in range(u.shape[1]):
                pull = np.einsum("ndp,np->nd", rest, u[:, k]) + square[:, k, None] * v[:, k]
                length = np.maximum(np.linalg.norm(pull, axis=1), 1e-300)
                new = (np.maximum(1.0 - 0.5 * root / length, 0.0) / square[:, k])[:, None] * pull
                rest -= (new - v[:, k])[:, :, None] * u[:, k, None, :]
                v[:, k] = new
        return v, rest

    def settled(self, u: Array) -> tuple[Array, Array]:
        """``fitted`` to the end, for few directions: block coordinates crawl where neurons are nearly parallel."""
        n, m, d = len(u), u.shape[1], self.y.shape[0]
        v, rest = self.fitted(u)
        if m == 1:
            return v, rest
        gram = np.einsum("nkp,njp->nkj", u, u)
        eye = np.eye(d)
        smooth = 2.0 * np.einsum("nkj,de->nkdje", gram, eye)
        for _ in range(ROUNDS):
            for _ in range(STEPS):
                length = np.linalg.norm(v, axis=2)
                live = length > 1e-12 * length.max(axis=1, keepdims=True)
                unit = v / np.maximum(length, 1e-300)[..., None]
                bend = math.sqrt(self.tau) * (eye - unit[..., :, None] * unit[..., None, :])
                bend = bend / np.maximum(length, 1e-300)[..., None, None]
                slope = -2.0 * np.einsum("ndp,nkp->nkd", rest, u) + math.sqrt(self.tau) * unit
                matrix = smooth * (live[:, :, None, None, None] & live[:, None, None, :, None])
                for k in range(m):
                    own = np.where(live[:, k, None, None], bend[:, k], eye)
                    matrix[:, k, :, k, :] += own + 1e-13 * gram[:, k, k, None, None] * eye
                slope = np.where(live[..., None], slope, 0.0)
                move = np.linalg.solve(matrix.reshape(n, m * d, m * d), slope.reshape(n, m * d, 1)).reshape(n, m, d)
                new = v - move
                # a neuron that would change its side is left to the coordinates
                new = np.where((np.einsum("nkd,nkd->nk", new, v) > 0)[..., None], new, 0.0)
                left = self.y - np.einsum("nkd,nkp->ndp", new, u)
                better = (self.energy(new, left) <= self.energy(v, rest))[:, None, None]
                v, rest = np.where(better, new, v), np.where(better, left, rest)
            v, rest = self.fitted(u, 3, v)
        return v, rest

    def energy(self, v: Array, rest: Array) -> Array:
        prices = math.sqrt(self.tau) * np.linalg.norm(v, axis=2).sum(axis=1)
        return np.asarray(np.einsum("ndp,ndp->n", rest, rest) + prices)

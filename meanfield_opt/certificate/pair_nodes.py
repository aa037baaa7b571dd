"""Where the antipodal bound is cut: offsets beta with good multipliers, by convex duality on a grid of sums t + u."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
from numpy.typing import NDArray

from ..activation import Activation
from ..checker.pairs import PairForm, cell_top

Array = NDArray[np.float64]

SUMS = 3001
MOST_NODES = 4000


class Nodes:
    """Offsets beta with their multipliers s, refined until the bound between neighbours is what is met at the nodes.

    Write v = t + u and G(v) for the largest H at s = 0 under that sum. Then T(s) = sup_v G(v) + 2 s v, and by convex duality
    the best s for beta is minus half a slope of the concave hull of G at v = 2 C beta / P.
    """

    def __init__(self, form: PairForm, phi: Activation) -> None:
        self.form, self.phi = form, phi
        self.turn = 0.0 if form.turn is None else float(form.turn)
        grows = math.isfinite(form.box)
        spread = 0.5 * form.box if grows else math.sqrt(0.5 * form.strength / form.steep) * form.reach
        self.far = 0.0 if form.turn is None else math.sqrt(float(form.span())) * (1.0 + 1e-9) + 1e-300
        line = np.sinh(np.linspace(-5.0, 5.0, SUMS)) / math.sinh(5.0)
        kinks = [] if phi.pieces is None else [float(piece.right) for piece in phi.pieces if piece.right is not None]
        sums = [x + y for x in kinks for y in kinks] + kinks
        reach = max(2.1 * self.turn * self.far / form.samples, 2.0 * spread)
        grid = np.unique(np.concatenate([reach * line, np.array(sums)[np.abs(sums) < reach] if sums else []]))
        # the difference y >= 0: a grid, then smaller grids around its best point
        y = 2.0 * spread * np.sinh(np.linspace(0.0, 5.0, 160)) / math.sinh(5.0)
        self.kinks, self.spread = kinks, spread
        self.differences = np.concatenate([y, [abs(a - b) for a in kinks for b in kinks]])
        self.v, self.y, self.g = grid, *self._sweep(grid)
        for _ in range(2 if self.turn else 0):  # finer where the bound is largest: there the multipliers matter
            self.hull = _hull(self.v, self.g)
            values = 0.5 * form.samples * self.g[self.hull]
            values += form.steep / self.turn * np.square(0.5 * form.samples * self.v[self.hull])
            k = int(values.argmax())
            ends = self.v[self.hull[max(k - 1, 0)]], self.v[self.hull[min(k + 1, len(self.hull) - 1)]]
            new = np.setdiff1d(np.linspace(*ends, 66), self.v)
            best, high = self._sweep(new)
            order = np.argsort(np.concatenate([self.v, new]), kind="stable")
            self.v = np.concatenate([self.v, new])[order]
            self.y, self.g = np.concatenate([self.y, best])[order], np.concatenate([self.g, high])[order]
        self.hull = _hull(self.v, self.g)
        self.corners = self.v[self.hull]
        self.slopes = np.diff(self.g[self.hull]) / np.diff(self.corners)

    def _sweep(self, v: Array) -> tuple[Array, Array]:
        """(y, G): for each sum v the best difference y >= 0, and what it gives."""
        trial = np.broadcast_to(self.differences, (v.size, self.differences.size))
        # t or u at a kink
        trial = np.hstack([trial, *(np.abs(v - 2.0 * kink)[:, None] for kink in self.kinks)])
        values = self._height(v[:, None], trial)
        at = values.argmax(axis=1)
        best, top, width = trial[np.arange(at.size), at], values.max(axis=1), np.full(v.size, 0.05 * self.spread)
        width = np.maximum(0.1 * best, 1e-3 * width)
        step = np.linspace(-1.0, 1.0, 9)
        for _ in range(22):
            trial = np.abs(best[:, None] + width[:, None] * step)
            values = self._height(v[:, None], trial)
            at, width = values.argmax(axis=1), 0.4 * width
            rows = np.arange(at.size)
            best = np.where(values[rows, at] > top, trial[rows, at], best)
            top = np.maximum(top, values[rows, at])
        return best, top

    def tilt(self, beta: Array) -> Array:
        """The best multiplier s for each offset: constant along each segment of the hull, where T then is too."""
        segment = np.searchsorted(self.corners, 2.0 * self.turn / self.form.samples * beta) - 1
        return np.asarray(-0.5 * self.slopes[np.clip(segment, 0, self.slopes.size - 1)])

    def excess(self, *, refined: bool) -> float:
        """4 l2 kappa in floating point. refined: with T as high as it is between the points of the grid."""
        half, steep = 0.5 * self.form.samples, self.form.steep
        if self.turn == 0.0:
            return max(0.0, half * float(self.g.max()))
        beta = half / self.turn * self.corners
        if not refined:
            return max(0.0, float(np.max(half * self.g[self.hull] + self.turn * steep * beta**2)))
        s = -0.5 * self.slopes
        ends = np.maximum(*(steep * np.square(b) - 2.0 * s * b for b in (beta[:-1], beta[1:])))
        # on a segment of the hull both corners give T(s) as the grid knows it; between its points only the highest matter
        rough = half * (self.g[self.hull][:-1] + 2.0 * s * self.corners[:-1]) + self.turn * ends
        top = np.argsort(-rough)[:400]
        fine = half * self.peaks(s[top]) + self.turn * ends[top]
        return max(0.0, float(fine.max()), float(rough.max()))

    def proof(self, tolerance: float, deadline: float) -> tuple[Array, Array, Array, bool]:
        """(betas, tilts, tops, whether the refinement came to its end)."""
        form, turn, folded = self.form, self.turn, self.phi.odd
        if turn == 0.0:
            return np.zeros(1), np.zeros(1), self.peaks(np.zeros(1)) + tolerance / form.samples, True
        betas = self.far * np.linspace(0.0 if folded else -1.0, 1.0, 9 if folded else 17)
        tilts = np.where(np.abs(betas) < self.far, self.tilt(betas), form.steep * betas)
        tilts = np.where(betas == 0.0, 0.0, tilts) if folded else tilts
        tops = self.peaks(tilts)
        while True:
            values = 0.5 * form.samples * tops + turn * (form.steep * betas**2 - 2.0 * tilts * betas)
            cells = self._cells(betas, tilts, tops)
            aim = max(0.0, float(values.max())) + tolerance
            over = np.flatnonzero(cells > aim)
            complete = over.size == 0
            if complete or betas.size > MOST_NODES or time.monotonic() > deadline:
                break
            new = 0.5 * (betas[over] + betas[over + 1])
            s = self.tilt(new)
            betas, tilts = np.insert(betas, over + 1, new), np.insert(tilts, over + 1, s)
            tops = np.insert(tops, over + 1, self.peaks(s))
        # room that a cell does not need makes its nodes cheaper to verify
        aim = max(aim, float(cells.max())) + tolerance
        room = (aim - cells) / (0.5 * form.samples)
        raised = np.minimum(np.append(room, math.inf), np.insert(room, 0, math.inf))
        return betas, tilts, tops + raised * (1.0 - 1e-6), complete

    def _cells(self, betas: Array, tilts: Array, tops: Array) -> Array:
        nodes = [(float(b), float(s), float(t)) for b, s, t in zip(betas, tilts, tops)]
        return np.array([float(cell_top(self.form, *zip(x, y))) for x, y in itertools.pairwise(nodes)])

    def peaks(self, tilts: Array) -> Array:
        """T(s) in floating point, from below: the best sum v on the grid, then smaller grids around it in the plane."""
        out = np.empty(tilts.size)
        step = np.linspace(-1.0, 1.0, 9)
        for start in range(0, tilts.size, 64):
            s = tilts[start : start + 64]
            values = self.g + 2.0 * s[:, None] * self.v
            k = values.argmax(axis=1)
            v, y, top = self.v[k], self.y[k], values.max(axis=1)
            t, u = 0.5 * (v + y), 0.5 * (v - y)
            wide = np.diff(self.v)[np.minimum(k, self.v.size - 2)] + np.diff(self.v)[np.maximum(k - 1, 0)]
            tall, rows = wide, np.arange(s.size)
            for _ in range(24):
                # kinks lie along the axes of t and u
                ts = (t[:, None, None] + wide[:, None, None] * step[None, :, None]) + 0.0 * step
                us = (u[:, None, None] + tall[:, None, None] * step[None, None, :]) + 0.0 * step[:, None]
                value = (self._height(ts + us, ts - us) + 2.0 * s[:, None, None] * (ts + us)).reshape(s.size, -1)
                at, high = value.argmax(axis=1), value.max(axis=1)
                better = high > top
                t = np.where(better, ts.reshape(s.size, -1)[rows, at], t)
                u = np.where(better, us.reshape(s.size, -1)[rows, at], u)
                top, wide, tall = np.maximum(top, high), 0.4 * wide, 0.4 * tall
            out[start : start + 64] = top
        return out

    def _height(self, v: Array, y: Array) -> Array:
        """H at s = 0, t = (v + y) / 2, u = (v - y) / 2."""
        gap = self.phi(0.5 * (v + y)) - self.phi(0.5 * (v - y))
        value = 0.5 * self.form.strength * np.square(gap) - 0.5 * self.form.steep * (np.square(v) + np.square(y))
        return np.asarray(value)


def _hull(x: Array, y: Array) -> list[int]:
    """Indices of the corners of the concave hull of points with increasing x."""
    out: list[int] = []
    for k in range(x.size):
        while len(out) > 1 and (y[out[-1]] - y[out[-2]]) * (x[k] - x[out[-2]]) <= (y[k] - y[out[-2]]) * (
            x[out[-1]] - x[out[-2]]
        ):
            out.pop()
        out.append(k)
    return out

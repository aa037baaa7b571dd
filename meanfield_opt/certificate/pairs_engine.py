"""Hypercube tasks, any bounded activation under a width, any number of labels: the bound by antipodal pairs of samples.

The checker (``checker.pairs``) has the mathematics. Here: good multipliers s(beta), by convex duality on a grid of s, and
enough nodes. Tight where an optimal dual point has equal zeta and the worst pattern is beta 1 +- gamma v_i.
"""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ..activation import Activation
from ..checker.codec import encode_array
from ..checker.pairs import PairForm, cell_top, kappa, pair_form, replay
from ..checker.tail import largest_cost, limit_activation
from ..errors import CertificateError
from ..problem import TwoLayerProblem
from .engine import Limits, Outcome, ProofEngine, Question, SupremumProof
from .tail_search import find_tail

Array = NDArray[np.float64]

SUMS = 3001
MOST_NODES = 4000


@dataclass(frozen=True)
class PairsEngine(ProofEngine):
    """Excess under a width (bounded activations) and sigma for free mass (by the steepest slope), on hypercube tasks."""

    name = "pairs"

    def refusal(self, question: Question) -> str | None:
        form = pair_form(question.problem, np.asarray(question.dual, dtype=np.float64))
        if form is None:
            return "the antipodal bound needs a hypercube task and a dual point diag(zeta) Y."
        if question.mode == "ratio":
            if question.problem.activation.degree is not None:
                return "for homogeneous activations under free mass other engines are exact."
            return None if math.isfinite(form.lipschitz) else f"{question.problem.activation.name} has no slope bound."
        grows = limit_activation(question.problem.activation) is not None
        if not math.isfinite(form.reach) and not form.harmless and not grows:
            return f"the range of {question.problem.activation.name} is unbounded."
        return None

    def predicted_seconds(self, question: Question) -> float:
        return 1e-3  # about a second, but it goes before the envelope engine, which takes all the time there is

    def tightness(self, question: Question) -> int:
        return 1

    def prove(self, question: Question, limits: Limits) -> Outcome:
        problem, dual = question.problem, np.asarray(question.dual, dtype=np.float64)
        form = pair_form(problem, dual)
        assert form is not None
        none = np.empty(0)
        if problem.width is None or form.harmless:
            words = "symmetry: antipodal pairs of samples, and the steepest slope of the activation"
            artefact: dict[str, Any] = {
                "betas": encode_array(none),
                "tilts": encode_array(none),
                "tops": encode_array(none),
            }
            return Outcome(SupremumProof("pairs", words, replay(problem, dual, math.inf, artefact), artefact))
        tail = None
        if not math.isfinite(form.reach):
            tail = find_tail(problem, dual, 0.3 * limits.seconds)
            if tail is None:
                return Outcome(None, None, False, {"reason": "ever larger neurons gain at this dual point"})
            form = pair_form(problem, dual, tail.cost)
            assert form is not None
        gain = max(problem.loss.dual_value(dual, problem.targets), 1e-12)
        tolerance = 0.1 * max(limits.target, 1e-8) * 4.0 * problem.lambda2 / problem.width * gain
        nodes = _Nodes(form, problem.activation)
        betas, tilts, tops, complete = nodes.proof(tolerance, time.monotonic() + limits.seconds)
        stats: dict[str, Any] = {"nodes": int(betas.size)}
        # the maxima are searched in floating point; where the search missed one, all claims are raised together
        bound, size = math.inf, np.abs(tops).max()
        for extra in (0.0, 1e-8, 1e-6, 1e-4, 1e-2, 1.0):
            try:
                bound = kappa(problem, form, betas, tilts, tops + extra * size)
                tops = tops + extra * size
                break
            except CertificateError as error:
                stats["reason"] = str(error)
        if not math.isfinite(bound):
            return Outcome(None, None, False, stats)
        words = f"symmetry: antipodal pairs of samples share one question in the plane, at {betas.size} offsets"
        artefact = {
            "betas": encode_array(betas),
            "tilts": encode_array(tilts),
            "tops": encode_array(tops),
        }
        if tail is not None:
            artefact["tail"] = tail.artefact()
        return Outcome(SupremumProof("pairs", words, bound, artefact), None, complete, stats)


ENGINE = PairsEngine()


def rescaled_dual(problem: TwoLayerProblem, dual: Array) -> Array:
    """x Z for the x that makes the lower bound D(x Z) - M kappa(x Z) of this engine best; Z where it does not apply.

    A first-order solver leaves Z a little too large or small, and M kappa is far more sensitive to that than the energy.
    """
    if problem.width is None or ENGINE.refusal(Question(problem, dual)) is not None:
        return dual
    width = problem.width
    plain = pair_form(problem, dual)
    assert plain is not None
    bounded = math.isfinite(plain.reach) or plain.harmless
    tail = None if bounded else find_tail(problem, 0.9 * dual, 5.0)
    if tail is None and not bounded:
        return dual

    def loss(x: float, refined: bool = False) -> float:
        cost = None
        if tail is not None:
            cost = largest_cost(problem, x * dual, tail.proof.bound * (x / 0.9))
            if not math.isfinite(cost):
                return math.inf
        form = pair_form(problem, x * dual, cost)
        if form is None:
            return math.inf
        nodes = None if form.harmless else _Nodes(form, problem.activation)
        kappa_ = 0.0 if nodes is None else nodes.excess(refined=refined) / (4.0 * problem.lambda2)
        return width * kappa_ - problem.loss.dual_value(x * dual, problem.targets)

    # beyond, the limit's own supremum exceeds 1
    most = 1.1 if tail is None else min(1.1, 0.9 * (1.0 - 1e-5) / tail.proof.bound)
    found = optimize.minimize_scalar(loss, bounds=(0.9, most), method="bounded", options={"xatol": 1e-8, "maxiter": 24})
    # where the mass is not binding kappa is zero for a slightly smaller Z, whatever the resolution of the proof
    trials = {
        x: loss(x, True) for x in (min(1.0, most), *(float(found.x) * (1.0 - eps) for eps in (0.0, 5e-6, 1.5e-5, 5e-5)))
    }
    best = min(trials, key=lambda x: trials[x])
    return dual if best == 1.0 else best * dual


class _Nodes:
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
        return max(0.0, float(np.max(half * self.peaks(s) + self.turn * ends)))

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

"""Branch and bound over outputs for the excess under a width: any bounded activation, few outputs (theory section 3.5).

It finds the tangent points that ``checker.envelope`` needs: at a point w of the output view the best one solves a smooth
convex problem, the concave-envelope relaxation of sup_h 2 w . Z phi(h) - tau c(h).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ..checker import envelope
from ..checker.codec import encode_array
from ..checker.envelope import DEEPEST, Box
from ..problem import TwoLayerProblem
from .engine import Limits, Outcome, ProofEngine, Question, SupremumProof

Array = NDArray[np.float64]

MOST_SAMPLES = 64
MOST_OUTPUTS = 3
MOST_CORNERS = 60_000
GRID = np.sinh(np.linspace(-6.0, 6.0, 321)) / np.sinh(6.0)


class Tangents:
    """Good tangent points g for many w at once."""

    def __init__(self, problem: TwoLayerProblem, dual: Array) -> None:
        self.dual = dual
        self.tau, self.delta = envelope.levels(problem)
        kernel = problem.geometry.apply(np.eye(problem.n_samples))
        self.inverse = np.linalg.pinv(0.5 * (kernel + kernel.T), rcond=1e-12, hermitian=True)
        self.shifted = self.inverse - self.delta * np.eye(problem.n_samples)
        low, high = problem.activation.bound_on(np.array([-math.inf]), np.array([math.inf]))
        self.size = float(max(abs(low[0]), abs(high[0])))
        self.phi = problem.activation

    def find(self, w: Array) -> Array:
        """g (N, P) for the rows of w (N, d_Y), by a damped Newton method on the smoothed relaxation."""
        r = w @ self.dual
        h = np.zeros_like(r)
        a = self.tau * self.delta
        # beyond this |t| the quadratic has eaten all that phi can give
        reach = 2.0 * math.sqrt(4.0 * self.size * (float(np.abs(r).max()) + 1e-300) / self.tau) + 1.0
        t = reach * GRID
        base = 2.0 * r[:, :, None] * self.phi(t) - a * np.square(t)
        scale = np.maximum(2.0 * self.size * np.abs(r).max(axis=1), 1e-300)
        for level in (0.3, 0.05, 0.01, 2e-3, 4e-4, 1e-4):
            mu = (level * scale)[:, None]
            value, slope, spread = self._parts(h, base, t, mu)
            for _ in range(8):
                # (I + (2 tau / mu) Var S) dh = E[t] - h
                matrix = np.eye(r.shape[1]) + (2.0 * self.tau / mu * spread)[:, :, None] * self.shifted
                move = np.linalg.solve(matrix, slope[:, :, None])[:, :, 0]
                factor = np.ones((r.shape[0], 1))
                for _ in range(6):
                    trial = self._parts(h + factor * move, base, t, mu)
                    worse = trial[0] > value + 1e-14 * np.abs(value)
                    if not worse.any():
                        break
                    factor[worse] *= 0.25
                better = trial[0] <= value
                h = np.where(better[:, None], h + factor * move, h)
                value = np.where(better, trial[0], value)
                slope = np.where(better[:, None], trial[1], slope)
                spread = np.where(better[:, None], trial[2], spread)
                if float(np.max(np.abs(move) * better[:, None])) < 1e-9 * (1.0 + reach):
                    break
        return np.asarray(h @ self.inverse)

    def _parts(self, h: Array, base: Array, t: Array, mu: Array) -> tuple[Array, Array, Array]:
        """The smoothed objective (N,), E[t] - h and Var[t] (N, P)."""
        y = h @ self.shifted
        f = base - 2.0 * self.tau * y[:, :, None] * t
        top = f.max(axis=2, keepdims=True)
        weight = np.exp((f - top) / mu[:, :, None])
        total = weight.sum(axis=2)
        mean = (weight @ t) / total
        spread = np.maximum((weight @ np.square(t)) / total - np.square(mean), 0.0)
        value = self.tau * np.einsum("np,np->n", h, y) + (top[:, :, 0] + mu * np.log(total)).sum(axis=1)
        return value, mean - h, spread


@dataclass(frozen=True)
class EnvelopeEngine(ProofEngine):
    """Excess under a width for bounded activations and up to three outputs; tight where the envelope relaxation is."""

    name = "envelope"

    def refusal(self, question: Question) -> str | None:
        problem = question.problem
        if question.mode != "excess":
            return "the envelope bound is for problems with a width."
        low, high = problem.activation.bound_on(np.array([-math.inf]), np.array([math.inf]))
        if not (math.isfinite(float(low[0])) and math.isfinite(float(high[0]))):
            return f"the range of {problem.activation.name} is unbounded."
        if not problem.geometry.norm_bound() > 1e-290:
            return "all inputs are zero or nearly so, and the tangents have no scale."
        if problem.n_outputs > MOST_OUTPUTS or problem.n_samples > MOST_SAMPLES:
            return f"it takes at most {MOST_OUTPUTS} outputs and {MOST_SAMPLES} samples."
        return None

    def predicted_seconds(self, question: Question) -> float:
        return 0.02 * question.problem.n_samples * 8.0**question.problem.n_outputs / 64.0

    def tightness(self, question: Question) -> int:
        return 1

    def prove(self, question: Question, limits: Limits) -> Outcome:
        with np.errstate(all="ignore"):  # numbers out of range give infinite bounds, not warnings
            return self._searched(question, limits)

    def _searched(self, question: Question, limits: Limits) -> Outcome:
        deadline = time.monotonic() + 0.7 * limits.seconds
        first = _Search(question, limits, split=False)
        first.run(time.monotonic() + 0.3 * limits.seconds)
        best = first
        if envelope.split_scales(question.problem.geometry) is not None and not first.attained():
            second = _Search(question, limits, split=True)
            second.run(deadline)
            best = min(first, second, key=lambda search: search.worst)
        return best.outcome()


class _Search:
    """Best-first refinement of cells; holds everything the proof needs."""

    def __init__(self, question: Question, limits: Limits, *, split: bool) -> None:
        self.problem, self.dual = question.problem, np.asarray(question.dual, dtype=np.float64)
        self.limits, self.split = limits, split
        assert self.problem.width is not None
        self.gain = max(self.problem.loss.dual_value(self.dual, self.problem.targets), 1e-12)
        # what moves the bound by its own size
        self.tolerance = max(limits.target, 1e-6) * 4.0 * self.problem.lambda2 / self.problem.width * self.gain
        self.fine = 0.1 * self.tolerance / self.problem.n_samples
        size = self.problem.n_outputs + split
        self.lo, self.hi, ordered = (envelope.split_domain if split else envelope.domain)(self.problem, self.dual)
        self.ordered = self.problem.n_outputs if ordered else 0
        self.n = envelope.curvatures(self.problem, split)
        self.tangents = Tangents(self.problem, self.dual)
        self.known: dict[tuple[int, ...], int] = {}
        self.points, self.values = np.empty((0, size)), np.empty(0)
        self.tangent = np.empty((0, 0 if split else self.problem.n_samples))
        self.leaves: dict[Box, float] = {}
        self.floor, self.worst, self.complete = 0.0, math.inf, False

    def run(self, deadline: float) -> None:
        """Refine until the bound is within the tolerance of what the corners show, or time is up."""
        fresh: list[Box] = [(0, (0,) * self.lo.size)]
        while True:
            self._evaluate(fresh)
            self.floor = max(0.0, float(np.max(self.values - np.square(self.points) @ self.n)))
            self.worst = max(0.0, *self.leaves.values())
            if self.limits.progress is not None:
                kappa, least = (envelope.excess_upper(self.problem, x) for x in (self.worst, self.floor))
                self.limits.progress(kappa, least, len(self.leaves))
            self.complete = self.worst <= self.floor + self.tolerance
            if self.complete or time.monotonic() > deadline or len(self.known) > MOST_CORNERS:
                return
            # the widest bounds first: all within the upper part of what is still open
            aim = self.floor + max(self.tolerance, 0.25 * (self.worst - self.floor))
            split = [box for box, bound in self.leaves.items() if bound > aim and box[0] < DEEPEST]
            if not split:
                return
            fresh = [c for box in split for c in envelope.children(box) if not envelope.needless(c, self.ordered)]
            for box in split:
                del self.leaves[box]

    def _evaluate(self, fresh: list[Box]) -> None:
        new = list(dict.fromkeys(k for box in fresh for k in envelope.corners_of(box) if k not in self.known))
        if new:
            w = np.array([envelope.corner(self.lo, self.hi, DEEPEST, key) for key in new])
            if self.split:
                g, upper = np.empty((len(new), 0)), envelope.g_split(self.problem, self.dual, w, self.fine)
            else:
                g = np.vstack([self.tangents.find(part) for part in np.array_split(w, max(1, len(w) // 200))])
                upper = envelope.g_upper(self.problem, self.dual, w, g, self.fine)
            self.known.update({key: len(self.known) + i for i, key in enumerate(new)})
            self.points, self.values = np.vstack([self.points, w]), np.append(self.values, upper)
            self.tangent = np.vstack([self.tangent, g])
        for box in fresh:
            at = [self.known[key] for key in envelope.corners_of(box)]
            self.leaves[box] = envelope.cell_upper(self.points[at], self.values[at], self.n)

    def attained(self) -> bool:
        """Whether an actual pattern has nearly the excess proved: then no other relaxation can do better."""
        if not self.complete:
            return False
        best = int(np.argmax(self.values - np.square(self.points) @ self.n))
        start = self.problem.geometry.apply(self.tangent[best : best + 1])[0]

        def loss(h: Array) -> float:
            return 4.0 * self.problem.lambda2 * float(self.problem.first_variation(self.dual, h[None, :])[0])

        found = optimize.minimize(loss, start, method="BFGS", options={"maxiter": 100})
        return self.worst - max(0.0, -float(found.fun)) <= 4.0 * self.tolerance

    def outcome(self) -> Outcome:
        """The proof, its bound a little above the computed one so that a replay elsewhere cannot miss it by rounding."""
        width = self.problem.width
        assert width is not None
        kappa = envelope.excess_upper(self.problem, self.worst) * (1.0 + 1e-9) + 1e-15 * self.gain / width
        stats = {"cells": len(self.leaves), "corners": len(self.known), "split": self.split}
        if not math.isfinite(kappa):
            return Outcome(None, None, False, stats)
        keep = sorted({k for box in self.leaves for k in envelope.corners_of(box)}, key=self.known.__getitem__)
        artefact = {
            "split": self.split,
            "tolerance": self.fine,
            "boxes": envelope.encode_boxes(list(self.leaves)),
            "corners": [list(key) for key in keep],
            "tangents": encode_array(self.tangent[[self.known[key] for key in keep]]),
        }
        words = "output view: branch and bound, exact sample by sample"
        if not self.split:
            words = "output view: branch and bound with concave envelopes of the activation, tangent to the cost"
        return Outcome(SupremumProof("envelope", words, kappa, artefact), None, self.complete, stats)


ENGINE = EnvelopeEngine()

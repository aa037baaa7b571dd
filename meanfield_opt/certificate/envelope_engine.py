"""Branch and bound over outputs for the excess under a width: any bounded activation, few outputs (theory section 3.5).

It finds the tangent points that ``checker.envelope`` needs: at a point w of the output view the best one solves a smooth
convex problem, the concave-envelope relaxation of sup_h 2 w . Z phi(h) - tau c(h).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ..checker import envelope
from ..checker.codec import encode_array
from ..checker.envelope import DEEPEST, Box
from ..checker.tail import limit_activation
from ..problem import TwoLayerProblem
from .engine import Limits, Outcome, ProofEngine, Question, SupremumProof
from .tail_search import Tail, find_tail

Array = NDArray[np.float64]

MOST_SAMPLES = 64
MOST_OUTPUTS = 3
MOST_CORNERS = 60_000
#: what stands for the size of an activation that grows, where tangents are looked for
LARGE = 8.0
#: corners whose tangents are made exact in one round
MOST_POLISHED = 16
GRID = np.sinh(np.linspace(-6.0, 6.0, 321)) / np.sinh(6.0)


class Tangents:
    """Good tangent points g for many w at once."""

    def __init__(self, problem: TwoLayerProblem, dual: Array, cost: float | None = None) -> None:
        # patterns of larger cost do not matter, and |h_p|^2 <= (K_X)_pp c
        self.farthest = math.inf if cost is None else 1.1 * math.sqrt(cost * problem.geometry.norm_bound())
        self.dual = dual
        self.tau, self.delta = envelope.levels(problem)
        kernel = problem.geometry.apply(np.eye(problem.n_samples))
        self.kernel = 0.5 * (kernel + kernel.T)
        self.inverse = np.linalg.pinv(0.5 * (kernel + kernel.T), rcond=1e-12, hermitian=True)
        self.shifted = self.inverse - self.delta * np.eye(problem.n_samples)
        low, high = problem.activation.bound_on(np.array([-math.inf]), np.array([math.inf]))
        self.size = min(float(max(abs(low[0]), abs(high[0]))), LARGE)
        self.phi = problem.activation

    def find(self, w: Array) -> Array:
        """g (N, P) for the rows of w (N, d_Y), by a damped Newton method on the smoothed relaxation."""
        r = w @ self.dual
        h = np.zeros_like(r)
        a = self.tau * self.delta
        # beyond this |t| the quadratic has eaten all that phi can give
        reach = 2.0 * math.sqrt(4.0 * self.size * (float(np.abs(r).max()) + 1e-300) / self.tau) + 1.0
        reach = reach if math.isinf(self.farthest) else self.farthest
        t = reach * GRID
        base = 2.0 * r[:, :, None] * self.phi(t) - a * np.square(t)
        scale = np.maximum(2.0 * self.size * np.abs(r).max(axis=1), 1e-300)
        for level in (0.3, 0.05, 0.01, 2e-3, 4e-4, 1e-4):
            live = np.arange(r.shape[0])
            for _ in range(8):
                mu = (level * scale[live])[:, None]
                now, part = h[live], base[live]
                value, slope, spread = self._parts(now, part, t, mu)
                # (I + (2 tau / mu) Var S) dh = E[t] - h
                matrix = np.eye(r.shape[1]) + (2.0 * self.tau / mu * spread)[:, :, None] * self.shifted
                move = np.linalg.solve(matrix, slope[:, :, None])[:, :, 0]
                factor = np.ones((live.size, 1))
                for _ in range(6):
                    trial = self._parts(now + factor * move, part, t, mu)[0]
                    worse = trial > value + 1e-14 * np.abs(value)
                    if not worse.any():
                        break
                    factor[worse] *= 0.25
                better = trial <= value
                h[live] = np.where(better[:, None], now + factor * move, now)
                # a tangent need not be exact: what it loses is of second order
                going = better & (np.abs(factor * move).max(axis=1) > 1e-5 * (1.0 + np.abs(now).max(axis=1)))
                live = live[going]
                if live.size == 0:
                    break
        return np.asarray(h @ self.inverse)

    def polish(self, w: Array, g: Array) -> Array:
        """The tangent points g (N, P) moved to the nearest local maxima of 2 w . Z phi(h) - tau c(h) themselves.

        The grid of ``find`` places them to its own spacing; where the maximum decides the bound that is too coarse.
        """
        out = np.array(g)
        for k, (r, start) in enumerate(zip(w @ self.dual, g @ self.kernel)):

            def loss(h: Array, r: Array = r) -> tuple[float, Array]:
                x = self.inverse @ h
                value = self.tau * float(h @ x) - 2.0 * float(r @ self.phi(h))
                return value, 2.0 * self.tau * x - 2.0 * r * self.phi.derivative(h)

            found = optimize.minimize(loss, start, jac=True, method="BFGS", options={"maxiter": 60, "gtol": 1e-12})
            out[k] = self.inverse @ found.x
        return out

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
        grows = limit_activation(problem.activation) is not None
        if not (math.isfinite(float(low[0])) and math.isfinite(float(high[0]))) and not grows:
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
        begun = time.monotonic()
        low, high = question.problem.activation.bound_on(np.array([-math.inf]), np.array([math.inf]))
        tail = None
        if not (math.isfinite(float(low[0])) and math.isfinite(float(high[0]))):
            tail = find_tail(question.problem, question.dual, 0.2 * limits.seconds)
            if tail is None:
                return Outcome(None, None, False, {"reason": "ever larger neurons gain at this dual point"})
        deadline = begun + 0.7 * limits.seconds
        splits = envelope.split_scales(question.problem.geometry) is not None
        first = _Search(question, limits, tail, split=False)
        first.run(begun + (0.3 if splits else 0.9) * limits.seconds)
        best = first
        if splits and not first.attained():
            second = _Search(question, limits, tail, split=True)
            second.run(deadline)
            best = min(first, second, key=lambda search: search.worst)
        return best.outcome()


class _Search:
    """Best-first refinement of cells; holds everything the proof needs."""

    def __init__(self, question: Question, limits: Limits, tail: Tail | None = None, *, split: bool) -> None:
        self.problem, self.dual = question.problem, np.asarray(question.dual, dtype=np.float64)
        self.limits, self.split = limits, split
        assert self.problem.width is not None
        self.gain = max(self.problem.loss.dual_value(self.dual, self.problem.targets), 1e-12)
        # what moves the bound by its own size
        self.tolerance = max(limits.target, 1e-6) * 4.0 * self.problem.lambda2 / self.problem.width * self.gain
        self.fine = 0.1 * self.tolerance / self.problem.n_samples
        size = self.problem.n_outputs + split
        self.tail = tail
        bounds = envelope.split_domain if split else envelope.domain
        self.lo, self.hi, ordered = bounds(self.problem, self.dual, None if tail is None else tail.cost)
        self.ordered = self.problem.n_outputs if ordered else 0
        self.n = envelope.curvatures(self.problem, split)
        self.tangents = Tangents(self.problem, self.dual, None if tail is None else tail.cost)
        self.known: dict[tuple[int, ...], int] = {}
        self.points, self.values = np.empty((0, size)), np.empty(0)
        self.tangent = np.empty((0, 0 if split else self.problem.n_samples))
        self.leaves: dict[Box, float] = {}
        self.done: set[int] = set()
        self.floor, self.worst, self.complete = 0.0, math.inf, False

    def run(self, deadline: float) -> None:
        """Refine until the bound is within the tolerance of what the corners show, or time is up."""
        fresh: list[Box] = [(0, (0,) * self.lo.size)]
        while True:
            self._evaluate(fresh)
            self._polish()
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

    def _polish(self) -> None:
        """Better tangents at the corners that hold the bound up, a few a round; cells around them are bounded again."""
        height = self.values - np.square(self.points) @ self.n
        top = [int(k) for k in np.argsort(-height)[:MOST_POLISHED] if height[k] > self.tolerance and k not in self.done]
        if self.split or not top or self.problem.activation.pieces is not None:  # smooth ones only
            return
        self.done.update(top)
        w = self.points[top]
        g = self.tangents.polish(w, self.tangent[top])
        upper = envelope.g_upper(self.problem, self.dual, w, g, self.fine)
        for k, point, value in zip(top, g, upper):
            if value < self.values[k]:
                self.tangent[k], self.values[k] = point, value
        for box in self.leaves:
            at = [self.known[key] for key in envelope.corners_of(box)]
            if not set(top).isdisjoint(at):
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
        artefact: dict[str, Any] = {
            "split": self.split,
            "tolerance": self.fine,
            "boxes": envelope.encode_boxes(list(self.leaves)),
            "corners": [list(key) for key in keep],
            "tangents": encode_array(self.tangent[[self.known[key] for key in keep]]),
        }
        if self.tail is not None:
            artefact["tail"] = self.tail.artefact()
        words = "output view: branch and bound, exact sample by sample"
        if not self.split:
            words = "output view: branch and bound with concave envelopes of the activation, tangent to the cost"
        return Outcome(SupremumProof("envelope", words, kappa, artefact), None, self.complete, stats)


ENGINE = EnvelopeEngine()

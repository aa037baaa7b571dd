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
        if problem.n_outputs > MOST_OUTPUTS or problem.n_samples > MOST_SAMPLES:
            return f"it takes at most {MOST_OUTPUTS} outputs and {MOST_SAMPLES} samples."
        return None

    def predicted_seconds(self, question: Question) -> float:
        return 0.02 * question.problem.n_samples * 8.0**question.problem.n_outputs / 64.0

    def tightness(self, question: Question) -> int:
        return 1

    def prove(self, question: Question, limits: Limits) -> Outcome:
        problem, dual = question.problem, np.asarray(question.dual, dtype=np.float64)
        assert problem.width is not None
        started = time.monotonic()
        gain = max(problem.loss.dual_value(dual, problem.targets), 1e-12)
        unit = 4.0 * problem.lambda2 / problem.width * gain  # what moves the bound by its own size
        tolerance = max(limits.target, 1e-6) * unit
        fine = 0.1 * tolerance / problem.n_samples
        lo, hi, ordered = envelope.domain(problem, dual)
        tangents = Tangents(problem, dual)
        known: dict[tuple[int, ...], int] = {}
        points, values, tangent = (np.empty((0, k)) for k in (problem.n_outputs, 1, problem.n_samples))
        leaves: dict[Box, float] = {}
        fresh: list[Box] = [(0, (0,) * problem.n_outputs)]
        complete = False
        while True:
            new = list(dict.fromkeys(key for box in fresh for key in envelope.corners_of(box) if key not in known))
            if new:
                w = np.array([envelope.corner(lo, hi, DEEPEST, key) for key in new])
                g = np.vstack([tangents.find(part) for part in np.array_split(w, max(1, len(w) // 200))])
                upper = envelope.g_upper(problem, dual, w, g, fine)
                known.update({key: len(known) + i for i, key in enumerate(new)})
                points, values = np.vstack([points, w]), np.vstack([values, upper[:, None]])
                tangent = np.vstack([tangent, g])
            for box in fresh:
                at = [known[key] for key in envelope.corners_of(box)]
                leaves[box] = envelope.cell_upper(points[at], values[at, 0])
            floor = max(0.0, float(np.max(values[:, 0] - np.square(points).sum(axis=1))))
            worst = max(leaves.values())
            if limits.progress is not None:
                limits.progress(envelope.excess_upper(problem, worst), floor / (4.0 * problem.lambda2), len(leaves))
            if worst <= floor + tolerance:
                complete = True
                break
            late = time.monotonic() - started > 0.7 * limits.seconds
            if late or len(known) > MOST_CORNERS:
                break
            # the widest bounds first: all within the upper half of what is still open
            aim = floor + max(tolerance, 0.25 * (worst - floor))
            split = [box for box, bound in leaves.items() if bound > aim and box[0] < DEEPEST]
            if not split:
                break
            fresh = [
                child for box in split for child in envelope.children(box) if not (ordered and envelope.needless(child))
            ]
            for box in split:
                del leaves[box]
        keep = sorted({key for box in leaves for key in envelope.corners_of(box)}, key=known.__getitem__)
        kappa = envelope.excess_upper(problem, worst) * (1.0 + 1e-9) + 1e-15 * gain / problem.width
        artefact = {
            "tolerance": fine,
            "boxes": envelope.encode_boxes(list(leaves)),
            "corners": [list(key) for key in keep],
            "tangents": encode_array(tangent[[known[key] for key in keep]]),
        }
        words = "output view: branch and bound with concave envelopes of the activation, tangent to the cost"
        proof = SupremumProof("envelope", words, kappa, artefact) if math.isfinite(kappa) else None
        return Outcome(proof, None, complete, {"cells": len(leaves), "corners": len(known)})


ENGINE = EnvelopeEngine()

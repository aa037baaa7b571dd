"""The search behind the engine ``envelope``: cells of the output view, cut where their bounds are largest."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ..checker import envelope
from ..checker.codec import encode_array
from ..checker.envelope import DEEPEST, Box
from . import envelope_checkpoint
from .engine import Limits, Outcome, Question, SupremumProof
from .envelope_tangents import Tangents
from .stored import question_digest
from .tail_search import Tail

Array = NDArray[np.float64]

MOST_CORNERS = 60_000
#: corners whose tangents are made exact in one round
MOST_POLISHED = 16


class EnvelopeSearch:
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
        #: by the user; what is held then is that of the last whole round
        self.interrupted = False

    def run(self, deadline: float) -> None:
        """Refine until the bound is within the tolerance of what the corners show, time is up or the user interrupts."""
        whole: list[dict[str, Any]] = []
        try:
            self._refine(deadline, whole)
        except KeyboardInterrupt:
            if not whole:
                raise
            vars(self).update(whole[-1], interrupted=True)
            self._save()

    def _refine(self, deadline: float, whole: list[dict[str, Any]]) -> None:
        """The rounds; ``whole`` gets what is held after each one, in place of the round before."""
        fresh: list[Box] = self._resumed() or [(0, (0,) * self.lo.size)]
        while True:
            self._evaluate(fresh)
            self._polish()
            self.floor = max(0.0, float(np.max(self.values - np.square(self.points) @ self.n)))
            self.worst = max(0.0, *self.leaves.values())
            held = {name: getattr(self, name) for name in ("points", "values", "tangent", "floor", "worst")}
            whole[:] = [held | {"leaves": dict(self.leaves), "known": dict(self.known)}]
            if self.limits.progress is not None:
                kappa, least = (envelope.excess_upper(self.problem, x) for x in (self.worst, self.floor))
                self.limits.progress(kappa, least, len(self.leaves))
            self.complete = self.worst <= self.floor + self.tolerance
            if self.complete or time.monotonic() > deadline or len(self.known) > MOST_CORNERS:
                self._save()
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
            parts = np.array_split(w, max(1, len(w) // 200))
            with ThreadPoolExecutor(max(1, self.limits.workers)) as pool:
                found = list(pool.map(self._bounded, parts))
            g, upper = np.vstack([part[0] for part in found]), np.concatenate([part[1] for part in found])
            self.known.update({key: len(self.known) + i for i, key in enumerate(new)})
            self.points, self.values = np.vstack([self.points, w]), np.append(self.values, upper)
            self.tangent = np.vstack([self.tangent, g])
        for box in fresh:
            at = [self.known[key] for key in envelope.corners_of(box)]
            self.leaves[box] = envelope.cell_upper(self.points[at], self.values[at], self.n)

    def _bounded(self, w: Array, tangents: Array | None = None) -> tuple[Array, Array]:
        """(tangent points, bounds) at points w: new tangents, or the ones given."""
        with np.errstate(all="ignore"):  # each thread has its own
            if self.split:
                return np.empty((len(w), 0)), envelope.g_split(self.problem, self.dual, w, self.fine)
            g = self.tangents.find(w) if tangents is None else tangents
            return g, envelope.g_upper(self.problem, self.dual, w, g, self.fine)

    @property
    def _question(self) -> str:
        return question_digest(f"envelope {self.split}", self.problem, self.dual)

    def _resumed(self) -> list[Box]:
        """The cells of a search that was stopped, whose tangents are known from now on; none without a checkpoint.

        The cells must cover the domain, and every bound is computed anew.
        """
        if self.limits.checkpoint is None:
            return []
        size, samples = self.lo.size, self.tangent.shape[1]
        saved = envelope_checkpoint.load(self.limits.checkpoint, self._question, size, samples, self.ordered)
        if saved is None:
            return []
        keys = [tuple(key) for key in saved.corners.tolist()]
        self.points = np.array([envelope.corner(self.lo, self.hi, DEEPEST, key) for key in keys]).reshape(-1, size)
        self.tangent, self.values = self._bounded(self.points, saved.tangents)
        self.known = {key: k for k, key in enumerate(keys)}
        return [(row[0], tuple(row[1:])) for row in saved.boxes.tolist()]

    def _save(self) -> None:
        if self.limits.checkpoint is not None and not self.complete:
            keys = np.array(list(self.known), dtype=np.int64).reshape(-1, self.lo.size)
            boxes = np.array(envelope.encode_boxes(list(self.leaves)), dtype=np.int64)
            saved = envelope_checkpoint.Saved(boxes, keys, self.tangent)
            envelope_checkpoint.save(self.limits.checkpoint, self._question, saved)

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
        self.tangent, self.values = self.tangent.copy(), self.values.copy()  # those of the last round stay as they are
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

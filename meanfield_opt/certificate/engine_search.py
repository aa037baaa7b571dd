"""The proof engines tried in turn at one or several dual points, under one time budget."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checker.bounds import best_rigorous_scale, lower_from_proof
from ..errors import InputError
from ..problem import TwoLayerProblem
from .engine import ENGINES, Limits, Outcome, ProofEngine, Question, SupremumProof, applicable

Array = NDArray[np.float64]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bound:
    """A rigorous lower bound, with the dual point, its scale and the proof that give it."""

    lower: float
    scale: float
    proof: SupremumProof
    dual: Array


class EngineSearch:
    """Engines tried in turn under one time budget; keeps the best bound, together with the proof that gave it."""

    def __init__(self, problem: TwoLayerProblem, upper: float, limits: Limits, started: float) -> None:
        self.problem, self.upper, self.limits = problem, upper, limits
        self.deadline = started + limits.seconds
        self.best: Bound | None = None
        self.neuron: Array | None = None
        #: whether an engine has chosen the length of the dual point under a width, and answered in full there
        self.moved = False
        #: by the user; what was proved before is kept, and nothing more is tried
        self.interrupted = False
        self.log: list[dict[str, Any]] = []

    def gap(self) -> float:
        """The relative gap of the best bound so far."""
        return math.inf if self.best is None else (self.upper - self.best.lower) / max(1e-300, abs(self.upper))

    def goes_on(self) -> bool:
        """Whether there is time left, and no one has interrupted."""
        return not self.interrupted and time.monotonic() < self.deadline

    def closed(self) -> bool:
        """Whether the best bound is as good as the target can make it."""
        return self.best is not None and self.upper - self.best.lower <= 10 * self.limits.target * abs(self.upper)

    def run(self, dual: Array, name: str) -> bool:
        """Try the engines at one dual point; True when nothing more is to be gained."""
        question = Question(self.problem, dual, movable=True)
        engines = engines_to_try(question, name)
        for position, engine in enumerate(engines):
            left = self.deadline - time.monotonic()
            if left <= 0 and self.best is not None:
                return True
            # the first of several tight engines gets most of what is left, a relaxation after them little
            later = [e.tightness(question) for e in engines[position + 1 :]]
            share = 0.7 * left if min(later, default=9) <= 1 else 0.9 * left if 2 in later else left
            settled = self._prove(engine, question, replace(self.limits, seconds=max(share, 0.05)))
            if self.interrupted or self.closed():
                return True
            if settled and engine.tightness(question) <= 1:
                return False  # the supremum is known: what remains of the gap is the dual point's
        return False

    def _prove(self, engine: ProofEngine, question: Question, limits: Limits) -> bool:
        """Ask one engine and keep its bound if it is the best; whether it answered in full."""
        begun = time.monotonic()
        entry: dict[str, Any] = {"engine": engine.name}
        self.log.append(entry)
        try:
            outcome = engine.prove(question, limits)
        except KeyboardInterrupt:
            log.info("proof engine %s was interrupted", engine.name)
            self.interrupted = True
            entry.update(complete=False, interrupted=True, seconds=time.monotonic() - begun)
            return False
        except (ArithmeticError, np.linalg.LinAlgError) as error:
            # an engine that breaks down numerically has proved nothing; the others still may
            log.warning("proof engine %s broke down: %s", engine.name, error)
            entry.update(complete=False, error=str(error), seconds=time.monotonic() - begun)
            return False
        self.interrupted = outcome.interrupted
        entry.update(complete=outcome.complete, **outcome.stats)
        entry["seconds"] = time.monotonic() - begun
        try:
            return self._keep(question, outcome, entry)
        except KeyboardInterrupt:  # a proof is there: what it bounds is soon known, unless the user insists
            self.interrupted = True
            return self._keep(question, outcome, entry)

    def _keep(self, question: Question, outcome: Outcome, entry: dict[str, Any]) -> bool:
        """Take up what an engine has found; whether it answered in full."""
        if outcome.neuron is not None and np.isfinite(outcome.neuron).all():
            self.neuron = outcome.neuron
        proof = outcome.proof
        if proof is None or not (math.isfinite(proof.bound) and proof.bound >= 0):
            return False
        entry["bound"] = proof.bound
        dual = question.dual if outcome.dual is None else outcome.dual
        scale = best_rigorous_scale(self.problem, dual, proof.bound)
        lower = lower_from_proof(self.problem, dual, scale, proof.bound)
        log.info("engine %s proved a supremum of %.12g: lower bound %.12g", entry["engine"], proof.bound, lower)
        self.moved = self.moved or (outcome.complete and outcome.dual is not None)
        if math.isfinite(lower) and (self.best is None or lower > self.best.lower):
            self.best = Bound(lower, scale, proof, dual)
        return outcome.complete


def engines_to_try(question: Question, name: str) -> list[ProofEngine]:
    """The engine of that name, or for "auto" all that apply, in the order in which to try them."""
    if name == "auto":
        engines = applicable(question)
        # a valid bound first where it costs nothing, then the engines that close gaps
        cheap = [e for e in engines if e.tightness(question) == 9 and e.predicted_seconds(question) < 1.0]
        return cheap + [e for e in engines if e not in cheap]
    chosen = ENGINES.get(name)
    reason = chosen.refusal(question)
    if reason is not None:
        raise InputError(f"proof engine {name!r} does not apply: {reason}")
    return [chosen]

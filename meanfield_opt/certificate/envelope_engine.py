"""Branch and bound over outputs for the excess under a width: any bounded activation, few outputs (theory section 3.5)."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np

from ..checker import envelope
from ..checker.tail import limit_activation
from .engine import Limits, Outcome, ProofEngine, Question
from .envelope_search import EnvelopeSearch
from .tail_search import find_tail

MOST_SAMPLES = 64
MOST_OUTPUTS = 3


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
        first = EnvelopeSearch(question, limits, tail, split=False)
        first.run(begun + (0.3 if splits else 0.9) * limits.seconds)
        best = first
        interrupted = first.interrupted
        try:
            if splits and not interrupted and not first.attained():
                second = EnvelopeSearch(question, limits, tail, split=True)
                second.run(deadline)
                best, interrupted = min(first, second, key=lambda search: search.worst), second.interrupted
        except KeyboardInterrupt:  # the first search is whole
            interrupted = True
        return replace(best.outcome(), interrupted=interrupted)


ENGINE = EnvelopeEngine()

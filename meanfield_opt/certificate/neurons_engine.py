"""Branch and bound over the neurons themselves, for the excess under a width: any activation with rigorous ranges, few inputs.

The engine only chooses what to claim: the best excess that a local search finds and a margin, smaller from round to round. The
boxes are cut, and the claim proved, by the checker's own ``checker.neurons.examined``.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..checker.codec import encode_float
from ..checker.envelope import excess_upper
from ..checker.neurons import MOST_PARAMETERS, neuron_form
from ..checker.tail import limit_activation
from ..errors import CertificateError
from ..geometry import FactorGeometry
from ..problem import TwoLayerProblem
from .engine import Limits, Outcome, ProofEngine, Question, SupremumProof
from .improve import violating_neurons
from .neuron_search import NeuronSearch
from .tail_search import Tail, find_tail

Array = NDArray[np.float64]

MOST_SAMPLES = 2000
#: margins tried, as shares of the dual value: what the bound on the energy loses
MARGINS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


def _bounded(problem: TwoLayerProblem) -> bool:
    low, high = problem.activation.bound_on(np.array([-math.inf]), np.array([math.inf]))
    return math.isfinite(float(low[0])) and math.isfinite(float(high[0]))


@dataclass(frozen=True)
class NeuronsEngine(ProofEngine):
    """Excess under a width by boxes of weights; closes the gap for a few weights a neuron, any number of outputs."""

    name = "neurons"

    def refusal(self, question: Question) -> str | None:
        problem, space = question.problem, question.problem.geometry
        if question.mode != "excess":
            return "the bound over neurons is for problems with a width."
        if not isinstance(space, FactorGeometry) or space.n_parameters > MOST_PARAMETERS:
            return f"it takes inputs of at most {MOST_PARAMETERS} weights a neuron, bias included."
        if problem.n_samples > MOST_SAMPLES:
            return f"it takes at most {MOST_SAMPLES} samples."
        if not _bounded(problem) and limit_activation(problem.activation) is None:
            return f"the range of {problem.activation.name} is unbounded."
        return None

    def predicted_seconds(self, question: Question) -> float:
        return 2e-4 * question.problem.n_samples * 12.0 ** (question.problem.geometry.n_parameters - 1)

    def tightness(self, question: Question) -> int:
        return 0

    def prove(self, question: Question, limits: Limits) -> Outcome:
        problem, dual = question.problem, np.asarray(question.dual, dtype=np.float64)
        assert problem.width is not None
        deadline = time.monotonic() + limits.seconds
        tail: Tail | None = None
        if not _bounded(problem):
            tail = find_tail(problem, dual, 0.2 * limits.seconds)
            if tail is None:
                return Outcome(None, None, False, {"reason": "ever larger neurons gain at this dual point"})
        try:
            form = neuron_form(problem, dual, None if tail is None else tail.cost)
        except CertificateError as error:
            return Outcome(None, None, False, {"reason": str(error)})
        found = violating_neurons(problem, dual)
        search = NeuronSearch(form, found, limits.workers, deadline)
        unit = 4.0 * problem.lambda2 / problem.width * max(problem.loss.dual_value(dual, problem.targets), 1e-12)
        top, margin = math.inf, math.inf
        for share in (*(m for m in MARGINS if m > limits.target), limits.target):

            def claim(attained: float, share: float = share) -> float:
                return attained * (1.0 + 1e-12) + share * unit

            def report(open_: int, top: float = top) -> None:
                if limits.progress is not None:
                    limits.progress(excess_upper(problem, top), excess_upper(problem, search.best), open_)

            aim = search.lowered(claim, report)
            if not search.worst <= aim:
                break
            top, margin = aim, share
        if search.worst < top:  # stopped on the way
            top, margin = search.worst * (1.0 + 1e-12), (search.worst - search.best) / unit
        if search.best > 0:
            found = np.vstack([search.neuron[None, :], found])
        stats = {"margin": margin, "neurons": found, "boxes": int(search.bound.size)}
        neuron = found[0] if found.shape[0] else None
        kappa = excess_upper(problem, top)
        if not math.isfinite(kappa):
            return Outcome(None, neuron, False, stats)
        artefact = {"top": encode_float(top)} | ({} if tail is None else {"tail": tail.artefact()})
        words = "neurons: branch and bound over boxes of weights"
        return Outcome(SupremumProof("neurons", words, kappa, artefact), neuron, margin <= limits.target, stats)


ENGINE = NeuronsEngine()

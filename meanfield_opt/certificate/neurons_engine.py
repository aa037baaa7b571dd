"""Branch and bound over the neurons themselves, for the excess under a width: any activation with rigorous ranges, few inputs.

The engine only chooses what to claim: the best excess that a local search finds and a margin, smaller from round to round. The
boxes are cut, and the claim proved, by the checker's own ``checker.neurons.examined``.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ..activations.curvature import curvature_bound_on
from ..checker.codec import encode_float
from ..checker.envelope import excess_upper
from ..checker.neurons import MOST_PARAMETERS, neuron_form
from ..checker.tail import limit_activation
from ..errors import CertificateError
from ..geometry import FactorGeometry
from ..problem import TwoLayerProblem
from . import neuron_checkpoint
from .engine import Limits, Outcome, ProofEngine, Question, SupremumProof
from .improve import violating_neurons
from .neuron_search import NeuronSearch
from .stored import question_digest
from .tail_search import Tail, find_tail

Array = NDArray[np.float64]

MOST_SAMPLES = 2000
#: margins tried, as shares of the dual value: what the bound on the energy loses
MARGINS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
#: how often the dual point is scaled anew for neurons met, and what share of the dual value that must gain
MOST_MOVES, LEAST_GAIN = 10, 1e-6


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
        problem, given = question.problem, np.asarray(question.dual, dtype=np.float64)
        deadline = time.monotonic() + limits.seconds
        found = violating_neurons(problem, given)
        dual = rescaled(problem, given, found) if question.movable else given
        if question.movable and _spare(problem, dual, found):
            return _shrunk(problem, dual, found, limits)
        for attempt in range(MOST_MOVES, -1, -1):
            if dual is not given:
                found = np.vstack([found, violating_neurons(problem, dual)])
            left = max(deadline - time.monotonic(), 0.05)
            movable = question.movable and attempt > 0
            outcome, met = _searched(problem, dual, found, replace(limits, seconds=left), movable=movable)
            if outcome is not None:
                break
            found = np.vstack([met, found])
            dual = rescaled(problem, dual, found)
        assert outcome is not None
        return outcome if dual is given else replace(outcome, dual=dual)


def _spare(problem: TwoLayerProblem, dual: Array, found: Array) -> bool:
    """Whether the excess is next to none, so that mass is no constraint at this dual point."""
    assert problem.width is not None
    value = problem.loss.dual_value(dual, problem.targets)
    return problem.width * max(0.0, float(np.max(_excess(problem, dual, found), initial=0.0))) <= 1e-4 * value


def _excess(problem: TwoLayerProblem, dual: Array, neurons: Array) -> Array:
    with np.errstate(all="ignore"):
        response = problem.features(problem.geometry.preactivation(neurons)) @ dual.T
        value = np.square(response).sum(axis=1) - problem.tau * np.square(neurons).sum(axis=1)
    return np.asarray(value[np.isfinite(value)] / (4.0 * problem.lambda2))


def _shrunk(problem: TwoLayerProblem, dual: Array, found: Array, limits: Limits) -> Outcome:
    """The best of ever less shortened dual points, where the excess vanishes at once and is far easier to prove small.

    Shortening gains in proportion to |theta|^2, what a margin of the same loss does not.
    """
    assert problem.width is not None
    deadline = time.monotonic() + limits.seconds
    best, most, met = Outcome(None, None, False, {"reason": "no excess was proved"}), -math.inf, found
    # bounds of third order hardly care for the margin, so that a coarse point is only there for a bound in any case
    smooth = curvature_bound_on(problem.activation, np.zeros(1), np.zeros(1)) is not None
    steps = [3.0 * m for m in (MARGINS[1:2] if smooth else MARGINS[1:])]
    for share in (*(step for step in steps if step > limits.target), limits.target):
        z = (1.0 - share) * dual
        left = deadline - time.monotonic()
        if left <= 0:
            break
        part = replace(limits, seconds=left, target=0.1 * share)
        try:
            outcome, _ = _searched(problem, z, met, part, movable=False)
        except KeyboardInterrupt:
            return replace(best, interrupted=True)
        if outcome is None or outcome.proof is None:
            if outcome is not None and outcome.interrupted:
                return replace(best, interrupted=True)
            continue
        met = np.vstack([outcome.stats["neurons"], met])[:64]
        lower = problem.loss.dual_value(z, problem.targets) - problem.width * outcome.proof.bound
        if lower > most:
            complete = outcome.complete and share <= limits.target  # what is left is the dual point's
            best, most = replace(outcome, dual=z, complete=complete, stats=outcome.stats | {"shortened": share}), lower
        if outcome.interrupted:
            return replace(best, interrupted=True)
    return best


def _searched(
    problem: TwoLayerProblem, dual: Array, found: Array, limits: Limits, *, movable: bool
) -> tuple[Outcome | None, Array]:
    """The answer at this very dual point, or none where neurons that were met call for another length of it; those neurons."""
    assert problem.width is not None
    deadline = time.monotonic() + limits.seconds
    tail: Tail | None = None
    if not _bounded(problem):
        tail = find_tail(problem, dual, 0.2 * limits.seconds)
        if tail is None:
            return Outcome(None, None, False, {"reason": "ever larger neurons gain at this dual point"}), found
    try:
        form = neuron_form(problem, dual, None if tail is None else tail.cost)
    except CertificateError as error:
        return Outcome(None, None, False, {"reason": str(error)}), found
    search = NeuronSearch(form, found, limits.workers, deadline)
    question = question_digest("neurons", problem, dual)
    if limits.checkpoint is not None:
        held = neuron_checkpoint.load(limits.checkpoint, question, form.first, form.rows)
        if held is not None:
            search.resume(held)
    unit = 4.0 * problem.lambda2 / problem.width * max(problem.loss.dual_value(dual, problem.targets), 1e-12)
    top, margin = math.inf, math.inf
    interrupted = False
    try:
        for share in (*(m for m in MARGINS if m > limits.target), limits.target):

            def claim(attained: float, share: float = share) -> float:
                return attained * (1.0 + 1e-12) + share * unit

            def report(open_: int, top: float = top) -> None:
                if limits.progress is not None:
                    limits.progress(excess_upper(problem, top), excess_upper(problem, search.best), open_)

            while True:
                before = search.best
                aim = search.lowered(claim, report, before + 0.01 * unit if movable else math.inf)
                if search.best > before:
                    found = np.vstack([search.neuron[None, :], found])
                    early = time.monotonic() < deadline - 0.5 * limits.seconds
                    if movable and early and rescaled(problem, dual, found, share) is not dual:
                        return None, found
                if search.worst <= aim or search.stopped:
                    break
            if not search.worst <= aim:
                break
            top, margin = aim, share
    except KeyboardInterrupt:  # the stages before this one are whole, and so are their boxes
        interrupted = True
    if limits.checkpoint is not None and (search.stopped or interrupted):
        neuron_checkpoint.save(limits.checkpoint, question, search.cells)
    if search.worst < top:  # stopped on the way
        top, margin = search.worst * (1.0 + 1e-12), (search.worst - search.best) / unit
    stats = {"margin": margin, "neurons": found, "boxes": int(search.bound.size)}
    neuron = found[0] if found.shape[0] else None
    kappa = excess_upper(problem, top)
    if not math.isfinite(kappa):
        return Outcome(None, neuron, False, stats, interrupted=interrupted), found
    artefact = {"top": encode_float(top)} | ({} if tail is None else {"tail": tail.artefact()})
    words = "neurons: branch and bound over boxes of weights"
    proof = SupremumProof("neurons", words, kappa, artefact)
    return Outcome(proof, neuron, margin <= limits.target, stats, interrupted=interrupted), found


def rescaled(problem: TwoLayerProblem, dual: Array, neurons: Array, least: float = LEAST_GAIN) -> Array:
    """x Z for the x that makes D(x Z) - M kappa(x Z) best as far as these neurons (n, r) tell; Z where less than that share is gained.

    A first-order solver leaves Z a little too large, and M kappa is far more sensitive to that than the dual value.
    """
    if not neurons.shape[0]:
        return dual
    with np.errstate(all="ignore"):
        response = problem.features(problem.geometry.preactivation(neurons)) @ dual.T
        gain, cost = np.square(response).sum(axis=1), problem.tau * np.square(neurons).sum(axis=1)
        fine = np.isfinite(gain) & np.isfinite(cost)
        gain, cost = gain[fine], cost[fine]

        def loss(x: float) -> float:
            kappa = float(np.max(x * x * gain - cost, initial=0.0)) / (4.0 * problem.lambda2)
            value = (problem.width or 0.0) * kappa - problem.loss.dual_value(x * dual, problem.targets)
            return value if math.isfinite(value) else 1e300

        found = optimize.minimize_scalar(loss, bounds=(0.0, 1.0), method="bounded", options={"xatol": 1e-10})
        x, now = float(found.x), loss(1.0)
        return x * dual if loss(x) < now - least * abs(now) else dual


ENGINE = NeuronsEngine()

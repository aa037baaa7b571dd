"""Hypercube tasks, any bounded activation under a width, any number of labels: the bound by antipodal pairs of samples.

The checker (``checker.pairs``) has the mathematics. Here: good multipliers s(beta), by convex duality on a grid of s, and
enough nodes. Tight where an optimal dual point has equal zeta and the worst pattern is beta 1 +- gamma v_i.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ..checker.codec import encode_array
from ..checker.pairs import PairForm, kappa, pair_form, replay
from ..checker.tail import largest_cost, limit_activation
from ..errors import CertificateError
from ..problem import TwoLayerProblem
from .engine import Limits, Outcome, ProofEngine, Question, SupremumProof
from .pair_nodes import Nodes
from .tail_search import find_tail

Array = NDArray[np.float64]


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
            # attained as h -> 0 by activations that are steepest there; of others another engine may know more
            steepest = (max(abs(limit.left), abs(limit.right)) for limit in problem.activation.escapes)
            exact = problem.width is not None or max(steepest, default=0.0) >= form.lipschitz * (1.0 - 1e-12)
            proof = SupremumProof("pairs", words, replay(problem, dual, math.inf, artefact), artefact)
            return Outcome(proof, None, exact)
        tail = None
        if not math.isfinite(form.reach):
            tail = find_tail(problem, dual, 0.3 * limits.seconds)
            if tail is None:
                return Outcome(None, None, False, {"reason": "ever larger neurons gain at this dual point"})
            form = pair_form(problem, dual, tail.cost)
            assert form is not None
        gain = max(problem.loss.dual_value(dual, problem.targets), 1e-12)
        tolerance = 0.1 * max(limits.target, 1e-8) * 4.0 * problem.lambda2 / problem.width * gain
        nodes = Nodes(form, problem.activation)
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
        # where no such pattern attains the bound another engine may prove a better one
        tight = problem.width * (bound - two_level_excess(problem, dual, form)) <= max(1e-4, limits.target) * gain
        return Outcome(SupremumProof("pairs", words, bound, artefact), None, complete and tight, stats)


ENGINE = PairsEngine()


def two_level_excess(problem: TwoLayerProblem, dual: Array, form: PairForm) -> float:
    """The largest excess of a pattern beta 1 + gamma v_i met, and at least 0: what the bound is where it is tight."""
    row = int(np.abs(dual).max(axis=1).argmax())
    one, label = np.ones(problem.n_samples), problem.targets[row]
    flat, along = (float(problem.geometry.cost(v[None, :])[0]) for v in (one, label))
    strength, reach = float(np.abs(dual).max()) * problem.n_samples / 2.0, form.reach
    spread = form.box if math.isfinite(form.box) else math.sqrt(form.strength / form.steep) * reach + 1e-300

    def parts(beta: Array, gamma: Array) -> tuple[Array, Array]:
        response = strength * (problem.activation(beta + gamma) - problem.activation(beta - gamma))
        return np.square(response) / (4.0 * problem.lambda2), problem.lambda1 * (beta**2 * flat + gamma**2 * along)

    line = np.sinh(np.linspace(-5.0, 5.0, 301)) / math.sinh(5.0) * spread
    gain, cost = parts(line[:, None], line[None, 151:])
    best, step = 0.0, np.linspace(-1.0, 1.0, 9)
    # the largest excess may lie between points of the grid that all have none: there the ratio is largest
    for values in (gain - cost, gain / cost):
        i, j = np.unravel_index(int(values.argmax()), values.shape)
        beta, gamma, top = line[i], line[151 + j], float(gain[i, j] - cost[i, j])
        width = 0.1 * (abs(beta) + gamma)
        for _ in range(30):
            more, less = parts(beta + width * step[:, None], gamma + width * step[None, :])
            i, j = np.unravel_index(int((more - less).argmax()), more.shape)
            if more[i, j] - less[i, j] > top:
                top, beta, gamma = float(more[i, j] - less[i, j]), beta + width * step[i], gamma + width * step[j]
            width *= 0.5
        best = max(best, top)
    return best


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

    def form_at(x: float) -> PairForm | None:
        cost = None if tail is None else largest_cost(problem, x * dual, tail.proof.bound * (x / 0.9))
        return None if cost == math.inf else pair_form(problem, x * dual, cost)

    def loss(x: float, refined: bool = False) -> float:
        form = form_at(x)
        if form is None:
            return math.inf
        nodes = None if form.harmless else Nodes(form, problem.activation)
        kappa_ = 0.0 if nodes is None else nodes.excess(refined=refined) / (4.0 * problem.lambda2)
        return width * kappa_ - problem.loss.dual_value(x * dual, problem.targets)

    # beyond, the limit's own supremum exceeds 1
    most = 1.1 if tail is None else min(1.1, 0.9 * (1.0 - 1e-5) / tail.proof.bound)

    def attained(x: float) -> float:
        form = form_at(x)
        if form is None:
            return 1e300
        return width * two_level_excess(problem, x * dual, form) - problem.loss.dual_value(x * dual, problem.targets)

    # by the patterns that are worst where the bound is tight, which costs little
    found = optimize.minimize_scalar(
        attained, bounds=(0.9, most), method="bounded", options={"xatol": 1e-8, "maxiter": 40}
    )
    # where the mass is not binding kappa is zero for a slightly smaller Z, whatever the resolution of the proof
    trials = {
        x: loss(x, True) for x in (min(1.0, most), *(float(found.x) * (1.0 - eps) for eps in (0.0, 5e-6, 1.5e-5, 5e-5)))
    }
    best = min(trials, key=lambda x: trials[x])
    if not 0.95 < best < 1.05 or best == 1.0:  # far off: the bound is not tight here
        return dual
    form = form_at(best)
    proved = trials[best] + problem.loss.dual_value(best * dual, problem.targets)  # M kappa
    gain = max(problem.loss.dual_value(dual, problem.targets), 1e-12)
    tight = form is not None and proved - width * two_level_excess(problem, best * dual, form) <= 1e-3 * gain
    return best * dual if tight else dual

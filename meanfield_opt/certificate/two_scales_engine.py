"""Free mass for activations that are not homogeneous: an excess for neurons of some cost, a homogeneous base for smaller ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checker.codec import encode_float
from ..checker.tail import limit_activation
from ..checker.two_scales import BASES, based_on, diagonal_upper, two_scales_sigma, with_unit_width
from ..errors import MeanFieldError
from ..problem import TwoLayerProblem
from .engine import Limits, Outcome, ProofEngine, Question, SupremumProof, applicable
from .pairs_engine import rescaled_dual
from .tail_search import best_ratio, held

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TwoScalesEngine(ProofEngine):
    """sigma for free mass from the width engines; tight where they are and where small neurons gain less than large ones."""

    name = "two_scales"

    def refusal(self, question: Question) -> str | None:
        problem = question.problem
        if question.mode != "ratio":
            return "it is for free mass; under a width the engines it uses apply by themselves."
        phi = problem.activation
        if phi.degree is not None:
            return "for homogeneous activations other engines are exact."
        if not math.isfinite(phi.ratio_bound()):
            return f"|phi(t)|/|t| is unbounded for {phi.name}."
        low, high = phi.bound_on(np.array([-math.inf]), np.array([math.inf]))
        if not math.isfinite(float(high[0] - low[0])) and limit_activation(phi) is None:
            return f"{phi.name} grows, and declares no homogeneous limit."
        if not applicable(Question(with_unit_width(problem), question.dual)):
            return "no engine proves an excess for this problem."
        return None

    def predicted_seconds(self, question: Question) -> float:
        return 5.0

    def tightness(self, question: Question) -> int:
        return 1

    def prove(self, question: Question, limits: Limits) -> Outcome:
        problem, dual = question.problem, np.asarray(question.dual, dtype=np.float64)
        found = _small(problem, dual, 0.1 * limits.seconds)
        if found is None:
            return Outcome(None, None, False, {"reason": "small neurons gain as much as large ones"})
        base, slope, proof, least = found
        # such that what the engines count as small in the energy is small in sigma
        gain = max(problem.loss.dual_value(dual, problem.targets), 1e-300)
        narrow = replace(problem, width=gain / (problem.lambda1 * least), known_=None, recipe_=None)
        moved = rescaled_dual(narrow, dual) if question.movable else dual
        again = None if moved is dual else best_ratio(based_on(problem, base), moved, 0.1 * limits.seconds)
        if again is not None:
            proof, dual = again, moved
        wide = Question(narrow, dual)
        best: SupremumProof | None = None
        complete = interrupted = False
        engines = applicable(wide)
        for k, engine in enumerate(engines):
            share = 0.8 * limits.seconds / (len(engines) - k)
            try:
                outcome = engine.prove(wide, Limits(share, limits.target, limits.workers))
            except KeyboardInterrupt:
                if best is None:
                    raise
                interrupted = True
                break
            if outcome.proof is not None and (best is None or outcome.proof.bound < best.bound):
                best = outcome.proof
            complete, interrupted = outcome.complete and engine.tightness(wide) <= 1, outcome.interrupted
            if complete or interrupted:
                break
        ended = Outcome(None, None, False, {"reason": "no excess was proved"}, interrupted=interrupted)
        if best is None:
            return ended
        sigma = two_scales_sigma(problem, dual, base, slope, least, best.bound, proof.bound)
        if not math.isfinite(sigma):
            return replace(ended, stats={"reason": "small neurons are not bounded"})
        artefact: dict[str, Any] = {
            "base": base,
            "slope": encode_float(slope),
            "least": encode_float(least),
            "excess": held(best),
            "small": held(proof),
        }
        words = f"free mass at two scales: {base} for costs below {least:.2g}; {best.words}"
        stats = {"excess": best.bound, "least": least}
        answer = SupremumProof("two_scales", words, sigma, artefact)
        return Outcome(answer, None, complete, stats, None if again is None else dual, interrupted)


def _small(problem: TwoLayerProblem, dual: Array, seconds: float) -> tuple[str, float, SupremumProof, float] | None:
    """(base, slope, its proof, the largest cost for which small neurons stay below sigma = 1), or None."""
    best: tuple[str, float, SupremumProof, float] | None = None
    diagonal = diagonal_upper(problem.geometry)
    tiny = np.array([1e-9])
    slope = float(problem.activation(tiny)[0] / tiny[0])
    if abs(slope - round(slope)) < 1e-6:
        slope = float(round(slope))
    for base in BASES:
        try:
            proof = best_ratio(based_on(problem, base), dual, 0.5 * seconds)
        except MeanFieldError:
            continue
        if proof is None:
            continue
        enough = max(1.0, abs(slope) * proof.bound) * (1.0 + 1e-9)
        for reach in 2.0 ** np.arange(6.0, -24.0, -0.25):
            least = float(reach**2 / diagonal)
            if two_scales_sigma(problem, dual, base, slope, least, 0.0, proof.bound) <= enough:
                if best is None or least > best[3]:
                    best = base, slope, proof, least
                break
    return best


ENGINE = TwoScalesEngine()

"""The proof for the homogeneous limit of an activation that grows, which bounds the neurons that matter (``checker.tail``)."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checker.codec import encode_float
from ..checker.tail import largest_cost, limit_problem
from ..problem import TwoLayerProblem
from .engine import Limits, Question, SupremumProof, applicable

Array = NDArray[np.float64]
log = logging.getLogger(__name__)

#: how exactly sigma of the limit is asked for: what matters is its distance to 1
TARGET = 1e-5


@dataclass(frozen=True)
class Tail:
    """A proof that sigma bounds the limit's supremum at Z, and the cost beyond which patterns have no excess."""

    proof: SupremumProof
    cost: float

    def artefact(self) -> dict[str, Any]:
        """The proof, to be held by another one."""
        return held(self.proof)


def find_tail(problem: TwoLayerProblem, dual: Array, seconds: float) -> Tail | None:
    """The best of the engines' proofs for the limit, or None where it does not bound the patterns that matter."""
    limit = limit_problem(problem)
    if limit is None:
        return None
    best = best_ratio(limit, dual, seconds)
    if best is None:
        return None
    cost = largest_cost(problem, dual, best.bound)
    log.info("the limit of %s: sigma %.9g, cost %.6g", problem.activation.name, best.bound, cost)
    return Tail(best, cost) if math.isfinite(cost) else None


def best_ratio(problem: TwoLayerProblem, dual: Array, seconds: float) -> SupremumProof | None:
    """The best proof of sigma at this very dual point that the engines find for a problem with free mass."""
    question = Question(problem, dual)
    best: SupremumProof | None = None
    for engine in applicable(question):
        try:
            outcome = engine.prove(question, Limits(seconds, TARGET, 1))
        except (ArithmeticError, np.linalg.LinAlgError) as error:
            log.warning("proof engine %s broke down: %s", engine.name, error)
            continue
        if outcome.interrupted:  # the user means the whole search, of which this is a first part
            raise KeyboardInterrupt
        proof = outcome.proof
        if proof is not None and outcome.dual is None and (best is None or proof.bound < best.bound):
            best = proof
        if outcome.complete and best is proof and engine.tightness(question) <= 1:
            break
    return best


def held(proof: SupremumProof) -> dict[str, Any]:
    """A proof as JSON values, to be held by another one."""
    return {"kind": proof.kind, "words": proof.words, "bound": encode_float(proof.bound), "artefact": proof.artefact}

"""What tests of the input view share: problems without a bias, proofs by that engine, and their replay by the checker."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import meanfield_opt as mfo
from meanfield_opt.certificate import ENGINES, Limits, Outcome, Question
from meanfield_opt.checker.replays import REPLAYS

Array = NDArray[np.float64]


def problem_of(a: Array, y: Array, activation: str = "relu", penalty: float = 0.3) -> mfo.TwoLayerProblem:
    return mfo.problems.dataset(a, y.T, activation=activation, lambda1=penalty, lambda2=penalty, bias=False)


def prove(problem: mfo.TwoLayerProblem, dual: Array, **limits: Any) -> Outcome:
    return ENGINES.get("input_view").prove(
        Question(problem, dual), Limits(**{"seconds": 20.0, "target": 1e-7, **limits})
    )


def replay(problem: mfo.TwoLayerProblem, dual: Array, outcome: Outcome) -> float:
    assert outcome.proof is not None
    return REPLAYS["input_view"](problem, dual, outcome.proof.bound, outcome.proof.artefact)

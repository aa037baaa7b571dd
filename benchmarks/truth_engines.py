"""What every proof engine answers to one question: the loop that the truth tests share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from truth_data import Array, Rng

from meanfield_opt.certificate import ENGINES, Limits, Question, SupremumProof

NOTHING: Mapping[str, float] = {}


def answers(
    question: Question, rng: Rng, *, seconds: float, target: float, skipped: Mapping[str, float] = NOTHING
) -> Iterator[tuple[str, SupremumProof | None, Array]]:
    """(engine, its proof or None, the dual point of the proof) for every engine that takes the question.

    skipped: engines that are left out with some probability. One that breaks down numerically has proved nothing, as in
    ``certify``.
    """
    for name in ENGINES.names():
        engine = ENGINES.get(name)
        if engine.refusal(question) is not None or rng.random() < skipped.get(name, 0.0):
            continue
        try:
            with np.errstate(all="ignore"):
                outcome = engine.prove(question, Limits(seconds=seconds, target=target, workers=1))
        except (ArithmeticError, np.linalg.LinAlgError):
            yield name, None, question.dual
            continue
        proof = outcome.proof if outcome.proof is not None and np.isfinite(outcome.proof.bound) else None
        yield name, proof, question.dual if outcome.dual is None else outcome.dual

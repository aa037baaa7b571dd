"""From a candidate to a certificate. Nothing here reads a solver's status or objective."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checker.bounds import best_rigorous_scale, energy_upper, lower_from_proof
from ..checker.document import write_document
from ..errors import InputError
from ..measure import Measure
from ..problem import MeanFieldProblem, TwoLayerProblem
from ..solution import Solution
from ..symmetry import average_over_hypercube
from .engine import ENGINES, Limits, Outcome, ProofEngine, Question, SupremumProof, applicable

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Certificate:
    """Two-sided bounds on inf E.

    verdict: "proved": the lower bound is rigorous, rounding included, whatever the size of the gap;
    "open": no proof was found, lower_bound is only the trivial one; "refuted": the candidate is proved not optimal
    (``neuron`` lowers the energy).
    """

    problem: MeanFieldProblem
    measure: Measure
    dual: Array
    lower_bound: float
    upper_bound: float
    verdict: str
    proof: str
    supremum: SupremumProof | None
    scale: float
    neuron: Array | None = None
    stats: dict[str, Any] = field(default_factory=dict)

    @property
    def relative_gap(self) -> float:
        """(upper - lower) / max(1e-300, |upper|)."""
        return (self.upper_bound - self.lower_bound) / max(1e-300, abs(self.upper_bound))

    def save(self, path: str | Path) -> None:
        """Write the self-contained certificate file (JSON)."""
        write_document(self, Path(path))


def certify(
    problem: MeanFieldProblem,
    candidate: Any,
    *,
    engine: str = "auto",
    time_limit: float = 60.0,
    target: float = 1e-7,
    workers: int = 2,
    progress: Callable[[float, float, int], None] | None = None,
    checkpoint: str | None = None,
) -> Certificate:
    """Prove two-sided bounds around ``candidate`` (a Solution, a Measure or a torch.nn.Module).

    engine: a registered proof engine by name, or "auto" (chosen by structure and predicted cost).
    """
    if not isinstance(problem, TwoLayerProblem):
        raise InputError(f"certify takes two-layer problems; {type(problem).__name__} has its own certificates.")
    measure, dual = _witnesses(problem, candidate)
    measure, upper = energy_upper(problem, measure)
    limits = Limits(time_limit, target, workers, progress, checkpoint)
    best: tuple[float, float, SupremumProof, Array] | None = None
    neuron: Array | None = None
    for z in _dual_candidates(problem, dual):
        question = Question(problem, z)
        for chosen in _engines(question, engine):
            outcome: Outcome = chosen.prove(question, limits)
            neuron = outcome.neuron if outcome.neuron is not None else neuron
            if outcome.proof is None or not math.isfinite(outcome.proof.bound):
                continue
            scale = best_rigorous_scale(problem, z, outcome.proof.bound)
            lower = lower_from_proof(problem, z, scale, outcome.proof.bound)
            if math.isfinite(lower) and (best is None or lower > best[0]):
                best = (lower, scale, outcome.proof, z)
            if best is not None and upper - best[0] <= 10 * target * abs(upper):
                break
        if best is not None and upper - best[0] <= 10 * target * abs(upper):
            break
    if best is None:
        zero = np.zeros_like(problem.targets)
        trivial = problem.loss.dual_lower(zero, problem.targets, 0.0)
        return Certificate(problem, measure, dual, trivial, upper, "open", "no proof", None, 0.0, neuron)
    lower, scale, proof, z = best
    return Certificate(problem, measure, z, lower, upper, "proved", proof.words, proof, scale, neuron)


def _engines(question: Question, name: str) -> list[ProofEngine]:
    if name == "auto":
        return applicable(question)
    chosen = ENGINES.get(name)
    reason = chosen.refusal(question)
    if reason is not None:
        raise InputError(f"proof engine {name!r} does not apply: {reason}")
    return [chosen]


def _witnesses(problem: TwoLayerProblem, candidate: Any) -> tuple[Measure, Array]:
    if isinstance(candidate, Solution):
        if candidate.problem.fingerprint != problem.fingerprint:
            raise InputError("the solution belongs to another problem (fingerprints differ).")
        return candidate.measure, candidate.dual
    if not isinstance(candidate, Measure):
        from ..validation.networks import measure_from_network

        candidate = measure_from_network(problem, candidate)
    if candidate.atoms.shape[1] != problem.n_samples:
        raise InputError(
            f"the measure has patterns over {candidate.atoms.shape[1]} samples, the problem {problem.n_samples}."
        )
    return candidate, problem.dual_point(candidate)


def _dual_candidates(problem: TwoLayerProblem, dual: Array) -> list[Array]:
    """The dual points worth trying: averaged over the detected or declared symmetry first, then as given."""
    given = problem.loss.project_dual(np.asarray(dual, dtype=np.float64), problem.targets)
    averaged = average_over_hypercube(problem, given)
    if averaged is None and problem.symmetry is not None:
        averaged = problem.symmetry.average_dual(given)
    if averaged is None or np.array_equal(averaged, given):
        return [given]
    return [problem.loss.project_dual(averaged, problem.targets), given]

"""From what a user hands in to the measure and the dual points that are certified."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..measure import Measure
from ..problem import TwoLayerProblem
from ..solution import Solution
from ..symmetry import average_over_hypercube
from .exchange_engine import average_over_types
from .orbital_engine import average_over_classes

Array = NDArray[np.float64]
log = logging.getLogger(__name__)


def witnesses(problem: TwoLayerProblem, candidate: Any) -> tuple[Measure, Array]:
    """Measure and dual point of a Solution, a Measure or a torch module; InputError for what does not fit."""
    if isinstance(candidate, Solution):
        if candidate.problem.fingerprint != problem.fingerprint:
            raise InputError("the solution belongs to another problem (fingerprints differ).")
        return candidate.measure, _usable(problem, candidate.dual, candidate.measure)
    if not isinstance(candidate, Measure):
        if not (callable(candidate) and hasattr(candidate, "state_dict")):
            raise InputError(
                f"certify takes a Solution, a Measure or a torch.nn.Module, not {type(candidate).__name__}."
            )
        from ..validation.networks import measure_from_network

        candidate = measure_from_network(problem, candidate)
    if candidate.atoms.shape[1] != problem.n_samples:
        raise InputError(
            f"the measure has patterns over {candidate.atoms.shape[1]} samples, the problem {problem.n_samples}."
        )
    if problem.width is not None and candidate.total_mass > problem.width * (1 + 1e-9):
        raise InputError(f"the measure's mass {candidate.total_mass:.6g} exceeds the width {problem.width:.6g}.")
    return candidate, problem.dual_point(candidate)


def _usable(problem: TwoLayerProblem, dual: Any, measure: Measure) -> Array:
    """The solution's own dual point if it is a finite array of the right shape, else the one of its measure."""
    array = np.asarray(dual, dtype=np.float64)
    if array.shape == problem.targets.shape and np.isfinite(array).all():
        return array
    log.warning("the solution's dual point is not a finite %s array; the measure's is used.", problem.targets.shape)
    return problem.dual_point(measure)


def dual_candidates(problem: TwoLayerProblem, dual: Array) -> list[Array]:
    """The dual points worth trying: averaged over the detected or declared symmetry first, then as given."""
    given = problem.loss.project_dual(np.asarray(dual, dtype=np.float64), problem.targets)
    averaged = average_over_hypercube(problem, given)
    if averaged is None and problem.symmetry is not None:
        averaged = problem.symmetry.average_dual(given)
    if averaged is None:
        averaged = average_over_types(problem, given)
    if averaged is None:
        averaged = average_over_classes(problem, given)
    if averaged is None or np.array_equal(averaged, given):
        return [given]
    return [problem.loss.project_dual(averaged, problem.targets), given]

"""A certificate of the surrogate with a penalised bias as one of the problem whose hidden bias costs nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checker.bounds import best_rigorous_scale, lower_from_proof
from ..checker.codec import encode_array, encode_float
from ..checker.free_bias import free_bias_sigma
from ..free_bias import REACH, lifted_neurons, shift_and_column
from ..problem import TwoLayerProblem
from .engine import SupremumProof
from .tail_search import held

if TYPE_CHECKING:
    from .record import Certificate


def of_problem(problem: TwoLayerProblem, found: Certificate) -> Certificate:
    """``found`` (of the surrogate, without a refutation) with the supremum, the scale and the lower bound of the problem."""
    found = replace(found, **_neurons(problem, found))
    if found.supremum is None:
        return replace(found, problem=problem)
    inner, free = found.supremum, problem.with_free_mass()
    centre, column = shift_and_column(problem)
    bound = free_bias_sigma(free, found.dual, centre, column, inner.bound)
    scale = best_rigorous_scale(free, found.dual, bound)
    lower = lower_from_proof(free, found.dual, scale, bound)
    trivial = lower_from_proof(free, np.zeros_like(problem.targets), 0.0, 0.0)
    if not lower >= trivial:
        return replace(
            found, problem=problem, lower_bound=trivial, verdict="open", proof="no proof", supremum=None, scale=0.0
        )
    artefact = {
        "centre": encode_array(centre),
        "column": encode_float(column),
        "proof": held(inner),
    }
    words = f"free bias, by a bias column of {column:g}: {inner.words}"
    supremum = SupremumProof("free_bias", words, bound, artefact)
    return replace(found, problem=problem, lower_bound=lower, proof=words, supremum=supremum, scale=scale)


def _neurons(problem: TwoLayerProblem, found: Certificate) -> dict[str, Any]:
    """The neurons met, as neurons of the problem."""
    entries = [dict(entry) for entry in found.stats.get("engines", ())]
    for entry in entries:
        if "neurons" in entry:
            entry["neurons"] = lifted_neurons(problem, np.atleast_2d(entry["neurons"]), REACH)
    neuron = None if found.neuron is None else lifted_neurons(problem, found.neuron[None, :], REACH)[0]
    return {"neuron": neuron, "stats": {**found.stats, "engines": entries}}

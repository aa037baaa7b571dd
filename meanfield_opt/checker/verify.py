"""Check a certificate file against a problem: every number is recomputed, none is believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CertificateError, InputError, MeanFieldError
from ..measure import Measure
from ..plugins import FAMILIES
from ..problem import MeanFieldProblem, TwoLayerProblem
from .bounds import lower_from_proof, network_energy_upper
from .document import decode_array, decode_dual, decode_float, decode_patterns, read_document, recipe_of
from .norm import norm_sigma
from .symmetric import replay_hypercube

Array = NDArray[np.float64]

#: kind of proof -> replay(problem, dual, claimed bound, artefact) -> a rigorous bound on the supremum (or an error)
Replay = Callable[[TwoLayerProblem, Array, float, dict[str, Any]], float]
REPLAYS: dict[str, Replay] = {
    "norm": lambda problem, dual, claimed, artefact: norm_sigma(problem, dual),
    "hypercube": replay_hypercube,
}


@dataclass(frozen=True)
class VerifiedBound:
    """What the checker recomputed and accepts."""

    lower_bound: float
    upper_bound: float
    proof: str
    fingerprint: str

    @property
    def relative_gap(self) -> float:
        """(upper - lower) / max(1e-300, |upper|)."""
        return (self.upper_bound - self.lower_bound) / max(1e-300, abs(self.upper_bound))


def verify(path: str | Path, problem: MeanFieldProblem | None = None) -> VerifiedBound:
    """Recompute a certificate's bounds from the problem's data; CertificateError unless all its claims follow.

    problem: may be left out when the certificate says by name how to rebuild it.
    """
    body = read_document(Path(path))
    if problem is None:
        problem = rebuild(body)
    try:
        return _check(body, problem)
    except CertificateError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, MeanFieldError) as error:
        raise CertificateError(f"the certificate is malformed: {error}") from error


def rebuild(body: dict[str, Any]) -> MeanFieldProblem:
    """The problem that a certificate names."""
    recipe = recipe_of(body)
    if recipe is None:
        raise InputError("this certificate is for data given by a user: pass the problem to check it against.")
    try:
        problem = FAMILIES.get(recipe.family)(**recipe.parameters)
    except (MeanFieldError, TypeError) as error:
        raise CertificateError(
            f"the problem {recipe.family!r} of the certificate cannot be rebuilt: {error}"
        ) from error
    if not isinstance(problem, MeanFieldProblem):
        raise CertificateError(f"{recipe.family!r} does not build a problem.")
    return problem


def _check(body: dict[str, Any], problem: MeanFieldProblem) -> VerifiedBound:
    if not isinstance(problem, TwoLayerProblem):
        raise CertificateError(f"no checker for problems of kind {type(problem).__name__}.")
    if body["problem"]["fingerprint"] != problem.fingerprint:
        raise CertificateError("the certificate belongs to another problem (fingerprints differ).")
    claims = body["claims"]
    lower, upper = decode_float(claims["lower"], "the lower bound"), decode_float(claims["upper"], "the upper bound")
    primal = body["primal"]
    packed = primal["atoms"]
    compact = decode_patterns(packed) if isinstance(packed, dict) and "labels" in packed else None
    measure = Measure(
        decode_array(packed, "atoms", ndim=2) if compact is None else compact.arrays(problem.targets),
        decode_array(primal["masses"], "masses", ndim=1),
        None if primal["neurons"] is None else decode_array(primal["neurons"], "neurons", ndim=2),
        None if primal["readout"] is None else decode_array(primal["readout"], "readout", ndim=2),
        compact,
    )
    actual_upper = _upper(problem, measure)
    if not actual_upper <= upper:
        raise CertificateError(f"the measure does not prove the upper bound: {actual_upper!r} > {upper!r}.")
    proof = body["proof"]
    dual = decode_dual(body["dual"], problem.targets)
    if dual.shape != problem.targets.shape:
        raise CertificateError(f"the dual point has shape {dual.shape}, the targets {problem.targets.shape}.")
    if proof is None:
        words = "trivial bound"
        actual_lower = problem.loss.dual_lower(np.zeros_like(dual), problem.targets, 0.0)
    else:
        kind, words = proof["kind"], str(proof["words"])
        if kind not in REPLAYS:
            raise CertificateError(f"proofs of kind {kind!r} are unknown to this checker.")
        claimed = decode_float(proof["bound"], "the supremum")
        bound = REPLAYS[kind](problem, dual, claimed, proof["artefact"])
        if not 0 <= bound <= claimed:
            raise CertificateError(f"the proof gives the supremum {bound!r}, not the claimed {claimed!r}.")
        actual_lower = lower_from_proof(problem, dual, decode_float(body["scale"], "the scale"), claimed)
    if not actual_lower >= lower:
        raise CertificateError(f"the proof does not reach the lower bound: {actual_lower!r} < {lower!r}.")
    return VerifiedBound(lower, upper, words, problem.fingerprint)


def _upper(problem: TwoLayerProblem, measure: Measure) -> float:
    if measure.n_atoms == 0:
        zero = np.zeros_like(problem.targets)
        return problem.loss.value_upper(zero, zero, problem.targets)
    if measure.atoms.shape[1] != problem.n_samples or not (measure.masses > 0).all():
        raise CertificateError("the measure does not fit the problem, or has atoms without mass.")
    return network_energy_upper(problem, measure)

"""Check a certificate file against a problem: every number is recomputed, none is believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..activations.check import check_activation
from ..errors import CertificateError, MeanFieldError
from ..measure import Measure
from ..plugins import Registry
from ..problem import MeanFieldProblem, TwoLayerProblem
from .assumptions import assumptions
from .bounds import lower_from_proof
from .codec import decode_float, expect_keys
from .compact import decode_dual
from .document import MALFORMED, decode_measure, read_document
from .embed import settle_problem
from .primal import primal_energy_upper
from .refute import measure_energy_lower
from .replays import supremum

Array = NDArray[np.float64]

#: under a width that binds: a proof for the problem without its width
FREE_MASS = "free_mass"
#: what a certificate for a two-layer problem contains
_BODY = {"format", "version", "problem", "primal", "dual", "scale", "proof", "refutation", "claims"}


@dataclass(frozen=True)
class VerifiedBound:
    """What the checker recomputed and accepts. assumptions: what the bounds take for granted, one sentence each."""

    lower_bound: float
    upper_bound: float
    proof: str
    fingerprint: str
    verdict: str = "proved"
    assumptions: tuple[str, ...] = ()

    @property
    def relative_gap(self) -> float:
        """(upper - lower) / max(1e-300, |upper|)."""
        return (self.upper_bound - self.lower_bound) / max(1e-300, abs(self.upper_bound))


#: kind of problem (its class name) -> checker(body, given problem or None), for problems other than two-layer ones
Checker = Callable[[dict[str, Any], MeanFieldProblem | None], VerifiedBound]
CHECKERS: Registry[Checker] = Registry("meanfield_opt.checkers", "certificate checker", callable)


def verify(path: str | Path, problem: MeanFieldProblem | None = None) -> VerifiedBound:
    """Recompute a certificate's bounds from the problem's data; CertificateError unless all its claims follow.

    problem: may be left out, because the certificate says by recipe or by data which problem it is for. If given, it
    must be that problem.
    """
    body = read_document(path)
    try:
        # overflow and NaN are answered by the comparisons below, not by numpy's warnings
        with np.errstate(all="ignore"):
            return _check(body, problem)
    except CertificateError:
        raise
    except (*MALFORMED, AssertionError, np.linalg.LinAlgError, MeanFieldError) as error:
        raise CertificateError(f"the certificate is malformed: {error}") from error


def _check(body: dict[str, Any], given: MeanFieldProblem | None) -> VerifiedBound:
    kind = body["problem"]["kind"]
    if kind != "two-layer":
        if kind not in CHECKERS.names():
            raise CertificateError(f"certificates for problems of kind {kind!r} are unknown to this checker.")
        return CHECKERS.get(kind)(body, given)
    expect_keys(body, _BODY, "the certificate")
    problem = settle_problem(body["problem"], given)
    if not isinstance(problem, TwoLayerProblem):
        raise CertificateError(f"the certificate is for a two-layer problem, not a {type(problem).__name__}.")
    if not problem.activation.rigorous:
        raise CertificateError(
            f"activation {problem.activation.name!r} has no rigorous range: nothing can be verified."
        )
    if not problem.loss.rigorous:
        raise CertificateError(f"loss {problem.loss.name!r} has no rigorous bounds: nothing can be verified.")
    check_activation(problem.activation)
    claims, proof, refutation = body["claims"], body["proof"], body["refutation"]
    expect_keys(claims, {"lower", "upper", "verdict"}, "the claims")
    lower, upper = decode_float(claims["lower"], "the lower bound"), decode_float(claims["upper"], "the upper bound")
    actual_upper = primal_energy_upper(problem, body["primal"], "the primal witness")
    if not actual_upper <= upper:
        raise CertificateError(f"the measure does not prove the upper bound: {actual_upper!r} > {upper!r}.")
    dual = decode_dual(body["dual"], problem.targets)
    if dual.shape != problem.targets.shape:
        raise CertificateError(f"the dual point has shape {dual.shape}, the targets {problem.targets.shape}.")
    scale = decode_float(body["scale"], "the scale")
    if proof is None:
        words = "no proof: the trivial bound min L"
        if scale != 0.0:
            raise CertificateError("a certificate without a proof has scale 0.")
        actual_lower = lower_from_proof(problem, dual * 0.0, 0.0, 0.0)
    else:
        # a bound under free mass is one under any width; for phi of degree 1 nothing else is proved
        mass_free = problem if problem.width_binds else problem.with_free_mass()
        actual_lower, words = _replayed(mass_free, dual, scale, proof)
    if not actual_lower >= lower:
        raise CertificateError(f"the proof does not reach the lower bound: {actual_lower!r} < {lower!r}.")
    expected = "open" if proof is None else "proved"
    if refutation is not None:
        expected = "refuted"
        _check_refutation(problem, decode_measure(problem, body["primal"], "the primal witness"), refutation)
    if claims["verdict"] != expected:
        raise CertificateError(f"the verdict {claims['verdict']!r} does not follow; it should be {expected!r}.")
    return VerifiedBound(lower, upper, words, problem.fingerprint, expected, assumptions(problem))


def _replayed(problem: TwoLayerProblem, dual: Array, scale: float, proof: Any) -> tuple[float, str]:
    if isinstance(proof, dict) and proof.get("kind") == FREE_MASS and problem.width is not None:
        # what holds for all measures holds for those within the width
        expect_keys(proof, {"kind", "words", "bound", "artefact"}, "the proof")
        expect_keys(proof["artefact"], {"proof"}, "the proof for free mass")
        free = problem.with_free_mass()
        bound = supremum(free, dual, proof["artefact"]["proof"])
        if not bound <= decode_float(proof["bound"], "the supremum") or not isinstance(proof["words"], str):
            raise CertificateError("the proof for free mass does not give the supremum claimed.")
        return lower_from_proof(free, dual, scale, bound), proof["words"]
    claimed = supremum(problem, dual, proof)
    return lower_from_proof(problem, dual, scale, claimed), proof["words"]


def _check_refutation(problem: TwoLayerProblem, candidate: Measure, value: Any) -> None:
    """Replay: some other measure is proved to have less energy than the candidate is proved to have at least."""
    expect_keys(value, {"primal", "upper", "candidate_lower"}, "the refutation")
    upper = decode_float(value["upper"], "the better measure's energy")
    least = decode_float(value["candidate_lower"], "the candidate's energy")
    if not primal_energy_upper(problem, value["primal"], "the better measure") <= upper:
        raise CertificateError("the better measure does not have the energy claimed for it.")
    if not measure_energy_lower(problem, candidate) >= least:
        raise CertificateError("the candidate's energy is not shown to be as large as claimed.")
    if not upper < least:
        raise CertificateError("the refutation does not show a better measure.")

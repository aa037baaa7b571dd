"""The certificate file: versioned JSON, exact hexadecimal floats, a digest over everything."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CertificateError
from ..files import write_text
from ..measure import Measure
from ..problem import MeanFieldProblem, TwoLayerProblem
from ..validate import file_path
from .codec import decode_array, decode_float, encode_array, encode_float, expect_keys
from .compact import decode_patterns, encode_dual, encode_patterns
from .embed import neurons_define, problem_entry

if TYPE_CHECKING:
    from ..certificate.record import Certificate

__all__ = ["decode_array", "decode_float", "encode_array", "encode_float", "read_document", "write_document"]

FORMAT = "meanfield-opt certificate"
VERSION = 1

#: what the decoding of a malformed file may raise
MALFORMED = (KeyError, TypeError, ValueError, IndexError, ArithmeticError, AttributeError, RuntimeError, MemoryError)


def digest(body: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON text."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def encode_measure(problem: MeanFieldProblem, measure: Measure) -> dict[str, Any]:
    """A measure by whichever of its patterns and its neurons defines it in the problem's geometry (never both)."""
    by_neurons = isinstance(problem, TwoLayerProblem) and measure.neurons is not None and neurons_define(problem)
    atoms = None
    if measure.compact is not None:
        by_neurons, atoms = False, encode_patterns(measure.compact)
    elif not by_neurons:
        atoms = encode_array(measure.atoms)
    return {
        "masses": encode_array(measure.masses),
        "atoms": atoms,
        "neurons": encode_array(measure.neurons) if by_neurons and measure.neurons is not None else None,
        "readout": None if measure.readout is None else encode_array(measure.readout),
    }


def decode_measure(problem: TwoLayerProblem, value: Any, what: str) -> Measure:
    """The inverse of ``encode_measure``, checked against the problem's sizes."""
    expect_keys(value, {"masses", "atoms", "neurons", "readout"}, what)
    masses = decode_array(value["masses"], f"{what}: masses", ndim=1)
    if (value["atoms"] is None) == (value["neurons"] is None):
        raise CertificateError(f"{what} must give either patterns or neurons.")
    neurons = compact = None
    if value["neurons"] is not None:
        if not neurons_define(problem):
            raise CertificateError(f"{what} gives neurons where the geometry needs patterns.")
        neurons = decode_array(value["neurons"], f"{what}: neurons", ndim=2)
        if neurons.shape != (masses.size, problem.geometry.n_parameters):
            raise CertificateError(f"{what} does not fit the problem: its neurons have shape {neurons.shape}.")
        atoms = problem.geometry.preactivation(neurons)
    elif isinstance(value["atoms"], dict) and "labels" in value["atoms"]:
        compact = decode_patterns(value["atoms"])
        atoms = compact.arrays(problem.targets)
    else:
        atoms = decode_array(value["atoms"], f"{what}: atoms", ndim=2)
    if atoms.shape != (masses.size, problem.n_samples) or not (masses > 0).all():
        raise CertificateError(f"{what} does not fit the problem, or has atoms without mass.")
    readout = None if value["readout"] is None else decode_array(value["readout"], f"{what}: readout", ndim=2)
    if masses.size and (readout is None or readout.shape != (problem.n_outputs, masses.size)):
        raise CertificateError(f"{what} needs output weights of shape ({problem.n_outputs}, {masses.size}).")
    if not all(np.isfinite(atom).all() for atom in atoms):
        raise CertificateError(f"{what} has patterns that overflow.")
    return Measure(atoms, masses, neurons, readout, compact)


def certificate_body(certificate: Certificate) -> dict[str, Any]:
    """The certificate as JSON values, without its digest."""
    problem = certificate.problem
    proof, refuted = certificate.supremum, certificate.refutation
    dual_targets = problem.targets if isinstance(problem, TwoLayerProblem) else np.zeros((0, 0))
    return {
        "format": FORMAT,
        "version": VERSION,
        "problem": problem_entry(problem),
        "primal": encode_measure(problem, certificate.measure),
        "dual": encode_dual(dual_targets, certificate.dual),
        "scale": encode_float(certificate.scale),
        "proof": None
        if proof is None
        else {"kind": proof.kind, "words": proof.words, "bound": encode_float(proof.bound), "artefact": proof.artefact},
        "refutation": None
        if refuted is None
        else {
            "primal": encode_measure(problem, refuted.better),
            "upper": encode_float(refuted.upper),
            "candidate_lower": encode_float(refuted.candidate_lower),
        },
        "claims": {
            "lower": encode_float(certificate.lower_bound),
            "upper": encode_float(certificate.upper_bound),
            "verdict": certificate.verdict,
        },
    }


def write_document(certificate: Certificate, path: str | Path) -> None:
    """Write atomically: an interrupted save leaves no half file under the final name."""
    body = dict(certificate.document) if certificate.document is not None else certificate_body(certificate)
    text = json.dumps({**body, "digest": digest(body)}, sort_keys=True, separators=(",", ":"), allow_nan=False)
    write_text(path, text, "the certificate")


def _no_constant(name: str) -> Any:
    raise CertificateError(f"the certificate contains {name}, which is no number.")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise CertificateError(f"the certificate holds the number {text[:40]}, which is not finite.")
    return value


def _seals(text: str, claimed: Any) -> bool:
    """Whether the text as it stands, without its digest, has that digest: so it is where ``write_document`` wrote it.

    This saves writing millions of digits out again; whatever is not canonical is compared in its canonical form.
    """
    entry = f'"digest":"{claimed}",'
    if text.count(entry) != 1:
        return False
    return str(claimed) == hashlib.sha256(text.replace(entry, "").encode()).hexdigest()


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise CertificateError("the certificate names an entry twice.")
    return value


def read_document(path: str | Path, form: str = FORMAT, version: int = VERSION) -> dict[str, Any]:
    """Parse, check format, version and digest; CertificateError with the reason otherwise."""
    path = file_path(path, "the path of a certificate")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CertificateError(f"cannot read {path}: {error.strerror or error}.") from error
    try:
        text = raw.decode()
        body = json.loads(text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise CertificateError(
            f"{path.name} is not a certificate file: it does not parse as JSON ({error})."
        ) from error
    if not isinstance(body, dict) or body.get("format") != form:
        raise CertificateError(f"{path.name} is not a {form}.")
    if type(body.get("version")) is not int or body["version"] != version:
        raise CertificateError(f"certificate version {body.get('version')!r} is unknown; this checker reads {version}.")
    claimed = body.pop("digest", None)
    if _seals(text, claimed):
        return body
    try:
        actual = digest(body)
    except (ValueError, RecursionError) as error:
        raise CertificateError(
            f"the certificate holds a number that is not finite, or nests too deep: {error}."
        ) from error
    if claimed != actual:
        raise CertificateError("the digest does not match the content: the file was altered or damaged.")
    return body

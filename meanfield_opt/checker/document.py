"""The certificate file: versioned JSON, exact hexadecimal floats, a digest over everything."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CertificateError
from ..label_patterns import LabelPatterns
from ..problem import Recipe
from .hypercube import scales_of, sign_classes

if TYPE_CHECKING:
    from ..certificate.certify import Certificate

Array = NDArray[np.float64]

FORMAT = "meanfield-opt certificate"
VERSION = 1


def encode_float(x: float) -> str:
    """A finite float, exactly."""
    return float(x).hex()


def decode_float(text: Any, what: str) -> float:
    """The inverse of ``encode_float``; CertificateError for anything not finite."""
    try:
        value = float.fromhex(text)
    except (TypeError, ValueError, OverflowError) as error:
        raise CertificateError(f"{what} is not a hexadecimal float.") from error
    if not math.isfinite(value) or value.hex() != text:
        raise CertificateError(f"{what} is not a finite float in canonical form.")
    return value


def encode_array(array: Array) -> dict[str, Any]:
    """A float64 array as its shape and the hexadecimal digits of its little-endian bytes."""
    return {"shape": list(array.shape), "f8": np.ascontiguousarray(array, dtype="<f8").tobytes().hex()}


def decode_array(value: Any, what: str, *, ndim: int) -> Array:
    """The inverse of ``encode_array``; CertificateError for wrong shapes, sizes, or numbers not finite."""
    try:
        shape = tuple(int(n) for n in value["shape"])
        array = np.frombuffer(bytes.fromhex(value["f8"]), dtype="<f8").reshape(shape).astype(np.float64)
    except (TypeError, KeyError, ValueError) as error:
        raise CertificateError(f"{what} is not an encoded array.") from error
    if array.ndim != ndim or any(n < 0 for n in shape):
        raise CertificateError(f"{what} must have {ndim} dimensions; its shape is {shape}.")
    if not np.isfinite(array).all():
        raise CertificateError(f"{what} contains NaN or infinity.")
    return array


def encode_patterns(patterns: LabelPatterns) -> dict[str, Any]:
    """Patterns that depend on few labels: for each its labels and its table."""
    tables = [[encode_float(value) for value in table] for table in patterns.tables]
    return {"labels": [list(chosen) for chosen in patterns.labels], "tables": tables}


def decode_patterns(value: Any) -> LabelPatterns:
    """The inverse of ``encode_patterns``."""
    labels, tables = value["labels"], value["tables"]
    if not all(type(label) is int for chosen in labels for label in chosen):
        raise CertificateError("the labels of a pattern must be integers.")
    numbers = tuple(tuple(decode_float(x, "a pattern's value") for x in table) for table in tables)
    return LabelPatterns(tuple(tuple(chosen) for chosen in labels), numbers)


def encode_dual(targets: Array, dual: Array) -> dict[str, Any]:
    """Z (d_Y, P): as zeta where Z = diag(zeta) Y exactly for a matrix of signs Y, in full otherwise."""
    if sign_classes(targets) is not None:
        zeta = scales_of(dual, targets)
        if zeta is not None:
            return {"zeta": [encode_float(x) for x in zeta]}
    return encode_array(dual)


def decode_dual(value: Any, targets: Array) -> Array:
    """The inverse of ``encode_dual``."""
    if not isinstance(value, dict) or "zeta" not in value:
        return decode_array(value, "the dual point", ndim=2)
    zeta = np.array([decode_float(x, "the dual point") for x in value["zeta"]])
    if zeta.shape != (targets.shape[0],):
        raise CertificateError(f"the dual point has {zeta.size} rows, the targets {targets.shape[0]}.")
    return np.asarray(zeta[:, None] * targets)


def digest(body: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON text."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def certificate_body(certificate: Certificate) -> dict[str, Any]:
    """The certificate as JSON values, without its digest."""
    problem, measure = certificate.problem, certificate.measure
    recipe = problem.recipe
    proof = certificate.supremum
    return {
        "format": FORMAT,
        "version": VERSION,
        "problem": {
            "fingerprint": problem.fingerprint,
            "recipe": None if recipe is None else {"family": recipe.family, "parameters": dict(recipe.parameters)},
            "description": problem.describe(),
        },
        "primal": {
            "masses": encode_array(measure.masses),
            "atoms": encode_array(measure.atoms) if measure.compact is None else encode_patterns(measure.compact),
            "neurons": None if measure.neurons is None else encode_array(measure.neurons),
            "readout": None if measure.readout is None else encode_array(measure.readout),
        },
        "dual": encode_dual(problem.targets, certificate.dual),
        "scale": encode_float(certificate.scale),
        "proof": None
        if proof is None
        else {"kind": proof.kind, "words": proof.words, "bound": encode_float(proof.bound), "artefact": proof.artefact},
        "claims": {
            "lower": encode_float(certificate.lower_bound),
            "upper": encode_float(certificate.upper_bound),
            "verdict": certificate.verdict,
        },
    }


def write_document(certificate: Certificate, path: Path) -> None:
    """Write atomically: an interrupted save leaves no half file under the final name."""
    body = certificate_body(certificate)
    text = json.dumps({**body, "digest": digest(body)}, sort_keys=True, separators=(",", ":"), allow_nan=False)
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    part.replace(path)


def _no_constant(name: str) -> Any:
    raise CertificateError(f"the certificate contains {name}, which is no number.")


def read_document(path: Path) -> dict[str, Any]:
    """Parse, check format, version and digest; CertificateError with the reason otherwise."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CertificateError(f"cannot read {path}: {error.strerror or error}.") from error
    try:
        body = json.loads(raw.decode(), parse_constant=_no_constant)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CertificateError(
            f"{path.name} is not a certificate file: it does not parse as JSON ({error})."
        ) from error
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise CertificateError(f"{path.name} is not a meanfield-opt certificate.")
    if body.get("version") != VERSION:
        raise CertificateError(f"certificate version {body.get('version')!r} is unknown; this checker reads {VERSION}.")
    claimed = body.pop("digest", None)
    try:
        actual = digest(body)
    except ValueError as error:
        raise CertificateError(f"the certificate holds a number that is not finite: {error}.") from error
    if claimed != actual:
        raise CertificateError("the digest does not match the content: the file was altered or damaged.")
    return body


def recipe_of(body: dict[str, Any]) -> Recipe | None:
    """The recipe of the problem, if the certificate carries one."""
    try:
        recipe = body["problem"]["recipe"]
        return None if recipe is None else Recipe(str(recipe["family"]), dict(recipe["parameters"]))
    except (TypeError, KeyError, ValueError) as error:
        raise CertificateError("the certificate does not say which problem it is for.") from error

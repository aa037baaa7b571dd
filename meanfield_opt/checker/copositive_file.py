"""Copositivity certificates as files: exact integers in JSON, a digest over everything, and their verification."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..errors import CertificateError
from .codec import integer, rational
from .copositive import replay, replay_witness, replay_zero
from .document import MALFORMED, read_document

FORMAT = "meanfield-opt copositivity certificate"
VERSION = 1
LARGE = 1 << 200


def encode(value: Any) -> Any:
    """JSON values with large integers as hexadecimal text and Fractions as pairs."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, Fraction):
        return encode_rational(value)
    if isinstance(value, int):
        return hex(value) if abs(value) >= LARGE else value
    if isinstance(value, dict):
        return {str(k): encode(v) for k, v in value.items()}
    return [encode(v) for v in value]


def encode_rational(value: Fraction) -> Any:
    """An integer, or [numerator, denominator]."""
    if value.denominator == 1:
        return encode(value.numerator)
    return [encode(value.numerator), encode(value.denominator)]


def matrix_digest(entries: Sequence[Sequence[int]], denominator: int) -> str:
    """SHA-256 of a rational matrix in lowest terms (independent of the way in which it was given)."""
    hasher = hashlib.sha256(str(len(entries)).encode())
    for row in entries:
        for v in row:
            value = Fraction(v, denominator)
            hasher.update(f"{value.numerator:x}/{value.denominator:x};".encode())
    return hasher.hexdigest()


@dataclass(frozen=True)
class VerifiedCopositivity:
    """What the checker saw again: "copositive" (strict or not) or "not copositive"."""

    answer: str
    strict: bool | None
    order: int


def verify_copositivity(
    path: str | Path, matrix: tuple[Sequence[Sequence[int]], int] | None = None
) -> VerifiedCopositivity:
    """Check a certificate file; ``matrix`` = (integer entries, denominator) must be the one it is about, if given."""
    body = read_document(path, FORMAT, VERSION)
    try:
        return _verify(body, matrix)
    except MALFORMED as error:
        raise CertificateError(f"the copositivity certificate is malformed: {error!r}") from error


def _verify(body: dict[str, Any], matrix: tuple[Sequence[Sequence[int]], int] | None) -> VerifiedCopositivity:
    entries = [[integer(v) for v in row] for row in body["entries"]]
    denominator, n = integer(body["denominator"]), len(entries)
    if denominator <= 0 or n == 0 or any(len(row) != n for row in entries):
        raise CertificateError("the certificate holds no square matrix.")
    if any(entries[i][j] != entries[j][i] for i in range(n) for j in range(i)):
        raise CertificateError("the certificate's matrix is not symmetric.")
    name = matrix_digest(entries, denominator)
    if name != body["matrix"] or (matrix is not None and name != matrix_digest(*matrix)):
        raise CertificateError("the certificate belongs to another matrix.")
    if body["answer"] == "not copositive":
        replay_witness(entries, [rational(v) for v in body["witness"]])
        return VerifiedCopositivity("not copositive", None, n)
    if body["answer"] != "copositive":
        raise CertificateError(f"unknown answer {body['answer']!r}.")
    strict = replay(entries, body["proof"])
    if body["zero"] is not None:
        replay_zero(entries, [rational(v) for v in body["zero"]])
    claimed = body["strict"]
    if claimed not in (True, False, None) or (claimed and not strict) or (claimed is False and body["zero"] is None):
        raise CertificateError("the claim about strictness does not follow from the certificate.")
    return VerifiedCopositivity("copositive", claimed, n)

"""Witnesses of hypercube tasks in few numbers: patterns as tables over labels, dual points as multiples of the labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CertificateError
from ..label_patterns import LabelPatterns
from .codec import decode_array, decode_float, encode_array, encode_float, expect_keys
from .hypercube import scales_of, sign_classes

Array = NDArray[np.float64]


def encode_patterns(patterns: LabelPatterns) -> dict[str, Any]:
    """Patterns that depend on few labels: for each its labels and its table."""
    tables = [[encode_float(value) for value in table] for table in patterns.tables]
    return {"labels": [list(chosen) for chosen in patterns.labels], "tables": tables}


def decode_patterns(value: Any) -> LabelPatterns:
    """The inverse of ``encode_patterns``."""
    expect_keys(value, {"labels", "tables"}, "the patterns")
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
    expect_keys(value, {"zeta"}, "the dual point")
    zeta = np.array([decode_float(x, "the dual point") for x in value["zeta"]])
    if zeta.shape != (targets.shape[0],):
        raise CertificateError(f"the dual point has {zeta.size} rows, the targets {targets.shape[0]}.")
    return np.asarray(zeta[:, None] * targets)

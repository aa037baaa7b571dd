"""Numbers and arrays as exact JSON values: hexadecimal floats, little-endian bytes; and their strict decoding."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CertificateError

Array = NDArray[np.float64]


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
    expect_keys(value, {"shape", "f8"}, what)
    shape, text = value["shape"], value["f8"]
    if not (isinstance(shape, list) and isinstance(text, str) and all(type(n) is int and n >= 0 for n in shape)):
        raise CertificateError(f"{what} is not an encoded array.")
    if len(shape) != ndim:
        raise CertificateError(f"{what} must have {ndim} dimensions; its shape is {shape}.")
    if len(text) != 16 * math.prod(shape):
        raise CertificateError(f"{what} does not hold as many numbers as its shape {shape} says.")
    try:
        array = np.frombuffer(bytes.fromhex(text), dtype="<f8").reshape(shape).astype(np.float64)
    except (ValueError, OverflowError) as error:
        raise CertificateError(f"{what} is not an encoded array.") from error
    if not np.isfinite(array).all():
        raise CertificateError(f"{what} contains NaN or infinity.")
    return array


def expect_keys(value: Any, keys: set[str], what: str) -> None:
    """CertificateError unless ``value`` is an object with exactly these keys."""
    if not isinstance(value, dict):
        raise CertificateError(f"{what} must be an object, not {type(value).__name__}.")
    if set(value) != keys:
        odd = sorted(set(value) ^ keys)
        raise CertificateError(f"{what} has missing or unknown entries: {', '.join(map(str, odd[:5]))}.")


def integer(value: Any) -> int:
    """A JSON integer (hexadecimal text where large)."""
    if isinstance(value, str):
        return int(value, 16)
    if type(value) is not int:
        raise TypeError(f"{value!r} is not an integer")
    return value


def rational(value: Any) -> Fraction:
    """A JSON rational: an integer, or a pair [numerator, denominator]."""
    if isinstance(value, list):
        top, bottom = value
        return Fraction(integer(top), integer(bottom))
    return Fraction(integer(value))

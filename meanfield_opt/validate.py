"""Checks of user input, each ending in a typed, one-line, actionable error."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError

Array = NDArray[np.float64]

SHOWN = 60  # characters of a wrong value that an error message repeats


def shown(value: Any) -> str:
    """A value as error messages show it: one line, not long."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a foreign __repr__, or an int of more digits than Python converts
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def numbers_of(value: ArrayLike, name: str) -> Array:
    """``value`` as a float64 array (itself where it is one) of any shape and any entries; InputError if it is none."""
    if np.ma.is_masked(value):
        raise InputError(f"{name} has masked entries; fill or remove them.")
    try:
        raw = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{name} is not a rectangular array of numbers: {error}") from error
    if raw.dtype == object or raw.dtype.kind not in "biuf":
        raise InputError(f"{name} must hold real numbers, not {raw.dtype} entries.")
    return np.asarray(raw, dtype=np.float64)


def real_array(value: ArrayLike, name: str, *, ndim: int | tuple[int, ...] | None = None) -> Array:
    """A float64 copy of ``value`` with finite entries and the wanted number of dimensions; InputError otherwise."""
    array = np.array(numbers_of(value, name))
    wanted = (ndim,) if isinstance(ndim, int) else ndim
    if wanted is not None and array.ndim not in wanted:
        raise InputError(f"{name} must have {' or '.join(map(str, wanted))} dimension(s); its shape is {array.shape}.")
    if array.size == 0:
        raise InputError(f"{name} is empty (shape {array.shape}); at least one entry is needed.")
    if not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))[0]
        raise InputError(
            f"{name} contains NaN or infinity (first at index {tuple(int(i) for i in bad)}); remove or impute it."
        )
    return array


def positive(value: Any, name: str) -> float:
    """``value`` as a float > 0; InputError otherwise."""
    number = real(value, name)
    if not number > 0:
        raise InputError(f"{name} must be positive, not {number!r}.")
    return number


def nonnegative(value: Any, name: str) -> float:
    """``value`` as a float >= 0; InputError otherwise."""
    number = real(value, name)
    if number < 0:
        raise InputError(f"{name} must not be negative, not {number!r}.")
    return number


def real(value: Any, name: str) -> float:
    """``value`` as a finite float; InputError otherwise (bool and text are refused)."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (numbers.Real, np.floating, np.integer)):
        raise InputError(f"{name} must be a real number, not {shown(value)}.")
    try:
        number = float(value)
    except (OverflowError, ValueError, TypeError):
        number = math.inf
    if not math.isfinite(number):
        raise InputError(f"{name} must be finite, not {number!r}.")
    return number


def integer(value: Any, name: str, *, least: int, most: int | None = None) -> int:
    """``value`` as an int in [least, most]; InputError otherwise."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise InputError(f"{name} must be an integer, not {shown(value)}.")
    number = int(value)
    if number < least or (most is not None and number > most):
        span = f"at least {least}" if most is None else f"between {least} and {most}"
        raise InputError(f"{name} must be {span}, not {shown(number)}.")
    return number


def seconds(value: Any, name: str) -> float:
    """A time limit: a float > 0, math.inf for none; InputError otherwise."""
    return math.inf if isinstance(value, float) and value == math.inf else positive(value, name)


def flag(value: Any, name: str) -> bool:
    """``value`` as a bool; InputError for anything that is not one (numbers, texts, arrays)."""
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(f"{name} must be True or False, not {shown(value)}.")
    return bool(value)


def one_of(value: Any, name: str, known: Sequence[str]) -> str:
    """``value`` if it is one of the ``known`` words; InputError naming them otherwise."""
    if not isinstance(value, str) or value not in known:
        raise InputError(f"{name} must be {', '.join(known[:-1])} or {known[-1]}, not {shown(value)}.")
    return value


def instance(value: Any, kind: type | tuple[type, ...], name: str, wanted: str) -> None:
    """InputError unless ``value`` is an instance: ``name`` must be ``wanted`` (in words)."""
    if not isinstance(value, kind):
        raise InputError(f"{name} must be {wanted}, not {shown(value)}.")


def file_path(value: Any, name: str = "the path") -> Path:
    """``value`` as a Path; InputError for what cannot name a file."""
    if not isinstance(value, (str, os.PathLike)) or "\0" in os.fsdecode(value):
        raise InputError(f"{name} must name a file, not {shown(value)}.")
    return Path(os.fsdecode(value))

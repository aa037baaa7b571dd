"""Checks of user input, each ending in a typed, one-line, actionable error."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError

Array = NDArray[np.float64]


def real_array(value: ArrayLike, name: str, *, ndim: int | tuple[int, ...] | None = None) -> Array:
    """A float64 copy of ``value`` with finite entries and the wanted number of dimensions; InputError otherwise."""
    try:
        raw = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InputError(f"{name} is not a rectangular array of numbers: {error}") from error
    if raw.dtype == object or raw.dtype.kind not in "biuf":
        raise InputError(f"{name} must hold real numbers, not {raw.dtype} entries.")
    array = np.array(raw, dtype=np.float64)
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
        raise InputError(f"{name} must be a real number, not {value!r}.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InputError(f"{name} must be finite, not {number!r}.")
    return number


def integer(value: Any, name: str, *, least: int, most: int | None = None) -> int:
    """``value`` as an int in [least, most]; InputError otherwise."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise InputError(f"{name} must be an integer, not {value!r}.")
    number = int(value)
    if number < least or (most is not None and number > most):
        span = f"at least {least}" if most is None else f"between {least} and {most}"
        raise InputError(f"{name} must be {span}, not {number}.")
    return number

"""Activations made by users: from a formula, from exact affine pieces, or from a numpy function."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..activation import Activation, Array
from ..errors import InputError
from ..validate import flag, real
from .affine import PiecewiseAffine, table_of
from .check import check_activation, probe_points
from .numpy_function import NumpyActivation


def activation_from(
    function: Callable[[Array], Array] | None = None,
    *,
    expression: Any = None,
    negative: Any = None,
    threshold: bool = False,
    pieces: Sequence[Sequence[Any]] | None = None,
    derivative: Callable[[Array], Array] | None = None,
    degree: float | None = None,
    odd: bool = False,
    name: str = "user",
) -> Activation:
    """An activation from one definition, checked; everything else (solving, certifying, torch) follows from it.

    expression: a formula in t (text or sympy), with rigorous ranges by ball arithmetic; can be proved with.
      negative: another formula for t < 0. threshold=True: zero for t < 0 (a user's phi_+).
    pieces: (left, right, slope, intercept) from left to right, None for infinite ends; exact, continuous; can be proved with.
    function: a numpy function, with its ``derivative`` where known. Alone it can be solved with but never proved with:
      its certificates stay "open". With a formula or pieces it is only compared with them.
    degree, odd: declarations, proved (formula, pieces) or tested (function); a false one raises InputError.
    """
    if flag(threshold, "threshold"):
        if negative is not None:
            raise InputError("threshold=True means zero for t < 0; leave ``negative`` out.")
        negative = "0"
    if (expression is not None) and (pieces is not None):
        raise InputError("give either a formula or pieces, not both.")
    made: Activation
    if expression is not None:
        from .symbolic import Symbolic

        made = Symbolic(_formula_text(expression), None if negative is None else _formula_text(negative), degree, odd)
    elif pieces is not None:
        made = PiecewiseAffine(table_of(pieces))
        if degree is not None and made.degree != degree:
            raise InputError(f"these pieces are not homogeneous of degree {degree:g}.")
        if odd and not made.odd:
            raise InputError("these pieces are not odd.")
    elif function is not None:
        return NumpyActivation.of(function, derivative, degree, odd, name)
    else:
        raise InputError("give a numpy function, expression=..., or pieces=...")
    if function is not None:
        t = probe_points(made)
        with np.errstate(all="ignore"):
            given, meant = np.asarray(function(t), dtype=np.float64), made(t)
        bad = ~np.isclose(given, meant, rtol=1e-9, atol=1e-12)
        if bad.any():
            at = float(t[bad][0])
            raise InputError(
                f"the function gives {given[bad][0]!r} at t = {at:.6g}, its exact definition {meant[bad][0]!r}; they must agree."
            )
    check_activation(made)
    return made


def _formula_text(formula: Any) -> str:
    if isinstance(formula, numbers.Number):
        real(formula, "a formula that is a number")
    return str(formula)

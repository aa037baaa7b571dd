"""Formulas as functions of arrays: numpy and torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from ..activation import Array
from . import formula

#: values that overflowed on the way and are computed again in ball arithmetic, in one call
MOST_LOST = 20_000


@lru_cache(maxsize=128)
def compiled(text: str, order: int) -> Callable[[Array], Array]:
    """The formula (or its derivative) as a numpy function."""
    sympy = formula.import_sympy()
    t = sympy.Symbol("t", real=True)
    expression = formula.parse(text).diff(t, order) if order else formula.parse(text)
    function = sympy.lambdify(t, expression, ["scipy", "numpy"])

    def value(h: Array) -> Array:
        out = np.broadcast_to(np.asarray(function(h), dtype=np.float64), np.shape(h)).copy()
        lost = ~np.isfinite(out) & np.isfinite(h)
        if lost.any():  # log(1 + exp(t)) overflows on the way to t
            out[lost] = [formula.value_at(expression, float(x)) for x in np.asarray(h)[lost][:MOST_LOST]] + [np.nan] * (
                int(lost.sum()) - MOST_LOST
            )
        return out

    return value


def torch_function(text: str) -> Callable[[Any], Any]:
    """The formula on torch tensors."""
    import torch

    sympy = formula.import_sympy()
    t = sympy.Symbol("t", real=True)
    names = ("exp", "log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "atan", "erf", "erfc")
    table = {name: getattr(torch, name) for name in names}
    function = sympy.lambdify(t, formula.parse(text), [table, "math"])
    return lambda h: function(h) + torch.zeros_like(h)

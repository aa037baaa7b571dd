"""Formulas as functions of arrays: numpy and torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from ..activation import Array
from . import formula


@lru_cache(maxsize=128)
def compiled(text: str, order: int) -> Callable[[Array], Array]:
    """The formula (or its derivative) as a numpy function."""
    sympy = formula.import_sympy()
    t = sympy.Symbol("t", real=True)
    function = sympy.lambdify(
        t, formula.parse(text).diff(t, order) if order else formula.parse(text), ["scipy", "numpy"]
    )
    return lambda h: np.broadcast_to(np.asarray(function(h), dtype=np.float64), np.shape(h)).copy()


def torch_function(text: str) -> Callable[[Any], Any]:
    """The formula on torch tensors."""
    import torch

    sympy = formula.import_sympy()
    t = sympy.Symbol("t", real=True)
    names = ("exp", "log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "atan", "erf", "erfc")
    table = {name: getattr(torch, name) for name in names}
    function = sympy.lambdify(t, formula.parse(text), [table, "math"])
    return lambda h: function(h) + torch.zeros_like(h)

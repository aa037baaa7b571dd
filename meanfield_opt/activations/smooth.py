"""Smooth activations. Ranges come from monotonicity and from library values widened by ``LIBM_ULPS``.

The widening is an assumption about numpy's and scipy's elementary functions (documented errors: a few units in the
last place); the conformance laws compare them with ball arithmetic far inside that margin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from ..activation import Activation, Array
from ..rounding import up

LIBM_ULPS = 16.0


def widen(y: Array, *, floor: float, ceiling: float) -> tuple[Array, Array]:
    """[lo, hi] around library values y, kept inside the proved range [floor, ceiling] of the function."""
    slack = up(LIBM_ULPS * 2.0**-52 * np.abs(y) + 2.0**-1060)
    return np.maximum(y - slack, floor), np.minimum(y + slack, ceiling)


class MonotoneOdd(Activation):
    """Increasing odd phi with values in [-1, 1]."""

    odd = True

    @property
    def pieces(self) -> None:
        return None

    def bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        low, _ = widen(self.value(np.asarray(lo, dtype=np.float64)), floor=-1.0, ceiling=1.0)
        _, high = widen(self.value(np.asarray(hi, dtype=np.float64)), floor=-1.0, ceiling=1.0)
        return low, high

    def slope_bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        """phi' is even and falls away from 0, so its range is read off at the ends (and at 0 inside)."""
        lo, hi = np.asarray(lo, dtype=np.float64), np.asarray(hi, dtype=np.float64)
        near = np.where((lo <= 0) & (hi >= 0), 0.0, np.minimum(np.abs(lo), np.abs(hi)))
        far = np.maximum(np.abs(lo), np.abs(hi))
        top = self.ratio_bound()
        # the derivative formulas lose a few more ulps (a square, an exponential) than the function itself
        low, _ = widen(self.derivative(far) * (1 - 2.0**-45), floor=0.0, ceiling=top)
        _, high = widen(self.derivative(near) * (1 + 2.0**-45), floor=0.0, ceiling=top)
        return low, high


@dataclass(frozen=True)
class Tanh(MonotoneOdd):
    """tanh t; tanh(t)/t <= 1."""

    name = "tanh"

    def value(self, h: Array) -> Array:
        return np.tanh(h)

    def derivative(self, h: Array) -> Array:
        with np.errstate(over="ignore"):
            return np.asarray(1.0 / np.square(np.cosh(h)))

    def ratio_bound(self) -> float:
        return 1.0

    def torch_twin(self) -> Callable[[Any], Any]:
        import torch

        twin: Callable[[Any], Any] = torch.tanh
        return twin


@dataclass(frozen=True)
class Erf(MonotoneOdd):
    """erf t; erf(t)/t <= 2/sqrt(pi)."""

    name = "erf"

    def value(self, h: Array) -> Array:
        return np.asarray(special.erf(h))

    def derivative(self, h: Array) -> Array:
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(2.0 / np.sqrt(np.pi) * np.exp(-np.square(h)))

    def ratio_bound(self) -> float:
        return float(up(up(2.0 / np.sqrt(np.pi))))

    def torch_twin(self) -> Callable[[Any], Any]:
        import torch

        twin: Callable[[Any], Any] = torch.erf
        return twin

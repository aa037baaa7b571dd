"""Homogeneous activations of a degree above one. One large neuron of little mass does everything at no cost, so the
problem over measures has no optimum: its infimum is the unpenalised one, whatever the width (docs/activations.md)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..activation import Array, Limit
from .smooth import PiecewiseMonotone, Turn, widen


@dataclass(frozen=True)
class SquaredReLU(PiecewiseMonotone):
    """max(t, 0)^2."""

    name = "squared_relu"
    degree = 2.0
    escapes = (Limit("infinity", 0.0, math.inf),)
    span = (0.0, math.inf)
    slope_span = (0.0, math.inf)

    def value(self, h: Array) -> Array:
        with np.errstate(over="ignore", under="ignore"):
            return np.square(np.maximum(h, 0.0))

    def derivative(self, h: Array) -> Array:
        return 2.0 * np.maximum(h, 0.0)

    def near(self, t: Array) -> tuple[Array, Array]:
        low, high = widen(self.value(t))
        return low, np.where(t <= 0, 0.0, high)

    def slope_near(self, t: Array) -> tuple[Array, Array]:
        with np.errstate(over="ignore"):
            low, high = widen(self.derivative(t))
        return low, np.where(t <= 0, 0.0, high)

    def ratio_bound(self) -> float:
        return math.inf

    def torch_twin(self) -> Callable[[Any], Any]:
        from torch.nn.functional import relu

        return lambda h: relu(h).square()


@dataclass(frozen=True)
class Cubic(PiecewiseMonotone):
    """t^3."""

    name = "cubic"
    degree = 3.0
    odd = True
    escapes = (Limit("infinity", math.inf, math.inf),)
    slope_span = (0.0, math.inf)
    slope_turns = (Turn(0.0, 0.0),)

    def value(self, h: Array) -> Array:
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(h * h * h)

    def derivative(self, h: Array) -> Array:
        with np.errstate(over="ignore", under="ignore"):
            return 3.0 * np.square(h)

    def near(self, t: Array) -> tuple[Array, Array]:
        return widen(self.value(t))

    def slope_near(self, t: Array) -> tuple[Array, Array]:
        return widen(self.derivative(t))

    def ratio_bound(self) -> float:
        return math.inf

    def torch_twin(self) -> Callable[[Any], Any]:
        return lambda h: h * h * h

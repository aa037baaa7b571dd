"""Softplus, GELU and SiLU: smooth relatives of ReLU. Scaled up they tend to ReLU, and free mass escapes there."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from ..activation import Array, Asymptote, Limit
from .smooth import PiecewiseMonotone, Turn, widen

ROOT_HALF = math.sqrt(0.5)
ROOT_TWO_PI = math.sqrt(2.0 * math.pi)


@dataclass(frozen=True)
class Softplus(PiecewiseMonotone):
    """log(1 + exp t). phi(0) = log 2: without a width a neuron of no cost gives a constant."""

    name = "softplus"
    escapes = (Limit("zero", 0.5, 0.5, math.log(2.0)), Limit("infinity", 0.0, 1.0))
    asymptote = Asymptote(0.0, 1.0, 0.6931471806)  # log(1 + exp(-|t|)) <= log 2
    span = (0.0, math.inf)
    slope_span = (0.0, 1.0)

    def value(self, h: Array) -> Array:
        with np.errstate(invalid="ignore"):
            return np.asarray(np.logaddexp(0.0, h))

    def derivative(self, h: Array) -> Array:
        return np.asarray(special.expit(h))

    def near(self, t: Array) -> tuple[Array, Array]:
        return widen(self.value(t))

    def slope_near(self, t: Array) -> tuple[Array, Array]:
        return widen(self.derivative(t))

    def ratio_bound(self) -> float:
        return math.inf

    def torch_twin(self) -> Callable[[Any], Any]:
        from torch.nn.functional import softplus

        # torch switches to the identity at its threshold (20 by default), which would be wrong by 2e-9
        return lambda h: softplus(h, threshold=50.0)


@dataclass(frozen=True)
class GELU(PiecewiseMonotone):
    """t Phi(t), Phi the normal distribution function (the exact one, not the tanh approximation)."""

    name = "gelu"
    escapes = (Limit("infinity", 0.0, 1.0),)
    asymptote = Asymptote(0.0, 1.0, 0.1699712075)  # |t| Phi(-|t|), largest at the turn
    turns = (Turn(-0.7517915246935645, -0.16997120747990366),)
    slope_turns = (
        Turn(-1.4142135623730951, -0.12890414518515480),
        Turn(1.4142135623730951, 1.1289041451851548),
    )

    def value(self, h: Array) -> Array:
        return np.asarray(0.5 * h * special.erfc(-ROOT_HALF * h))

    def derivative(self, h: Array) -> Array:
        with np.errstate(under="ignore", over="ignore"):
            return np.asarray(0.5 * special.erfc(-ROOT_HALF * h) + h * np.exp(-0.5 * np.square(h)) / ROOT_TWO_PI)

    def near(self, t: Array) -> tuple[Array, Array]:
        # far left t Phi(t) is below FLOOR; erfc's relative error grows with the square of its rounded argument
        s = np.maximum(t, -60.0)
        extra = 8.0 * np.square(np.minimum(np.abs(s), 60.0)) * (s < 0)
        return widen(np.where(s == -60.0, 0.0, self.value(s)), extra)

    def slope_near(self, t: Array) -> tuple[Array, Array]:
        s = np.clip(t, -60.0, 60.0)
        with np.errstate(under="ignore"):
            first = 0.5 * special.erfc(-ROOT_HALF * s)
            second = s * np.exp(-0.5 * np.square(s)) / ROOT_TWO_PI
        extra = 8.0 * np.square(s)
        a_lo, a_hi = widen(first, extra)
        b_lo, b_hi = widen(second, extra)
        slack = 2.0**-52
        return (a_lo + b_lo) - slack * (np.abs(first) + np.abs(second)), (a_hi + b_hi) + slack * (
            np.abs(first) + np.abs(second)
        )

    def ratio_bound(self) -> float:
        return 1.0

    def torch_twin(self) -> Callable[[Any], Any]:
        from torch.nn.functional import gelu

        twin: Callable[[Any], Any] = gelu
        return twin


@dataclass(frozen=True)
class SiLU(PiecewiseMonotone):
    """t / (1 + exp(-t)), also called swish."""

    name = "silu"
    escapes = (Limit("infinity", 0.0, 1.0),)
    asymptote = Asymptote(0.0, 1.0, 0.2784645428)  # |t| / (1 + exp |t|), largest at the turn
    turns = (Turn(-1.2784645427610738, -0.27846454276107379),)
    slope_turns = (
        Turn(-2.3993572805204677, -0.09983932012886691),
        Turn(2.3993572805204677, 1.0998393201288669),
    )

    def value(self, h: Array) -> Array:
        return np.asarray(h * special.expit(h))

    def derivative(self, h: Array) -> Array:
        s = special.expit(h)
        return np.asarray(s + h * s * special.expit(-h))

    def near(self, t: Array) -> tuple[Array, Array]:
        s = np.maximum(t, -800.0)  # further left the value is below FLOOR
        return widen(np.where(s == -800.0, 0.0, self.value(s)))

    def slope_near(self, t: Array) -> tuple[Array, Array]:
        s = np.clip(t, -800.0, 800.0)
        first, second = special.expit(s), s * special.expit(s) * special.expit(-s)
        a_lo, a_hi = widen(first)
        b_lo, b_hi = widen(second, 16.0)
        slack = 2.0**-52 * (np.abs(first) + np.abs(second))
        return (a_lo + b_lo) - slack, (a_hi + b_hi) + slack

    def ratio_bound(self) -> float:
        return 1.0

    def torch_twin(self) -> Callable[[Any], Any]:
        from torch.nn.functional import silu

        twin: Callable[[Any], Any] = silu
        return twin

"""Threshold activations phi(t) = phi_+(t) 1{t >= 0} and the sign: zero, or a jump, on one side of the origin."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..activation import Activation, Array, Asymptote, Limit, Piece
from ..errors import InputError
from ..rounding import up
from ..validate import nonnegative, positive, real
from .piecewise import PiecewiseLinear, not_nan


@dataclass(frozen=True)
class HardSigmoid(PiecewiseLinear):
    """t clipped to [0, 1]: the threshold-type hard sigmoid of the theory (zero for t < 0, no offset)."""

    name = "hard_sigmoid"

    def value(self, h: Array) -> Array:
        return np.clip(h, 0.0, 1.0)

    def derivative(self, h: Array) -> Array:
        return ((h > 0) & (h < 1)).astype(np.float64)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        zero, one = Fraction(0), Fraction(1)
        return (Piece(None, zero, zero, zero), Piece(zero, one, one, zero), Piece(one, None, zero, one))

    def torch_twin(self) -> Callable[[Any], Any]:
        return lambda h: h.clamp(0.0, 1.0)


@dataclass(frozen=True)
class Step(Activation):
    """The Heaviside-like step 1{t >= threshold}, threshold > 0 so that a silent neuron costs nothing."""

    threshold: float = 1.0
    name = "step"

    def __post_init__(self) -> None:
        if not real(self.threshold, "threshold") > 0:
            raise InputError(
                f"step needs a positive threshold (at 0 a free neuron would fire), not {self.threshold!r}."
            )
        object.__setattr__(self, "threshold", float(self.threshold))
        object.__setattr__(self, "levels", ((-math.inf, self.threshold, 0.0), (self.threshold, math.inf, 1.0)))

    def value(self, h: Array) -> Array:
        return (h >= self.threshold).astype(np.float64)

    def derivative(self, h: Array) -> Array:
        return np.zeros_like(h)

    def bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        lo, hi = np.asarray(lo, dtype=np.float64), np.asarray(hi, dtype=np.float64)
        return not_nan(self.value(lo), self.value(hi), lo, hi)

    def ratio_bound(self) -> float:
        return float(up(1.0 / self.threshold))

    @property
    def pieces(self) -> None:
        return None

    def slope_bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        lo, hi = np.asarray(lo, dtype=np.float64), np.asarray(hi, dtype=np.float64)
        jump = (lo < self.threshold) & (hi >= self.threshold)
        return not_nan(np.zeros(lo.shape), np.where(jump, np.inf, 0.0), lo, hi)

    def torch_twin(self) -> Callable[[Any], Any]:
        return lambda h: (h >= self.threshold).to(h.dtype)


@dataclass(frozen=True)
class ReLU6(PiecewiseLinear):
    """t clipped to [0, 6]."""

    name = "relu6"

    def value(self, h: Array) -> Array:
        return np.clip(h, 0.0, 6.0)

    def derivative(self, h: Array) -> Array:
        return ((h > 0) & (h < 6)).astype(np.float64)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        zero, one, six = Fraction(0), Fraction(1), Fraction(6)
        return (Piece(None, zero, zero, zero), Piece(zero, six, one, zero), Piece(six, None, zero, six))

    def torch_twin(self) -> Callable[[Any], Any]:
        from torch.nn.functional import relu6

        return relu6


@dataclass(frozen=True)
class ShiftedReLU(PiecewiseLinear):
    """max(t - shift, 0), shift > 0. phi(t)/t only tends to 1 as t -> inf: the optimum escapes to large patterns."""

    shift: float = 0.5
    name = "shifted_relu"
    escapes = (Limit("infinity", 0.0, 1.0),)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shift", positive(self.shift, "shift"))
        object.__setattr__(self, "asymptote", Asymptote(0.0, 1.0, self.shift))

    def value(self, h: Array) -> Array:
        return np.maximum(h - self.shift, 0.0)

    def derivative(self, h: Array) -> Array:
        return (h > self.shift).astype(np.float64)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        zero, shift = Fraction(0), Fraction(self.shift)
        return (Piece(None, shift, zero, zero), Piece(shift, None, Fraction(1), -shift))

    def torch_twin(self) -> Callable[[Any], Any]:
        from torch.nn.functional import relu

        return lambda h: relu(h - self.shift)


@dataclass(frozen=True)
class Sign(Activation):
    """sign(t), or with ``threshold`` s > 0 the ternary 1{t >= s} - 1{t <= -s}.

    At threshold 0 a pattern keeps its effect when it shrinks, so hidden weights cost nothing in the infimum, which is
    then never attained.
    """

    threshold: float = 0.0
    name = "sign"
    odd = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "threshold", nonnegative(self.threshold, "threshold"))
        s = self.threshold
        object.__setattr__(self, "levels", ((-math.inf, -s, -1.0), (-s, s, 0.0), (s, math.inf, 1.0)))
        if self.threshold == 0.0:
            object.__setattr__(self, "degree", 0.0)
            object.__setattr__(self, "escapes", (Limit("zero", math.inf, math.inf),))

    def value(self, h: Array) -> Array:
        if self.threshold == 0.0:
            return np.sign(h)
        return (h >= self.threshold).astype(np.float64) - (h <= -self.threshold)

    def derivative(self, h: Array) -> Array:
        return np.zeros_like(h)

    def bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        lo, hi = np.asarray(lo, dtype=np.float64), np.asarray(hi, dtype=np.float64)
        return not_nan(self.value(lo), self.value(hi), lo, hi)

    def ratio_bound(self) -> float:
        return math.inf if self.threshold == 0.0 else float(up(1.0 / self.threshold))

    @property
    def pieces(self) -> None:
        return None

    def slope_bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        lo, hi = np.asarray(lo, dtype=np.float64), np.asarray(hi, dtype=np.float64)
        return not_nan(np.zeros(lo.shape), np.where(self.value(lo) < self.value(hi), np.inf, 0.0), lo, hi)

    def torch_twin(self) -> Callable[[Any], Any]:
        s = self.threshold
        if s == 0.0:
            return lambda h: h.sign()
        return lambda h: (h >= s).to(h.dtype) - (h <= -s).to(h.dtype)

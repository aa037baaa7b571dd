"""Smooth activations. Ranges come from monotonicity and from library values widened by a stated margin.

The margin (``LIBM_ULPS`` units in the last place, ``FLOOR`` absolute, plus what the argument's conditioning costs) is an
assumption about numpy's and scipy's elementary functions, whose documented errors are a few units; the conformance laws
compare them with ball arithmetic far inside that margin.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from scipy import special

from ..activation import Activation, Array, Limit
from ..rounding import down, up
from .piecewise import not_nan

LIBM_ULPS = 16.0
FLOOR = 2.0**-1000  # covers results that underflow on the way although the exact value is a little larger


@dataclass(frozen=True)
class Turn:
    """A local extremum: it lies within one unit in the last place of ``at``, its value within one of ``value``."""

    at: float
    value: float


def widen(y: Array, extra_ulps: Array | float = 0.0) -> tuple[Array, Array]:
    """[lo, hi] around library values y that are good to LIBM_ULPS + extra_ulps units in the last place."""
    with np.errstate(over="ignore"):
        slack = up((LIBM_ULPS + extra_ulps) * 2.0**-52 * np.abs(y) + FLOOR)
    known = np.isfinite(y)
    slack = np.where(known, slack, 0.0)
    return np.where(known, y - slack, down(y)), np.where(known, y + slack, up(y))


class PiecewiseMonotone(Activation):
    """phi with finitely many known extrema, and so phi'. Enclosures at points then give ranges on intervals."""

    #: extrema of phi and of phi'
    turns: tuple[Turn, ...] = ()
    slope_turns: tuple[Turn, ...] = ()
    #: phi and phi' never leave these closed intervals
    span: tuple[float, float] = (-np.inf, np.inf)
    slope_span: tuple[float, float] = (-np.inf, np.inf)

    @abstractmethod
    def near(self, t: Array) -> tuple[Array, Array]:
        """Enclosures of phi at points; infinite t gives the limits."""

    @abstractmethod
    def slope_near(self, t: Array) -> tuple[Array, Array]:
        """Enclosures of phi' at points; infinite t gives the limits."""

    @property
    @final
    def pieces(self) -> None:
        return None

    @final
    def bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        return monotone_range(self.near, self.turns, self.span, lo, hi)

    @final
    def slope_bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        """By the mean value theorem the difference quotients lie in the range of phi'."""
        return monotone_range(self.slope_near, self.slope_turns, self.slope_span, lo, hi)


def monotone_range(
    near: Callable[[Array], tuple[Array, Array]],
    turns: tuple[Turn, ...],
    span: tuple[float, float],
    lo: Array,
    hi: Array,
) -> tuple[Array, Array]:
    lo, hi = np.asarray(lo, dtype=np.float64), np.asarray(hi, dtype=np.float64)
    a_lo, a_hi = near(lo)
    b_lo, b_hi = near(hi)
    low, high = np.minimum(a_lo, b_lo), np.maximum(a_hi, b_hi)
    for turn in turns:
        inside = (lo <= up(turn.at)) & (hi >= down(turn.at))
        low = np.where(inside, np.minimum(low, down(turn.value)), low)
        high = np.where(inside, np.maximum(high, up(turn.value)), high)
    return not_nan(np.maximum(low, span[0]), np.minimum(high, span[1]), lo, hi)


@dataclass(frozen=True)
class Tanh(PiecewiseMonotone):
    """tanh t; tanh(t)/t < 1, approached as t -> 0."""

    name = "tanh"
    odd = True
    escapes = (Limit("zero", 1.0, 1.0),)
    span = (-1.0, 1.0)
    slope_span = (0.0, 1.0)
    slope_turns = (Turn(0.0, 1.0),)

    def value(self, h: Array) -> Array:
        return np.tanh(h)

    def derivative(self, h: Array) -> Array:
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(1.0 / np.square(np.cosh(h)))

    def near(self, t: Array) -> tuple[Array, Array]:
        return widen(np.tanh(t))

    def slope_near(self, t: Array) -> tuple[Array, Array]:
        return widen(self.derivative(t), 32.0)

    def ratio_bound(self) -> float:
        return 1.0

    def torch_twin(self) -> Callable[[Any], Any]:
        import torch

        twin: Callable[[Any], Any] = torch.tanh
        return twin


TWO_OVER_ROOT_PI = float(up(up(2.0 / np.sqrt(np.pi))))


@dataclass(frozen=True)
class Erf(PiecewiseMonotone):
    """erf t; erf(t)/t < 2/sqrt(pi), approached as t -> 0."""

    name = "erf"
    odd = True
    escapes = (Limit("zero", 2.0 / float(np.sqrt(np.pi)), 2.0 / float(np.sqrt(np.pi))),)
    span = (-1.0, 1.0)
    slope_span = (0.0, TWO_OVER_ROOT_PI)
    slope_turns = (Turn(0.0, 2.0 / float(np.sqrt(np.pi))),)

    def value(self, h: Array) -> Array:
        return np.asarray(special.erf(h))

    def derivative(self, h: Array) -> Array:
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(2.0 / np.sqrt(np.pi) * np.exp(-np.square(h)))

    def near(self, t: Array) -> tuple[Array, Array]:
        return widen(np.asarray(special.erf(t)))

    def slope_near(self, t: Array) -> tuple[Array, Array]:
        # the square is rounded, and exp turns its absolute error into a relative one; beyond t = 30 all underflows
        return widen(self.derivative(t), np.minimum(np.square(np.minimum(np.abs(t), 30.0)), 900.0) + 16.0)

    def ratio_bound(self) -> float:
        return TWO_OVER_ROOT_PI

    def torch_twin(self) -> Callable[[Any], Any]:
        import torch

        twin: Callable[[Any], Any] = torch.erf
        return twin


@dataclass(frozen=True)
class Softsign(PiecewiseMonotone):
    """t / (1 + |t|); softsign(t)/t < 1, approached as t -> 0."""

    name = "softsign"
    odd = True
    escapes = (Limit("zero", 1.0, 1.0),)
    span = (-1.0, 1.0)
    slope_span = (0.0, 1.0)
    slope_turns = (Turn(0.0, 1.0),)

    def value(self, h: Array) -> Array:
        return np.asarray(h / (1.0 + np.abs(h)))

    def derivative(self, h: Array) -> Array:
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(1.0 / np.square(1.0 + np.abs(h)))

    def near(self, t: Array) -> tuple[Array, Array]:
        finite = np.isfinite(t)
        return widen(np.where(finite, self.value(np.where(finite, t, 0.0)), np.sign(t)))

    def slope_near(self, t: Array) -> tuple[Array, Array]:
        return widen(self.derivative(t))

    def ratio_bound(self) -> float:
        return 1.0

    def torch_twin(self) -> Callable[[Any], Any]:
        from torch.nn.functional import softsign

        twin: Callable[[Any], Any] = softsign
        return twin


@dataclass(frozen=True)
class Sigmoid(PiecewiseMonotone):
    """1 / (1 + exp(-t)). phi(0) = 1/2: without a width a neuron of no cost gives a constant, and mass escapes there."""

    name = "sigmoid"
    escapes = (Limit("zero", 0.25, 0.25, 0.5),)
    span = (0.0, 1.0)
    slope_span = (0.0, 0.25)
    slope_turns = (Turn(0.0, 0.25),)

    def value(self, h: Array) -> Array:
        return np.asarray(special.expit(h))

    def derivative(self, h: Array) -> Array:
        return np.asarray(special.expit(h) * special.expit(-h))

    def near(self, t: Array) -> tuple[Array, Array]:
        return widen(self.value(t))

    def slope_near(self, t: Array) -> tuple[Array, Array]:
        return widen(self.derivative(t), 16.0)

    def ratio_bound(self) -> float:
        return float("inf")

    def torch_twin(self) -> Callable[[Any], Any]:
        import torch

        twin: Callable[[Any], Any] = torch.sigmoid
        return twin


@dataclass(frozen=True)
class Sin(Activation):
    """sin t; sin(t)/t < 1, approached as t -> 0."""

    name = "sin"
    odd = True
    escapes = (Limit("zero", 1.0, 1.0),)

    def value(self, h: Array) -> Array:
        return np.sin(h)

    def derivative(self, h: Array) -> Array:
        return np.cos(h)

    def bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        return _wave(np.sin, 0.5, lo, hi)

    def slope_bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        return _wave(np.cos, 0.0, lo, hi)

    def ratio_bound(self) -> float:
        return 1.0

    @property
    def pieces(self) -> None:
        return None

    def torch_twin(self) -> Callable[[Any], Any]:
        import torch

        twin: Callable[[Any], Any] = torch.sin
        return twin


def _wave(wave: Callable[[Array], Array], peak: float, lo: Array, hi: Array) -> tuple[Array, Array]:
    """Range of a cosine whose maxima lie at (peak + 2 k) pi and minima at (peak + 2 k + 1) pi."""
    lo, hi = np.asarray(lo, dtype=np.float64), np.asarray(hi, dtype=np.float64)
    far = ~((np.abs(lo) < 2.0**20) & (np.abs(hi) < 2.0**20))
    point = lo == hi
    a, b = np.where(np.isfinite(lo), lo, 0.0), np.where(np.isfinite(hi), hi, 0.0)
    a_lo, a_hi = widen(wave(a))
    b_lo, b_hi = widen(wave(b))
    # below 2^20 the two roundings of t/pi are far smaller than the margin 2^-28; a wider guess is still an enclosure
    turn_a, turn_b = np.where(far, 0.0, a) / np.pi - peak - 2.0**-28, np.where(far, 0.0, b) / np.pi - peak + 2.0**-28
    top = np.floor(turn_b / 2.0) >= np.ceil(turn_a / 2.0)
    bottom = np.floor((turn_b - 1.0) / 2.0) >= np.ceil((turn_a - 1.0) / 2.0)
    unknown = (far & ~(point & np.isfinite(lo))) | np.isnan(lo) | np.isnan(hi)
    low = np.where(unknown | (bottom & ~point), -1.0, np.maximum(np.minimum(a_lo, b_lo), -1.0))
    high = np.where(unknown | (top & ~point), 1.0, np.minimum(np.maximum(a_hi, b_hi), 1.0))
    return low, high

"""Piecewise linear activations. Continuous ones share one exact description: breakpoints, slopes, a value."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..activation import Activation, Array, Piece
from ..errors import InputError
from ..rounding import down, up
from ..validate import real


def not_nan(low: Array, high: Array, lo: Array, hi: Array) -> tuple[Array, Array]:
    """(low, high), or (-inf, inf) where an end of the interval is NaN: NaN compares false and must not pass."""
    bad = np.isnan(lo) | np.isnan(hi)
    return np.where(bad, -np.inf, low), np.where(bad, np.inf, high)


class PiecewiseLinear(Activation):
    """Continuous piecewise linear phi, wholly described by its exact affine pieces."""

    @property
    @abstractmethod
    def pieces(self) -> tuple[Piece, ...]:
        """Exact affine pieces from left to right."""

    def bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        """The range on an interval is spanned by the end points and the kinks inside it."""
        lo, hi = np.asarray(lo, dtype=np.float64), np.asarray(hi, dtype=np.float64)
        a_lo, a_hi = self._enclose(lo)
        b_lo, b_hi = self._enclose(hi)
        low, high = np.minimum(a_lo, b_lo), np.maximum(a_hi, b_hi)
        for piece in self.pieces[:-1]:
            kink = piece.right
            assert kink is not None
            exact = piece.slope * kink + piece.intercept
            inside = (lo <= up(float(kink))) & (hi >= down(float(kink)))
            value = float(exact)
            known = Fraction(value) == exact
            low = np.where(inside, np.minimum(low, value if known else down(value)), low)
            high = np.where(inside, np.maximum(high, value if known else up(value)), high)
        return not_nan(low, high, lo, hi)

    def _enclose(self, t: Array) -> tuple[Array, Array]:
        """phi at points, rounded outward; t may be infinite."""
        low, high = np.full(t.shape, np.inf), np.full(t.shape, -np.inf)
        for piece in self.pieces:
            s, c = float(piece.slope), float(piece.intercept)
            left = -math.inf if piece.left is None else float(down(float(piece.left)))
            right = math.inf if piece.right is None else float(up(float(piece.right)))
            if s == piece.slope and c == 0 and piece.intercept == 0 and s in (0.0, 1.0, -1.0):
                y = np.full(t.shape, 0.0) if s == 0.0 else s * t
                y_lo, y_hi = y, y
            elif piece.slope == 0:
                y_lo = np.full(t.shape, c if c == piece.intercept else float(down(c)))
                y_hi = np.full(t.shape, c if c == piece.intercept else float(up(c)))
            else:
                # slope, product, intercept and sum each cost at most one rounding
                with np.errstate(invalid="ignore", over="ignore"):
                    y = s * t + c
                    slack = 4 * 2.0**-53 * (np.abs(s * t) + abs(c)) + 2.0**-1070
                    if s != piece.slope:  # a slope among the denormal numbers is rounded to a multiple of 2^-1074
                        slack = slack + np.abs(t) * 2.0**-1074
                    # past the largest float, y is infinite and so is the slack: down(inf) is what is known
                    y_lo = np.where(np.isinf(y), down(y), down(y - slack))
                    y_hi = np.where(np.isinf(y), up(y), up(y + slack))
            here = (t >= left) & (t <= right)
            low = np.where(here, np.minimum(low, y_lo), low)
            high = np.where(here, np.maximum(high, y_hi), high)
        return low, high

    def slope_bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        """Slopes of the pieces that the interval meets."""
        lo, hi = np.asarray(lo, dtype=np.float64), np.asarray(hi, dtype=np.float64)
        low, high = np.full(lo.shape, np.inf), np.full(hi.shape, -np.inf)
        for piece in self.pieces:
            left = -math.inf if piece.left is None else float(down(float(piece.left)))
            right = math.inf if piece.right is None else float(up(float(piece.right)))
            here = (hi >= left) & (lo <= right)
            s = float(piece.slope)
            exact = piece.slope == Fraction(s)
            low = np.where(here, np.minimum(low, s if exact else float(down(s))), low)
            high = np.where(here, np.maximum(high, s if exact else float(up(s))), high)
        return not_nan(low, high, lo, hi)

    def ratio_bound(self) -> float:
        """sup |phi(t)/t|: attained at kinks, at infinity (the outer slopes) or as t -> 0 (needs phi(0) = 0)."""
        pieces = self.pieces
        best = max(abs(pieces[0].slope), abs(pieces[-1].slope))
        for piece in pieces:
            inside = (piece.left is None or piece.left <= 0) and (piece.right is None or piece.right >= 0)
            if inside:
                if piece.intercept != 0:
                    return math.inf
                best = max(best, abs(piece.slope))
            for kink in (piece.left, piece.right):
                if kink is not None and kink != 0:
                    best = max(best, abs((piece.slope * kink + piece.intercept) / kink))
        exact = float(best)
        return exact if Fraction(exact) == best else float(up(exact))


@dataclass(frozen=True)
class ReLU(PiecewiseLinear):
    """max(t, 0)."""

    name = "relu"
    degree = 1.0

    def value(self, h: Array) -> Array:
        return np.maximum(h, 0.0)

    def derivative(self, h: Array) -> Array:
        return (h > 0).astype(np.float64)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        zero, one = Fraction(0), Fraction(1)
        return (Piece(None, zero, zero, zero), Piece(zero, None, one, zero))

    def torch_twin(self) -> Callable[[Any], Any]:
        from torch.nn.functional import relu

        return relu


@dataclass(frozen=True)
class LeakyReLU(PiecewiseLinear):
    """t for t >= 0, slope t below; ``slope`` in (-1, 1)."""

    slope: float = 0.1
    name = "leaky_relu"
    degree = 1.0

    def __post_init__(self) -> None:
        if not -1 < real(self.slope, "slope") < 1:
            raise InputError(f"leaky_relu needs a slope in (-1, 1), not {self.slope!r}.")
        object.__setattr__(self, "slope", float(self.slope))

    def value(self, h: Array) -> Array:
        return np.where(h >= 0, h, self.slope * h)

    def derivative(self, h: Array) -> Array:
        return np.where(h > 0, 1.0, self.slope)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        zero = Fraction(0)
        return (Piece(None, zero, Fraction(self.slope), zero), Piece(zero, None, Fraction(1), zero))

    def torch_twin(self) -> Callable[[Any], Any]:
        from torch.nn.functional import leaky_relu

        return lambda h: leaky_relu(h, negative_slope=self.slope)


@dataclass(frozen=True)
class Absolute(PiecewiseLinear):
    """|t|."""

    name = "absolute"
    degree = 1.0

    def value(self, h: Array) -> Array:
        return np.abs(h)

    def derivative(self, h: Array) -> Array:
        return np.sign(h)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        zero = Fraction(0)
        return (Piece(None, zero, Fraction(-1), zero), Piece(zero, None, Fraction(1), zero))

    def torch_twin(self) -> Callable[[Any], Any]:
        return lambda h: h.abs()


@dataclass(frozen=True)
class Linear(PiecewiseLinear):
    """t: the linear network, whose optimum is a soft-thresholded singular value decomposition."""

    name = "linear"
    degree = 1.0
    odd = True

    def value(self, h: Array) -> Array:
        return np.array(h, dtype=np.float64)

    def derivative(self, h: Array) -> Array:
        return np.ones_like(h)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        return (Piece(None, None, Fraction(1), Fraction(0)),)

    def torch_twin(self) -> Callable[[Any], Any]:
        return lambda h: h


@dataclass(frozen=True)
class HardTanh(PiecewiseLinear):
    """t clipped to [-1, 1]."""

    name = "hard_tanh"
    odd = True

    def value(self, h: Array) -> Array:
        return np.clip(h, -1.0, 1.0)

    def derivative(self, h: Array) -> Array:
        return (np.abs(h) < 1).astype(np.float64)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        zero, one = Fraction(0), Fraction(1)
        return (Piece(None, -one, zero, -one), Piece(-one, one, one, zero), Piece(one, None, zero, one))

    def torch_twin(self) -> Callable[[Any], Any]:
        from torch.nn.functional import hardtanh

        return hardtanh

"""Activations with one kink, at 0: phi(t) = l t for t <= 0 and r t for t >= 0, read off their exact pieces."""

from __future__ import annotations

from fractions import Fraction

from ..activation import Activation
from ..problem import TwoLayerProblem


def two_slopes(activation: Activation) -> tuple[Fraction, Fraction] | None:
    """(l, r), exactly; None for any other activation."""
    pieces = activation.pieces
    if pieces is None or any(piece.intercept != 0 for piece in pieces):
        return None
    if len(pieces) > 2 or (len(pieces) == 2 and pieces[0].right != 0):
        return None
    return pieces[0].slope, pieces[-1].slope


def float_slopes(problem: TwoLayerProblem) -> tuple[float, float] | None:
    """(l, r) where both are floats, else None."""
    pair = two_slopes(problem.activation)
    if pair is None:
        return None
    low, high = float(pair[0]), float(pair[1])
    return (low, high) if low == pair[0] and high == pair[1] else None


def left_slope(problem: TwoLayerProblem) -> float | None:
    """l where r = 1 and l is a float, else None."""
    pair = float_slopes(problem)
    return pair[0] if pair is not None and pair[1] == 1.0 else None

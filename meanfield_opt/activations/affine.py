"""Continuous piecewise affine activations, held as exact fractions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from ..activation import Array, Asymptote, Limit, Piece
from ..errors import InputError
from ..rounding import up
from ..validate import shown
from .piecewise import PiecewiseLinear

#: short enough that no file can ask for a number of a billion digits
_NUMBER = re.compile(r"-?[0-9]{1,400}(\.[0-9]{0,400}|/[0-9]{1,400})?([eE][-+]?[0-9]{1,3})?")


def table_of(pieces: Any) -> tuple[tuple[str | None, ...], ...]:
    """Rows (left, right, slope, intercept) of numbers or texts as ``PiecewiseAffine`` keeps them."""
    try:
        rows = [tuple(row) for row in pieces]
    except TypeError as error:
        raise InputError(f"pieces are rows (left, right, slope, intercept), not {shown(pieces)}.") from error
    return tuple(tuple(_text(x) for x in row) for row in rows)


def _text(x: Any) -> str | None:
    if x is None or (isinstance(x, float) and math.isinf(x)):
        return None
    try:
        if isinstance(x, str) and not _NUMBER.fullmatch(x.strip()):
            raise ValueError(x)
        return str(Fraction(x))
    except (TypeError, ValueError, ArithmeticError) as error:
        raise InputError(f"{shown(x)} in the pieces is not a number.") from error


@dataclass(frozen=True)
class PiecewiseAffine(PiecewiseLinear):
    """Continuous and piecewise affine: rows (left, right, slope, intercept) as exact fractions in text, None = infinite."""

    table: tuple[tuple[str | None, ...], ...] = ((None, None, "1", "0"),)
    name: str = field(default="piecewise_affine", init=False)

    def __post_init__(self) -> None:
        try:
            rows = tuple(tuple(row) for row in self.table)
        except TypeError as error:
            raise InputError(f"pieces are rows (left, right, slope, intercept), not {self.table!r}.") from error
        if not rows or any(len(row) != 4 or row[2] is None or row[3] is None for row in rows):
            raise InputError("pieces are rows (left, right, slope, intercept).")
        if not all(x is None or (isinstance(x, str) and _NUMBER.fullmatch(x)) for row in rows for x in row):
            raise InputError("the numbers of pieces are texts such as 2, -1/3 or 2.5e-3.")
        object.__setattr__(self, "table", rows)
        made = self.pieces
        if made[0].left is not None or made[-1].right is not None:
            raise InputError("the pieces must cover the line: None for the leftmost left and the rightmost right end.")
        for a, b in zip(made, made[1:]):  # noqa: RUF007
            if a.right is None or a.right != b.left or (a.left is not None and not a.left < a.right):
                raise InputError("the pieces must follow each other from left to right without gaps.")
            if a.slope * a.right + a.intercept != b.slope * a.right + b.intercept:
                raise InputError(
                    f"the pieces are not continuous at t = {a.right}; only continuous ones are exact here."
                )
        homogeneous = all(p.intercept == 0 for p in made)
        mirrored = [(None if p.right is None else -p.right, p.slope, -p.intercept) for p in reversed(made)]
        object.__setattr__(self, "degree", 1.0 if homogeneous else None)
        object.__setattr__(self, "odd", mirrored == [(p.left, p.slope, p.intercept) for p in made])
        object.__setattr__(self, "escapes", self._find_escapes(made))
        object.__setattr__(self, "asymptote", self._find_asymptote(made))

    def _find_asymptote(self, made: tuple[Piece, ...]) -> Asymptote | None:
        """left t and right t of the outer pieces, where the right one is 1: proofs for relu and its like then bound far neurons.

        The difference is affine between kinks and 0, and constant beyond them: the largest of its values there.
        """
        left, right = made[0].slope, made[-1].slope
        if right != 1 or not abs(left) <= 1 or Fraction(float(left)) != left or not self.escapes:
            return None
        knots = [Fraction(0), *(p.right for p in made if p.right is not None)]
        distance = max(
            abs(p.slope * t + p.intercept - (right if t > 0 else left) * t)
            for p in made
            for t in knots
            if (p.left is None or p.left <= t) and (p.right is None or t <= p.right)
        )
        return Asymptote(float(left), 1.0, float(up(float(distance))))

    def _find_escapes(self, made: tuple[Piece, ...]) -> tuple[Limit, ...]:
        """|phi(t)/t| largest only in the limit: at infinity when an outer slope beats every kink, at 0 when phi(0) != 0."""
        at_zero = [p for p in made if (p.left is None or p.left <= 0) and (p.right is None or p.right >= 0)]
        if at_zero[0].intercept != 0:
            return (Limit("zero", float(at_zero[0].slope), float(at_zero[-1].slope), float(at_zero[0].intercept)),)
        kinks = [k for p in made for k in (p.left, p.right) if k is not None and k != 0]
        reached = [abs(p.slope) for p in at_zero]
        reached += [abs((p.slope * k + p.intercept) / k) for p in made for k in (p.left, p.right) if k in kinks and k]
        outer = (made[0].slope, made[-1].slope)
        if max(map(abs, outer)) > max(reached):
            return (Limit("infinity", float(outer[0]), float(outer[1])),)
        return ()

    @property
    def pieces(self) -> tuple[Piece, ...]:
        def number(text: str | None) -> Fraction | None:
            return None if text is None else Fraction(text)

        return tuple(
            Piece(number(a), number(b), Fraction(str(slope)), Fraction(str(level))) for a, b, slope, level in self.table
        )

    def value(self, h: Array) -> Array:
        h = np.asarray(h, dtype=np.float64)
        knots = np.array([float(p.right) for p in self.pieces[:-1] if p.right is not None])
        which = np.searchsorted(knots, h, side="right")
        slopes, levels = (np.array([float(getattr(p, k)) for p in self.pieces]) for k in ("slope", "intercept"))
        return np.asarray(slopes[which] * h + levels[which])

    def derivative(self, h: Array) -> Array:
        knots = np.array([float(p.right) for p in self.pieces[:-1] if p.right is not None])
        return np.array([float(p.slope) for p in self.pieces])[np.searchsorted(knots, h, side="right")]

    def torch_twin(self) -> Callable[[Any], Any]:
        import torch

        first, rest = self.pieces[0], self.pieces[1:]
        bends = [
            (float(b.slope - a.slope), float(b.left))
            for a, b in zip(self.pieces, rest, strict=False)
            if b.left is not None
        ]

        def twin(h: Any) -> Any:
            out = float(first.slope) * h + float(first.intercept)
            for bend, knot in bends:
                out = out + bend * torch.relu(h - knot)
            return out

        return twin

"""Activations made by users: from a formula, from exact affine pieces, or from a numpy function."""

from __future__ import annotations

import hashlib
import math
import numbers
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from ..activation import Activation, Array, Asymptote, Limit, Piece
from ..errors import InputError
from ..rounding import up
from ..validate import flag, real, shown
from .check import check_activation, probe_points
from .piecewise import PiecewiseLinear


def activation_from(
    function: Callable[[Array], Array] | None = None,
    *,
    expression: Any = None,
    negative: Any = None,
    threshold: bool = False,
    pieces: Sequence[Sequence[Any]] | None = None,
    derivative: Callable[[Array], Array] | None = None,
    degree: float | None = None,
    odd: bool = False,
    name: str = "user",
) -> Activation:
    """An activation from one definition, checked; everything else (solving, certifying, torch) follows from it.

    expression: a formula in t (text or sympy), with rigorous ranges by ball arithmetic; can be proved with.
      negative: another formula for t < 0. threshold=True: zero for t < 0 (a user's phi_+).
    pieces: (left, right, slope, intercept) from left to right, None for infinite ends; exact, continuous; can be proved with.
    function: a numpy function, with its ``derivative`` where known. Alone it can be solved with but never proved with:
      its certificates stay "open". With a formula or pieces it is only compared with them.
    degree, odd: declarations, proved (formula, pieces) or tested (function); a false one raises InputError.
    """
    if flag(threshold, "threshold"):
        if negative is not None:
            raise InputError("threshold=True means zero for t < 0; leave ``negative`` out.")
        negative = "0"
    if (expression is not None) and (pieces is not None):
        raise InputError("give either a formula or pieces, not both.")
    made: Activation
    if expression is not None:
        from .symbolic import Symbolic

        made = Symbolic(_formula_text(expression), None if negative is None else _formula_text(negative), degree, odd)
    elif pieces is not None:
        made = PiecewiseAffine(_table(pieces))
        if degree is not None and made.degree != degree:
            raise InputError(f"these pieces are not homogeneous of degree {degree:g}.")
        if odd and not made.odd:
            raise InputError("these pieces are not odd.")
    elif function is not None:
        return NumpyActivation.of(function, derivative, degree, odd, name)
    else:
        raise InputError("give a numpy function, expression=..., or pieces=...")
    if function is not None:
        t = probe_points(made)
        with np.errstate(all="ignore"):
            given, meant = np.asarray(function(t), dtype=np.float64), made(t)
        bad = ~np.isclose(given, meant, rtol=1e-9, atol=1e-12)
        if bad.any():
            at = float(t[bad][0])
            raise InputError(
                f"the function gives {given[bad][0]!r} at t = {at:.6g}, its exact definition {meant[bad][0]!r}; they must agree."
            )
    check_activation(made)
    return made


def _formula_text(formula: Any) -> str:
    if isinstance(formula, numbers.Number):
        real(formula, "a formula that is a number")
    return str(formula)


def _table(pieces: Any) -> tuple[tuple[str | None, ...], ...]:
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


#: short enough that no file can ask for a number of a billion digits
_NUMBER = re.compile(r"-?[0-9]{1,400}(\.[0-9]{0,400}|/[0-9]{1,400})?([eE][-+]?[0-9]{1,3})?")


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


@dataclass(frozen=True)
class NumpyActivation(Activation):
    """A numpy function without rigorous ranges. It can be solved with; nothing about it is ever proved.

    digest: of the values on a fixed grid and of the function's code; it is what fingerprints depend on.
    """

    label: str = "user"
    digest: str = ""
    degree: float | None = None
    odd: bool = False
    function: Any = field(default=None, compare=False, metadata={"hidden": True})
    slope: Any = field(default=None, compare=False, metadata={"hidden": True})
    name: str = field(default="numpy_function", init=False)
    rigorous = False

    @staticmethod
    def of(
        function: Callable[[Array], Array],
        slope: Callable[[Array], Array] | None,
        degree: float | None,
        odd: bool,
        label: str,
    ) -> NumpyActivation:
        """The activation of a function, after testing its declarations."""
        if not callable(function):
            raise InputError(f"an activation needs a function of an array, not {function!r}.")
        grid = np.concatenate([np.linspace(-12, 12, 4801), np.geomspace(1e-9, 1e3, 200), -np.geomspace(1e-9, 1e3, 200)])
        try:
            with np.errstate(all="ignore"):
                values = np.asarray(function(grid.copy()), dtype=np.float64)
                function(grid[:0])
        except Exception as error:
            raise InputError(
                f"the function does not take an array of numbers ({' '.join(str(error).split())[:80]}); wrap a function of "
                "one number in np.vectorize(function, otypes=[float]), or give its formula as expression=..."
            ) from error
        if values.shape != grid.shape or not np.isfinite(values).all():
            raise InputError("the function must map an array to finite values of the same shape.")
        hasher = hashlib.sha256(np.ascontiguousarray(values, dtype="<f8").tobytes())
        code = getattr(function, "__code__", None)
        if code is not None:
            hasher.update(code.co_code + repr((code.co_consts, code.co_names)).encode())
        made = NumpyActivation(str(label), hasher.hexdigest(), degree, bool(odd), function, slope)
        check_activation(made)
        return made

    def _known(self) -> Callable[[Array], Array]:
        if self.function is None:
            raise InputError(f"the numpy function {self.label!r} is not known here; pass the problem that defines it.")
        known: Callable[[Array], Array] = self.function
        return known

    def value(self, h: Array) -> Array:
        return np.asarray(self._known()(np.asarray(h, dtype=np.float64)), dtype=np.float64)

    def derivative(self, h: Array) -> Array:
        if self.slope is not None:
            return np.asarray(self.slope(np.asarray(h, dtype=np.float64)), dtype=np.float64)
        step = 1e-6 * np.maximum(1.0, np.abs(h))
        return (self.value(h + step) - self.value(h - step)) / (2.0 * step)

    def bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        """Nothing is known rigorously."""
        return np.full(np.shape(lo), -np.inf), np.full(np.shape(lo), np.inf)

    def slope_bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        """Nothing is known rigorously."""
        return np.full(np.shape(lo), -np.inf), np.full(np.shape(lo), np.inf)

    def ratio_bound(self) -> float:
        return math.inf

    @property
    def pieces(self) -> None:
        return None

    def torch_twin(self) -> Callable[[Any], Any]:
        import torch

        class Twin(torch.autograd.Function):  # type: ignore[misc]
            @staticmethod
            def forward(ctx: Any, h: Any) -> Any:
                ctx.save_for_backward(h)
                return torch.as_tensor(self.value(h.detach().cpu().numpy()), dtype=h.dtype, device=h.device)

            @staticmethod
            def backward(ctx: Any, grad: Any) -> Any:
                (h,) = ctx.saved_tensors
                slope = self.derivative(h.detach().cpu().numpy())
                return grad * torch.as_tensor(slope, dtype=h.dtype, device=h.device)

        return lambda h: Twin.apply(h)

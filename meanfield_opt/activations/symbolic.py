"""An activation given by a formula: rigorous ranges come from Taylor tables (``taylor_table``)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..activation import Activation, Array, Limit
from ..errors import InputError
from ..rounding import up
from ..validate import flag, real
from . import formula
from .formula_code import compiled, torch_function
from .formula_size import MOST_POWER
from .piecewise import not_nan
from .taylor_table import PER_UNIT, REACH, Table, build

MOST_PROVED = 400  # characters of a formula of which computer algebra is asked to prove something


@dataclass(frozen=True)
class Symbolic(Activation):
    """phi given by formulas in t: ``expression`` for t >= 0 and ``negative`` for t < 0 (None: the same formula).

    degree and odd, where declared, are proved by computer algebra or refused.
    """

    expression: str = "t"
    negative: str | None = None
    degree: float | None = None
    odd: bool = False
    name: str = field(default="symbolic", init=False)

    def __post_init__(self) -> None:
        # the printed text is the definition (printing rounds numbers), so it is what degree and odd are proved of
        object.__setattr__(self, "expression", str(formula.parse(self.expression)))
        object.__setattr__(self, "negative", None if self.negative is None else str(formula.parse(self.negative)))
        right = formula.parse(self.expression)
        left = right if self.negative is None else formula.parse(self.negative)
        object.__setattr__(self, "degree", None if self.degree is None else real(self.degree, "degree"))
        _prove(left, right, self.degree, flag(self.odd, "odd"))
        object.__setattr__(self, "escapes", self._find_escapes())

    @property
    def _tables(self) -> tuple[Table, Table]:
        if self.negative is None:
            whole = build(self.expression, -REACH, REACH)
            return whole, whole
        return build(self.negative, -REACH, 0.0), build(self.expression, 0.0, REACH)

    @property
    def _continuous(self) -> bool:
        if self.negative is None:
            return True
        t = formula.import_sympy().Symbol("t", real=True)
        return bool(formula.parse(self.expression).subs(t, 0) == formula.parse(self.negative).subs(t, 0))

    def _find_escapes(self) -> tuple[Limit, ...]:
        t = formula.import_sympy().Symbol("t", real=True)
        right = formula.parse(self.expression)
        left = right if self.negative is None else formula.parse(self.negative)
        offset = float(right.subs(t, 0))
        slopes = (float(left.diff(t).subs(t, 0)), float(right.diff(t).subs(t, 0)))
        top = self.ratio_bound()
        if offset != 0.0 or (self.degree is None and 0 < (1 - 1e-6) * top <= max(map(abs, slopes))):
            return (Limit("zero", *slopes, offset), *self._far())
        return self._far()

    def _far(self) -> tuple[Limit, ...]:
        """Slopes at infinity, read off far values: where there are any, a search needs to know of ever larger neurons."""
        if self.degree is not None:
            return ()
        far = np.array([-(2.0**30), -(2.0**27), 2.0**27, 2.0**30])
        slopes = np.divide(self.value(far), far)
        left, right = float(slopes[0]), float(slopes[3])
        settled = np.isfinite(slopes).all() and np.allclose(slopes[[0, 3]], slopes[[1, 2]], rtol=1e-6, atol=1e-6)
        if not settled or max(abs(left), abs(right)) < 1e-6:
            return ()
        return (Limit("infinity", round(left, 7) + 0.0, round(right, 7) + 0.0),)

    def value(self, h: Array) -> Array:
        return self._numeric(0)(h)

    def derivative(self, h: Array) -> Array:
        return self._numeric(1)(h)

    def _numeric(self, order: int) -> Callable[[Array], Array]:
        right, left = compiled(self.expression, order), compiled(self.negative or self.expression, order)

        def value(h: Array) -> Array:
            h = np.asarray(h, dtype=np.float64)
            with np.errstate(all="ignore"):
                out = right(h)
                return out if self.negative is None else np.where(h >= 0, out, left(h))

        return value

    def _both(self, lo: Array, hi: Array) -> tuple[Array, Array, Array, Array]:
        lo, hi = np.atleast_1d(np.asarray(lo, dtype=np.float64)), np.atleast_1d(np.asarray(hi, dtype=np.float64))
        a, b = np.where(np.isnan(lo), 0.0, lo), np.where(np.isnan(hi), 0.0, hi)
        if self.negative is None:
            return self._tables[0].bounds(a, b)
        below, above = a < 0, b >= 0
        out = [np.full(a.shape, s * np.inf) for s in (1, -1, 1, -1)]
        for here, table, x, y in (
            (below, self._tables[0], np.minimum(a, 0.0), np.minimum(b, 0.0)),
            (above, self._tables[1], np.maximum(a, 0.0), np.maximum(b, 0.0)),
        ):
            for i, part in enumerate(table.bounds(x, y)):
                out[i] = np.where(here, (np.minimum if i % 2 == 0 else np.maximum)(out[i], part), out[i])
        if not self._continuous:
            across = below & above
            out[2], out[3] = np.where(across, -np.inf, out[2]), np.where(across, np.inf, out[3])
        return out[0], out[1], out[2], out[3]

    def bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        low, high, _, _ = self._both(lo, hi)
        low, high = not_nan(low, high, np.atleast_1d(lo), np.atleast_1d(hi))
        return low.reshape(np.shape(lo)), high.reshape(np.shape(lo))

    def slope_bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        _, _, low, high = self._both(lo, hi)
        low, high = not_nan(low, high, np.atleast_1d(lo), np.atleast_1d(hi))
        return low.reshape(np.shape(lo)), high.reshape(np.shape(lo))

    def ratio_bound(self) -> float:
        """Near 0 by the mean value theorem (where phi(0) = 0 exactly), elsewhere by ranges."""
        sympy = formula.import_sympy()
        t = sympy.Symbol("t", real=True)
        exprs = [formula.parse(self.expression), formula.parse(self.negative or self.expression)]
        if any(e.subs(t, 0) != 0 for e in exprs):
            # phi(0) != 0, or phi jumps at 0: unbounded; a jump to the left of zero only as t -> 0-
            return math.inf
        best = 0.0
        for table, side in ((self._tables[1], 1.0), (self._tables[0], -1.0)):
            order = np.argsort(table.centres * side)
            order = order[table.centres[order] * side > 0]
            steep = np.maximum.accumulate(
                np.abs(table.slope[order]).max(axis=1)
            )  # bounds |phi'| between 0 and the cell
            low, high = table.ranges
            near = np.abs(table.centres[order]) - 0.5 / PER_UNIT
            with np.errstate(divide="ignore"):
                ratio = up(np.maximum(np.abs(low[order]), np.abs(high[order])) / near)
            best = max(best, float(np.max(np.minimum(steep, np.where(near > 0, ratio, np.inf)))))
        for table, tail_range in zip(self._tables, (self._tables[0].low_tail, self._tables[1].high_tail)):
            end = table.left if tail_range is table.low_tail else table.right
            size = max(abs(tail_range[0]), abs(tail_range[1])) / abs(end) if end else math.inf
            outer = max(abs(tail_range[2]), abs(tail_range[3]))
            best = max(best, min(size, max(best, outer)) * (1 + 2.0**-40))
        return best

    @property
    def pieces(self) -> None:
        return None

    def torch_twin(self) -> Callable[[Any], Any]:
        import torch

        right, left = torch_function(self.expression), torch_function(self.negative or self.expression)
        if self.negative is None:
            return right
        # the other branch is evaluated at 0, so that its overflow cannot poison gradients
        return lambda h: torch.where(h >= 0, right(h.clamp(min=0.0)), left(h.clamp(max=0.0)))


def _prove(left: Any, right: Any, degree: float | None, odd: bool) -> None:
    sympy = formula.import_sympy()
    t, c = sympy.Symbol("t", real=True), sympy.Symbol("c", positive=True)
    if (degree is not None or odd) and len(f"{left}{right}") > MOST_PROVED:
        raise InputError("the formula is too long for a degree or oddness to be proved of it; leave them out.")
    if degree is not None:
        if not abs(degree) <= MOST_POWER:
            raise InputError(f"a degree must be at most {MOST_POWER} in size, not {degree:g}.")
        power = sympy.nsimplify(degree)
        for branch in (left, right):
            if sympy.simplify(branch.subs(t, c * t) - c**power * branch) != 0:
                raise InputError(
                    f"phi = {branch} is not proved homogeneous of degree {degree:g}; leave the degree out."
                )
    if odd and sympy.simplify(left.subs(t, -t) + right) != 0:
        raise InputError(f"phi = {right} is not proved odd; leave odd=True out.")

"""Ranges of a formula on unbounded intervals, in ball arithmetic: by monotonicity, after t = 1/s, and by the sign of the slope."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flint

from ..errors import InputError
from .formula import evaluate, import_sympy, outward

arb = flint.arb

MOST_INVERTED = 30  # operations in a formula that computer algebra is asked to rewrite for a tail


def tail(expression: Any, lo: float, hi: float) -> tuple[float, float]:
    """Range on an interval with an infinite end: interval arithmetic on end points, by monotonicity of each function."""
    sympy = import_sympy()
    flint.ctx.prec = 128
    infinite = (-math.inf, math.inf)

    def ends(f: Callable[[Any], Any], at_minus: float, at_plus: float, x: tuple[float, float]) -> tuple[float, float]:
        low = at_minus if x[0] == -math.inf else outward(f(arb(x[0])))[0] if x[0] < math.inf else at_plus
        high = at_plus if x[1] == math.inf else outward(f(arb(x[1])))[1] if x[1] > -math.inf else at_minus
        return low, high

    def product(x: float, y: float) -> tuple[float, float]:
        """Around x y, on its own side of zero: a factor that is exactly zero, and a sign, survive rounding."""
        if x == 0 or y == 0:
            return 0.0, 0.0
        p = x * y
        if (x > 0) == (y > 0):
            return max(math.nextafter(p, -math.inf), 0.0), math.nextafter(p, math.inf)
        return math.nextafter(p, -math.inf), min(math.nextafter(p, math.inf), 0.0)

    def times(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
        four = [product(x, y) for x in a for y in b]
        return min(low for low, _ in four), max(high for _, high in four)

    def inverse(x: tuple[float, float]) -> tuple[float, float]:
        if x[0] <= 0 <= x[1]:
            return infinite
        one, two = 1.0 / x[0], 1.0 / x[1]
        return math.nextafter(min(one, two), -math.inf), math.nextafter(max(one, two), math.inf)

    def walk(n: Any) -> tuple[float, float]:
        if n.is_Symbol:
            return lo, hi
        if not n.free_symbols:
            return outward(evaluate(n, arb(0)))
        if n.is_Add:
            parts = [walk(a) for a in n.args]
            low, high = sum(p[0] for p in parts), sum(p[1] for p in parts)
            if math.isnan(low) or math.isnan(high):
                return infinite
            size = sum(abs(x) for p in parts for x in p if math.isfinite(x)) * 2.0**-48
            return low - size, high + size
        if n.is_Mul:
            out = (1.0, 1.0)
            for a in n.args:
                out = times(out, walk(a))
            return out
        if n.is_Pow and n.base is not sympy.E and n.exp.is_Integer:
            x, k = walk(n.base), abs(int(n.exp))
            out = x
            for _ in range(k - 1):
                out = times(out, x)
            if k % 2 == 0:
                out = (max(out[0], 0.0), out[1])
            return out if n.exp > 0 else inverse(out)
        if n.is_Pow and abs(n.exp) == sympy.Rational(1, 2):
            low, high = walk(n.base)
            if not low >= 0:
                return infinite
            root = ends(lambda z: z.sqrt(), 0.0, math.inf, (low, high))
            root = max(root[0], 0.0), root[1]
            return root if n.exp > 0 else inverse(root)
        name = "exp" if n.is_Pow and n.base is sympy.E else type(n).__name__
        x = walk(n.exp if n.is_Pow else n.args[0])
        top = {"exp": (0.0, math.inf), "tanh": (-1.0, 1.0), "erf": (-1.0, 1.0), "atan": (-2.0, 2.0)}
        top["sinh"] = infinite
        if name in top:
            low, high = ends(lambda z: getattr(z, name)(), *top[name], x)
            return max(low, top[name][0]), min(high, top[name][1])
        if name == "log" and x[0] > 0:
            return ends(lambda z: z.log(), -math.inf, math.inf, x)
        if name == "cosh":
            return 1.0, math.inf
        if name == "erfc":
            low, high = ends(lambda z: z.erf(), -1.0, 1.0, x)
            return max(math.nextafter(1.0 - high, -9.0), 0.0), math.nextafter(1.0 - low, 9.0)
        return (-1.0, 1.0) if name in ("sin", "cos") else infinite

    low, high = walk(expression)
    return (-math.inf if math.isnan(low) else low), (math.inf if math.isnan(high) else high)


def tail_inverted(expression: Any, lo: float, hi: float) -> tuple[float, float]:
    """Range on a tail after t = 1/s (or -1/s): what computer algebra makes of it, over a ball that holds every such s >= 0.

    t / sqrt(1 + t^2) becomes 1 / sqrt(s^2 + 1), in which nothing is infinite any more.
    """
    sympy = import_sympy()
    infinite = (-math.inf, math.inf)
    end = lo if hi == math.inf else -hi
    if not end > 0 or expression.count_ops() > MOST_INVERTED or not expression.free_symbols:
        return infinite
    s = sympy.Symbol("s", positive=True)
    (t,) = expression.free_symbols
    inside = sympy.simplify(expression.subs(t, 1 / s if hi == math.inf else -1 / s))
    flint.ctx.prec = 128
    half = arb(1) / (2 * arb(end))
    try:
        # what was rewritten is compared with what was meant: computer algebra has been wrong before
        for k in range(1, 33):
            there = half * k / 16
            made, meant = evaluate(inside, there), evaluate(expression, 1 / there if hi == math.inf else -1 / there)
            if not (made.is_finite() and meant.is_finite() and made.overlaps(meant)):
                return infinite
        # [0, 1 / end] in pieces, because balls forget that one s stands for all
        parts = [outward(evaluate(inside, half * arb(k + 0.5, 0.5) / 8)) for k in range(16)]
    except (ZeroDivisionError, ValueError, InputError):
        return infinite
    return min(low for low, _ in parts), max(high for _, high in parts)


def tail_by_slope(expression: Any, lo: float, hi: float, depth: int = 2) -> tuple[float, float]:
    """``tail``, and where that is infinite also what the sign of the (factored) derivative on the tail says: a falling
    function stays below its value at the finite end of [lo, inf), a rising one above it; the reverse on (-inf, hi]."""
    low, high = tail(expression, lo, hi)
    if (math.isfinite(low) and math.isfinite(high)) or depth == 0 or not expression.free_symbols:
        return low, high
    more = tail_inverted(expression, lo, hi)
    low, high = max(low, more[0]), min(high, more[1])
    if math.isfinite(low) and math.isfinite(high):
        return low, high
    sympy = import_sympy()
    slope = sympy.factor(expression.diff(*expression.free_symbols))
    if not slope.free_symbols:
        return low, high
    least, most = tail_by_slope(slope, lo, hi, depth - 1)
    end = lo if hi == math.inf else hi
    flint.ctx.prec = 128
    below, above = outward(evaluate(expression, arb(end)))
    falls, rises = most <= 0, least >= 0
    if hi != math.inf:
        falls, rises = rises, falls
    return (max(low, below) if rises else low), (min(high, above) if falls else high)

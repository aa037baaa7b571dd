"""Formulas in one variable t: read from text, and evaluated in ball arithmetic at points and as Taylor series."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import flint

from ..errors import InputError, MissingDependencyError
from .formula_size import check_size

arb, arb_series = flint.arb, flint.arb_series

KNOWN = "+ - * / **, numbers, pi, E, exp, log, sqrt, sin, cos, tan, sinh, cosh, tanh, atan, erf and erfc"


def import_sympy() -> Any:
    """The sympy module; MissingDependencyError with the install line if it is absent."""
    try:
        import sympy
    except ImportError as error:
        raise MissingDependencyError("this needs sympy: pip install 'meanfield-opt[symbolic]'.") from error
    return sympy


_NUMBER = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![A-Za-z_])"
_TOKEN = re.compile(rf"\s*(?:(?P<number>{_NUMBER})|(?P<name>[A-Za-z][A-Za-z0-9]*)|(?P<sign>\*\*|[-+*/()]))")
_FUNCTIONS = {"exp", "log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "atan", "erf", "erfc"}
_NAMES = _FUNCTIONS | {"pi", "E"}
MOST_TEXT = 2000


def variables_of(text: str) -> set[str]:
    """The variable of a plain formula (numbers, signs, parentheses, known names, one variable); InputError otherwise.

    sympy reads formulas by evaluating them as Python, and a formula may come from a certificate that nobody has to
    trust: whatever is not in this small grammar must not reach it.
    """
    at, last, rest = 0, "", text.rstrip()
    variables: set[str] = set()
    if not rest:
        raise InputError(f"the formula is empty; known are {KNOWN}.")
    if len(rest) > MOST_TEXT:
        raise InputError(f"a formula of {len(rest)} characters is too long; at most {MOST_TEXT} are read.")
    while at < len(rest):
        token = _TOKEN.match(rest, at)
        if token is None:
            raise InputError(f"{text!r} is not a formula in t: {rest[at : at + 12]!r} is unknown; known are {KNOWN}.")
        sign = token["sign"] or ""
        if sign == "(" and last not in {*_FUNCTIONS, "", "(", "+", "-", "*", "/", "**"}:
            raise InputError(f"{text!r} is not a formula in t: {last!r} is no known function; known are {KNOWN}.")
        if token["name"] and token["name"] not in _NAMES:
            variables.add(token["name"])
        last = sign or token["name"] or "0"
        at = token.end()
    if len(variables) > 1:
        raise InputError(f"the formula {text!r} has the symbols {sorted(variables)}; it may use one variable, t.")
    return variables


def parse(text: Any) -> Any:
    """A sympy expression in the one real symbol t; InputError for anything else."""
    sympy = import_sympy()
    names = {"t"}
    if isinstance(text, str):
        names |= variables_of(text)
        check_size(text)
    elif not isinstance(text, (sympy.Expr, int, float)):
        raise InputError(f"a formula is text or a sympy expression, not {type(text).__name__}.")
    t = sympy.Symbol("t", real=True)
    try:
        expression = sympy.sympify(text, locals=dict.fromkeys(names, t))
        if not isinstance(expression, sympy.Expr):
            raise InputError(f"{text!r} is not a formula in t.")
    except (sympy.SympifyError, SyntaxError, TypeError, AttributeError) as error:
        raise InputError(f"{text!r} is not a formula in t: {' '.join(str(error).split())}") from error
    symbols = list(getattr(expression, "free_symbols", ()))
    if len(symbols) > 1:
        raise InputError(
            f"the formula {text!r} has the symbols {sorted(map(str, symbols))}; it may use one variable, t."
        )
    expression = expression.subs({s: t for s in symbols})
    evaluate(expression, arb("0.3"))  # refuses what it does not know
    return expression


def _power(base: Any, exponent: Any, evaluate: Callable[[Any], Any]) -> Any:
    if exponent.is_Integer:
        n = int(exponent)
        result = base if abs(n) else base * 0 + 1
        for _ in range(abs(n) - 1):
            result = result * base
        return result if n >= 0 else 1 / result
    if exponent == 0.5 or str(exponent) == "1/2":
        return base.sqrt()
    if str(exponent) == "-1/2":
        return 1 / base.sqrt()
    return (base.log() * evaluate(exponent)).exp()


def evaluate(node: Any, t: Any) -> Any:
    """The formula at a ball or a power series of balls; branches are analytic, so series give all derivatives."""
    sympy = import_sympy()

    def walk(n: Any) -> Any:
        if n.is_Symbol:
            return t
        if n.is_Rational:
            return arb(flint.fmpq(int(n.p), int(n.q)))
        if n.is_Float:
            number = sympy.Rational(n)
            return arb(flint.fmpq(int(number.p), int(number.q)))
        if n is sympy.pi:
            return arb.pi()
        if n is sympy.E:
            return arb(1).exp()
        if n.is_Add or n.is_Mul:
            parts = [walk(a) for a in n.args]
            out = parts[0]
            for part in parts[1:]:
                out = out + part if n.is_Add else out * part
            return out
        if n.is_Pow:
            return walk(n.exp).exp() if n.base is sympy.E else _power(walk(n.base), n.exp, walk)
        name = type(n).__name__
        x = walk(n.args[0]) if len(n.args) == 1 else None
        if x is not None and name in ("exp", "log", "sin", "cos", "tan", "atan", "erf", "erfc"):
            return getattr(x, name)()
        if x is not None and name in ("sinh", "cosh", "tanh"):
            if isinstance(x, arb):
                return getattr(x, name)()
            e = (2 * x).exp()
            if name == "tanh":
                return 1 - 2 / (e + 1)
            return (e - 1 if name == "sinh" else e + 1) / (2 * x.exp())
        raise InputError(f"the formula uses {name}, for which no rigorous range is known; known are {KNOWN}.")

    return walk(node)


def value_at(expression: Any, t: float) -> float:
    """The formula at a point by ball arithmetic, for where floating point overflows on the way; not finite where it is not."""
    flint.ctx.prec = 128
    try:
        ball = evaluate(expression, arb(t))
        return float(ball.mid()) if ball.is_finite() else math.nan
    except (ZeroDivisionError, ValueError):
        return math.nan


def outward(ball: Any) -> tuple[float, float]:
    """Floats below and above all points of a ball; infinite where the ball is not finite."""
    ball = ball if isinstance(ball, arb) else arb(ball)
    if not ball.is_finite():
        return -math.inf, math.inf
    return math.nextafter(float(ball.lower()), -math.inf), math.nextafter(float(ball.upper()), math.inf)


def taylor(expression: Any, centre: float, radius: float, order: int) -> tuple[list[float], float, float, float]:
    """(coefficients, remainder, slope_lo, slope_hi) on |t - centre| <= radius.

    |phi(t) - sum coefficients_k (t - centre)^k| <= remainder; the slopes enclose phi'. Infinite where not proved.
    """
    flint.ctx.prec, flint.ctx.cap = 128, order + 2
    try:
        at = _series(evaluate(expression, arb_series([arb(centre), 1])))
        over = _series(evaluate(expression, arb_series([arb(centre, radius), 1])))
    except (ZeroDivisionError, ValueError):
        return [0.0] * (order + 1), math.inf, -math.inf, math.inf
    coefficients, remainder = [], 0.0
    for k in range(order + 1):
        low, high = outward(at[k])
        middle = 0.5 * (low + high) if math.isfinite(low) and math.isfinite(high) else 0.0
        coefficients.append(middle)
        remainder += max(high - middle, middle - low) * radius**k
    low, high = outward(over[order + 1])
    remainder += max(abs(low), abs(high)) * radius ** (order + 1)
    slope_lo, slope_hi = outward(over[1])
    return coefficients, remainder * (1 + 2.0**-40), slope_lo, slope_hi


def _series(value: Any) -> Any:
    """A constant formula gives a ball; make it a series."""
    return value if isinstance(value, arb_series) else arb_series([value])

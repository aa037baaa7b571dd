"""How much work a formula asks for, read off its text before any computer algebra sees it.

A formula may come from a certificate. ``9**9**9`` has seven characters and more digits than a memory holds, and computer
algebra would write them out; so numbers, exponents and nested exponentials are bounded here, with nothing evaluated but
floating-point numbers.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import InputError

MOST_POWER = 100  # of an exponent, and of the product of nested ones
MOST_BITS = 20_000  # of an exact number
MOST_OPERATIONS = 400

_SIGNS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


@dataclass(frozen=True)
class _Size:
    """value: at t = 0 in floating point (NaN where undefined). bits: of the exact number, if one. power: of t."""

    value: float
    bits: float
    power: float
    constant: bool


def check_size(text: str) -> None:
    """InputError for a formula (already known to be in the small grammar) that asks for unreasonable work."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
        if sum(isinstance(node, ast.BinOp | ast.UnaryOp | ast.Call) for node in ast.walk(tree)) > MOST_OPERATIONS:
            raise InputError(f"a formula of more than {MOST_OPERATIONS} operations is too long.")
        _size(tree.body)
    except InputError:
        raise
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{text[:80]!r} is not a formula in t: {error}") from error


def _size(node: ast.expr) -> _Size:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return _limited(_number(node.value))
    if isinstance(node, ast.Name):
        known = {"pi": math.pi, "E": math.e}.get(node.id)
        return _Size(0.0, 1.0, 1.0, False) if known is None else _Size(known, 1.0, 0.0, True)
    if isinstance(node, ast.UnaryOp):
        inner = _size(node.operand)
        return _Size(-inner.value, inner.bits, inner.power, inner.constant)
    if isinstance(node, ast.BinOp) and type(node.op) in _SIGNS:
        return _limited(_combined(node.op, _size(node.left), _size(node.right)))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1 and not node.keywords:
        inner = _size(node.args[0])
        value = _computed(lambda: float(getattr(math, node.func.id)(inner.value)))  # type: ignore[attr-defined]
        return _limited(_Size(value, 1.0, min(inner.power, 1.0), inner.constant))
    raise InputError("a formula is made of numbers, one variable, + - * / ** and functions of one argument.")


def _number(value: float) -> _Size:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    bits = value.bit_length() if isinstance(value, int) else 64.0
    if isinstance(value, float) and value:
        bits += abs(math.log2(abs(value))) if math.isfinite(value) else math.inf
    return _Size(number, bits, 0.0, True)


def _combined(sign: ast.operator, left: _Size, right: _Size) -> _Size:
    value = _computed(lambda: _SIGNS[type(sign)](left.value, right.value))
    constant = left.constant and right.constant
    if isinstance(sign, ast.Pow):
        if right.constant and not abs(right.value) <= MOST_POWER:
            raise InputError(f"an exponent of the formula is not at most {MOST_POWER} in size.")
        times = max(abs(right.value), 1.0) if right.constant else 1.0
        return _Size(value, left.bits * times, left.power * times, constant)
    if isinstance(sign, ast.Mult | ast.Div):
        return _Size(value, left.bits + right.bits, left.power + right.power, constant)
    return _Size(value, max(left.bits, right.bits) + 1.0, max(left.power, right.power), constant)


def _computed(operation: Callable[[], float]) -> float:
    """A value in floating point; NaN where it is undefined or complex, infinite where it overflows."""
    try:
        value = operation()
        return float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return math.inf
    except (ValueError, ZeroDivisionError):
        return math.nan


def _limited(size: _Size) -> _Size:
    if math.isinf(size.value) or size.bits > MOST_BITS:
        raise InputError("a number in the formula (or its value at t = 0) is too large.")
    if size.power > MOST_POWER:
        raise InputError(f"the powers in the formula amount to more than {MOST_POWER}.")
    return size

"""Ways to change one JSON value of a certificate: bits, numbers, texts, lists, entries, and values of the wrong kind."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

Rng = np.random.Generator
Node = tuple[str | int, ...]


def places(value: Any, at: Node = ()) -> list[Node]:
    """Every place in a JSON value, inner ones included (of long lists the first 40 entries)."""
    found: list[Node] = [at] if at else []
    if isinstance(value, dict):
        for key in value:
            found += places(value[key], (*at, key))
    elif isinstance(value, list):
        for index in range(min(len(value), 40)):
            found += places(value[index], (*at, index))
    return found


def get(value: Any, at: Node) -> Any:
    """The value at a place."""
    for step in at:
        value = value[step]
    return value


def put(value: Any, at: Node, new: Any) -> None:
    """Replace the value at a place."""
    get(value, at[:-1])[at[-1]] = new


def nested(depth: int) -> Any:
    """Lists in lists."""
    out: Any = []
    for _ in range(depth):
        out = [out]
    return out


ODD: list[Any] = [
    None, True, 0, 1, -1, 10**30, 0.5, "", "NaN", "nan", "inf", "-inf", "0x1.0p+2000", "0x0.0p+0", "-0x0.0p+0", "-0x1.0p+0",
    "0x0.0000000000001p-1022", "0x1.fffffffffffffp+1023", [], {}, [[]], {"shape": [0], "f8": ""}, {"shape": [-1], "f8": ""},
    {"shape": [1], "f8": "000000000000f87f"}, {"shape": [1], "f8": "000000000000f07f"}, {"shape": [10**12], "f8": ""},
    {"labels": [[9]], "tables": [["0x0.0p+0"]]}, {"labels": [[-1]], "tables": [["0x0.0p+0", "0x0.0p+0"]]}, {"zeta": []}, "1/0", "-1/3", [1, 0],
    "two-layer", "norm", "copositive", "hypercube", "input_view", "output_view", "levels", "envelope", "neurons", "shor", "exchange",
    "proved", "open", "refuted", "relu", "squared", nested(200),
]  # fmt: skip

EXTREME = ["000000000000f87f", "000000000000f07f", "000000000000f0ff", "0100000000000000", "ffffffffffffef7f", "0" * 16]
EXTREME_NAMES = ["NaN", "infinity", "-infinity", "a denormal number", "the largest number", "zero"]


def mutate(value: Any, rng: Rng) -> tuple[Any, str]:
    """A changed copy of one JSON value, and what was done to it."""
    if isinstance(value, str) and value and rng.random() < 0.8:
        return _text(value, rng)
    if isinstance(value, bool):
        return not value, "truth flipped"
    if isinstance(value, (int, float)) and rng.random() < 0.7:
        return value + int(rng.choice([-1, 1, 2, -(10**6)])), "number changed"
    if isinstance(value, list) and value and rng.random() < 0.8:
        return _list(value, rng)
    if isinstance(value, dict) and value and rng.random() < 0.7:
        new = dict(value)
        key = str(rng.choice(sorted(new)))
        if rng.random() < 0.5:
            new[key + "_"] = new.pop(key)
            return new, "entry renamed"
        new["extra"] = 1
        return new, "entry added"
    return copy.deepcopy(ODD[int(rng.integers(len(ODD)))]), "odd value"


def _text(value: str, rng: Rng) -> tuple[Any, str]:
    if len(value) % 16 == 0 and all(c in "0123456789abcdef" for c in value) and rng.random() < 0.8:
        return _array(value, rng)
    try:
        number = float.fromhex(value)
    except (ValueError, OverflowError):
        number = math.nan
    if math.isfinite(number) and value.startswith(("0x", "-0x")):
        new = (
            np.nextafter(number, np.inf),
            np.nextafter(number, -np.inf),
            -number,
            number * 2.0 ** float(rng.integers(-3, 4)) + float(rng.choice([0.0, 1e-9])),
            number * 2.0 ** float(rng.choice([-500, 500])),
        )[int(rng.integers(5))]
        return float(new).hex(), "number changed"
    at = int(rng.integers(len(value)))
    return value[:at] + chr(ord(value[at]) ^ (1 << int(rng.integers(7)))) + value[at + 1 :], "bit of a text"


def _array(value: str, rng: Rng) -> tuple[Any, str]:
    """One bit of one number; one number dropped, made extreme, negated or scaled; two numbers swapped."""
    raw = bytearray.fromhex(value)
    at = int(rng.integers(len(raw)))
    k = at // 8 * 8
    how = int(rng.integers(7))
    if how <= 1:
        raw[at] ^= 1 << int(rng.integers(8))
        return raw.hex(), "bit of an array"
    if how == 2:
        return value[:-16], "number dropped"
    if how == 3:
        which = int(rng.integers(len(EXTREME)))
        raw[k : k + 8] = bytes.fromhex(EXTREME[which])
        return raw.hex(), f"{EXTREME_NAMES[which]} in an array"
    if how == 4:
        raw[k + 7] ^= 0x80
        return raw.hex(), "sign in an array"
    if how == 5:
        raw[k + 7] ^= 1 << int(rng.integers(4))
        return raw.hex(), "exponent in an array"
    other = int(rng.integers(len(raw) // 8)) * 8
    raw[k : k + 8], raw[other : other + 8] = raw[other : other + 8], raw[k : k + 8]
    return raw.hex(), "numbers swapped"


def _list(value: list[Any], rng: Rng) -> tuple[Any, str]:
    k, other = (int(x) for x in rng.integers(len(value), size=2))
    how = int(rng.integers(5))
    if how == 0:
        return value[:k] + value[k + 1 :], "entry dropped"
    if how == 1:
        return value + value[k : k + 1], "entry doubled"
    if how == 2:
        return value[::-1], "list reversed"
    if how == 3:
        return [], "list emptied"
    new = list(value)
    new[k], new[other] = new[other], new[k]
    return new, "entries swapped"

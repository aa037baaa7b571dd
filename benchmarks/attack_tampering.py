"""Tampered certificates: every one must be rejected with CertificateError, unless what it claims is still proved.

Two ways of tampering: (1) the file's bytes are changed and the digest left alone (any flipped bit, truncation): always to
be rejected; (2) the content is changed and the digest recomputed, one change at a time in every field. After (2) the
checker may accept only what follows anyway: the same problem, a lower bound no higher and an upper bound no lower than
those of the honest certificate (a weaker claim, other words, a witness altered so little that it still proves as much).
Anything else that is accepted counts as a false certificate, and any exception but CertificateError as a failure.
"""

from __future__ import annotations

import copy
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import meanfield_opt as mfo
from meanfield_opt.checker.document import digest
from meanfield_opt.errors import CertificateError
from meanfield_opt.geometry import DenseGeometry, DiagonalPlusLowRank
from meanfield_opt.measure import Measure
from meanfield_opt.plugins import activation, loss
from meanfield_opt.problem import TwoLayerProblem

Rng = np.random.Generator
Node = tuple[str | int, ...]


@dataclass
class Tally:
    """rejected: CertificateError; harmless: accepted, and true; wrong: accepted, and not proved; crashed: other errors."""

    rejected: int = 0
    harmless: int = 0
    wrong: list[str] = field(default_factory=list)
    crashed: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    harmless_fields: Counter[str] = field(default_factory=Counter)


def honest(folder: Path) -> list[tuple[Path, TwoLayerProblem]]:
    """Certificates of every kind: symmetric, branch and bound, copositive, norm; proved and refuted; by recipe, by data."""
    rng = np.random.default_rng(0)
    x1, x2 = rng.standard_normal((9, 1)), rng.standard_normal((7, 2))
    y = np.sign(rng.standard_normal((2, 9)))
    relu, squared = activation("relu"), loss("squared")
    g = rng.standard_normal((5, 7))
    cases: list[tuple[TwoLayerProblem, str, float]] = [
        (mfo.problems.hypercube(latents=2, lambda1=0.01, lambda2=0.01), "auto", 10.0),
        (mfo.problems.hypercube(latents=2, geometry="aligned", alignment=2.0, lambda1=0.01, lambda2=0.01), "copositive", 10.0),
        (mfo.problems.dataset(x1, y.T, lambda1=0.2, lambda2=0.2), "auto", 10.0),
        (mfo.problems.dataset(x2, y.T[:7], lambda1=0.2, lambda2=0.2), "auto", 1e-4),
        (mfo.problems.dataset(x2, y.T[:7], loss="logistic", lambda1=0.2, lambda2=0.2), "auto", 10.0),
        (TwoLayerProblem(relu, squared, DenseGeometry(np.tril(g @ g.T) + np.tril(g @ g.T, -1).T), y[:, :5], 0.1, 0.1), "copositive", 10.0),
        (TwoLayerProblem(relu, squared, DiagonalPlusLowRank(np.ones(6), np.ones((6, 1)), np.ones(1)), y[:, :6], 0.1, 0.1), "norm", 10.0),
        (TwoLayerProblem(relu, squared, DiagonalPlusLowRank(np.ones(8), np.ones((8, 1)), np.ones(1)), y[:, :8], 0.1, 0.1), "auto", 10.0),
        (mfo.problems.hypercube(latents=2, activation="hard_sigmoid", width=4, lambda1=0.05, lambda2=0.05), "auto", 10.0),
    ]  # fmt: skip
    out = []
    for number, (problem, engine, refute) in enumerate(cases):
        if problem.known is not None:
            candidate: Any = mfo.solve(problem, backend="closed_form")
        else:
            theta = rng.standard_normal((3, problem.geometry.n_parameters))
            candidate = Measure(problem.geometry.preactivation(theta), np.full(3, 0.2), theta)
        certificate = mfo.certify(problem, candidate, engine=engine, refute=refute, time_limit=10.0, target=1e-4)
        path = folder / f"{number}.json"
        certificate.save(path)
        mfo.verify(path, problem)
        out.append((path, problem))
    return out


def leaves(value: Any, at: Node = ()) -> list[Node]:
    """Every place in a JSON value, inner ones included."""
    found: list[Node] = [at] if at else []
    if isinstance(value, dict):
        for key in value:
            found += leaves(value[key], (*at, key))
    elif isinstance(value, list):
        for index in range(min(len(value), 40)):
            found += leaves(value[index], (*at, index))
    return found


def get(value: Any, at: Node) -> Any:
    for step in at:
        value = value[step]
    return value


def put(value: Any, at: Node, new: Any) -> None:
    get(value, at[:-1])[at[-1]] = new


def nested(depth: int) -> Any:
    out: Any = []
    for _ in range(depth):
        out = [out]
    return out


ODD: list[Any] = [
    None, True, 0, 1, -1, 10**30, 0.5, "", "NaN", "nan", "inf", "-inf", "0x1.0p+2000", "0x0.0p+0", "-0x1.0p+0",
    "0x1.fffffffffffffp+1023", [], {}, [[]], {"shape": [0], "f8": ""}, {"shape": [-1], "f8": ""}, {"shape": [1], "f8": "000000000000f87f"},
    {"shape": [1], "f8": "000000000000f07f"}, {"shape": [10**12], "f8": ""}, {"labels": [[9]], "tables": [["0x0.0p+0"]]}, {"zeta": []},
    "1/0", "-1/3", "two-layer", "norm", "copositive", "hypercube", "input_view", "proved", "open", "refuted", nested(200),
]  # fmt: skip


def mutate(value: Any, rng: Rng) -> tuple[Any, str]:
    """A changed copy of one JSON value."""
    if isinstance(value, str) and rng.random() < 0.8:
        if len(value) and all(c in "0123456789abcdef" for c in value) and len(value) % 16 == 0 and rng.random() < 0.7:
            raw = bytearray.fromhex(value)  # one bit of one number, or one number dropped, doubled or swapped
            how = int(rng.integers(4))
            at = int(rng.integers(len(raw)))
            if how <= 1:
                raw[at] ^= 1 << int(rng.integers(8))
                return raw.hex(), "bit of an array"
            if how == 2:
                return value[:-16], "number dropped"
            k = at // 8 * 8
            return (raw[:k] + b"\x00\x00\x00\x00\x00\x00\xf8\x7f" + raw[k + 8 :]).hex(), "NaN in an array"
        try:
            number = float.fromhex(value)
        except (ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number) and value.startswith(("0x", "-0x")):
            how = int(rng.integers(4))
            new = (
                np.nextafter(number, np.inf),
                np.nextafter(number, -np.inf),
                -number,
                number * 2.0 ** float(rng.integers(-3, 4)) + float(rng.choice([0.0, 1e-9])),
            )[how]
            return float(new).hex(), "number changed"
        if value:
            at = int(rng.integers(len(value)))
            return value[:at] + chr(ord(value[at]) ^ (1 << int(rng.integers(7)))) + value[at + 1 :], "bit of a text"
    if isinstance(value, bool):
        return not value, "truth flipped"
    if isinstance(value, (int, float)) and rng.random() < 0.7:
        return value + int(rng.choice([-1, 1, 2, -(10**6)])), "number changed"
    if isinstance(value, list) and value and rng.random() < 0.7:
        k = int(rng.integers(len(value)))
        return (
            (value[:k] + value[k + 1 :], "entry dropped")
            if rng.random() < 0.5
            else (value + value[k : k + 1], "entry doubled")
        )
    if isinstance(value, dict) and value and rng.random() < 0.7:
        new = dict(value)
        key = str(rng.choice(sorted(new)))
        if rng.random() < 0.5:
            new[key + "_"] = new.pop(key)
            return new, "entry renamed"
        new["extra"] = 1
        return new, "entry added"
    return copy.deepcopy(ODD[int(rng.integers(len(ODD)))]), "odd value"


def judge(path: Path, problem: TwoLayerProblem | None, true: mfo.VerifiedBound | None, what: str, tally: Tally) -> None:
    """Give a tampered file to the checker and classify the outcome. true: None if it must be rejected in any case."""
    tally.kinds[what.split(":")[0]] += 1
    try:
        got = mfo.verify(path, problem)
    except CertificateError:
        tally.rejected += 1
        return
    except Exception as error:
        tally.crashed.append(f"{what}: {type(error).__name__}: {error}")
        return
    # the file's upper bound leaves the checker 2^-44 of room: an upper bound moved down within it is still proved
    weaker = (
        true is not None
        and got.fingerprint == true.fingerprint
        and got.lower_bound <= true.lower_bound
        and got.upper_bound >= true.upper_bound - 2.0**-43 * abs(true.upper_bound)
        and got.verdict == true.verdict
    )
    if weaker:
        tally.harmless += 1
        tally.harmless_fields[what.split(": ")[-1]] += 1
    else:
        tally.wrong.append(f"{what}: accepted {got}")


def attack(folder: Path, count: int, seed: int) -> Tally:
    """About ``count`` tampered certificates, spread over all kinds of tampering."""
    rng = np.random.default_rng(seed)
    cases = honest(folder)
    tally = Tally()
    target = folder / "tampered.json"
    truths = [mfo.verify(path, problem) for path, problem in cases]
    bodies = [json.loads(path.read_text()) for path, _ in cases]
    raws = [path.read_bytes() for path, _ in cases]
    for round_ in range(count):
        k = int(rng.integers(len(cases)))
        problem = cases[k][1] if rng.random() < 0.7 else None
        how = rng.random()
        if how < 0.25:  # a bit of the file
            raw = bytearray(raws[k])
            raw[int(rng.integers(len(raw)))] ^= 1 << int(rng.integers(8))
            target.write_bytes(bytes(raw))
            judge(target, problem, None, "raw bit", tally)
        elif how < 0.30:
            target.write_bytes(raws[k][: int(rng.integers(len(raws[k])))])
            judge(target, problem, None, "truncated", tally)
        elif how < 0.34:  # another problem, or parts of another certificate
            other = int((k + 1 + rng.integers(len(cases) - 1)) % len(cases))
            if rng.random() < 0.4:
                target.write_bytes(raws[k])
                judge(target, cases[other][1], None, "swapped problem", tally)
                continue
            body = copy.deepcopy(bodies[k])
            part = str(rng.choice(["problem", "primal", "dual", "proof", "claims", "scale", "refutation"]))
            if body[part] == bodies[other][part]:
                continue
            body[part] = copy.deepcopy(bodies[other][part])
            redigest(body, target)
            judge(target, problem, truths[k], f"swapped part: {part}", tally)
        else:
            body = copy.deepcopy(bodies[k])
            places = [at for at in leaves(body) if at[0] != "digest"]
            tops = sorted({at[0] for at in places}, key=str)
            top = tops[int(rng.integers(len(tops)))]  # every field equally often, however many numbers it holds
            mine = [at for at in places if at[0] == top]
            at = mine[int(rng.integers(len(mine)))]
            new, what = mutate(get(body, at), rng)
            if json.dumps(new) == json.dumps(get(body, at)):
                continue
            put(body, at, new)
            if round_ % 50 == 0:
                raw_text = json.dumps({**body, "digest": "0" * 64})
                deep = "[" * 100_000 + "]" * 100_000
                target.write_text(raw_text[:-1] + ',"deep":' + deep + "}")
                judge(target, problem, None, "deep nesting", tally)
                continue
            redigest(body, target)
            judge(target, problem, truths[k], f"{what}: {'.'.join(map(str, at[:3]))}", tally)
    return tally


def redigest(body: dict[str, Any], target: Path) -> None:
    """Write with the digest of the changed content."""
    body.pop("digest", None)
    target.write_text(json.dumps({**body, "digest": digest(body)}))

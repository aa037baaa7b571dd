"""Tampered certificates, in two modes.

"as is": what damages a file, or a careless hand. Any bit of the file flipped, the file cut short, any one field changed,
parts of two certificates exchanged, a certificate held against another problem; the digest is left as it was (or is
itself what is changed). Every one must be rejected with CertificateError and a reason.

"recomputed": an adversary, who makes the digest right again; only the mathematics stands in the way.
1. One change at a time in every field, or parts exchanged. The checker may then accept only what follows anyway: the
   same problem, a lower bound no higher and an upper bound no lower than those of the genuine certificate (a weaker
   claim, other words, a witness altered so little that it still proves as much).
2. "Greedy": after a change in the witnesses or the proof, or a transplant into a twin problem (same data, other
   penalties, activation or width), the claims are rewritten to the most that the checker's own functions give. What is
   then accepted must agree with the truth: lower bound <= the energy of the best measure known for that problem.

Anything else that is accepted counts as a false certificate, and any exception but CertificateError as a failure.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import attack_cases
import numpy as np
from attack_cases import Target
from attack_greedy import strongest
from attack_mutations import Rng, get, mutate, places, put

import meanfield_opt as mfo
from meanfield_opt.checker.document import digest
from meanfield_opt.errors import CertificateError
from meanfield_opt.problem import TwoLayerProblem


@dataclass
class Tally:
    """rejected: CertificateError; harmless: accepted, and true; wrong: accepted, and not proved; crashed: other errors."""

    rejected: int = 0
    harmless: int = 0
    wrong: list[str] = field(default_factory=list)
    crashed: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    cases: Counter[str] = field(default_factory=Counter)
    harmless_fields: Counter[str] = field(default_factory=Counter)

    @property
    def files(self) -> int:
        """All that were tried."""
        return self.rejected + self.harmless + len(self.wrong) + len(self.crashed)

    def add(self, other: Tally) -> None:
        """Count another tally in."""
        self.rejected += other.rejected
        self.harmless += other.harmless
        self.wrong += other.wrong
        self.crashed += other.crashed
        self.kinds += other.kinds
        self.cases += other.cases
        self.harmless_fields += other.harmless_fields


@dataclass
class Attack:
    """Genuine files, a place for the tampered one, and the tally. as_is: the digest stays what it was.
    best: fingerprint -> what the optimum is at most."""

    targets: list[Target]
    folder: Path
    rng: Rng
    as_is: bool
    tally: Tally = field(default_factory=Tally)
    best: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.claims = [t.claims for t in self.targets]
        problems = [t.problem for t in self.targets if isinstance(t.problem, TwoLayerProblem)]
        self.twins = [twin for problem in problems for twin in attack_cases.twins(problem)]

    @property
    def file(self) -> Path:
        """Where the tampered file is written."""
        return self.folder / "tampered.json"

    def reached(self, problem: TwoLayerProblem) -> float:
        """An energy that some measure is proved to have (computed when first asked for)."""
        name = problem.fingerprint
        if name not in self.best:
            certified = [claim[2] for claim in self.claims if claim[0] == name]
            self.best[name] = min([attack_cases.best_known(problem), *certified])
        return self.best[name]

    def pick(self) -> int:
        return int(self.rng.integers(len(self.targets)))

    def write(self, body: dict[str, Any]) -> None:
        """Write, unless "as is" with the digest of the changed content."""
        if not self.as_is:
            body = {k: v for k, v in body.items() if k != "digest"}
            body = {**body, "digest": digest(body)}
        self.file.write_text(json.dumps(body))

    def owed(self, k: int) -> tuple[str, Any, Any, str] | None:
        """What may be accepted of a tampered file k: its claims, or as it is nothing."""
        return None if self.as_is else self.claims[k]

    def judge(self, target: Target, true: tuple[str, Any, Any, str] | None, knowing: bool, what: str) -> None:
        """Give the tampered file to the checker. true: the genuine claims; None if it must be rejected in any case."""
        self.tally.kinds[what.split(":")[0]] += 1
        self.tally.cases[target.name] += 1
        got = self.outcome(target, knowing, what)
        if got is None:
            return
        # the file's upper bound leaves the checker 2^-44 of room: an upper bound moved down within it is still proved
        weaker = (
            true is not None
            and (got[0], got[3]) == (true[0], true[3])
            and got[1] <= true[1]
            and got[2] >= true[2] - 2.0**-43 * abs(true[2])
        )
        self.count(weaker, f"{target.name}, {what}: accepted {got}", what)

    def outcome(self, target: Target, knowing: bool, what: str) -> tuple[str, Any, Any, str] | None:
        """What the checker accepts; None (counted) where it rejects or breaks down."""
        try:
            return target.check(self.file, knowing)
        except CertificateError as error:
            self.reject(error, target, what)
        except Exception as error:
            self.tally.crashed.append(f"{target.name}, {what}: {type(error).__name__}: {error}")
        return None

    def reject(self, error: CertificateError, target: Target, what: str) -> None:
        """Count a rejection; one without a reason is a failure."""
        if str(error).strip():
            self.tally.rejected += 1
        else:
            self.tally.crashed.append(f"{target.name}, {what}: rejected without a reason")

    def count(self, harmless: bool, told: str, what: str) -> None:
        if harmless:
            self.tally.harmless += 1
            self.tally.harmless_fields[what.split(": ")[-1]] += 1
        else:
            self.tally.wrong.append(told)

    # the ways of tampering ----------------------------------------------------------------------------------------
    def bytes_changed(self, k: int, knowing: bool) -> None:
        """A bit of the file, or a part of it missing; sometimes nesting too deep to parse."""
        raw = bytearray(self.targets[k].path.read_bytes())
        how = self.rng.random()
        if how < 0.75:
            raw[int(self.rng.integers(len(raw)))] ^= 1 << int(self.rng.integers(8))
            what = "raw bit"
        elif how < 0.97:
            raw, what = raw[: int(self.rng.integers(len(raw)))], "truncated"
        else:
            raw, what = raw[:-1] + b',"deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "deep nesting"
        self.file.write_bytes(bytes(raw))
        self.judge(self.targets[k], None, knowing, what)

    def parts_swapped(self, k: int, knowing: bool) -> None:
        """Another problem than the file's, or a part of another certificate."""
        others = [i for i, t in enumerate(self.targets) if i != k and t.body.keys() == self.targets[k].body.keys()]
        if not others:
            return
        other = int(self.rng.choice(others))
        if self.rng.random() < 0.3:
            self.file.write_bytes(self.targets[k].path.read_bytes())
            if self.claims[k][0] != self.claims[other][0]:
                self.judge(self.targets[other], None, True, "swapped problem")
            return
        body = copy.deepcopy(self.targets[k].body)
        part = str(self.rng.choice(sorted(body.keys() - {"format", "version"} - (set() if self.as_is else {"digest"}))))
        if body[part] != self.targets[other].body[part]:
            body[part] = copy.deepcopy(self.targets[other].body[part])
            self.write(body)
            self.judge(self.targets[k], self.owed(k), knowing, f"swapped part: {part}")

    def field_changed(self, k: int, knowing: bool) -> None:
        """One change in one place: every top field equally often, however many numbers it holds."""
        changed = self.changed(k, None)
        if changed is not None:
            body, what = changed
            self.write(body)
            self.judge(self.targets[k], self.owed(k), knowing, what)

    def changed(self, k: int, tops: set[str] | None) -> tuple[dict[str, Any], str] | None:
        body = copy.deepcopy(self.targets[k].body)
        found = [at for at in places(body) if tops is None or at[0] in tops]
        found = [at for at in found if self.as_is or at[0] != "digest"]
        top = self.rng.choice(sorted({str(at[0]) for at in found}))
        mine = [at for at in found if at[0] == top]
        arrays = [at for at in mine if at[-1] == "f8"]
        if arrays and self.rng.random() < 0.4:
            mine = arrays
        at = mine[int(self.rng.integers(len(mine)))]
        new, what = mutate(get(body, at), self.rng)
        if json.dumps(new) == json.dumps(get(body, at)):
            return None
        put(body, at, new)
        return body, f"{what}: {'.'.join(map(str, at[:3]))}"

    def fitting(self, problem: TwoLayerProblem) -> list[TwoLayerProblem]:
        """The twins into which witnesses of this problem fit."""
        return [t for t in self.twins if t.targets.shape == problem.targets.shape]

    def transplants(self) -> None:
        """Every genuine proof in every twin that it fits, once."""
        for target in self.targets:
            if isinstance(target.problem, TwoLayerProblem) and target.body["proof"] is not None:
                for twin in self.fitting(target.problem):
                    self.claim_all(target, target.body, twin, "greedy in a twin: transplant")

    def greedy(self, k: int) -> None:
        """Change witnesses or proof, here or in a twin, and claim all that the checker's own functions then give."""
        target, problem = self.targets[k], self.targets[k].problem
        if not isinstance(problem, TwoLayerProblem) or target.body["proof"] is None:
            return
        changed, twins = self.changed(k, {"dual", "proof"}), self.fitting(problem)
        if changed is None:
            return
        if twins and self.rng.random() < 0.4:
            twin = twins[int(self.rng.integers(len(twins)))]
            self.claim_all(target, changed[0], twin, f"greedy in a twin, {changed[1]}")
        else:
            self.claim_all(target, changed[0], problem, f"greedy {changed[1]}")

    def claim_all(self, target: Target, body: dict[str, Any], problem: TwoLayerProblem, what: str) -> None:
        """The strongest claims that this dual point and this proof give for the problem, held against the truth."""
        self.tally.kinds[what.split(":")[0]] += 1
        self.tally.cases[target.name] += 1
        try:
            self.write(strongest(body, problem))
            got = mfo.verify(self.file, problem)
        except CertificateError as error:
            self.reject(error, target, what)
            return
        except Exception as error:
            self.tally.crashed.append(f"{target.name}, {what}: {type(error).__name__}: {error}")
            return
        reached = self.reached(problem)
        told = f"{target.name}, {what}: claimed {got}, but {reached!r} is reached"
        self.count(got.lower_bound <= reached, told, what)


def attack(
    targets: list[Target], count: int, seed: int | tuple[int, ...], *, as_is: bool = False, transplants: bool = True
) -> Tally:
    """``count`` tampered certificates, spread over all targets (``attack_cases.targets``) and all kinds of tampering.

    transplants: first put every genuine proof into every twin problem that it fits (which solves the twins).
    """
    state = Attack(targets, targets[0].path.parent, np.random.default_rng(seed), as_is)
    if transplants and not as_is:
        state.transplants()
    while state.tally.files < count:
        k, knowing, how = state.pick(), bool(state.rng.random() < 0.6), state.rng.random()
        if as_is and how < 0.40:
            state.bytes_changed(k, knowing)
        elif how < (0.55 if as_is else 0.10):
            state.parts_swapped(k, knowing)
        elif as_is or how < 0.60:
            state.field_changed(k, knowing)
        else:
            state.greedy(k)
    return state.tally

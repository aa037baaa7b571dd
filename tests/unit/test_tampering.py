"""A seeded part of the tampering attack (benchmarks/attack_tampering.py), and the law that it covers every replay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from meanfield_opt.checker.copositive import KINDS
from meanfield_opt.checker.verify import CHECKERS, REPLAYS
from meanfield_opt.plugins import LOSSES

Script = Callable[[str], ModuleType]
QUICK = {
    "symmetric", "lift", "input view", "output view, leaky", "exchange", "shor", "norm", "levels", "levels under a width",
    "envelope, split", "weighted", "output bias", "refuted", "cells", "pairs", "quadratic, by data", "design, A",
}  # fmt: skip


def losses_in(loss: Any) -> set[str]:
    return {loss.name} | (losses_in(loss.base) if hasattr(loss, "base") else set())


@pytest.mark.filterwarnings("ignore")
def test_every_replay_loss_and_checker_is_attacked(tmp_path: Path, benchmark_script: Script) -> None:
    """A law over the registries: who adds a replay, a loss or a checker adds a genuine certificate to tamper with."""
    cases = benchmark_script("attack_cases")
    entries = cases.two_layer()
    proofs = {"symmetric": "hypercube", "orbital": "copositive", "lift": "copositive", "auto": "none"}
    assert {proofs.get(e.engine, e.engine) for e in entries} - {"none"} == REPLAYS.keys()
    used = set().union(*(losses_in(e.problem.loss) for e in entries))
    assert used >= {name for name in LOSSES.names() if LOSSES.builtin(name)}
    assert any(e.problem.width is not None for e in entries)
    assert {"symbolic", "piecewise_affine"} <= {e.problem.activation.name for e in entries}
    assert {type(t.problem).__name__ for t in cases.other_problems(tmp_path)} == set(CHECKERS.names())
    files = cases.copositivity_files(tmp_path)
    assert {kind for t in files for kind in t.kinds} == KINDS.keys() | {"witness"}
    for target in files:
        assert target.claims[3] in ("copositive", "not copositive")


@pytest.mark.filterwarnings("ignore")
def test_tampered_certificates_are_rejected(tmp_path: Path, benchmark_script: Script) -> None:
    files = {f"copositivity {kind}" for kind in [*KINDS, "witness"]}
    tally = benchmark_script("attack_tampering").attack(tmp_path, 400, 7, QUICK | files, transplants=False)
    assert tally.wrong == []
    assert tally.crashed == []
    assert tally.rejected > 320


@pytest.mark.filterwarnings("ignore")
def test_transplanted_proofs_prove_nothing_false(tmp_path: Path, benchmark_script: Script) -> None:
    """With proofs of free mass accepted under a width this fails."""
    tally = benchmark_script("attack_tampering").attack(tmp_path, 40, 7, {"norm", "exchange"})
    assert tally.wrong == []
    assert tally.crashed == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore")
def test_many_tampered_certificates_are_rejected(tmp_path: Path, benchmark_script: Script) -> None:
    tally = benchmark_script("attack_tampering").attack(tmp_path, 4000, 8)
    assert tally.wrong == []
    assert tally.crashed == []

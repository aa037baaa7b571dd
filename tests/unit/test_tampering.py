"""A seeded part of the tampering attack (benchmarks/attack_tampering.py), and the law that it covers every replay."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from meanfield_opt.checker.copositive import KINDS
from meanfield_opt.checker.embed import GEOMETRIES
from meanfield_opt.checker.replays import REPLAYS
from meanfield_opt.checker.verify import CHECKERS, FREE_MASS
from meanfield_opt.geometry import FreeBiasGeometry
from meanfield_opt.plugins import LOSSES

Script = Callable[[str], ModuleType]
QUICK = {
    "symmetric", "lift", "input view", "output view, leaky", "exchange", "shor", "norm", "levels", "levels under a width",
    "envelope, split", "weighted", "output bias", "refuted", "cells", "pairs", "quadratic, by data", "design, A",
    "exchange, exact", "lift, low rank", "lift, reduced", "envelope", "pairs, free mass", "two scales", "free bias", "input view, chamber",
    "envelope, grows", "pairs, grows", "free mass under a width", "neurons", "neurons, grows",
}  # fmt: skip
FILES = {f"copositivity {kind}" for kind in [*KINDS, "witness"]}


def losses_in(loss: Any) -> set[str]:
    return {loss.name} | (losses_in(loss.base) if hasattr(loss, "base") else set())


@pytest.mark.filterwarnings("ignore")
def test_every_replay_loss_and_checker_is_attacked(tmp_path: Path, benchmark_script: Script) -> None:
    """A law over the registries: who adds a replay, a loss or a checker adds a genuine certificate to tamper with."""
    cases = benchmark_script("attack_cases")
    entries = cases.two_layer()
    proofs = {"symmetric": "hypercube", "orbital": "copositive", "lift": "copositive", "auto": "none"}
    wrapped = {"free_bias"} if any(isinstance(e.problem.geometry, FreeBiasGeometry) for e in entries) else set()
    assert ({proofs.get(e.engine, e.engine) for e in entries} - {"none"}) | wrapped == REPLAYS.keys()
    assert {type(e.problem.geometry).__name__ for e in entries} == GEOMETRIES.keys()
    used = set().union(*(losses_in(e.problem.loss) for e in entries))
    assert used >= {name for name in LOSSES.names() if LOSSES.builtin(name)}
    assert any(e.problem.width is not None for e in entries)
    assert {"symbolic", "piecewise_affine"} <= {e.problem.activation.name for e in entries}
    assert {type(t.problem).__name__ for t in cases.other_problems(tmp_path)} == set(CHECKERS.names())
    files = cases.copositivity_files(tmp_path)
    assert {kind for t in files for kind in t.kinds} == KINDS.keys() | {"witness"}
    for target in files:
        assert target.claims[3] in ("copositive", "not copositive")


@pytest.fixture(scope="module")
def genuine(tmp_path_factory: pytest.TempPathFactory, benchmark_script: Script) -> Any:
    """Genuine certificates, made once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return benchmark_script("attack_cases").targets(tmp_path_factory.mktemp("genuine"), QUICK | FILES)


@pytest.mark.filterwarnings("ignore")
def test_every_form_of_artefact_is_attacked(genuine: Any) -> None:
    """Kinds whose artefact has several forms are attacked in each."""
    forms = {
        t.name: t.body["proof"]["artefact"] for t in genuine if t.problem is not None and "kind" in t.body["proof"]
    }
    assert "slack" in forms["exchange"]
    assert "copositivity" in forms["exchange, exact"]
    assert forms["lift"]["diagonal"] is not None
    assert forms["lift, reduced"]["diagonal"] is None
    assert forms["lift, low rank"]["diagonal"] is not None
    assert forms["envelope"]["split"] is False
    assert forms["envelope, split"]["split"] is True
    assert float.fromhex(forms["pairs"]["top"]) > 0
    assert float.fromhex(forms["pairs, free mass"]["top"]) == 0
    assert forms["free bias"]["proof"]["kind"] == "input_view"
    assert "tail" in forms["pairs, grows"]
    assert "symmetry" in forms["input view, chamber"]
    assert "symmetry" not in forms["input view"]
    assert "tail" in forms["envelope, grows"]
    assert forms["neurons"].keys() == {"top"}
    assert "tail" in forms["neurons, grows"]
    assert {t.body["proof"]["kind"] for t in genuine if t.name == "free mass under a width"} == {FREE_MASS}


@pytest.mark.filterwarnings("ignore")
def test_damaged_certificates_are_all_rejected(genuine: Any, benchmark_script: Script) -> None:
    """Whatever changes while the digest stays: every file is refused, with a reason."""
    tally = benchmark_script("attack_tampering").attack(genuine, 600, 9, as_is=True)
    assert tally.wrong == []
    assert tally.crashed == []
    assert tally.rejected == tally.files >= 600


@pytest.mark.filterwarnings("ignore")
def test_forged_certificates_prove_nothing_false(genuine: Any, benchmark_script: Script) -> None:
    """With the digest made right again, only the mathematics is left: nothing is accepted that does not follow."""
    tally = benchmark_script("attack_tampering").attack(genuine, 300, 7, transplants=False)
    assert tally.wrong == []
    assert tally.crashed == []
    assert tally.rejected > 240


@pytest.mark.filterwarnings("ignore")
def test_transplanted_proofs_prove_nothing_false(tmp_path: Path, benchmark_script: Script) -> None:
    """With proofs of free mass accepted under a width this fails."""
    targets = benchmark_script("attack_cases").targets(tmp_path, {"norm", "exchange"})
    tally = benchmark_script("attack_tampering").attack(targets, 40, 7)
    assert tally.wrong == []
    assert tally.crashed == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("as_is", [True, False])
def test_many_tampered_certificates_are_rejected(as_is: bool, tmp_path: Path, benchmark_script: Script) -> None:
    targets = benchmark_script("attack_cases").targets(tmp_path)
    tally = benchmark_script("attack_tampering").attack(targets, 4000, 8, as_is=as_is)
    assert tally.wrong == []
    assert tally.crashed == []
    assert not as_is or tally.rejected == tally.files

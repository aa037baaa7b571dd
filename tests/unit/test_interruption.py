"""Ctrl-C: what was reached is kept, nothing half done passes for whole, and loops end."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.bench import bench
from meanfield_opt.cli import main

RNG = np.random.default_rng(0)
PROBLEM = mfo.problems.dataset(RNG.standard_normal((8, 2)), RNG.standard_normal((8, 1)), lambda1=0.3, lambda2=0.3)


def interrupting(calls: int) -> Any:
    """A stand-in for ``solve`` that is interrupted in its ``calls``-th call and then ends as column generation does."""
    seen = []

    def solve(problem: Any, *arguments: Any, **options: Any) -> mfo.Solution:
        seen.append(problem)
        assert len(seen) <= calls, "the loop went on after an interruption"
        solution = mfo.solve(problem, *arguments, **options)
        return replace(solution, status=mfo.Status.INTERRUPTED) if len(seen) == calls else solution

    return solve


def test_a_path_ends_with_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("meanfield_opt.path"), "solve", interrupting(2))
    found = mfo.path(PROBLEM, [1.0, 0.5, 0.25])
    assert [s.two_layer.lambda1 for s in found] == [0.5, 0.25]  # solved from the smallest up
    assert [s.status is mfo.Status.INTERRUPTED for s in found] == [True, False]


def test_close_gap_returns_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("meanfield_opt.certificate.close_gap"), "solve", interrupting(1))
    solution, certificate = mfo.close_gap(PROBLEM, gap=1e-300, time_limit=20.0)
    assert solution.status is mfo.Status.INTERRUPTED
    assert certificate.verdict == "proved"


def test_bench_does_not_go_on_to_the_next_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meanfield_opt.bench.solve", interrupting(1))
    with pytest.raises(KeyboardInterrupt):
        bench(PROBLEM, backends=["column_generation", "clarabel"], warm_up=False)


def test_an_interrupted_cell_is_not_in_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    monkeypatch.setattr(import_module("meanfield_opt.scan"), "solve", interrupting(2))
    journal = tmp_path / "map.jsonl"
    cells = {"alignments": (0.0, 0.5, 2.0), "workers": 0, "time_limit": 5.0, "journal": journal}
    with pytest.raises(KeyboardInterrupt):
        mfo.scan(["relu"], **cells)  # type: ignore[arg-type]
    assert [json.loads(line)["alignment"] for line in journal.read_text().splitlines()] == [0.0]
    monkeypatch.undo()
    assert len(mfo.scan(["relu"], **cells)) == 3  # type: ignore[arg-type]


def test_the_command_line_writes_the_best_so_far_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("meanfield_opt.cli.solve.solve", interrupting(1))
    out = tmp_path / "out.json"
    assert main(["solve", "hypercube", "--latents", "2", "--json", str(out)]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert json.loads(out.read_text())["status"] == mfo.Status.INTERRUPTED.value
    monkeypatch.setattr("meanfield_opt.cli.solve.solve", interrupting(1))
    assert main(["compare", "hypercube", "--latents", "2", "--steps", "3", "--seeds", "1"]) == 130


@pytest.mark.parametrize(("module", "name", "inputs"), [("pool", "glide", 3), ("wide", "glide", 20)])
def test_an_interruption_of_the_first_slides_keeps_the_one_before(
    monkeypatch: pytest.MonkeyPatch, module: str, name: str, inputs: int
) -> None:
    """Until the first master there was the zero measure only, though the first slide is most of the way."""
    part = import_module(f"meanfield_backends.colgen.{module}")
    slide, calls = getattr(part, name), []

    def interrupted(*given: Any, **options: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return slide(*given, **options)

    monkeypatch.setattr(part, name, interrupted)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, inputs)), np.sign(rng.standard_normal((60, 2)))
    problem = mfo.problems.dataset(x, y, lambda1=0.5, lambda2=0.5)
    solution = mfo.solve(problem)
    assert solution.status is mfo.Status.INTERRUPTED
    assert solution.measure.n_atoms > 0
    zero = problem.energy(mfo.Measure.zero(problem.n_samples))
    assert solution.energy < 0.9 * zero
    assert solution.stats["history"][-1][1] >= solution.energy * (1 - 1e-12)

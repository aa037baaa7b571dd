"""Ctrl-C while proving: the solution and every bound that was proved until then are kept, and no other bound."""

from __future__ import annotations

import _thread
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.certificate import ENGINES, Limits, Question
from meanfield_opt.certificate.certify import unfinished
from meanfield_opt.certificate.engine_search import EngineSearch
from meanfield_opt.checker.replays import REPLAYS
from meanfield_opt.cli import main
from meanfield_opt.cli.outputs import patient

RNG = np.random.default_rng(3)
X, Y = RNG.standard_normal((30, 3)), RNG.standard_normal((30, 2))
PROBLEM = mfo.problems.dataset(X, Y, lambda1=0.3, lambda2=0.3)
SOLUTION = mfo.solve(PROBLEM, tolerance=1e-9)
WIDE = mfo.problems.dataset(X[:12, :2], Y[:12, :1], lambda1=0.1, lambda2=0.1, activation="tanh", width=3.0)
CERTIFY = import_module("meanfield_opt.certificate.certify")


def after(calls: int) -> Callable[..., None]:
    """A progress hook during whose ``calls``-th call the user presses Ctrl-C."""
    seen: list[tuple[float, ...]] = []

    def hook(*event: float) -> None:
        seen.append(event)
        if len(seen) == calls:
            raise KeyboardInterrupt

    return hook


def holds(certificate: mfo.Certificate, path: Path) -> None:
    """The file is accepted by the checker, with these very bounds."""
    assert certificate.lower_bound <= certificate.upper_bound
    certificate.save(path)
    report = mfo.verify(path)  # which refuses a false one
    assert report.lower_bound == pytest.approx(certificate.lower_bound, rel=1e-9, abs=1e-12)


def test_what_was_proved_is_kept(tmp_path: Path) -> None:
    whole = mfo.certify(PROBLEM, SOLUTION, engine="input_view")
    assert whole.verdict == "proved"
    assert not whole.interrupted
    lower = []
    for calls in (1, 2, 3, 5, 8, 12):
        found = mfo.certify(PROBLEM, SOLUTION, engine="input_view", progress=after(calls))
        if not found.interrupted:  # the search was over before
            break
        assert found.verdict == ("open" if found.supremum is None else "proved")
        assert found.lower_bound <= whole.lower_bound + 1e-9 * abs(whole.lower_bound)
        lower.append(found.lower_bound)
        holds(found, tmp_path / "c.json")
    assert len(lower) > 3
    assert lower == sorted(lower)  # later is never worse
    assert lower[0] < lower[-1]


def test_no_engine_is_asked_after_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    true = type(ENGINES.get("input_view")).prove

    def interrupted(self: Any, question: Question, limits: Limits) -> Any:
        asked.append(self.name)
        raise KeyboardInterrupt

    monkeypatch.setattr(type(ENGINES.get("input_view")), "prove", interrupted)
    found = mfo.certify(PROBLEM, SOLUTION)
    monkeypatch.setattr(type(ENGINES.get("input_view")), "prove", true)
    assert asked == ["input_view"]
    assert found.interrupted
    engines = [entry["engine"] for entry in found.stats["engines"]]
    assert engines[-1] == "input_view"
    # the crude bound that came first is kept
    assert len(engines) > 1
    assert found.lower_bound > unfinished(PROBLEM, SOLUTION).lower_bound


def test_a_bound_at_hand_is_evaluated_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    true, calls = EngineSearch._keep, []

    def keep(self: EngineSearch, *arguments: Any) -> bool:
        calls.append(arguments)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return true(self, *arguments)

    monkeypatch.setattr(EngineSearch, "_keep", keep)
    found = mfo.certify(PROBLEM, SOLUTION, engine="input_view")
    assert found.interrupted
    assert found.verdict == "proved"
    assert len(calls) == 2


@pytest.mark.parametrize("engine", ["neurons", "envelope"])
@pytest.mark.parametrize("calls", [1, 4, 9])
def test_searches_under_a_width_keep_their_last_whole_round(engine: str, calls: int, tmp_path: Path) -> None:
    solution = mfo.solve(WIDE, tolerance=1e-8)
    question = Question(WIDE, np.ascontiguousarray(solution.dual))
    outcome = ENGINES.get(engine).prove(question, Limits(60.0, 1e-5, 1, after(calls)))
    assert outcome.interrupted
    assert not outcome.complete
    if outcome.proof is not None:
        seen = REPLAYS[outcome.proof.kind](WIDE, question.dual, outcome.proof.bound, outcome.proof.artefact)
        assert math.isfinite(seen)
    found = mfo.certify(WIDE, solution, engine=engine, progress=after(calls), target=1e-5)
    assert found.interrupted
    holds(found, tmp_path / "c.json")


def test_a_checkpoint_is_written_by_an_interrupted_search(tmp_path: Path) -> None:
    question, file = Question(PROBLEM, np.ascontiguousarray(SOLUTION.dual)), tmp_path / "search"
    engine = ENGINES.get("input_view")
    with pytest.raises(KeyboardInterrupt):  # nothing is proved yet
        engine.prove(question, Limits(60.0, 1e-7, 1, after(1), str(file)))
    assert list(tmp_path.iterdir())
    outcome = engine.prove(question, Limits(60.0, 1e-7, 1, after(6), str(file)))
    assert outcome.interrupted
    assert outcome.proof is not None
    again = engine.prove(question, Limits(60.0, 1e-7, 1, None, str(file)))
    assert again.complete
    assert again.proof is not None
    assert again.proof.bound <= outcome.proof.bound * (1 + 1e-12)


@pytest.mark.parametrize("name", ["witnesses", "energy_upper", "_proved"])
def test_without_any_proof_the_trivial_bound_is_returned(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    true, calls = getattr(CERTIFY, name), []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return true(*arguments, **options)

    monkeypatch.setattr(CERTIFY, name, interrupted)
    found = mfo.certify(PROBLEM, SOLUTION)
    assert found.interrupted
    assert (found.verdict, found.proof) == ("open", "no proof: interrupted")
    assert -1e-300 < found.lower_bound <= 0.0
    assert found.upper_bound == pytest.approx(SOLUTION.energy, rel=1e-9)
    with pytest.raises(KeyboardInterrupt):
        found.uninterrupted()
    holds(found, tmp_path / "c.json")


def test_a_second_interruption_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(CERTIFY, "witnesses", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mfo.certify(PROBLEM, SOLUTION)


def test_an_interrupted_refutation_leaves_the_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(CERTIFY, "refuted", interrupted)
    poor = mfo.Measure(SOLUTION.measure.atoms[:1], SOLUTION.measure.masses[:1])
    found = mfo.certify(PROBLEM, poor, time_limit=5.0)
    assert found.interrupted
    assert found.verdict != "refuted"


def test_close_gap_keeps_the_round_before(monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("meanfield_opt.certificate.close_gap")
    calls: list[mfo.Certificate] = []

    def certify(*arguments: Any, **options: Any) -> mfo.Certificate:
        if calls:
            raise KeyboardInterrupt
        # a first round that leaves a gap and meets a neuron that is violated
        found = mfo.certify(*arguments, **options)
        calls.append(replace(found, neuron=np.ones(PROBLEM.geometry.n_parameters)))
        return calls[0]

    monkeypatch.setattr(module, "certify", certify)
    monkeypatch.setattr(module, "violating", lambda problem, dual, certificate: np.ones((1, 4)))
    solution, certificate = mfo.close_gap(PROBLEM, gap=1e-300, time_limit=60.0)
    assert certificate.interrupted
    assert certificate.lower_bound == calls[0].lower_bound
    assert solution.energy >= certificate.lower_bound


@pytest.mark.parametrize("delay", [0.02, 0.3, 0.7, 1.3])
def test_at_any_moment(delay: float, tmp_path: Path) -> None:
    timer = threading.Timer(delay, _thread.interrupt_main)
    timer.start()
    try:
        found = mfo.certify(PROBLEM, SOLUTION, target=1e-9)
        timer.cancel()
        timer.join()
    except KeyboardInterrupt:  # just after the end
        return
    holds(found, tmp_path / "c.json")


def saved(tmp_path: Path) -> tuple[list[str], Path, Path, Path]:
    """Arguments of a run with all output files, and the files."""
    data = tmp_path / "data.npz"
    np.savez(data, X=X, Y=Y)
    files = tmp_path / "r.json", tmp_path / "c.json", tmp_path / "p.png"
    options = ["solve", str(data), "--lambda1", "0.3", "--lambda2", "0.3", "--json", str(files[0])]
    return [*options, "--certificate", str(files[1]), "--plot", str(files[2])], *files


@pytest.mark.parametrize("calls", [0, 1, 6])
def test_the_command_line_writes_all_files(
    calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def certify(problem: Any, candidate: Any, **options: Any) -> mfo.Certificate:
        if calls == 0:
            raise KeyboardInterrupt
        return mfo.certify(problem, candidate, **{**options, "progress": after(calls)})

    monkeypatch.setattr("meanfield_opt.cli.solve.certify", certify)
    arguments, result, certificate, plot = saved(tmp_path)
    assert main(arguments) == 130
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "interrupted" in error
    values = json.loads(result.read_text())
    assert values["status"] == mfo.Status.SOLVED.value
    assert values["lower_bound"] <= values["upper_bound"]
    assert values["verdict"] == ("open" if calls == 0 else "proved")
    assert mfo.verify(certificate).lower_bound == pytest.approx(values["lower_bound"], rel=1e-9)
    assert plot.stat().st_size > 1000


def test_other_problems_keep_their_solution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def certify(*arguments: Any, **options: Any) -> mfo.Certificate:
        raise KeyboardInterrupt

    monkeypatch.setattr("meanfield_opt.cli.solve.certify", certify)
    result, certificate = tmp_path / "r.json", tmp_path / "c.json"
    files = ["--json", str(result), "--certificate", str(certificate)]
    assert main(["solve", "stability_program", "--backend", "copositive", *files]) == 130
    assert "no certificate to write" in capsys.readouterr().err
    assert not certificate.exists()
    values = json.loads(result.read_text())
    assert values["energy"] == pytest.approx(0.25)
    # nothing is claimed: infinite bounds are no JSON
    assert (values["lower_bound"], values["upper_bound"], values["verdict"]) == (None, None, "open")


def test_files_are_written_whole_before_an_interruption_counts() -> None:
    with patient() as noted:
        signal.raise_signal(signal.SIGINT)
        assert noted == [signal.SIGINT]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    kept = []
    worker = threading.Thread(target=lambda: kept.append(patient().__enter__()))
    worker.start()
    worker.join()
    assert kept == [[]]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to another process")
def test_a_real_interrupt_while_proving(tmp_path: Path) -> None:
    arguments, result, certificate, plot = saved(tmp_path)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", X=rng.standard_normal((300, 6)), Y=rng.standard_normal((300, 2)))
    command = [sys.executable, "-m", "meanfield_opt.cli", "-v", *arguments, "--time-limit", "2", "--proof-time", "200"]
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            command, stderr=out, stdout=subprocess.DEVNULL, env={**os.environ, "MPLBACKEND": "agg"}
        )
    try:
        deadline = time.monotonic() + 120.0
        while " proved a supremum" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=100.0) == 130, log.read_text()
    finally:
        process.kill()
    assert log.read_text().splitlines()[-1].startswith("meanfield-opt: interrupted")
    values = json.loads(result.read_text())
    assert values["lower_bound"] <= values["energy"] <= values["upper_bound"] * (1 + 1e-9)
    assert mfo.verify(certificate).lower_bound == pytest.approx(values["lower_bound"], rel=1e-9)
    assert plot.stat().st_size > 1000

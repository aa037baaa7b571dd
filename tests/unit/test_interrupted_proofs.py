"""Ctrl-C while proving: the solution and every bound that was proved until then are kept, and no other bound."""

from __future__ import annotations

import _thread
import math
import threading
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interruptions import X, Y, after

import meanfield_opt as mfo
from meanfield_opt.certificate import ENGINES, Limits, Question
from meanfield_opt.certificate.certify import unfinished
from meanfield_opt.certificate.engine_search import EngineSearch
from meanfield_opt.checker.replays import REPLAYS

PROBLEM = mfo.problems.dataset(X, Y, lambda1=0.3, lambda2=0.3)
SOLUTION = mfo.solve(PROBLEM, tolerance=1e-9)
WIDE = mfo.problems.dataset(X[:12, :2], Y[:12, :1], lambda1=0.1, lambda2=0.1, activation="tanh", width=3.0)
CERTIFY = import_module("meanfield_opt.certificate.certify")


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
        calls.append(replace(found, lower_bound=0.9 * found.lower_bound, neuron=np.ones(PROBLEM.geometry.n_parameters)))
        return calls[0]

    monkeypatch.setattr(module, "certify", certify)
    monkeypatch.setattr(module, "violating", lambda problem, dual, certificate: np.ones((1, 4)))
    solution, certificate = mfo.close_gap(PROBLEM, gap=1e-3, time_limit=60.0)
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

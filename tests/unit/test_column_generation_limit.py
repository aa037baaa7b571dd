"""What still happens once the time limit has passed, and how exact the last master is."""

from __future__ import annotations

import math
from typing import Any

import pytest
from many_weights import instance

import meanfield_opt as mfo
from meanfield_backends.colgen import ending, pool, wide
from meanfield_backends.colgen.bound import relative_gap
from meanfield_backends.colgen.carrier import choose_carrier
from meanfield_backends.colgen.loop import to_measure
from meanfield_backends.colgen.state import State, Stopwatch, first_state


def ready(problem: mfo.TwoLayerProblem) -> State:
    """A state with columns, atoms and a lower estimate a tenth below its energy."""
    carrier = choose_carrier(problem.geometry, problem.activation)
    state = first_state(problem, carrier, mfo.solve(problem, tolerance=0.3, threads=1).measure)
    pool.add(carrier, state, problem, state.particles)
    assert pool.master(problem, carrier, state, state.particles.x[:0], 1e-6, 1e-2)
    state.lower = 0.9 * state.energy
    return state


def finished(monkeypatch: pytest.MonkeyPatch, inputs: int, tolerance: float, limit: float) -> list[float]:
    """The accuracies of the masters that ended a run."""
    problem, asked, exact = instance(inputs=inputs), list[float](), pool.master
    state = ready(problem)
    before = state.energy

    def watched(posed: Any, carrier: Any, at: State, new: Any, accuracy: float, gap: float) -> bool:
        asked.append(accuracy)
        return exact(posed, carrier, at, new, accuracy, gap)

    with monkeypatch.context() as patched:
        patched.setattr(ending, "master", watched)
        carrier = choose_carrier(problem.geometry, problem.activation)
        ending.finish(problem, carrier, state, tolerance, Stopwatch(limit))
    assert relative_gap(state.energy, before) <= 0.2 * tolerance
    assert problem.energy(to_measure(problem, state)) <= state.energy * (1.0 + 1e-9)
    return asked


def test_the_last_master_is_as_exact_as_the_gap_is_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a tolerance of 1e-6 and a gap of 1e-2 it took 2 s after a limit of 20, for digits that the gap swallows."""
    for inputs in (4, 20):
        assert finished(monkeypatch, inputs, 1e-2, math.inf) == [pytest.approx(1e-5)]
        assert finished(monkeypatch, inputs, 1e-6, math.inf) == [pytest.approx(1e-5)]  # the gap is a tenth
        assert finished(monkeypatch, inputs, 0.5, math.inf) == [pytest.approx(5e-4)]


def test_with_many_weights_the_round_that_ended_with_the_limit_has_had_its_master(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert finished(monkeypatch, 20, 1e-3, 0.0) == []
    assert len(finished(monkeypatch, 4, 1e-3, 0.0)) == 1


@pytest.mark.parametrize("gap", [math.inf, math.nan, 1e3])
def test_where_the_gap_is_infinite_new_maxima_are_no_copies(monkeypatch: pytest.MonkeyPatch, gap: float) -> None:
    """Within an infinite angle everything is a copy: a round without a finite estimate threw all that it had found away."""
    angles, exact, told = list[float](), wide.copied, wide._estimate

    def watched(x: Any, met: Any, lengths: Any, angle: float) -> Any:
        angles.append(angle)
        return exact(x, met, lengths, angle)

    def lost(*rest: Any) -> float:
        told(*rest)
        return gap

    monkeypatch.setattr(wide, "copied", watched)
    monkeypatch.setattr(wide, "_estimate", lost)
    mfo.solve(instance(), tolerance=1e-2, max_iterations=2, threads=1)
    assert len(angles) >= 1
    assert max(angles) <= 0.05 * wide.COPY


def test_grace_is_a_share_of_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of 5 s was passed by 3."""
    given: list[float] = []
    over = Stopwatch.over

    def watched(self: Stopwatch, grace: float = 0.0) -> bool:
        given.append(grace)
        return over(self, grace)

    problem = instance(inputs=4)
    state = ready(problem)
    monkeypatch.setattr(Stopwatch, "over", watched)
    carrier = choose_carrier(problem.geometry, problem.activation)
    for limit in (0.5, 5.0, 1e4, math.inf):
        ending.finish(problem, carrier, state, 1e-3, Stopwatch(limit))
        assert max(given) == pytest.approx(min(3.0, 1.0 + 0.1 * limit))
        given.clear()

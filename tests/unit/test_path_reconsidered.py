"""Claims of a path judged by what the searches of later penalties have met."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_backends.column_generation import ColumnGeneration
from meanfield_opt.backend import BACKENDS, Remembering, SolveOptions

TOLERANCE = 1e-3


def data(inputs: int = 3, samples: int = 40) -> mfo.TwoLayerProblem:
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((samples, inputs)), np.sign(rng.standard_normal((samples, 2)))
    return mfo.problems.dataset(x, y)


def hopeful(problem: mfo.TwoLayerProblem) -> mfo.Solution:
    """A false claim: no atoms, optimal as far as a search without starts could tell."""
    zero = mfo.Measure.zero(problem.n_samples)
    dual = problem.dual_point(zero)
    energy = problem.energy(zero)
    return mfo.Solution(
        problem,
        zero,
        dual,
        mfo.Status.SOLVED,
        "column_generation",
        {"lower_estimate": energy, "sampled_gap": 0.0},
    )


def empty(problem: mfo.TwoLayerProblem, dimension: int) -> dict[str, Any]:
    """The memory of a run that met nothing."""
    none = np.zeros((0, dimension))
    dual = problem.dual_point(mfo.Measure.zero(problem.n_samples))
    return {"problem": problem, "columns": none, "masses": np.zeros(0), "basins": None, "dual": dual, "unknown": 1.0}


@dataclass(frozen=True)
class Hopeful(ColumnGeneration):
    """Column generation that claims the zero measure when it first sees this penalty."""

    penalty: float = 2.0
    seen: list[float] = field(default_factory=list)

    def solve(self, problem: mfo.MeanFieldProblem, options: SolveOptions) -> mfo.Solution:
        assert isinstance(problem, mfo.TwoLayerProblem)
        self.seen.append(problem.lambda1)
        if problem.lambda1 == self.penalty and self.seen.count(self.penalty) == 1:
            options.extra["memory"].update(empty(problem, problem.geometry.n_parameters))
            return hopeful(problem)
        return super().solve(problem, options)


@dataclass(frozen=True)
class Listening(ColumnGeneration):
    """Column generation that writes down which penalties it was given."""

    seen: list[float] = field(default_factory=list)

    def solve(self, problem: mfo.MeanFieldProblem, options: SolveOptions) -> mfo.Solution:
        assert isinstance(problem, mfo.TwoLayerProblem)
        self.seen.append(problem.lambda1 * problem.lambda2)
        return super().solve(problem, options)


def test_penalties_are_solved_from_the_smallest_up_and_returned_in_the_order_given() -> None:
    listening = Listening()
    given = [3.0, (2.0, 1.0), 4.0]
    solutions = mfo.path(data(), given, listening, tolerance=1e-2)
    assert listening.seen[:3] == [2.0, 9.0, 16.0]
    assert [(s.two_layer.lambda1, s.two_layer.lambda2) for s in solutions] == [(3.0, 3.0), (2.0, 1.0), (4.0, 4.0)]
    # a backend that remembers nothing takes them as they come
    few = mfo.problems.dataset(np.eye(2), np.array([[1.0], [-1.0]]))
    assert [s.two_layer.lambda1 for s in mfo.path(few, [0.5, 0.25], "clarabel", tolerance=1e-6)] == [0.5, 0.25]


@pytest.mark.parametrize("inputs", [3, 20])
def test_a_false_claim_is_refuted_by_what_a_neighbour_met(inputs: int) -> None:
    problem, memory = data(inputs), dict[str, Any]()
    other = problem.with_penalties(1.5, 1.5)
    mfo.solve(other, tolerance=1e-2, memory=memory, time_limit=20.0)
    posed = problem.with_penalties(2.0, 2.0)
    claim, own = hopeful(posed), empty(posed, inputs + 1)
    judged = ColumnGeneration().reconsider(claim, own, [memory], SolveOptions(TOLERANCE))
    assert judged.status is mfo.Status.INACCURATE
    # right: the bound does not exceed what is reached, and the claim is far from it
    best = mfo.solve(posed, tolerance=1e-2, time_limit=20.0).energy
    assert judged.stats["lower_estimate"] <= best < claim.energy
    assert judged.stats["sampled_gap"] > TOLERANCE
    assert own["basins"].shape[0] > 0
    assert own["basins"].shape[1] == inputs + 1


def test_a_claim_that_stands_is_left_as_it_is() -> None:
    problem = data()
    memories: list[dict[str, Any]] = []
    solutions = []
    for penalty in (2.0, 1.5):
        memory: dict[str, Any] = dict(memories[-1]) if memories else {}
        solutions.append(mfo.solve(problem.with_penalties(penalty, penalty), tolerance=TOLERANCE, memory=memory))
        memories.append(memory)
    before = dict(memories[0])
    judged = ColumnGeneration().reconsider(solutions[0], memories[0], memories[1:], SolveOptions(TOLERANCE))
    assert judged.status is mfo.Status.SOLVED
    assert judged.measure is solutions[0].measure
    assert judged.stats["lower_estimate"] <= solutions[0].stats["lower_estimate"]
    assert all(memories[0][name] is before[name] for name in before)


def test_memories_of_other_data_or_none_change_nothing() -> None:
    problem, memory, other = data(), dict[str, Any](), dict[str, Any]()
    solution = mfo.solve(problem.with_penalties(2.0, 2.0), tolerance=TOLERANCE, memory=memory)
    far = data(samples=41)
    mfo.solve(far.with_penalties(1.5, 1.5), tolerance=TOLERANCE, memory=other)
    backend, options = ColumnGeneration(), SolveOptions(TOLERANCE)
    for own, others in ((memory, [other]), (memory, []), ({}, [memory]), (memory, [{}])):
        judged = backend.reconsider(solution, own, others, options)
        assert judged.status is mfo.Status.SOLVED
        assert judged.stats["lower_estimate"] == solution.stats["lower_estimate"]


def test_a_path_solves_again_where_a_claim_was_refuted() -> None:
    problem, backend = data(), Hopeful()
    solutions = mfo.path(problem, [3.0, 2.0, 1.5], backend=backend, tolerance=TOLERANCE)
    assert backend.seen == [1.5, 2.0, 3.0, 2.0]
    assert [s.status for s in solutions] == [mfo.Status.SOLVED] * 3
    alone = mfo.solve(problem.with_penalties(2.0, 2.0), tolerance=1e-5)
    assert solutions[1].energy == pytest.approx(alone.energy, rel=2 * TOLERANCE)
    assert solutions[1].two_layer.lambda1 == 2.0


def test_an_interruption_while_claims_are_judged_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ColumnGeneration, "reconsider", interrupted)
    solutions = mfo.path(data(), [3.0, 2.0, 1.5], tolerance=1e-2)
    assert [s.two_layer.lambda1 for s in solutions] == [3.0, 2.0, 1.5]


def test_an_interrupted_second_solve_keeps_the_better_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    backend, again = Hopeful(), []
    solve = Hopeful.solve

    def stopped(self: Hopeful, problem: mfo.MeanFieldProblem, options: SolveOptions) -> mfo.Solution:
        solution = solve(self, problem, options)
        if self.seen.count(2.0) == 2 and self.seen[-1] == 2.0:
            again.append(solution)
            return replace(solution, status=mfo.Status.INTERRUPTED)
        return solution

    monkeypatch.setattr(Hopeful, "solve", stopped)
    solutions = mfo.path(data(), [3.0, 2.0, 1.5], backend=backend, tolerance=1e-2)
    assert len(solutions) == 3
    assert solutions[1].status is mfo.Status.INTERRUPTED
    assert solutions[1].energy == again[0].energy < math.inf


def test_backends_that_remember_nothing_solve_paths() -> None:
    """Nor are they handed a memory, an option they do not know."""
    assert not isinstance(BACKENDS.get("clarabel"), Remembering)
    solutions = mfo.path(data(1, 6), [0.5, 0.4], backend="clarabel", tolerance=1e-4)
    assert len(solutions) == 2

"""Infeasible, unbounded, cut short: every solver says what happened, and every backend ends with an honest status."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
from backend_cases import NAMES, SOLVERS, backend_here, run_or_skip, solve_or_skip

import meanfield_opt as mfo
from meanfield_opt.errors import SolveError
from meanfield_opt.formulation import ConicLimits, ConicProgram, GroupLasso
from meanfield_opt.formulation.program import Affine, Builder
from meanfield_opt.formulation.solver import cone_refusal, map_status

LIMITED = {mfo.Status.TIME_LIMIT, mfo.Status.ITERATION_LIMIT, mfo.Status.INACCURATE}


def tiny(kind: str, cone: str) -> ConicProgram:
    """An infeasible or an unbounded program over one kind of cone (beside the linear ones)."""
    builder = Builder(f"{kind} {cone}")
    x = builder.variables(2)
    builder.cost(x, [1.0, 0.0])
    if kind == "infeasible":  # x0 >= 1 and x0 <= 0
        builder.nonnegative(Affine.make([-1.0, 0.0], [0, 1], [x[0], x[0]], [1.0, -1.0]))
    if cone == "second_order":
        if kind == "infeasible":
            builder.second_order(Affine.make([1.0, 0.0], [1], [x[1]], [1.0]), 2)
        else:  # |x1| <= 1 - x0
            builder.second_order(Affine.make([1.0, 0.0], [0, 1], [x[0], x[1]], [-1.0, 1.0]), 2)
    elif cone == "psd":
        if kind == "infeasible":  # [[1, x1], [x1, 1]]
            builder.psd(Affine.make([1.0, 0.0, 1.0], [1], [x[1]], [math.sqrt(2.0)]), 2)
        else:  # [[-x0, x1], [x1, 1]]
            builder.psd(Affine.make([0.0, 0.0, 1.0], [0, 1], [x[0], x[1]], [-1.0, math.sqrt(2.0)]), 2)
    elif cone == "exponential":
        if kind == "infeasible":  # exp(x1) <= 1
            builder.exponential(Affine.make([0.0, 1.0, 1.0], [0], [x[1]], [1.0]))
        else:  # exp(x0) <= 1 - x1
            builder.exponential(Affine.make([0.0, 1.0, 1.0], [0, 2], [x[0], x[1]], [1.0, -1.0]))
    elif cone == "zero":  # x1 = 3
        builder.zero(Affine.make([-3.0], [0], [x[1]], [1.0]))
        if kind == "unbounded":
            builder.nonnegative(Affine.make([1.0], [0], [x[0]], [-1.0]))
    return builder.build()


@pytest.mark.parametrize("cone", ["zero", "second_order", "psd", "exponential"])
@pytest.mark.parametrize(
    ("kind", "status"), [("infeasible", mfo.Status.INFEASIBLE), ("unbounded", mfo.Status.UNBOUNDED)]
)
@pytest.mark.parametrize("name", SOLVERS)
def test_infeasible_and_unbounded_programs_have_their_status(
    name: str, kind: str, status: mfo.Status, cone: str
) -> None:
    program = tiny(kind, cone)
    reason = cone_refusal(SOLVERS[name], program)
    if reason is not None:
        assert cone in reason
        return
    answer = run_or_skip(SOLVERS[name], program)
    assert answer.status is status, answer.words
    assert not answer.usable
    assert answer.words


def larger() -> ConicProgram:
    rng = np.random.default_rng(0)
    problem = mfo.problems.hypercube(3)
    return GroupLasso(problem.geometry.preactivation(rng.standard_normal((80, 9)))).lower(problem)


@pytest.mark.parametrize("name", SOLVERS)
def test_iteration_limits_are_kept_and_told(name: str) -> None:
    answer = run_or_skip(SOLVERS[name], larger(), ConicLimits(1e-9, max_iterations=2))
    # CVXOPT inside PICOS calls a run that is cut short a failure without a point
    assert answer.status is mfo.Status.ITERATION_LIMIT or (name == "picos" and not answer.usable), answer.words


@pytest.mark.parametrize("name", SOLVERS)
def test_time_limits_are_kept_and_told(name: str) -> None:
    answer = run_or_skip(SOLVERS[name], larger(), ConicLimits(1e-9, time_limit=1e-4))
    assert answer.status in (mfo.Status.TIME_LIMIT, mfo.Status.ITERATION_LIMIT), answer.words


def test_the_clock_of_cvxopt_is_taken_out_again() -> None:
    misc = pytest.importorskip("cvxopt.misc")
    before = {name: getattr(misc, name) for name in ("kkt_chol", "kkt_ldl")}
    answer = run_or_skip(SOLVERS["picos"], larger(), ConicLimits(1e-9, time_limit=1e-4))
    assert answer.status is mfo.Status.TIME_LIMIT
    assert not answer.usable
    assert {name: getattr(misc, name) for name in before} == before
    assert run_or_skip(SOLVERS["picos"], tiny("unbounded", "psd")).status is mfo.Status.UNBOUNDED


def test_a_breakdown_inside_cvxopt_is_a_failure_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """tanh under a width: CVXOPT took the root of what rounding had made negative."""
    solvers = pytest.importorskip("cvxopt").solvers

    def broken(*arguments: Any, **options: Any) -> None:
        raise ValueError("math domain error")

    monkeypatch.setattr(solvers, "conelp", broken)
    monkeypatch.setattr(solvers, "coneqp", broken)
    answer = run_or_skip(SOLVERS["picos"], larger())
    assert answer.status is mfo.Status.FAILED
    assert "math domain error" in answer.words


def hard() -> mfo.TwoLayerProblem:
    """Random labels on plane data: seconds for every backend."""
    rng = np.random.default_rng(1)
    return mfo.problems.dataset(
        rng.standard_normal((40, 3)), np.sign(rng.standard_normal((40, 2))), lambda1=0.05, lambda2=0.05
    )


def solve_or_none(problem: mfo.TwoLayerProblem, name: str, **options: Any) -> mfo.Solution | None:
    """None where the backend has nothing to return and says so in one line."""
    try:
        return solve_or_skip(problem, name, **options)
    except SolveError as error:
        words = str(error)
    assert "\n" not in words
    assert len(words) > 20
    return None


@pytest.mark.parametrize("name", NAMES)
def test_a_backend_under_a_time_limit_ends_soon_and_does_not_claim_to_have_solved(name: str) -> None:
    problem = hard()
    if backend_here(name).refusal(problem) is not None:
        pytest.skip("does not take it")
    begin = time.perf_counter()
    solution = solve_or_none(problem, name, time_limit=0.02)
    if solution is not None:
        assert solution.status in LIMITED
        assert problem.energy(solution.measure) == pytest.approx(solution.energy)
    assert time.perf_counter() - begin < 60.0


@pytest.mark.parametrize("name", NAMES)
def test_a_backend_under_an_iteration_limit_keeps_what_it_has(name: str) -> None:
    problem = mfo.problems.hypercube(3)
    if backend_here(name).refusal(problem) is not None or name in ("closed_form", "highs"):
        pytest.skip("does not iterate, or does not take it")
    # of a conic solver the limit is on each of its programs, so that the rounds are limited, too
    solution = solve_or_none(problem, name, max_iterations=1, **({} if name not in SOLVERS else {"rounds": 1}))
    if solution is None:
        return
    optimum = 0.17855210486664985
    assert solution.energy >= optimum - 1e-12
    assert solution.status is not mfo.Status.SOLVED or solution.energy <= optimum * (1 + 1e-5)


def test_a_refinement_that_is_cut_short_keeps_the_best_so_far() -> None:
    """The first round ends, a later one runs into the limit: PICOS raised here although it held a measure."""
    from meanfield_backends.refine import DiscretisationOptions, Refinement

    problem = mfo.problems.hypercube(2)
    solver = SOLVERS["clarabel"]
    from meanfield_backends.conic import solve_formulation

    calls = 0

    def step(atoms: object, limits: ConicLimits) -> object:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise SolveError("stopped at the time limit, without a point.")
        return solve_formulation(solver, GroupLasso(atoms), problem, limits)

    rng = np.random.default_rng(0)
    poor = problem.geometry.preactivation(rng.standard_normal((2, problem.geometry.n_parameters)))
    options = mfo.backend.SolveOptions()
    solution = Refinement(problem, options, DiscretisationOptions(atoms=poor), "clarabel", step).solve()  # type: ignore[arg-type]
    assert calls == 2
    assert solution.status is mfo.Status.INACCURATE
    assert solution.energy >= 0.08739560920082658


def test_an_unknown_status_is_an_error() -> None:
    with pytest.raises(SolveError, match="does not know"):
        map_status({"fine": mfo.Status.SOLVED}, "curious", "some solver")


def test_a_solve_that_is_cut_short_says_so() -> None:
    solution = mfo.solve(mfo.problems.hypercube(3), "clarabel", max_iterations=1, rounds=0)
    assert solution.status is not mfo.Status.SOLVED
    assert solution.energy >= 0.17855210486664985 - 1e-12

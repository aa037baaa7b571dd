"""Optima made of patterns beta 1 + gamma v_i: steps and signs, and what a proof in the plane says of where they are."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

import meanfield_opt as mfo
from meanfield_backends import enumeration
from meanfield_backends.colgen.saddle import Saddle
from meanfield_opt.certificate.pairs_engine import two_level_measure


def cube(
    name: str, d: int, alignment: float, l: float, width: float | None = None, **more: float
) -> mfo.TwoLayerProblem:
    return mfo.problems.hypercube(
        d,
        geometry="aligned" if alignment else "whitened",
        alignment=alignment,
        activation=mfo.activation(name, **more),
        lambda1=l,
        lambda2=l,
        width=width,
    )


def closed_form(d: int, alignment: float, l: float) -> float:
    """The step's optimum: C = 4 P q0 q1 / (q0 + q1) for every alignment (docs/map.md)."""
    p = 2**d
    q0, q1 = 1 / (1 + p), 1 / (1 + alignment * p)
    c = 4 * p * q0 * q1 / (q0 + q1)
    b = math.sqrt(1 / c) - l / p
    return l * d * b * c + d * l * p / (l + b * p)


@pytest.mark.parametrize("backend", ["enumeration", "column_generation"])
@pytest.mark.parametrize("alignment", [0.0, 0.5, 2.0])
def test_steps_reach_their_closed_form(backend: str, alignment: float) -> None:
    """Enumeration stopped 4 % above, and said that it was solved: its master was not."""
    problem = cube("step", 3, alignment, 0.01)
    solution = mfo.solve(problem, backend, tolerance=1e-8, time_limit=20)
    assert solution.energy == pytest.approx(closed_form(3, alignment, 0.01), rel=1e-7)
    certificate = mfo.certify(problem, solution)
    assert certificate.relative_gap < 1e-7


def test_a_master_that_just_misses_its_accuracy_is_not_replaced_by_a_worse_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the interior point ended at 1.2e-11 instead of 1e-11, first-order steps took its place and ended 3 % above."""
    problem, exact = cube("step", 3, 0.0, 0.01), enumeration.solve_saddle

    def rough(*given: Any) -> Saddle | None:
        found = exact(*given)
        return found if found is None else replace(found, gap=2e-11)

    monkeypatch.setattr(enumeration, "solve_saddle", rough)
    solution = mfo.solve(problem, "enumeration", tolerance=1e-8, time_limit=20)
    assert solution.status is mfo.Status.SOLVED
    assert solution.energy == pytest.approx(closed_form(3, 0.0, 0.01), rel=1e-7)


@pytest.mark.parametrize("name", ["step", "sign"])
def test_sixteen_samples_are_no_harder(name: str) -> None:
    """2^16 patterns are too many to enumerate; the ternary sign, whitened, has the optimum of the step."""
    problem = cube(name, 4, 0.0, 0.05, threshold=1.0)
    solution = mfo.solve(problem, time_limit=20)
    certificate = mfo.certify(problem, solution)
    assert certificate.upper_bound == pytest.approx(closed_form(4, 0.0, 0.05), rel=1e-7)
    assert certificate.relative_gap < 1e-7


def test_a_proof_in_the_plane_says_where_the_optimum_is() -> None:
    problem = cube("tanh", 2, 0.0, 0.05, 4.0)
    solution = mfo.solve(problem)
    start = two_level_measure(problem, 0.99 * mfo.certify(problem, solution).dual)
    assert start is not None
    again = mfo.solve(problem, start=start, max_iterations=1)
    assert again.energy == pytest.approx(solution.energy, rel=1e-3)
    assert two_level_measure(cube("relu", 2, 0.0, 0.05), solution.dual) is None

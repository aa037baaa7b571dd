"""The arrangement program with one cell an orbit: fewer blocks, the same optimum, a dual point for all cells."""

from __future__ import annotations

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_backends.clarabel_ import SOLVER
from meanfield_opt.formulation import ArrangementSDP, ConicLimits
from meanfield_opt.formulation.arrangement import enumerate_cells
from meanfield_opt.formulation.arrangement_orbits import cell_orbits
from meanfield_opt.symmetry.inputs import input_group


def circle(m: int, order: int, loss: str = "squared") -> mfo.TwoLayerProblem:
    t = 2 * np.pi * np.arange(m) / m
    y = np.stack([np.cos(order * t), np.sin(order * t)], axis=1)
    y = y if loss == "squared" else np.where(y > 0.1, 1.0, -1.0)
    return mfo.problems.dataset(np.stack([np.cos(t), np.sin(t)], axis=1), y, lambda1=0.05, lambda2=0.05, loss=loss)


def square() -> mfo.TwoLayerProblem:
    """The eight points of a 3 x 3 grid around its centre, exclusive or."""
    points = np.array([(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)], dtype=float)
    return mfo.problems.dataset(points, np.sign(points[:, :1] * points[:, 1:]), lambda1=0.05, lambda2=0.05)


@pytest.mark.parametrize("problem", [circle(7, 2), circle(6, 1), square()], ids=["circle 7", "circle 6", "square"])
def test_the_reduced_program_has_the_same_optimum(problem: mfo.TwoLayerProblem) -> None:
    full, reduced = ArrangementSDP.enumerated(problem, symmetry=False), ArrangementSDP.enumerated(problem)
    assert full.orbits is None
    assert reduced.orbits is not None
    assert reduced.orbits.total == full.cells.shape[0]
    assert 4 * reduced.cells.shape[0] <= full.cells.shape[0]
    values = []
    for form in (full, reduced):
        answer = SOLVER.solve(form.lower(problem), ConicLimits(1e-9), SOLVER.options_type())
        assert answer.x is not None
        values.append(form.lower(problem).objective(answer.x))
        lifted = form.lift(problem, answer)
        assert lifted.dual is not None
        assert lifted.measure is not None
        # the dual point is feasible for every cell, up to the solver's accuracy
        theta = np.random.default_rng(0).standard_normal((20_000, 3))
        assert problem.ratio(lifted.dual, problem.geometry.preactivation(theta)).max() <= 1 + 1e-5
        assert problem.energy(lifted.measure) >= values[-1] * (1 - 1e-6)
    assert values[1] == pytest.approx(values[0], rel=1e-7)


def test_images_of_the_chosen_cells_are_all_cells() -> None:
    problem = circle(7, 2)
    cells = enumerate_cells(problem.geometry.factor)  # type: ignore[attr-defined]
    orbits = cell_orbits(problem, cells)
    assert orbits is not None
    images = [tuple(cell[s]) for cell, k in zip(orbits.cells, orbits.images) for s in orbits.group.elements[k]]
    assert len(images) == len(set(images)) == cells.shape[0]
    assert set(images) == {tuple(c) for c in cells}


def test_invariant_measures_keep_their_energy() -> None:
    problem = circle(7, 2)
    group = input_group(problem)
    assert group is not None
    neuron = np.random.default_rng(2).standard_normal(3)
    neurons = np.array([turn @ neuron for turn in group.turns])
    measure = mfo.Measure(problem.geometry.preactivation(neurons), np.full(len(neurons), 0.3), neurons)
    form = ArrangementSDP.enumerated(problem)
    program = form.lower(problem)
    x = form.embed(problem, measure)
    assert program.objective(x) == pytest.approx(problem.energy(measure), rel=1e-9)
    assert program.violation(x) <= 1e-8 * np.abs(x).max()


def test_where_orbits_are_not_used() -> None:
    """Other losses need not be invariant; data that are only nearly symmetric may have other cells."""
    assert ArrangementSDP.enumerated(circle(6, 1, "logistic")).orbits is None
    noise = 1e-9 * np.random.default_rng(0).standard_normal((6, 2))
    bent = circle(6, 1).geometry.factor[:, :2] + noise  # type: ignore[attr-defined]
    y = circle(6, 1).targets.T
    assert ArrangementSDP.enumerated(mfo.problems.dataset(bent, y, lambda1=0.05, lambda2=0.05)).orbits is None
    t = 2 * np.pi * np.arange(6) / 6
    # opposite points whose floats are not exactly opposite: slivers that no symmetry keeps
    y = np.stack([np.cos(t), np.sin(t)], axis=1)
    plain = mfo.problems.dataset(y, y, lambda1=0.05, lambda2=0.05, bias=False)
    cells = enumerate_cells(plain.geometry.factor)  # type: ignore[attr-defined]
    orbits = cell_orbits(plain, cells)
    assert orbits is None or orbits.total == cells.shape[0]

"""Solving and proving in turn closes the proved gap on data without symmetry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.certificate.close_gap import close_gap, violating
from meanfield_opt.checker.bounds import energy_upper, network_energy_upper


@pytest.mark.parametrize("dimension", [1, 2])
def test_random_labels_close_to_1e_6(dimension: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(dimension)
    x, y = rng.standard_normal((30, dimension)), np.sign(rng.standard_normal((30, 2)))
    problem = mfo.problems.dataset(x, y, lambda1=1.5, lambda2=1.5)
    solution, certificate = close_gap(problem, gap=1e-6, time_limit=60)
    assert certificate.verdict == "proved"
    assert certificate.relative_gap <= 1e-6
    assert solution.energy == pytest.approx(certificate.upper_bound, rel=1e-9)
    certificate.save(tmp_path / "c.json")
    assert mfo.verify(tmp_path / "c.json", problem).relative_gap <= 1.0001e-6


def test_a_bad_candidate_hands_back_neurons_that_lower_the_energy() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((25, 2)), np.sign(rng.standard_normal((25, 2)))
    problem = mfo.problems.dataset(x, y, lambda1=1.0, lambda2=1.0)
    theta = rng.standard_normal((2, 3))
    measure = mfo.Measure(problem.geometry.preactivation(theta), np.ones(2), theta)
    certificate = mfo.certify(problem, measure, engine="input_view", target=1e-6, refute=1.0)
    assert certificate.lower_bound <= certificate.upper_bound
    neurons = violating(problem, problem.dual_point(measure), certificate)
    assert neurons.shape[0] > 0
    better = mfo.solve(problem, start=measure, tolerance=1e-4)
    assert certificate.lower_bound <= better.energy < problem.energy(measure)


def test_the_upper_bound_leaves_room_for_another_order_of_additions() -> None:
    """A certificate was refused by its own checker for one unit in the last place: arrays from a file sum differently."""
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((20, 2)), np.sign(rng.standard_normal((20, 2)))
    problem = mfo.problems.dataset(x, y, lambda1=1.0, lambda2=1.0)
    theta = rng.standard_normal((5, 3))
    measure, upper = energy_upper(problem, mfo.Measure(problem.geometry.preactivation(theta), np.ones(5), theta))
    assert upper >= network_energy_upper(problem, measure) * (1 + 2.0**-45)

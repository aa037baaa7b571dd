"""Networks of integer width: an actual network, its rigorous energy, and where it meets the measure's."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo


def tanh(width: float, **extra: Any) -> mfo.TwoLayerProblem:
    return mfo.problems.hypercube(2, activation="tanh", lambda1=0.05, lambda2=0.05, width=width, **extra)


@pytest.mark.parametrize(("width", "energy"), [(4.0, 0.42728960), (16.0, 0.40296129)])
def test_a_width_that_divides_is_reached_by_a_network(width: float, energy: float) -> None:
    """Theory section 4: M/d neurons at each label pattern; the measure's optimum is a network's."""
    problem = tanh(width)
    network = mfo.integer_width(problem, mfo.solve(problem))
    assert network.neurons == width
    np.testing.assert_array_equal(network.measure.masses, 1.0)
    assert network.measure.n_atoms <= width
    assert network.upper_bound == pytest.approx(energy, rel=2e-7)


def test_between_the_widths_the_network_is_above_the_measure_and_both_ends_are_proved() -> None:
    problem = tanh(3.0)
    solution = mfo.solve(problem)
    certificate = mfo.certify(problem, solution, time_limit=20, workers=1)
    network = mfo.integer_width(problem, solution)
    assert certificate.verdict == "proved"
    assert certificate.lower_bound <= certificate.upper_bound < network.upper_bound
    assert 1e-3 < network.relative_gap(certificate.lower_bound) < 2e-2
    # no luck of a start: random networks of three neurons do not train to anything lower
    assert network.upper_bound <= best_of_random(problem, 3) + 1e-9


def best_of_random(problem: mfo.TwoLayerProblem, neurons: int) -> float:
    rng = np.random.default_rng(3)
    best = np.inf
    for _ in range(20):
        theta = rng.standard_normal((neurons, problem.geometry.n_parameters))
        start = mfo.Measure(problem.geometry.preactivation(theta), np.ones(neurons), theta)
        best = min(best, mfo.integer_width(problem, start, starts=1).energy)
    return best


def test_the_bound_is_the_energy_of_the_network_in_exact_arithmetic() -> None:
    problem = mfo.problems.hypercube(2, lambda1=0.05, lambda2=0.05)
    network = mfo.integer_width(problem, mfo.solve(problem), neurons=3)
    theta, w = network.measure.neurons, network.measure.readout
    assert theta is not None
    assert w is not None
    assert theta.shape[0] <= 3
    l1, l2 = Fraction(problem.lambda1), Fraction(problem.lambda2)
    atoms = network.measure.atoms
    energy = l2 * sum(Fraction(float(x)) ** 2 for x in w.ravel())
    inverse = np.linalg.inv(problem.geometry.apply(np.eye(4)))
    energy += l1 * Fraction(float(np.einsum("jp,pq,jq->", atoms, inverse, atoms)))
    for k in range(2):
        for p in range(4):
            f = sum(
                (Fraction(float(w[k, j])) * max(Fraction(float(atoms[j, p])), Fraction(0)) for j in range(len(w.T))),
                Fraction(0),
            )
            energy += (Fraction(float(problem.targets[k, p])) - f) ** 2
    assert float(energy) <= network.upper_bound * (1 + 1e-14)
    assert network.upper_bound == pytest.approx(float(energy), rel=1e-9)
    assert network.upper_bound > 0.4321780460046  # three neurons cannot do what four can


@pytest.mark.parametrize("name", ["sigmoid", "hard_tanh", "relu6", "sin"])
def test_a_width_that_does_not_bind_costs_a_network_nothing(name: str) -> None:
    """Mass below the width: it goes into the length of the neurons, where phi is linear, and is polished elsewhere."""
    problem = mfo.problems.hypercube(2, activation=name, lambda1=0.05, lambda2=0.05, width=8.0)
    solution = mfo.solve(problem)
    network = mfo.integer_width(problem, solution)
    assert network.upper_bound == pytest.approx(solution.energy, rel=1e-6)
    assert network.measure.n_atoms <= 8


def test_bad_requests_are_refused() -> None:
    relu = mfo.problems.hypercube(2)
    solution = mfo.solve(relu)
    with pytest.raises(mfo.InputError, match="give neurons=M"):
        mfo.integer_width(relu, solution)
    with pytest.raises(mfo.InputError, match="at least one"):
        mfo.integer_width(relu, solution, neurons=0)
    narrow = tanh(0.5)
    with pytest.raises(mfo.InputError, match="at least one"):
        mfo.integer_width(narrow, mfo.Measure.zero(4))
    with pytest.raises(mfo.InputError, match="more than the width"):
        mfo.integer_width(tanh(2.0), mfo.Measure.zero(4), neurons=3)
    with pytest.raises(mfo.InputError, match="Solution or a Measure"):
        mfo.integer_width(relu, mfo.Measure.zero(5), neurons=2)
    assert mfo.integer_width(tanh(2.0), mfo.Measure.zero(4)).upper_bound == pytest.approx(8.0)

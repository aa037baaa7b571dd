"""The certify flow: verdicts, refutation, self-contained files, and what the checker refuses."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.certificate.improve import with_neurons
from meanfield_opt.checker.bounds import energy_upper, tau_bounds
from meanfield_opt.checker.refute import measure_energy_lower
from meanfield_opt.errors import CertificateError, InputError
from meanfield_opt.geometry import DenseGeometry
from meanfield_opt.measure import Measure
from meanfield_opt.problem import TwoLayerProblem
from meanfield_opt.solution import Solution, Status


def task(loss: str = "squared", **options: object) -> TwoLayerProblem:
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((12, 2)), np.sign(rng.standard_normal((12, 2)))
    return mfo.problems.dataset(x, y, loss=loss, lambda1=0.2, lambda2=0.2, **options)


def dense(lambda1: float = 0.05) -> TwoLayerProblem:
    rng = np.random.default_rng(5)
    g = rng.standard_normal((6, 9))
    k = g @ g.T
    p = task()
    return TwoLayerProblem(p.activation, p.loss, DenseGeometry((k + k.T) / 2), p.targets[:, :6], lambda1, 0.05)


def test_a_bad_candidate_is_refuted_and_its_neuron_lowers_the_energy(tmp_path: Path) -> None:
    problem = task()
    certificate = mfo.certify(problem, Measure.zero(12))
    assert certificate.verdict == "refuted"
    assert certificate.refutation is not None
    assert certificate.refutation.upper < certificate.refutation.candidate_lower <= certificate.upper_bound
    assert certificate.lower_bound <= certificate.refutation.upper
    assert certificate.neuron is not None
    start = with_neurons(problem, certificate.measure, certificate.neuron, 0.01)
    assert problem.energy(start) < certificate.refutation.candidate_lower
    path = tmp_path / "c.json"
    certificate.save(path)
    assert mfo.verify(path).verdict == "refuted"
    body = json.loads(path.read_text())
    assert body["problem"]["data"] is not None


@pytest.mark.parametrize("make", [task, dense, lambda: task(loss="logistic"), lambda: task(bias=False)])
def test_user_given_data_travel_in_the_file(make: object, tmp_path: Path) -> None:
    problem = make()  # type: ignore[operator]
    rng = np.random.default_rng(0)
    theta = rng.standard_normal((4, problem.geometry.n_parameters))
    measure = Measure(problem.geometry.preactivation(theta), np.full(4, 0.3), theta)
    certificate = mfo.certify(problem, measure, refute=10.0)
    assert certificate.verdict == "proved"
    assert certificate.lower_bound < certificate.upper_bound
    path = tmp_path / "c.json"
    certificate.save(path)
    assert mfo.verify(path) == mfo.verify(path, problem)
    assert mfo.verify(path).fingerprint == problem.fingerprint
    with pytest.raises(CertificateError, match="another problem"):
        mfo.verify(path, problem.with_penalties(0.3, 0.2))


@pytest.mark.parametrize("make", [task, dense, lambda: task(loss="logistic")])
def test_the_energy_of_a_measure_is_enclosed(make: object) -> None:
    problem = make()  # type: ignore[operator]
    rng = np.random.default_rng(1)
    for size in (0, 1, 5):
        theta = rng.standard_normal((size, problem.geometry.n_parameters))
        measure = Measure(problem.geometry.preactivation(theta), rng.random(size) + 0.1, theta)
        if size == 0:
            measure = Measure.zero(problem.n_samples)
        energy = problem.energy(measure)
        below = measure_energy_lower(problem, measure)
        above = energy_upper(problem, measure)[1]
        assert below <= energy * (1 + 1e-13)
        assert above >= energy * (1 - 1e-13)
        assert above - below <= 1e-7 * abs(energy)


def test_an_optimal_candidate_is_not_refuted() -> None:
    problem = mfo.problems.hypercube(latents=2, lambda1=0.01, lambda2=0.01)
    certificate = mfo.certify(problem, mfo.solve(problem, backend="closed_form"), refute=0.0)
    assert certificate.verdict == "proved"
    assert certificate.relative_gap < 1e-9


def test_a_lying_solver_proves_nothing() -> None:
    """Status, a wrong dual point and NaN in it change no bound for the worse than validity."""
    problem = mfo.problems.hypercube(latents=2, lambda1=0.01, lambda2=0.01)
    truth = problem.known.energy  # type: ignore[union-attr]
    rng = np.random.default_rng(0)
    for dual in (np.full((2, 4), np.nan), 1e6 * rng.standard_normal((2, 4)), np.zeros((3, 3)), np.full((2, 4), np.inf)):
        lie = Solution(problem, Measure.zero(4), dual, Status.SOLVED, "liar")
        certificate = mfo.certify(problem, lie)
        assert certificate.lower_bound <= truth
        assert certificate.upper_bound >= truth
        assert certificate.verdict == "refuted"


def test_wrong_candidates_are_input_errors() -> None:
    problem = task()
    with pytest.raises(InputError, match="takes a Solution"):
        mfo.certify(problem, 3)
    with pytest.raises(InputError, match="patterns over"):
        mfo.certify(problem, Measure.zero(5))
    other = mfo.problems.hypercube(latents=2, lambda1=0.01, lambda2=0.01)
    with pytest.raises(InputError, match="another problem"):
        mfo.certify(problem, mfo.solve(other, backend="closed_form"))
    with pytest.raises(InputError):
        mfo.certify(problem, Measure.zero(12), time_limit=-1.0)


def test_tau_is_enclosed_whatever_the_scale() -> None:
    for l1, l2 in ((0.1, 0.3), (1e-200, 1e-200), (1e-160, 1e-160), (1e200, 1e200), (3e-5, 7e5)):
        low, high = tau_bounds(task().with_penalties(l1, l2))
        from fractions import Fraction

        exact = 4 * Fraction(l1) * Fraction(l2)
        assert Fraction(low) <= exact
        assert high == np.inf or Fraction(high) >= exact


def test_a_swapped_incumbent_is_noticed(tmp_path: Path) -> None:
    """The bound of one measure cannot be shown with another measure put in its place."""
    problem = mfo.problems.hypercube(latents=2, lambda1=0.01, lambda2=0.01)
    good = mfo.certify(problem, mfo.solve(problem, backend="closed_form"))
    worse = Measure(good.measure.atoms, good.measure.masses * 1.1, None, good.measure.readout)
    swapped = dataclasses.replace(good, measure=worse)
    swapped.save(tmp_path / "c.json")
    with pytest.raises(CertificateError, match="upper bound"):
        mfo.verify(tmp_path / "c.json", problem)


def test_column_generation_starts_from_the_neuron() -> None:
    problem = task()
    certificate = mfo.certify(problem, Measure.zero(12))
    assert certificate.neuron is not None
    assert certificate.refutation is not None
    start = with_neurons(problem, certificate.measure, certificate.neuron, 0.01)
    solution = mfo.solve(problem, start=start, time_limit=20.0)
    assert solution.energy < certificate.refutation.candidate_lower
    assert solution.energy >= certificate.lower_bound


def test_close_gap_closes_it() -> None:
    solution, certificate = mfo.close_gap(task(), gap=1e-5, time_limit=60.0)
    assert certificate.verdict == "proved"
    assert certificate.relative_gap <= 1e-5
    assert certificate.lower_bound <= solution.energy * (1 + 1e-12)


@pytest.mark.torch
def test_a_torch_network_is_certified() -> None:
    pytest.importorskip("torch")
    problem = mfo.problems.hypercube(latents=2, lambda1=0.01, lambda2=0.01)
    network = mfo.solve(problem, backend="closed_form").to_torch()
    certificate = mfo.certify(problem, network)
    assert certificate.verdict == "proved"
    assert certificate.relative_gap < 1e-6


def test_no_bound_is_below_the_trivial_one() -> None:
    """tanh on points of the plane under a width: the relaxations prove some negative number, where 0 needs no proof."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 2))
    problem = mfo.problems.dataset(x, np.sign(x[:, :1]), activation="tanh", width=6.0, lambda1=0.1, lambda2=0.1)
    made = mfo.certify(problem, mfo.Measure.zero(20), time_limit=5.0)
    assert made.lower_bound >= -1e-300
    assert made.verdict != "proved" or made.lower_bound > 0.0

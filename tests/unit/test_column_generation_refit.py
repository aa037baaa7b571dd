"""Readouts and masses of what a run returns that was cut short: fitted to each other, so that a certificate bounds the energy that is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_backends.colgen import refit
from meanfield_backends.colgen.master import master_energy
from meanfield_opt.checker.bounds import energy_upper


def random_labels(samples: int, inputs: int, penalty: float = 1.0, **options: Any) -> mfo.TwoLayerProblem:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((samples, inputs)), np.sign(rng.standard_normal((samples, 2)))
    return mfo.problems.dataset(x, y, lambda1=penalty, lambda2=penalty, **options)


def own_energy(problem: mfo.TwoLayerProblem, measure: mfo.Measure) -> float:
    assert measure.readout is not None
    features, cost = problem.features(measure.atoms), problem.atom_costs(measure)
    return master_energy(problem, features, cost, measure.readout * measure.masses, measure.masses)


@pytest.mark.parametrize(
    ("options", "status"), [({"time_limit": 0.2}, "TIME_LIMIT"), ({"max_iterations": 1}, "ITERATION_LIMIT")]
)
def test_a_run_cut_short_returns_readouts_that_fit_its_masses(options: dict[str, Any], status: str) -> None:
    """The certificate's upper bound was 0.4 and 0.02 % above ``energy`` on these, and 2 % on twice as many samples."""
    problem = random_labels(150, 6, 0.1)
    solution = mfo.solve(problem, **options)
    assert solution.status.name == status
    upper = energy_upper(problem, solution.measure)[1]
    assert upper <= solution.energy * (1 + 1e-9)
    assert solution.stats["sampled_gap"] == pytest.approx(1 - solution.stats["lower_estimate"] / upper, abs=1e-9)


def test_an_interrupted_run_too() -> None:
    def hook(progress: Any) -> None:
        if progress.iteration == 2:
            raise KeyboardInterrupt

    problem = random_labels(60, 6, 0.1)
    solution = mfo.solve(problem, progress=hook)
    assert solution.status is mfo.Status.INTERRUPTED
    assert own_energy(problem, solution.measure) <= solution.energy * (1 + 1e-9)


SPACES = {
    "weights": (None, 30, 3),
    "boxes": (mfo.DenseGeometry(np.eye(12) + 1.0), 12, 1),
}


@pytest.mark.parametrize("space", ["weights", "boxes"])
@pytest.mark.parametrize("width", [None, 0.7, 50.0])
@pytest.mark.parametrize("activation", ["relu", "softplus"])
@pytest.mark.parametrize("loss", ["squared", "logistic", "hinge", "huber", "softmax", "output_bias"])
def test_fitting_never_raises_the_energy_and_keeps_the_width(
    loss: str, activation: str, width: float | None, space: str
) -> None:
    geometry, samples, inputs = SPACES[space]
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((samples, inputs)), np.sign(rng.standard_normal((2, samples)))
    y = np.eye(2)[(y[0] > 0).astype(int)].T if loss == "softmax" else y
    loss_: mfo.Loss = (
        mfo.loss("output_bias", base=mfo.loss("squared"), penalty=0.1) if loss == "output_bias" else mfo.loss(loss)
    )
    geometry = mfo.FactorGeometry(x) if geometry is None else geometry
    problem = mfo.TwoLayerProblem(mfo.activation(activation), loss_, geometry, y, 0.3, 0.2, width)
    theta = rng.standard_normal((8, geometry.n_parameters))
    atoms = geometry.preactivation(theta)
    masses = rng.random(8)
    masses *= 1.0 if width is None else min(1.0, width / masses.sum())
    start = mfo.Measure(atoms, masses, theta, rng.standard_normal((2, 8)))
    found = refit.fitted(problem, start, 1e-6)
    assert found is not None  # random readouts fit badly
    measure, energy = found
    assert energy == pytest.approx(own_energy(problem, measure), rel=1e-12)
    assert energy < own_energy(problem, start)
    assert problem.energy(measure) == pytest.approx(energy, rel=1e-6)
    assert energy <= problem.energy(start) * (1 + 1e-9)
    assert width is None or measure.total_mass <= width * (1 + 1e-12)
    again = refit.fitted(problem, measure, 1e-6)
    assert again is None or again[1] < energy


@pytest.mark.parametrize("atoms", [20, 60])
def test_masses_of_the_squared_loss_are_the_best_on_these_atoms(atoms: int) -> None:
    problem = random_labels(40, 4, 0.5)
    theta = np.random.default_rng(1).standard_normal((atoms, 5))
    h = problem.geometry.preactivation(theta)
    start = mfo.Measure(h, np.ones(atoms), theta, np.zeros((2, atoms)))
    found = refit.fitted(problem, start, 1e-8)
    assert found is not None
    measure, energy = found
    dual = problem.dual_point(measure)
    ratio = problem.ratio(dual, h).max()
    assert ratio <= 1 + 1e-6
    assert problem.dual_value(dual / max(1.0, ratio)) >= energy * (1 - 1e-7)
    assert refit.fitted(problem, measure, 1e-6) is None


def test_what_is_optimal_is_left_alone() -> None:
    problem = mfo.problems.hypercube(3)
    assert problem.known is not None
    known = problem.known.measure()  # type: ignore[misc]
    best = mfo.Measure(known.atoms, known.masses, known.neurons, problem.readout(known))
    assert refit.fitted(problem, best, 1e-12) is None
    assert refit.fitted(problem, mfo.Measure.zero(8), 1e-12) is None
    assert refit.fitted(problem, mfo.Measure(known.atoms, known.masses), 1e-12) is None

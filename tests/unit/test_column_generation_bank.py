"""Column generation with a bank: activations of any shape on ordinary data, nonsmooth losses, and the master behind both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_backends.colgen.bank import best_scale
from meanfield_backends.colgen.master import master_energy
from meanfield_backends.colgen.peaks import EPSILONS, Pricing, climb, rows_of
from meanfield_backends.colgen.saddle import of_form, solve_saddle
from meanfield_opt.loss import ConicTerms, Proximal

#: name -> (loss, penalty of an output bias)
LOSSES: dict[str, tuple[Any, float | None]] = {
    "squared": (mfo.loss("squared"), None),
    "hinge": (mfo.loss("hinge"), None),
    "huber": (mfo.loss("huber"), None),
    "quantile": (mfo.loss_from(above=0.2, below=0.8), None),
    "weighted hinge": (mfo.loss("weighted", base="hinge", output_weights=(1.0, 3.0)), None),
    "squared, free bias": (mfo.loss("squared"), 0.0),
    "hinge, free bias": (mfo.loss("hinge"), 0.0),
    "hinge, bias": (mfo.loss("hinge"), 0.3),
}


def data(samples: int, inputs: int = 2, outputs: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((samples, inputs)), np.sign(rng.standard_normal((samples, outputs)))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("width", [None, 4.0, 0.5])
def test_the_master_meets_its_own_dual(name: str, width: float | None) -> None:
    """Weak duality on fixed atoms: a feasible dual point of the same value proves the masses optimal."""
    base, penalty = LOSSES[name]
    loss = base if penalty is None else mfo.loss("output_bias", base=base, penalty=penalty)
    x, y = data(15, outputs=2)
    problem = mfo.problems.dataset(x, y, activation="tanh", loss=loss, lambda1=0.1, lambda2=0.1, width=width)
    theta = 3.0 * np.random.default_rng(1).standard_normal((60, 3))
    features, cost = problem.features(problem.geometry.preactivation(theta)), np.square(theta).sum(axis=1)
    assert isinstance(base, ConicTerms)
    form = base.residual_form(problem.targets)
    assert form is not None
    scale = problem.loss.value(np.zeros_like(problem.targets), problem.targets)
    found = solve_saddle(of_form(form, penalty), features, 0.1 * cost, 0.1, width, scale)
    assert found is not None
    assert width is None or found.masses.sum() <= width * (1 + 1e-9)
    energy = master_energy(problem, features, cost, found.readouts, found.masses)
    dual = problem.loss.project_dual(found.dual, problem.targets)
    top = np.square(dual @ features.T).sum(axis=0)
    _, bound = best_scale(problem, dual, top, cost)
    assert bound <= energy * (1 + 1e-12)
    assert energy - bound <= 1e-7 * energy


@pytest.mark.parametrize("name", ["tanh", "sin", "hard_tanh", "gelu"])
def test_climbing_never_goes_down_and_ends_at_maxima(name: str) -> None:
    x, y = data(20)
    problem = mfo.problems.dataset(x, y, activation=name, lambda1=0.1, lambda2=0.1, width=4.0)
    pricing = Pricing(problem, rows_of(problem.geometry), 0.5 * y.T, 0.1)
    rng = np.random.default_rng(2)
    start = rng.standard_normal((40, 3))
    end = climb(pricing, start, EPSILONS, 12, lambda: False)
    level = pricing.level(end)
    smooth = problem.activation.pieces is None
    assert (level >= pricing.level(start) * (1 - (1e-12 if smooth else 0.1))).all()
    for size in (1e-5, 1e-3):
        near = end[:, None, :] + size * rng.standard_normal((40, 30, 3))
        best = pricing.level(near.reshape(-1, 3)).reshape(40, 30).max(axis=1)
        assert np.mean(best <= level * (1 + 1e-9)) >= 0.8  # a few starts are still on their way


#: activation, width -> energy at 20 samples of the plane, as the bank reached it with a wide search behind it
REACHED = {
    ("hard_sigmoid", 4.0): 6.456683,
    ("hard_tanh", 4.0): 6.318890,
    ("tanh", 4.0): 7.966894,
    ("erf", 4.0): 7.241317,
    ("softsign", 4.0): 9.894303,
    ("sin", 4.0): 3.943011,
    ("sigmoid", 4.0): 14.825378,
    ("gelu", 4.0): 8.048928,
    ("silu", 4.0): 8.163914,
}


@pytest.mark.parametrize(("name", "width"), REACHED)
def test_activations_on_points_of_the_plane(name: str, width: float) -> None:
    """Sampled gaps of 1.6e-2 to 1.6 before there was a bank; hard sigmoid stopped at 6.508, hard tanh at 6.331."""
    x, y = data(20)
    problem = mfo.problems.dataset(x, y, activation=name, lambda1=0.1, lambda2=0.1, width=width)
    solution = mfo.solve(problem)
    assert solution.stats["sampled_gap"] <= 1e-5
    assert solution.energy == pytest.approx(REACHED[name, width], rel=2e-5)
    assert solution.measure.total_mass <= width * (1 + 1e-12)
    assert solution.measure.n_atoms <= 25


def test_the_dual_point_is_never_worse_than_none() -> None:
    """Under a width a dual point once had a certified gap of 2045: its multiple is now chosen with the mass constraint."""
    x, y = data(12, seed=3)
    problem = mfo.problems.dataset(x, y, activation="hard_sigmoid", lambda1=0.1, lambda2=0.1, width=4.0)
    solution = mfo.solve(problem, max_iterations=2)
    assert 0.0 <= solution.stats["sampled_gap"] <= 1.0 + 1e-12
    rng = np.random.default_rng(0)
    patterns = problem.geometry.preactivation(3.0 * rng.standard_normal((2000, 3)))
    worst = max(0.0, -float(problem.first_variation(solution.dual, patterns).min()))
    assert problem.dual_value(solution.dual) - 4.0 * worst >= -1e-9


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_hinge_on_points_of_the_plane(name: str) -> None:
    x, y = data(12, outputs=2)
    width = 4.0 if name == "tanh" else None
    problem = mfo.problems.dataset(x, y, activation=name, loss="hinge", lambda1=0.1, lambda2=0.1, width=width)
    solution = mfo.solve(problem)
    assert solution.stats["sampled_gap"] <= 1e-6
    if name == "relu":
        other = mfo.solve(problem, "clarabel")
        assert solution.energy <= other.energy * (1 + 1e-4)
        assert mfo.certify(problem, solution, time_limit=20, workers=1).relative_gap <= 3e-4


def every_pattern(problem: mfo.TwoLayerProblem, draws: int = 200_000) -> np.ndarray:
    """Random neurons (N, r), of which only those with different features are kept, the cheapest of each."""
    rng = np.random.default_rng(3)
    theta = rng.standard_normal((draws, problem.geometry.n_parameters)) * 10.0 ** rng.uniform(-0.5, 1.5, (draws, 1))
    theta = theta[np.argsort(np.square(theta).sum(axis=1))]
    features = problem.features(problem.geometry.preactivation(theta))
    _, first = np.unique(features, axis=0, return_index=True)
    return np.asarray(theta[first])


@pytest.mark.parametrize("inputs", [1, 2])
@pytest.mark.parametrize("name", ["step", "sign"])
def test_steps_are_priced_at_all_corners(name: str, inputs: int) -> None:
    """No random neuron is better than the corners say; sign stopped at 1.317 with a gap of 0.3 before."""
    x, y = data(20, inputs)
    phi = mfo.activation("sign", threshold=1.0) if name == "sign" else mfo.activation("step")
    problem = mfo.problems.dataset(x, y, activation=phi, lambda1=0.1, lambda2=0.1, width=4.0)
    solution = mfo.solve(problem)
    assert solution.status is mfo.Status.SOLVED
    assert solution.stats["sampled_gap"] <= 1e-6
    if inputs == 2:
        assert solution.energy == pytest.approx(1.172026 if name == "sign" else 1.666390, rel=1e-5)
    theta = every_pattern(problem)
    top = np.square(solution.dual @ problem.features(problem.geometry.preactivation(theta)).T).sum(axis=0)
    _, bound = best_scale(problem, solution.dual, top, np.square(theta).sum(axis=1))
    assert bound >= solution.energy * (1 - 1e-6)
    # neurons keep away from the thresholds far enough for a rigorous energy
    certificate = mfo.certify(problem, solution, time_limit=2.0, refute=np.inf, workers=1)
    assert certificate.upper_bound == pytest.approx(solution.energy, rel=1e-9)


def test_steps_with_free_mass_and_a_hinge() -> None:
    x, y = data(12)
    problem = mfo.problems.dataset(x, y, activation="step", loss="hinge", lambda1=0.1, lambda2=0.1)
    solution = mfo.solve(problem)
    assert solution.stats["sampled_gap"] <= 1e-6


def test_steps_on_a_hypercube_agree_with_the_enumeration() -> None:
    problem = mfo.problems.hypercube(2, activation="step", lambda1=0.05, lambda2=0.05)
    exact = mfo.solve(problem, "enumeration")
    assert mfo.solve(problem).energy == pytest.approx(exact.energy, rel=1e-6)


def test_many_steps_are_searched_by_swaps() -> None:
    """Beyond the list the search is random: it says less, but finds a good measure."""
    x, y = data(40, 3)
    problem = mfo.problems.dataset(
        x, y, activation=mfo.activation("sign", threshold=1.0), lambda1=0.5, lambda2=0.5, width=4.0
    )
    solution = mfo.solve(problem, time_limit=5.0)
    assert solution.energy < 0.8 * problem.loss.value(0.0 * problem.targets, problem.targets)


def insensitive(width: float) -> mfo.Loss:
    """max(|f - y| - width, 0) from numpy functions; the absolute value for width 0."""
    return mfo.loss_from(
        lambda f, y: np.maximum(np.abs(f - y) - width, 0.0),
        gradient=lambda f, y: np.sign(f - y) * (np.abs(f - y) > width),
        conjugate=lambda s, y: np.where(np.abs(s) <= 1.0, s * y + width * np.abs(s), np.inf),
    )


@pytest.mark.slow
def test_a_nonsmooth_loss_of_numpy_functions_is_solved_by_its_tangents() -> None:
    x, y = data(10)
    options: dict[str, Any] = {"activation": "tanh", "lambda1": 0.1, "lambda2": 0.1, "width": 4.0}
    exact = mfo.solve(mfo.problems.dataset(x, y, loss=mfo.loss_from(above=1.0, below=1.0), **options))
    own = mfo.solve(mfo.problems.dataset(x, y, loss=insensitive(0.0), **options))
    assert own.energy == pytest.approx(exact.energy, rel=1e-5)
    assert own.stats["sampled_gap"] <= 1e-4
    wide = mfo.solve(mfo.problems.dataset(x, y, loss=insensitive(0.3), **options))
    assert wide.energy < own.energy
    assert wide.stats["sampled_gap"] <= 1e-4
    assert mfo.certify(wide.problem, wide, time_limit=1.0).verdict == "open"


def test_the_proximal_point_of_numpy_functions() -> None:
    rng = np.random.default_rng(0)
    f, y = 3.0 * rng.standard_normal((2, 50)), rng.standard_normal((2, 50))
    exact = mfo.loss_from(above=1.0, below=1.0)
    assert isinstance(exact, Proximal)
    own = insensitive(0.0)
    assert isinstance(own, Proximal)
    for step in (1e-6, 0.1, 10.0):
        np.testing.assert_allclose(own.proximal(f, y, step), exact.proximal(f, y, step), atol=1e-12)


def test_a_loss_that_is_no_sum_over_entries_is_refused() -> None:
    x, y = data(10)
    loss = mfo.loss("output_bias", base=insensitive(0.3), penalty=0.1)
    with pytest.raises(mfo.RefusalError, match="not smooth, and it is not a sum over entries"):
        mfo.solve(mfo.problems.dataset(x, y, loss=loss, lambda1=0.1, lambda2=0.1))


def test_an_optimum_of_little_gain_over_the_limit_is_not_refused() -> None:
    """SiLU was said to escape to ReLU's 55.695405: the search for finite neurons did not meet any that gain."""
    x, y = data(60, 1)
    problem = mfo.problems.dataset(x, y, activation="silu", lambda1=0.1, lambda2=0.1, width=4.0)
    assert mfo.solve(problem, tolerance=1e-4).energy == pytest.approx(55.665626, rel=1e-4)


def test_long_neurons_of_little_mass_are_not_dropped_at_the_end() -> None:
    """Softplus under a width on random labels: the end of the run raised the energy from 56.66 to 58.05, and told it was solved; here
    from 52.4 to 115.9."""
    from meanfield_backends.colgen import bank_master
    from meanfield_backends.colgen.carrier import choose_carrier
    from meanfield_backends.colgen.slide import Particles
    from meanfield_backends.colgen.state import first_state, optimise_masses

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 2)), np.sign(rng.standard_normal((30, 2)))
    problem = mfo.problems.dataset(x, y, activation="softplus", width=8.0, lambda1=0.1, lambda2=0.1)
    carrier = choose_carrier(problem.geometry, problem.activation)
    state = first_state(problem, carrier, None)
    theta = rng.standard_normal((12, 3))
    theta *= np.where(np.arange(12) < 2, 1e-2, 1e4)[:, None]  # the long ones have hardly any mass, and all of the fit
    readouts = 1e-4 * rng.standard_normal((2, 12))
    optimise_masses(problem, carrier, state, Particles(theta, readouts, np.ones(12)), 1e-10)
    before = state.energy
    bank_master.finish(problem, carrier, state, 1e-3)
    assert state.energy <= before * (1 + 1e-3)
    measure = mfo.Measure(carrier.patterns(state.particles.x), state.particles.masses)
    assert problem.energy(measure) <= before * (1 + 1e-3)

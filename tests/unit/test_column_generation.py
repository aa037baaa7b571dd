"""The default backend on problems with known answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo


@pytest.mark.parametrize(
    "task",
    [
        {"latents": 2},
        {"latents": 3},
        {"latents": 4},
        {"latents": 2, "samples_per_class": 3},
        {"latents": 3, "geometry": "aligned", "alignment": 0.5},
        {"latents": 2, "geometry": "aligned", "alignment": 2.0},
        {"latents": 3, "geometry": "anisotropic", "alignment": (0.0, 0.5, 2.0)},
    ],
)
def test_hypercube_reaches_the_known_optimum_with_its_atoms(task: dict[str, Any]) -> None:
    problem = mfo.problems.hypercube(**task)
    assert problem.known is not None
    solution = mfo.solve(problem, tolerance=1e-8, symmetry=False)
    assert solution.energy == pytest.approx(problem.known.energy, rel=1e-8)
    assert solution.status is mfo.Status.SOLVED
    assert solution.measure.n_atoms == 2 * task["latents"]
    np.testing.assert_allclose(
        problem.geometry.preactivation(solution.measure.neurons),
        solution.measure.atoms,
        atol=1e-9,  # type: ignore[arg-type]
    )
    assert problem.known.kernel is not None
    np.testing.assert_allclose(solution.kernel, problem.known.kernel(), atol=1e-5)


def test_zero_is_returned_where_it_is_optimal() -> None:
    problem = mfo.problems.hypercube(2, lambda1=10.0, lambda2=10.0)
    solution = mfo.solve(problem)
    assert solution.measure.n_atoms == 0
    assert solution.energy == pytest.approx(8.0)
    assert solution.status is mfo.Status.SOLVED


def test_unknown_options_are_refused() -> None:
    with pytest.raises(mfo.InputError, match="does not know the option nonsense"):
        mfo.solve(mfo.problems.hypercube(2), nonsense=3)
    with pytest.raises(mfo.InputError, match="starts"):
        mfo.solve(mfo.problems.hypercube(2), starts=0)


def teacher(samples: int = 40, inputs: int = 1, outputs: int = 2, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((samples, inputs)), np.sign(rng.standard_normal((samples, outputs)))


def test_kinked_neurons_in_weight_coordinates_are_polished() -> None:
    x, y = teacher()
    problem = mfo.problems.dataset(x, y, lambda1=0.2, lambda2=0.2)
    solution = mfo.solve(problem, tolerance=1e-7)
    assert solution.status is mfo.Status.SOLVED
    assert solution.energy == pytest.approx(65.65314481863, rel=1e-7)
    assert solution.measure.n_atoms < 40
    assert solution.stats["sampled_gap"] <= 1e-7


@pytest.mark.parametrize(("width", "energy"), [(4, 0.42728960), (16, 0.40296129)])
def test_tanh_under_a_width_reaches_the_published_values(width: int, energy: float) -> None:
    problem = mfo.problems.hypercube(2, activation="tanh", lambda1=0.05, lambda2=0.05, width=width)
    solution = mfo.solve(problem)
    assert solution.energy == pytest.approx(energy, abs=2e-7)
    assert solution.measure.total_mass <= width * (1 + 1e-12)


def test_free_mass_of_tanh_escapes_and_the_error_tells_the_limit() -> None:
    problem = mfo.problems.hypercube(2, activation="tanh", lambda1=0.05, lambda2=0.05)
    with pytest.raises(mfo.errors.NotAttainedError, match=r"tends to 0\.395 .* Give width=M"):
        mfo.solve(problem)


@pytest.mark.parametrize("name", ["softplus", "sigmoid"])
def test_a_constant_that_costs_nothing_has_no_optimum(name: str) -> None:
    """Such mass grew without end: 10.5 was returned on labels that softplus fits better the longer it runs."""
    x, y = teacher(10, 2)
    problem = mfo.problems.dataset(x, y, activation=name, lambda1=0.3, lambda2=0.3)
    with pytest.raises(mfo.errors.NotAttainedError, match=r"tends to 1\d.\d* .*Give width=M"):
        mfo.solve(problem, time_limit=5.0)


def test_logistic_loss_closes_its_gap() -> None:
    problem = mfo.problems.hypercube(2, loss="logistic", lambda1=0.05, lambda2=0.05)
    solution = mfo.solve(problem, tolerance=1e-8)
    assert solution.stats["sampled_gap"] <= 1e-8
    assert solution.energy == pytest.approx(problem.dual_value(solution.dual), rel=1e-6)


def test_an_interruption_returns_the_best_so_far() -> None:
    x, y = teacher(30, 1)
    problem = mfo.problems.dataset(x, y, lambda1=0.1, lambda2=0.1)

    def hook(progress: Any) -> None:
        if progress.iteration == 3:
            raise KeyboardInterrupt

    solution = mfo.solve(problem, progress=hook)
    assert solution.status is mfo.Status.INTERRUPTED
    assert 0 < solution.energy < problem.energy(mfo.Measure.zero(30))
    assert mfo.solve(problem, max_iterations=1).status is mfo.Status.ITERATION_LIMIT


def test_a_start_is_never_made_worse_and_seeds_reproduce() -> None:
    x, y = teacher(30, 2)
    problem = mfo.problems.dataset(x, y, lambda1=1.0, lambda2=1.0)
    first = mfo.solve(problem, tolerance=1e-2, seed=3)
    again = mfo.solve(problem, tolerance=1e-2, seed=3)
    assert first.energy == again.energy
    warm = mfo.solve(problem, start=first.measure, max_iterations=1)
    assert warm.energy <= first.energy * (1 + 1e-9)


def test_a_start_that_does_not_fit_is_refused_and_an_extreme_one_is_left_out() -> None:
    """Patterns over other samples ended in a ValueError of numpy, tiny neurons in an overflow."""
    x, y = teacher(30, 2)
    problem = mfo.problems.dataset(x, y, lambda1=3.0, lambda2=3.0)
    with pytest.raises(mfo.InputError, match="start has patterns over 7 samples, the problem 30"):
        mfo.solve(problem, start=mfo.Measure(np.ones((2, 7)), np.ones(2)))
    energy = mfo.solve(problem).energy
    theta = np.random.default_rng(0).standard_normal((4, 3))
    for sizes in (1e-170, 1e-150, 1e150, np.array([[1e-165], [1e-155], [1.0], [1e100]])):
        long = sizes * theta
        start = mfo.Measure(problem.geometry.preactivation(long), np.ones(4), long)
        assert mfo.solve(problem, start=start).energy == pytest.approx(energy, rel=2e-6)


def test_dense_and_diagonal_geometries_agree() -> None:
    cube = mfo.problems.hypercube(2)
    kernel = np.eye(4) + 1.0
    dense = mfo.TwoLayerProblem(
        cube.activation, cube.loss, mfo.DenseGeometry(kernel), cube.targets, cube.lambda1, cube.lambda2
    )
    assert cube.known is not None
    assert mfo.solve(dense, tolerance=1e-8).energy == pytest.approx(cube.known.energy, rel=1e-8)


@pytest.mark.parametrize("whitened", [True, False])
def test_a_search_that_uses_up_the_time_is_followed_by_a_master(whitened: bool) -> None:
    rng = np.random.default_rng(7)
    y = rng.choice([-1.0, 1.0], (2, 64))
    space: mfo.Geometry
    if whitened:
        space = mfo.DiagonalPlusLowRank(np.ones(64), np.ones((64, 1)), np.ones(1))
    else:
        space = mfo.FactorGeometry(rng.standard_normal((64, 3)))
    problem = mfo.TwoLayerProblem(mfo.activation("relu"), mfo.loss("squared"), space, y, 1.0, 1.0)
    solution = mfo.solve(problem, time_limit=1e-9, symmetry=False)
    assert solution.status is mfo.Status.TIME_LIMIT
    assert solution.measure.n_atoms > 0
    assert solution.energy < (1 - 1e-3) * problem.energy(mfo.Measure.zero(64))
    assert problem.dual_value(solution.dual) >= solution.stats["lower_estimate"]


def test_the_master_in_the_masses_meets_the_optimality_conditions_on_near_parallel_atoms() -> None:
    from meanfield_backends.colgen.masses import interior_point

    rng = np.random.default_rng(3)
    targets, features = rng.standard_normal((2, 50)), rng.standard_normal((40, 50))
    features = np.maximum(np.vstack([features, features[:20] + 1e-5 * rng.standard_normal((20, 50))]), 0.0)
    l1, l2 = 0.7, 1.9
    centre = interior_point(features, targets, l1, l2, np.zeros(60), 1e-10)
    assert centre is not None
    residual = targets - centre.readouts @ features
    response = np.linalg.norm(residual @ features.T, axis=0)
    assert response.max() <= np.sqrt(l1 * l2) * (1 + 1e-7)
    norms = np.linalg.norm(centre.readouts, axis=0)
    energy = float(np.vdot(residual, residual)) + 2 * np.sqrt(l1 * l2) * float(norms.sum())
    dual = float(np.vdot(targets, targets) - np.vdot(targets - residual, targets - residual))
    assert dual * (1 - 1e-7) <= energy <= dual * (1 + 1e-7)
    assert energy <= centre.energy <= energy * (1 + 1e-7)


def test_ascent_runs_into_the_kinks() -> None:
    from meanfield_backends.colgen.ascent import sharpen

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 1)), np.sign(rng.standard_normal((2, 30)))
    problem = mfo.problems.dataset(x, y.T, lambda1=1e-3, lambda2=1e-3)
    rows = problem.geometry.preactivation(np.eye(2)).T
    angle = np.linspace(0, 2 * np.pi, 200_001)
    fine = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    best = problem.ratio(y, fine @ rows.T).max()
    found = sharpen(problem, rows, y, rng.standard_normal((64, 2)), (1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8))
    assert problem.ratio(y, found @ rows.T).max() == pytest.approx(best, rel=1e-8)


def test_random_labels_in_three_dimensions_close_their_gap() -> None:
    x, y = teacher(300, 2)
    problem = mfo.problems.dataset(x, y, lambda1=2.0, lambda2=2.0)
    solution = mfo.solve(problem, tolerance=1e-4, time_limit=60.0)
    assert solution.status is mfo.Status.SOLVED
    assert solution.stats["sampled_gap"] <= 1e-4


def test_the_quasi_newton_direction_is_that_of_the_two_loops() -> None:
    """Against the recursion written out, on masked variables, after the store has wrapped around."""
    from meanfield_backends.colgen.quasi_newton import Pairs

    rng = np.random.default_rng(6)
    pairs, kept = Pairs(4, 30), []
    for _ in range(11):
        s = rng.standard_normal(30)
        y = 2.0 * s + 0.3 * rng.standard_normal(30)
        pairs.append(s, y)
        kept = [*kept, (s, y)][-4:]
    assert pairs.count == 4
    free = (rng.random(30) > 0.3).astype(float)
    gradient = rng.standard_normal(30) * free
    q, history = -gradient, []
    for s, y in reversed(kept):
        s, y = s * free, y * free
        a = (s @ q) / (s @ y)
        q = q - a * y
        history.append((a, s, y))
    s, y = kept[-1][0] * free, kept[-1][1] * free
    q = q * (s @ y) / (y @ y)
    for a, s, y in reversed(history):
        q = q + (a - (y @ q) / (s @ y)) * s
    np.testing.assert_allclose(pairs.direction(gradient, free), q, rtol=1e-10)
    pairs.clear()
    pairs.append(free, -free)  # no curvature: steepest descent
    np.testing.assert_array_equal(pairs.direction(gradient, free), -gradient)


def test_a_search_under_a_width_does_not_run_after_ever_longer_neurons() -> None:
    """Softplus and softmax: ascents overflowed, and a run ended at 19.86 with nothing found, 1.7 % too high."""
    from meanfield_backends.colgen.carrier import choose_carrier
    from meanfield_backends.colgen.search import search

    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((30, 2)), np.eye(2)[rng.integers(2, size=30)]
    problem = mfo.problems.dataset(
        x, labels, activation="softplus", loss="softmax", lambda1=1.0, lambda2=1.0, width=8.0
    )
    carrier = choose_carrier(problem.geometry, problem.activation)
    dual = problem.dual_point(mfo.Measure.zero(30))
    found = search(problem, carrier, dual, np.zeros((0, 3)), np.random.default_rng(0))
    assert np.isfinite(found.x).all()
    assert np.isfinite(found.top)
    assert np.abs(carrier.patterns(found.x)).max() < 1e6

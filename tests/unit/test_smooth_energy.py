"""The energy in the masses for smooth losses: its derivatives, its minimum, and what pools make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from numpy.typing import NDArray

import meanfield_opt as mfo
from meanfield_backends.colgen import newton, pool
from meanfield_backends.colgen.carrier import choose_carrier
from meanfield_backends.colgen.glide import by_samples
from meanfield_backends.colgen.masses import energy_of, interior_point
from meanfield_backends.colgen.memory import comparable
from meanfield_backends.colgen.smooth_energy import CoupledEnergy, curved, smooth_energy
from meanfield_opt.losses.huber import Huber

Array = NDArray[np.float64]

LOSSES: list[Any] = [
    mfo.loss("logistic"),
    mfo.loss("huber", delta=0.7),
    mfo.loss("squared_hinge"),
    mfo.loss("residual", above=0.5, below=3.0, quadratic=True),
    mfo.loss("softmax"),
    mfo.loss("weighted", base="logistic", output_weights=(1.0, 3.0)),
    mfo.loss("output_bias", base="squared", penalty=0.0),
    mfo.loss("output_bias", base="logistic", penalty=0.3),
    mfo.loss("output_bias", base="huber", penalty=0.0),
    mfo.loss("output_bias", base="softmax", penalty=1.0),
    mfo.loss("weighted", base="softmax", sample_weights=tuple(np.linspace(0.5, 2.0, 40))),
]
NAMES = [f"{ell.name}-{getattr(ell, 'base', ell).name}" for ell in LOSSES]
#: atoms fewer than 40 samples, more, and more than one and a half times the unknowns of the fit
COUNTS = (25, 60, 150)


def base_of(ell: Any) -> Any:
    """The loss that weights or an output bias are for."""
    return getattr(ell, "base", ell)


def signs_for(ell: Any, raw: Array) -> Array:
    """Targets that every loss takes: signs, for softmax one positive a sample."""
    if base_of(ell).name == "softmax":
        return np.where(np.arange(raw.shape[0])[:, None] == np.argmax(raw, axis=0), 1.0, -1.0)
    return np.sign(raw)


def drawn(ell: Any, count: int, samples: int = 40, outputs: int = 2, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    features = np.maximum(rng.standard_normal((count, 4)) @ rng.standard_normal((4, samples)), 0.0)
    return features, signs_for(ell, rng.standard_normal((outputs, samples)))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("ell", LOSSES, ids=NAMES)
def test_gradient_and_newton_systems_are_those_of_the_energy(ell: Any, count: int) -> None:
    features, targets = drawn(ell, count)
    energy = energy_of(ell, features, targets, 0.05, 0.2)
    rng = np.random.default_rng(count)
    m, diagonal = rng.uniform(0.0, 0.3, count), rng.uniform(0.5, 2.0, count)

    def gradient(masses: Array) -> Array:
        return np.asarray(0.05 - np.square(energy.point(masses).responses).sum(axis=0) / 0.2)

    direction, h = rng.standard_normal(count) * np.minimum(m, 0.1), 1e-5
    numeric = (energy.value(m + h * direction).value - energy.value(m - h * direction).value) / (2 * h)
    assert float(gradient(m) @ direction) == pytest.approx(numeric, rel=1e-5, abs=1e-6)
    wanted = (gradient(m + h * direction) - gradient(m - h * direction)) / (2 * h) + diagonal * direction
    got = -energy.system(energy.point(m), diagonal)(wanted)
    if "huber" not in (ell.name, base_of(ell).name) and ell.name not in ("squared_hinge", "residual"):
        np.testing.assert_allclose(got, direction, rtol=0, atol=1e-5)
    else:  # curvatures jump: a difference may step over one
        assert np.linalg.norm(got - direction) < 0.2 * np.linalg.norm(direction)


@pytest.mark.parametrize("count", COUNTS)
def test_it_is_the_closed_form_where_there_is_one(count: int) -> None:
    features, targets = drawn(mfo.loss("squared"), count)
    exact = energy_of(mfo.loss("squared"), features, targets, 0.05, 0.2)
    fitted = smooth_energy(mfo.loss("weighted", base="squared"), features, targets, 0.05, 0.2)
    rng = np.random.default_rng(1)
    m, diagonal, slope = rng.uniform(0, 0.5, count), rng.uniform(0.5, 2.0, count), rng.standard_normal(count)
    a, b = exact.point(m), fitted.point(m)
    assert b.value == pytest.approx(a.value, rel=1e-12)
    np.testing.assert_allclose(b.responses, a.responses, atol=1e-10)
    np.testing.assert_allclose(fitted.system(b, diagonal)(slope), exact.system(a, diagonal)(slope), atol=1e-8)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("ell", LOSSES, ids=NAMES)
def test_the_master_is_the_convex_program_on_its_atoms(ell: Any, count: int) -> None:
    """The duality gap on these atoms closes: dual points feasible to 1e-6 whose value is that of the readouts."""
    features, targets = drawn(ell, count, seed=3)
    centre = interior_point(features, targets, 0.3, 0.2, np.zeros(count), 1e-9, loss=ell)
    assert centre is not None
    fit = centre.readouts @ features
    primal = ell.value(fit, targets) + 2.0 * np.sqrt(0.3 * 0.2) * float(np.linalg.norm(centre.readouts, axis=0).sum())
    assert centre.energy == pytest.approx(primal, rel=1e-6)
    dual = -ell.gradient(fit, targets)
    top = float(np.square(dual @ features.T).sum(axis=0).max()) / (4.0 * 0.3 * 0.2)
    assert top <= 1.0 + 1e-5
    dual = ell.project_dual(dual / np.sqrt(max(top, 1.0)), targets)
    assert ell.dual_value(dual, targets) == pytest.approx(primal, rel=1e-5)


def test_the_master_against_a_conic_solver() -> None:
    ell = mfo.loss("logistic")
    features, targets = drawn(ell, 30, seed=5)
    v = cp.Variable((2, 30))
    value = ell.expression(v @ features, targets) + 2.0 * np.sqrt(0.3 * 0.2) * cp.sum(cp.norm(v, axis=0))
    best = cp.Problem(cp.Minimize(value)).solve(solver="CLARABEL")
    centre = interior_point(features, targets, 0.3, 0.2, np.zeros(30), 1e-9, loss=ell)
    assert centre is not None
    assert centre.energy == pytest.approx(best, rel=1e-7)


@pytest.mark.parametrize("ell", LOSSES[:6], ids=NAMES[:6])
def test_newton_on_atoms_has_the_hessian_of_the_energy(ell: Any) -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((30, 3))
    y = signs_for(ell, rng.standard_normal((2, 30)))
    problem = mfo.problems.dataset(x, y.T, loss=ell, lambda1=0.3, lambda2=0.2)
    carrier = choose_carrier(problem.geometry, problem.activation)
    rows = carrier.patterns(np.eye(carrier.dimension)).T
    x, v = rng.standard_normal((4, carrier.dimension)), rng.standard_normal((4, 2))

    def at(flat: Array) -> newton.Point:
        return newton.evaluate(problem, carrier, flat[: x.size].reshape(x.shape), flat[x.size :].reshape(v.shape), 0.3)

    def gradient(flat: Array) -> Array:
        return np.concatenate([part.ravel() for part in newton.gradient(problem, carrier, at(flat))])

    flat, h = np.concatenate([x.ravel(), v.ravel()]), 1e-6
    hessian, eye = newton.hessian(problem, rows, at(flat)), h * np.eye(flat.size)
    np.testing.assert_allclose(
        [(at(flat + e).value - at(flat - e).value) / (2 * h) for e in eye], gradient(flat), atol=1e-6
    )
    bent = np.array([(gradient(flat + e) - gradient(flat - e)) / (2 * h) for e in eye])
    np.testing.assert_allclose(bent, hessian, atol=1e-6 * np.abs(hessian).max())


def noisy(ell: Any, samples: int, inputs: int, penalty: float) -> mfo.TwoLayerProblem:
    rng = np.random.default_rng(0)
    x, teacher = rng.standard_normal((samples, inputs)), rng.standard_normal((8, inputs))
    raw = rng.standard_normal((2, 8)) @ np.maximum(teacher @ x.T, 0) + 0.3 * rng.standard_normal((2, samples))
    raw -= np.median(raw, axis=1, keepdims=True)
    return mfo.problems.dataset(x, signs_for(ell, raw).T, loss=ell, lambda1=penalty, lambda2=penalty)


def test_free_biases_are_solved_and_proved(tmp_path: Path) -> None:
    """Two components of 200 digits, both biases free: 1.4e-4 after a minute before.

    Verification refused its file: where responses are nearly zero it turned outputs that the search, at the level of an earlier stage, had not.
    """
    base = mfo.problems.digits(components=2, samples=200)
    x = base.geometry.preactivation(np.eye(3)).T[:, :2]
    problem = mfo.problems.dataset(x, base.targets.T, lambda1=1.0, lambda2=1.0, output_bias=0.0, bias_penalty=0.0)
    solution, certificate = mfo.close_gap(problem, gap=1e-5, time_limit=60)
    assert certificate.verdict == "proved"
    assert certificate.relative_gap <= 1e-5
    certificate.save(tmp_path / "free.json")
    assert mfo.verify(tmp_path / "free.json").verdict == "proved"
    assert solution.energy == pytest.approx(234.5993, rel=1e-5)


@pytest.mark.parametrize("name", ["logistic", "huber", "squared_hinge", "softmax"])
def test_no_estimate_is_above_what_another_run_reaches(name: str) -> None:
    """Sliding told 6.7e-6 with softmax where a lower energy exists by 1.0e-5, and 1.9e-5 with Huber after 13 s."""
    problem = noisy(mfo.loss(name), 60, 4, 0.3)
    assert pool.applies(problem, choose_carrier(problem.geometry, problem.activation))
    asked = ((1e-3, 0), (1e-5, 0), (1e-5, 1))
    runs = [mfo.solve(problem, tolerance=t, seed=s, time_limit=60) for t, s in asked]
    best = min(run.energy for run in runs)
    for run, (tolerance, _) in zip(runs, asked, strict=True):
        assert run.status is mfo.Status.SOLVED
        assert run.energy <= best * (1 + tolerance)
        assert run.stats["lower_estimate"] <= best * (1 + 0.1 * tolerance)
        assert problem.energy(run.measure) == pytest.approx(run.energy, rel=1e-8)
    certificate = mfo.certify(problem, runs[1], time_limit=2.0)
    assert certificate.lower_bound <= best * (1 + 1e-12)


def test_a_loss_of_ones_own_is_solved_as_the_one_built_in() -> None:
    base = noisy(mfo.loss("squared_hinge"), 60, 3, 0.3)
    own = mfo.loss_from(
        lambda f, y: np.square(np.maximum(1.0 - y * f, 0.0)),
        gradient=lambda f, y: -2.0 * y * np.maximum(1.0 - y * f, 0.0),
        conjugate=lambda s, y: np.where(y * s <= 0, s * y + 0.25 * s * s, np.inf),
        curvature=2.0,
    )
    assert curved(own, base.targets)
    mine = mfo.TwoLayerProblem(base.activation, own, base.geometry, base.targets, 0.3, 0.3)
    known, other = mfo.solve(base, tolerance=1e-6), mfo.solve(mine, tolerance=1e-6)
    assert other.energy == pytest.approx(known.energy, rel=3e-6)


def test_weights_on_samples_count_as_repetitions_in_many_dimensions() -> None:
    """Sliding works on tiles of samples, to which such weights do not belong."""
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((40, 20)), np.sign(rng.standard_normal((40, 2)))
    counts = rng.integers(1, 4, 40)
    ell = mfo.loss("weighted", base="logistic", sample_weights=tuple(counts.astype(float)))
    weighted = mfo.problems.dataset(x, y, loss=ell, lambda1=1.0, lambda2=1.0)
    repeated = mfo.problems.dataset(
        np.repeat(x, counts, axis=0), np.repeat(y, counts, axis=0), loss="logistic", lambda1=1.0, lambda2=1.0
    )
    a, b = (mfo.solve(p, tolerance=1e-3, time_limit=60) for p in (weighted, repeated))
    assert a.status is mfo.Status.SOLVED
    assert b.status is mfo.Status.SOLVED
    assert a.energy == pytest.approx(b.energy, rel=2e-3)


def test_paths_of_other_losses_remember() -> None:
    problem = noisy(mfo.loss("logistic"), 60, 3, 1.0)
    memory: dict[str, Any] = {}
    warm = mfo.path(problem, [1.0, 0.7, 0.5], tolerance=1e-4, memory=memory)
    assert memory["columns"].shape[1] == 4
    for solution in warm:
        cold = mfo.solve(solution.problem, tolerance=1e-6)
        assert solution.stats["lower_estimate"] <= cold.energy * (1 + 1e-5)
        assert solution.energy <= cold.energy * (1 + 2e-4)


def test_a_memory_of_another_loss_tells_nothing_of_this_one() -> None:
    one = noisy(mfo.loss("logistic"), 30, 2, 1.0)
    other = mfo.TwoLayerProblem(one.activation, mfo.loss("squared_hinge"), one.geometry, one.targets, 1.0, 1.0)
    assert comparable(one, one.with_penalties(2.0, 0.5))
    assert not comparable(one, other)


def test_which_losses_have_it() -> None:
    y = np.where(np.arange(10)[:, None] == np.arange(400) % 10, 1.0, -1.0)
    assert curved(mfo.loss("logistic"), y)
    assert not curved(mfo.loss("hinge"), y)
    assert not curved(mfo.loss("softmax"), y)  # too many coupled outputs
    assert curved(mfo.loss("softmax"), y[:, :100])
    assert curved(mfo.loss("output_bias", base="logistic", penalty=0.0), y)
    assert not curved(mfo.loss("output_bias", base="hinge", penalty=1.0), y)
    assert not curved(mfo.loss("squared"), np.zeros((1, 3)))
    small = smooth_energy(mfo.loss("softmax"), np.ones((2, 5)), y[:, :5], 1.0, 1.0)
    assert isinstance(small, CoupledEnergy)


@pytest.mark.parametrize("name", ["squared", "huber"])
def test_targets_that_are_zero_need_no_neuron(name: str) -> None:
    """Searches at a dual point of zero divided by zero."""
    base = noisy(mfo.loss("huber"), 20, 3, 1.0)
    problem = mfo.TwoLayerProblem(base.activation, mfo.loss(name), base.geometry, 0.0 * base.targets, 1.0, 1.0)
    with np.errstate(divide="raise", invalid="raise"):
        solution = mfo.solve(problem)
    assert (solution.status, solution.energy, solution.measure.n_atoms) == (mfo.Status.SOLVED, 0.0, 0)


@pytest.mark.parametrize("name", ["logistic", "huber", "squared_hinge", "softmax"])
def test_large_and_small_penalties(name: str) -> None:
    problem = noisy(mfo.loss(name), 20, 3, 1.0)
    none = problem.loss.value(0.0 * problem.targets, problem.targets)
    assert mfo.solve(problem.with_penalties(1e3, 1e3)).energy == pytest.approx(none, rel=1e-12)
    small = mfo.solve(problem.with_penalties(1e-4, 1e-4), tolerance=1e-3, time_limit=20)
    assert small.status is mfo.Status.SOLVED
    assert small.energy < 0.01 * none


@pytest.mark.parametrize("base", ["squared", "huber"])
def test_a_free_output_bias_takes_any_offset(base: str) -> None:
    """Its tiny penalty counted where targets are far from zero: gaps of 6e-5 at 1e4, 0.96 at 1e6, and runs six times as long as their limit."""
    near = noisy(mfo.loss("huber"), 40, 3, 0.5)
    loss = mfo.loss("output_bias", base=base, penalty=0.0)
    energies = []
    for offset in (0.0, 1e6):
        problem = mfo.TwoLayerProblem(near.activation, loss, near.geometry, near.targets + offset, 0.5, 0.5)
        solution = mfo.solve(problem, tolerance=1e-5, time_limit=30)
        assert solution.status is mfo.Status.SOLVED
        energies.append(solution.energy)
    assert energies[1] == pytest.approx(energies[0], rel=2e-5)


def test_only_losses_that_are_sums_over_samples_are_cut_into_tiles() -> None:
    """A class of the user's may hold something for each sample, as weights do."""

    class Own(Huber):
        pass

    bare = [mfo.loss(name) for name in ("squared", "logistic", "huber", "squared_hinge", "softmax")]
    assert all(by_samples(ell) for ell in bare)
    assert by_samples(mfo.loss("weighted", base="huber", output_weights=(1.0, 2.0)))
    for ell in (mfo.loss("weighted", base="logistic", sample_weights=(1.0, 2.0)), mfo.loss("output_bias"), Own()):
        assert not by_samples(ell)

"""Column generation with many weights a neuron: sweeps, slides in single precision, masters on a working set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from many_weights import instance

import meanfield_opt as mfo
from meanfield_backends.colgen import pool, wide
from meanfield_backends.colgen.carrier import choose_carrier
from meanfield_backends.colgen.glide import glide
from meanfield_backends.colgen.improve import with_random
from meanfield_backends.colgen.masses import interior_point
from meanfield_backends.colgen.quasi_newton import descend
from meanfield_backends.colgen.search import levels
from meanfield_backends.colgen.slide import Particles, slide
from meanfield_backends.colgen.sweep import reached, sweep
from meanfield_backends.colgen.working import working_master

Array = np.ndarray


def rows_of(problem: mfo.TwoLayerProblem) -> Array:
    return problem.geometry.preactivation(np.eye(problem.geometry.n_parameters)).T


def atoms_of(problem: mfo.TwoLayerProblem, count: int) -> Particles:
    n = problem.geometry.n_parameters
    none = Particles(np.zeros((0, n)), np.zeros((problem.n_outputs, 0)), np.zeros(0))
    carrier = choose_carrier(problem.geometry, problem.activation)
    return with_random(problem, carrier, none, count, np.random.default_rng(0))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "absolute"])
def test_sweep_climbs_and_tells_the_level(activation: str) -> None:
    problem = instance(activation=activation)
    rows = rows_of(problem)
    dual = problem.dual_point(mfo.Measure.zero(problem.n_samples))
    start = np.random.default_rng(1).standard_normal((50, rows.shape[1]))
    x, level = sweep(problem, rows, dual, start, 80, lambda: False)
    exact = levels(problem, dual, problem.features(x @ rows.T), np.einsum("jn,jn->j", x, x))
    before = levels(problem, dual, problem.features(start @ rows.T), np.einsum("jn,jn->j", start, start))
    assert x.shape == start.shape
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(level, exact, rtol=1e-4)
    assert (exact >= before * (1.0 - 1e-5)).all()
    # local maxima: no small step along the gradient gains anything that matters
    for _ in range(20):
        near = x + 1e-3 * np.random.default_rng(2).standard_normal(x.shape)
        other = levels(problem, dual, problem.features(near @ rows.T), np.einsum("jn,jn->j", near, near))
        assert (other <= exact * (1.0 + 2e-3)).all()


def test_ascents_pass_kinks_at_which_gradient_steps_stick() -> None:
    """Sixty steps with momentum end far above two hundred without, which become short where the level has a kink."""
    problem = instance(samples=150, inputs=30)
    rows, rng = rows_of(problem), np.random.default_rng(3)
    weights = rng.standard_normal((300, rows.shape[1]))
    phi = np.maximum(weights @ rows.T, 0.0) / np.linalg.norm(weights, axis=1)[:, None]
    centre = interior_point(phi, problem.targets, 4.0, 4.0, np.zeros(300), 1e-4)
    assert centre is not None
    dual, start = 2.0 * (problem.targets - centre.readouts @ phi), rng.standard_normal((400, rows.shape[1]))
    trial = start / np.linalg.norm(start, axis=1, keepdims=True)
    now, up, best, gamma = trial.copy(), np.zeros_like(trial), np.full(400, -1.0), np.ones(400)
    for step in range(200):
        trial /= np.linalg.norm(trial, axis=1, keepdims=True)
        h = trial @ rows.T
        q = np.maximum(h, 0.0) @ dual.T
        value = np.square(q).sum(axis=1)
        better = value > best
        now[better], best[better] = trial[better], value[better]
        up[better] = ((h[better] > 0) * (q[better] @ dual)) @ rows
        gamma *= np.where(better, 1.5, 0.3) if step else 1.0
        trial = now + gamma[:, None] * (up / best[:, None] - now)
    level = sweep(problem, rows, dual, start, 60, lambda: False)[1]
    plain = best / problem.tau
    assert np.median(level) > 1.05 * np.median(plain)
    assert (level > 0.95 * level.max()).sum() > 1.5 * (plain > 0.95 * level.max()).sum() > 0


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import meanfield_backends.colgen.glide as gliding
    import meanfield_backends.colgen.sweep as sweeping

    for module in (gliding, sweeping):
        monkeypatch.setattr(module, "ENTRIES", 80 * 16)  # several blocks
    problem = instance()
    rows, carrier = rows_of(problem), choose_carrier(problem.geometry, problem.activation)
    dual = problem.dual_point(mfo.Measure.zero(problem.n_samples))
    start = np.random.default_rng(1).standard_normal((70, rows.shape[1]))
    one, three = (sweep(problem, rows, dual, start, 30, lambda: False, threads) for threads in (1, 3))
    np.testing.assert_array_equal(one[0], three[0])
    atoms = atoms_of(problem, 60)
    a, b = (glide(problem, carrier, rows, atoms, eps=1e-2, iterations=20, threads=threads) for threads in (1, 3))
    np.testing.assert_array_equal(a.x, b.x)


def test_a_sweep_without_time_still_returns_some() -> None:
    problem = instance()
    dual = problem.dual_point(mfo.Measure.zero(problem.n_samples))
    x, level = sweep(problem, rows_of(problem), dual, np.eye(21), 5, lambda: True)
    assert x.shape[0] > 0
    assert (level >= 0).all()


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "absolute"])
def test_glide_does_what_slide_does(activation: str) -> None:
    problem = instance(activation=activation)
    carrier, rows, atoms = choose_carrier(problem.geometry, problem.activation), rows_of(problem), atoms_of(problem, 40)

    def energy(p: Particles) -> float:
        out = p.readouts @ problem.features(carrier.patterns(p.x))
        penalty = problem.lambda1 * float(np.vdot(p.x, p.x)) + problem.lambda2 * float(np.vdot(p.readouts, p.readouts))
        return float(problem.loss.value(out, problem.targets) + penalty)

    moved = glide(problem, carrier, rows, atoms, eps=1e-3, iterations=150)
    same = slide(problem, carrier, atoms, eps=1e-3, iterations=150)
    assert energy(moved) < 0.9 * energy(atoms)
    assert energy(moved) == pytest.approx(energy(same), rel=0.02)


def test_descend_finds_minima() -> None:
    rng = np.random.default_rng(0)
    scale = 10.0 ** rng.uniform(-1, 1, 60)
    end = descend(
        lambda x: (0.5 * float(scale @ (x - 1) ** 2), scale * (x - 1)), np.zeros(60), 400, value_tolerance=0.0
    )
    np.testing.assert_allclose(end.x, 1.0, atol=1e-6)

    def valley(x: Array) -> tuple[float, Array]:
        a, b = 1.0 - x[0], x[1] - x[0] ** 2
        return a * a + 100.0 * b * b, np.array([-2.0 * a - 400.0 * x[0] * b, 200.0 * b])

    np.testing.assert_allclose(
        descend(valley, np.array([-1.2, 1.0]), 500, value_tolerance=0.0, memory=5).x, 1.0, atol=1e-6
    )
    assert descend(valley, np.ones(2), 10, value_tolerance=0.0).steps == 0

    def coarse(x: Array) -> tuple[float, Array]:  # in single precision gradients of neighbours may be equal
        return float(np.float32(0.5 * x @ x)), x.astype(np.float32).astype(np.float64)

    for begin in (1.0, 1.0 + 1e-7, 1e-3):
        assert descend(coarse, np.full(5, begin), 200, value_tolerance=0.0).value < 1e-6

    def flat(x: Array) -> tuple[float, Array]:  # a gradient that does not change at all
        return -float(x.sum()), -np.ones(3)

    assert descend(flat, np.zeros(3), 30, value_tolerance=0.0).steps == 30


@pytest.mark.parametrize("columns", [30, 900])
def test_the_working_set_reaches_the_whole_master(columns: int) -> None:
    problem = instance()
    rows, rng = rows_of(problem), np.random.default_rng(3)
    x = rng.standard_normal((columns, rows.shape[1]))
    features = problem.features((x / np.linalg.norm(x, axis=1, keepdims=True)) @ rows.T)
    start = np.where(rng.random(columns) < 0.1, 1.0, 0.0)
    dual = 2.0 * problem.targets
    got = working_master(features, problem.targets, 4.0, 4.0, start, dual, 1e-9, 1e-6, 1.0)
    whole = interior_point(features, problem.targets, 4.0, 4.0, start, 1e-9)
    assert got is not None
    assert whole is not None
    assert got.energy == pytest.approx(whole.energy, rel=1e-5)
    np.testing.assert_allclose(
        problem.targets - got.readouts @ features, problem.targets - whole.readouts @ features, atol=1e-2
    )
    assert (got.slacks[got.masses < 1e-6] >= 0).all()


def test_many_weights_are_solved_and_no_network_is_lower() -> None:
    problem = instance()
    assert wide.applies(problem, choose_carrier(problem.geometry, problem.activation))
    solution = mfo.solve(problem, tolerance=1e-3, time_limit=60.0, threads=1)
    assert solution.status is mfo.Status.SOLVED
    assert solution.stats["sampled_gap"] <= 1e-3
    assert problem.energy(solution.measure) == pytest.approx(solution.energy, rel=1e-9)
    carrier, rows = choose_carrier(problem.geometry, problem.activation), rows_of(problem)
    for seed in range(3):
        none = Particles(np.zeros((0, 21)), np.zeros((2, 0)), np.zeros(0))
        moved = with_random(problem, carrier, none, 100, np.random.default_rng(seed))
        for eps in (1e-2, 1e-3, 1e-4):
            moved = glide(problem, carrier, rows, moved, eps=eps, iterations=200)
        out = moved.readouts @ problem.features(carrier.patterns(moved.x))
        size = np.linalg.norm(moved.x, axis=1) * np.linalg.norm(moved.readouts, axis=0)
        network = problem.loss.value(out, problem.targets) + 8.0 * float(size.sum())
        assert network >= solution.energy * (1.0 - 1e-3)


def test_a_race_ends_only_what_is_far_below(monkeypatch: pytest.MonkeyPatch) -> None:
    import meanfield_backends.colgen.sweep as sweeping

    problem = instance()
    rows = rows_of(problem)
    dual = problem.dual_point(mfo.Measure.zero(problem.n_samples))
    start = np.random.default_rng(1).standard_normal((60, rows.shape[1]))
    x, level = reached(problem, rows, dual, start, 60, lambda: False)
    floor = float(np.median(reached(problem, rows, dual, start, 3, lambda: False)[1]))
    monkeypatch.setattr(sweeping, "RACE", ((3, floor),))
    y, raced = reached(problem, rows, dual, start, 60, lambda: False, race=True)
    ended = raced <= floor * (1.0 + 1e-6)
    assert 20 < ended.sum() < 40
    assert (raced[ended] < level[ended]).all()
    # single precision: how many rows a product has may change its last digits, and what an ascent that goes on makes of them
    change = np.abs(raced / level - 1.0)[~ended]
    assert np.median(change) < 1e-6
    assert change.max() < 1e-2
    assert np.median(np.abs(x - y)[~ended].max(axis=1)) < 1e-5


def test_starts_are_taken_over_and_time_is_kept() -> None:
    problem = instance()
    first = mfo.solve(problem, tolerance=0.1, time_limit=30.0)
    again = mfo.solve(problem, tolerance=0.1, time_limit=30.0, start=first.measure)
    assert again.energy <= first.energy * (1.0 + 1e-6)
    short = mfo.solve(problem, tolerance=1e-12, time_limit=0.2)
    assert short.status is mfo.Status.TIME_LIMIT
    assert short.energy < problem.loss.value(0.0 * problem.targets, problem.targets)
    assert short.stats["lower_estimate"] <= short.energy
    assert pool.SLIDING < 21


def test_after_the_time_limit_atoms_of_large_data_stay_as_the_last_master_left_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reduction of atoms took up to 40 s after the limit at 20,000 samples; small data are still reduced."""
    from meanfield_backends.colgen import ending
    from meanfield_backends.colgen.state import Stopwatch, first_state

    problem = instance()
    carrier, atoms = choose_carrier(problem.geometry, problem.activation), atoms_of(problem, 60)

    def finished(late: bool) -> Particles:
        state = first_state(problem, carrier, None)
        pool.add(carrier, state, problem, atoms)
        assert pool.master(problem, carrier, state, atoms.x[:0], 1e-6, 1e-2)
        before = state.particles
        ending.finish(problem, carrier, state, 1e-2, Stopwatch(0.0 if late else 600.0))
        assert (state.particles is before) == (late and before.count * problem.n_samples > ending.LONG)
        return state.particles

    few = finished(True).count
    assert few == finished(False).count
    # at 1,100 columns of 1,797 samples merging and polishing took 38 s after a limit of 300
    with monkeypatch.context() as patched:
        patched.setattr(ending, "GRACE", 0.0)
        patched.setattr(ending, "_merged", None)
        patched.setattr(ending, "_sparser", None)
        assert finished(True).count >= few
    monkeypatch.setattr(ending, "LONG", 100)
    assert finished(True).count >= finished(False).count


def test_a_path_makes_fewer_starts_after_its_first_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths of 64 inputs cost as much as ten solves from scratch."""
    problem, made, exact = instance(), list[tuple[float, int]](), wide.starts

    def counted(known: Any, yields: Any, count: int) -> Any:
        made.append((now[0], count))
        return exact(known, yields, count)

    now, solve = [0.0], wide.rounds

    def watched(posed: mfo.TwoLayerProblem, *rest: Any) -> Any:
        now[0] = posed.lambda1
        return solve(posed, *rest)

    monkeypatch.setattr(wide, "starts", counted)
    monkeypatch.setattr(wide, "rounds", watched)
    mfo.path(problem, [16.0, 12.0, 8.0], tolerance=1e-2, threads=1, time_limit=30.0)
    last, few, full = ({count for at, count in made if at == penalty} for penalty in (16.0, 12.0, 8.0))
    assert max(few | last) <= 0.41 * min(full)

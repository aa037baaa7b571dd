"""The pool of columns: its master, its reduction of atoms, and what its estimates may claim."""

from __future__ import annotations

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_backends.colgen import loop, newton, pricing
from meanfield_backends.colgen.carrier import choose_carrier
from meanfield_backends.colgen.dictionary import solve_dictionary
from meanfield_backends.colgen.masses import interior_point
from meanfield_backends.colgen.reduce import caratheodory
from meanfield_backends.colgen.search import Found, evening, levels
from meanfield_backends.colgen.slide import Particles
from meanfield_backends.colgen.state import State


@pytest.mark.parametrize(("atoms", "samples", "outputs"), [(12, 30, 2), (60, 15, 2), (90, 12, 1), (40, 40, 3)])
def test_both_forms_of_the_master_meet_the_optimality_conditions(atoms: int, samples: int, outputs: int) -> None:
    rng = np.random.default_rng(atoms)
    features = np.maximum(rng.standard_normal((atoms, samples)), 0.0)
    targets = rng.standard_normal((outputs, samples))
    for start in (np.zeros(atoms), rng.random(atoms)):
        centre = interior_point(features, targets, 0.5, 2.0, start, 1e-11)
        assert centre is not None
        dual = targets - centre.readouts @ features
        response = np.linalg.norm(dual @ features.T, axis=0)
        assert response.max() <= 1.0 + 1e-7
        norms = np.linalg.norm(centre.readouts, axis=0)
        primal = float(np.vdot(dual, dual)) + 2.0 * float(norms.sum())
        value = float(np.vdot(targets, targets) - np.vdot(targets - dual, targets - dual))
        assert primal == pytest.approx(value, rel=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_caratheodory_keeps_outputs_and_penalty_with_no_more_atoms_than_conditions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    outputs, samples, atoms = 2, 6, 40
    features = np.maximum(rng.standard_normal((atoms, samples)), 0.0)
    readouts = rng.standard_normal((outputs, atoms)) * 10.0 ** rng.uniform(-6, 0, atoms)
    cost = 10.0 ** rng.uniform(-2, 2, atoms)
    features[5], readouts[:, 5], cost[5] = features[4], readouts[:, 4], cost[4]
    factor = caratheodory(features, cost, readouts)
    assert (factor >= 0).all()
    assert np.count_nonzero(factor) <= outputs * samples + 1
    before, after = readouts @ features, (readouts * factor) @ features
    np.testing.assert_allclose(after, before, atol=1e-8 * np.abs(before).max())
    norms = np.sqrt(cost) * np.linalg.norm(readouts, axis=0)
    assert float(norms @ factor) == pytest.approx(float(norms.sum()), rel=1e-8)


def test_atoms_are_reduced_on_uneven_inputs_too() -> None:
    """What counted as dependent changed the outputs by their hundredth part, so that all of 744 atoms stayed."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 3)), np.sign(rng.standard_normal((60, 2)))
    x[:, 0] *= 1e3
    solution = mfo.solve(mfo.problems.dataset(x, y, lambda1=0.3, lambda2=0.3), tolerance=1e-4)
    assert solution.measure.n_atoms <= 2 * 60 + 1
    assert solution.energy < 44.496


def test_caratheodory_leaves_independent_atoms_alone() -> None:
    factor = caratheodory(np.eye(3), np.ones(3), np.array([[1.0, 2.0, 3.0]]))
    np.testing.assert_allclose(factor, 1.0)
    assert caratheodory(np.zeros((0, 3)), np.zeros(0), np.zeros((2, 0))).size == 0


def test_a_search_cut_short_claims_no_small_gap() -> None:
    """The sampled gap once fell from 0.2 to 2e-3 because time was over and the last search found nothing."""
    rng = np.random.default_rng(0)
    problem = mfo.problems.dataset(rng.standard_normal((30, 3)), rng.standard_normal((30, 2)))
    carrier = choose_carrier(problem.geometry, problem.activation)
    nothing = Found(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 4)))
    best, dual = 1e-3 * problem.targets, 1e-2 * problem.targets
    particles = Particles(np.zeros((0, 4)), np.zeros((2, 0)), np.zeros(0))
    for whole, keep in ((False, True), (False, False)):
        state = State(particles, dual, 1.0, 1e-9, best)
        loop._estimate(problem, carrier, state, nothing, whole, keep)
        assert state.lower <= 1e-9
        assert state.best_dual is best
    state = State(particles, dual, 1.0, 1e-9, best)
    loop._estimate(problem, carrier, state, nothing, True, True)
    assert state.best_dual is dual


def test_an_older_dual_point_is_judged_by_what_is_found_later() -> None:
    rng = np.random.default_rng(0)
    problem = mfo.problems.dataset(rng.standard_normal((30, 3)), rng.standard_normal((30, 2)), lambda1=0.1, lambda2=0.1)
    carrier = choose_carrier(problem.geometry, problem.activation)
    particles = Particles(np.zeros((0, 4)), np.zeros((2, 0)), np.zeros(0))
    hopeful = problem.dual_value(problem.targets)
    state = State(particles, 1e3 * problem.targets, 1e3, hopeful, problem.targets)
    x = rng.standard_normal((5, 4))
    found = Found(x, levels(problem, state.dual, problem.features(carrier.patterns(x)), carrier.cost(x)), x[:0])
    loop._estimate(problem, carrier, state, found, True, True)
    assert state.lower < hopeful


def test_a_second_look_at_the_best_dual_point_refutes_the_first() -> None:
    """The confirming search once changed nothing: what it found at the same dual point was dropped from the estimate."""
    rng = np.random.default_rng(0)
    problem = mfo.problems.dataset(rng.standard_normal((30, 3)), rng.standard_normal((30, 2)), lambda1=0.1, lambda2=0.1)
    carrier = choose_carrier(problem.geometry, problem.activation)
    particles = Particles(np.zeros((0, 4)), np.zeros((2, 0)), np.zeros(0))
    hopeful = problem.dual_value(problem.targets)
    state = State(particles, problem.targets, 1e3, hopeful, problem.targets)
    x = rng.standard_normal((1, 4))
    found = Found(x, np.array([2.0]), x[:0])
    gap = loop._estimate(problem, carrier, state, found, True, True)
    assert state.lower < hopeful
    assert gap == (1e3 - state.lower) / 1e3


@pytest.mark.parametrize(("seed", "penalty"), [(0, 0.01), (1, 0.3), (2, 3.0)])
def test_the_master_on_many_fixed_atoms_closes_its_gap_over_all_of_them(seed: int, penalty: float) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.choice([-1.0, 1.0], (3, 20))
    features = np.maximum(rng.standard_normal((3000, 20)), 0.0)
    features[10], features[11:14] = features[9], 0.0
    cost = 10.0 ** rng.uniform(-3, 3, 3000)
    fit = solve_dictionary(features, targets, cost, penalty, 0.5 * penalty, 1e-9)
    assert 0 <= fit.gap <= 1e-9
    # every figure again from the answer alone
    limit = 2.0 * np.sqrt(0.5) * penalty * np.sqrt(cost)
    assert (np.linalg.norm(fit.dual @ features.T, axis=0) <= limit * (1 + 1e-12)).all()
    lower = float(np.vdot(fit.dual, targets) - 0.25 * np.vdot(fit.dual, fit.dual))
    norms = np.linalg.norm(fit.readouts, axis=0)
    energy = float(np.sum((targets - fit.readouts @ features) ** 2) + limit @ norms)
    assert lower == pytest.approx(fit.lower, rel=1e-12)
    assert energy - lower <= 1e-8 * energy
    np.testing.assert_allclose(
        fit.masses, np.sqrt(0.5 / cost) * norms, rtol=1e-6, atol=1e-9 * fit.masses.max(initial=0)
    )


def test_the_master_on_fixed_atoms_at_its_limits() -> None:
    targets = np.array([[1.0, -1.0]])
    features = np.array([[1.0, 0.0], [0.0, 1.0]])
    zero = solve_dictionary(features, targets, np.ones(2), 10.0, 10.0)
    assert zero.energy == 2.0
    assert not zero.readouts.any()
    for tolerance, near in ((1e-9, 3e-5), (1e-13, 1e-6)):  # an energy's error is the square of a readout's
        one = solve_dictionary(features[:1], targets, np.ones(1), 0.25, 0.25, tolerance)
        assert one.readouts[0, 0] == pytest.approx(0.75, rel=near)  # min (1 - v)^2 + v / 2
        assert one.energy == pytest.approx(1.4375, rel=tolerance)
    for bad in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(mfo.InputError, match="positive and finite"):
            solve_dictionary(features, targets, np.array([1.0, bad]), 1.0, 1.0)
    with pytest.raises(mfo.errors.SolveError, match="relative gap"):
        solve_dictionary(
            np.maximum(np.random.default_rng(0).standard_normal((50, 2)), 0), targets, np.ones(50), 0.01, 0.01, most=1
        )


def test_inputs_a_thousand_times_larger_in_one_column_are_solved() -> None:
    """It stopped with a gap of 8e-2: starts, and what counts as a new column, followed the large inputs alone."""
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal((30, 2)), np.sign(rng.standard_normal((30, 2)))
    problem = mfo.problems.dataset(x * np.array([1e3, 1.0]), y, lambda1=0.3, lambda2=0.3)
    solution = mfo.solve(problem, tolerance=1e-3, max_iterations=30)
    assert solution.stats["sampled_gap"] <= 1e-3


def test_evening_gives_patterns_of_like_lengths() -> None:
    rng = np.random.default_rng(0)
    problem = mfo.problems.dataset(
        rng.standard_normal((50, 3)) * np.array([1e4, 1.0, 1e-3]), rng.standard_normal((50, 1))
    )
    evener, lengths = evening(problem.geometry)
    np.testing.assert_allclose(evener @ lengths, np.eye(4), atol=1e-6)
    values = np.linalg.svd(problem.geometry.preactivation(evener), compute_uv=False)
    assert values.max() <= values.min() * (1 + 1e-4)


def test_basins_are_remembered_and_starts_cross_their_kinks() -> None:
    """Many violated regions were met by one search and lost by the next: gaps were claimed that wider searches refuted."""
    rng = np.random.default_rng(2)
    problem = mfo.problems.dataset(
        rng.standard_normal((40, 4)), np.sign(rng.standard_normal((40, 2))), lambda1=0.5, lambda2=0.5
    )
    carrier = choose_carrier(problem.geometry, problem.activation)
    particles = Particles(np.zeros((0, 5)), np.zeros((2, 0)), np.zeros(0))
    state = State(particles, problem.targets, 1.0)
    first = pricing.price(problem, carrier, state, rng, 8, 1e-2, lambda: False, 1e-4, False)
    assert state.basins is not None
    seen = state.basins[:1]
    top = first.top
    for _ in range(3):  # fewer starts: the top can no longer be lost
        assert pricing.price(problem, carrier, state, rng, 1, 1e-2, lambda: False, 1e-4, False).top >= top * (1 - 1e-9)
    across = pricing._across(carrier, seen)
    before, after = carrier.patterns(seen) > 0, carrier.patterns(across) > 0
    assert across.shape == (8, 5)
    assert (before != after).any(axis=1).all()


def test_a_hopeless_newton_matrix_ends_with_no_step() -> None:
    """It raised the damping for ever where the matrix was not finite."""
    step, damping = newton._solve(np.full((2, 2), np.nan), np.ones(2), 1e-6, 1.0)
    assert (step == 0).all()
    assert damping >= 1e12


def test_the_number_of_threads_changes_nothing() -> None:
    rng = np.random.default_rng(5)
    problem = mfo.problems.dataset(
        rng.standard_normal((40, 3)), np.sign(rng.standard_normal((40, 2))), lambda1=0.5, lambda2=0.5
    )
    one, three = (mfo.solve(problem, tolerance=1e-3, threads=threads) for threads in (1, 3))
    assert one.energy == three.energy
    assert [h[1:] for h in one.stats["history"]] == [h[1:] for h in three.stats["history"]]
    with pytest.raises(mfo.InputError, match="threads"):
        mfo.solve(problem, threads=0)


def test_sharing_work_visits_every_item_once_and_ends_when_told() -> None:
    from meanfield_opt.threads import available, share

    assert available() >= 1
    for threads in (1, 4):
        seen = np.zeros(103)

        def work(part: slice, seen: np.ndarray = seen) -> None:
            seen[part] += 1

        share(work, 103, 10, threads)
        assert (seen == 1).all()
        share(work, 103, 10, threads, lambda: True)
        assert (seen[:10] == 2).all()
        assert (seen[10:] == 1).all()


def test_a_master_on_huge_features_goes_on_where_rounding_spoils_definiteness() -> None:
    """One input a million times the others: Newton systems were indefinite by rounding, and no master was solved."""
    from meanfield_backends.colgen.blocked import cholesky
    from meanfield_backends.colgen.energies import factored

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 3)), np.sign(rng.standard_normal((2, 60)))
    x[:, 0] *= 1e6
    weights = rng.standard_normal((55, 3)) * [1e-6, 1.0, 1.0]
    weights[:40, 0] = rng.standard_normal(40)
    phi = np.maximum(weights @ x.T, 0.0) / np.linalg.norm(weights, axis=1)[:, None]
    centre = interior_point(phi, y, 0.3, 0.3, np.zeros(55), 1e-6)
    assert centre is not None
    assert centre.energy < float(np.vdot(y, y))
    low = rng.standard_normal((40, 3))
    matrix = 1e18 * low @ low.T
    with pytest.raises(np.linalg.LinAlgError):
        cholesky(matrix)
    factor = factored(matrix.copy())
    assert np.isfinite(factor).all()
    np.testing.assert_allclose(np.tril(factor) @ np.tril(factor).T, matrix, rtol=0, atol=1e-9 * matrix.max())


def test_large_masters_do_not_depend_on_the_number_of_threads() -> None:
    rng = np.random.default_rng(3)
    phi, targets = np.maximum(rng.standard_normal((900, 150)), 0), np.sign(rng.standard_normal((3, 150)))
    phi /= np.linalg.norm(phi, axis=1, keepdims=True)
    one, three = (interior_point(phi, targets, 0.05, 0.05, np.zeros(900), 1e-6, threads=threads) for threads in (1, 3))
    assert one is not None
    assert three is not None
    np.testing.assert_array_equal(one.masses, three.masses)

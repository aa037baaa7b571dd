"""Following known basins between searches, and masters on working sets: what they may leave and what they cost."""

from __future__ import annotations

import math

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_backends.colgen import follow as following
from meanfield_backends.colgen import loop, pool, pricing, work, working
from meanfield_backends.colgen.bound import lower_estimate, relative_gap
from meanfield_backends.colgen.carrier import ThetaCarrier, choose_carrier
from meanfield_backends.colgen.masses import interior_point
from meanfield_backends.colgen.search import levels
from meanfield_backends.colgen.state import State, Stopwatch, first_state
from meanfield_opt.backend import SolveOptions


def labels(samples: int, inputs: int, penalty: float, factor: float = 1.0, seed: int = 5) -> mfo.TwoLayerProblem:
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((samples, inputs)), np.sign(rng.standard_normal((samples, 2)))
    x[:, 0] *= factor
    return mfo.problems.dataset(x, y, lambda1=penalty, lambda2=penalty)


def columns(problem: mfo.TwoLayerProblem, count: int, copies: int, seed: int) -> np.ndarray:
    """Random neurons of cost 1 and near copies of each: (count * copies, r)."""
    rng = np.random.default_rng(seed)
    theta = np.repeat(rng.standard_normal((count, problem.geometry.n_parameters)), copies, axis=0)
    theta += 0.02 * rng.standard_normal(theta.shape)
    return np.asarray(theta / np.linalg.norm(theta, axis=1, keepdims=True))


@pytest.mark.parametrize("seed", range(6))
def test_a_master_on_a_working_set_leaves_no_column_violated_that_it_was_given(seed: int) -> None:
    """Columns that left as light came back as violated, one pass after the other, until the passes ran out."""
    problem = labels(40, 4, 0.3, seed=seed)
    theta = columns(problem, 250, 5, seed)
    features = problem.features(problem.geometry.preactivation(theta))
    zero, targets, l1, l2 = np.zeros(theta.shape[0]), problem.targets, problem.lambda1, problem.lambda2
    whole = interior_point(features, targets, l1, l2, zero, 1e-10)
    other = interior_point(features, targets, 1.2 * l1, 1.2 * l2, zero, 1e-10)
    assert whole is not None
    assert other is not None
    gap, dual = 1e-3, 2.0 * (targets - other.readouts @ features) / 1.2
    part = working.working_master(features, targets, l1, l2, other.masses, dual, 1e-8, gap, 0.1, working.FEW)
    assert part is not None
    level = levels(problem, 2.0 * (targets - part.readouts @ features), features, np.ones(theta.shape[0]))
    assert level.max() <= 1.0 + (working.FEW.left + 0.01) * gap
    assert part.energy == pytest.approx(whole.energy, rel=gap)
    assert part.energy >= whole.energy * (1.0 - 1e-7)


def test_the_lightest_columns_leave_and_no_more_than_their_share_of_the_mass() -> None:
    masses = np.array([0.0, 1e-4, 0.5, 3e-3, 0.2, 0.0])
    level = np.ones(masses.size)
    np.testing.assert_array_equal(working.FEW.heavy(masses, level), [False, False, True, False, True, False])
    assert working.FEW.heavy(np.ones(7), np.ones(7)).all()
    assert not working.FEW.heavy(np.zeros(3), np.ones(3)).any()


def followed(problem: mfo.TwoLayerProblem, tolerance: float, gap: float) -> tuple[State, ThetaCarrier]:
    carrier = choose_carrier(problem.geometry, problem.activation)
    assert isinstance(carrier, ThetaCarrier)
    state, watch, rng = first_state(problem, carrier, None), Stopwatch(60.0), np.random.default_rng(0)
    options = SolveOptions(tolerance=tolerance)
    found = pricing.price(problem, carrier, state, rng, 64, 1.0, watch.over, tolerance, False)
    assert loop._pooled(problem, carrier, state, found, gap, options, rng, watch)
    return state, carrier


def test_what_is_settled_is_settled_on_every_basin_known_and_claims_nothing() -> None:
    problem = labels(50, 3, 1.0)
    state, carrier = followed(problem, 1e-4, 1e-2)
    assert state.settled <= max(following.SETTLED * 1e-4, following.SHARE * 1e-2)
    assert state.lower == -math.inf  # only searches estimate
    assert state.basins is not None
    assert state.columns is not None
    for known in (state.basins, state.columns):
        level = levels(problem, state.dual, problem.features(carrier.patterns(known)), carrier.cost(known))
        lower = lower_estimate(problem, state.dual, float(level.max()))
        assert relative_gap(state.energy, lower) <= state.settled * (1.0 + 1e-9) + 1e-12
    rng, watch = np.random.default_rng(1), Stopwatch(60.0)
    before = state.settled
    found = pricing.price(problem, carrier, state, rng, 64, 1e-2, watch.over, 1e-4, False)
    assert relative_gap(state.energy, lower_estimate(problem, state.dual, found.top)) >= before * (1.0 - 1e-9)


def test_nothing_is_followed_where_masters_cost_as_much_as_searches_or_inputs_are_uneven(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert work.master_work(labels(50, 3, 1.0), 900) > 100.0 * work.master_work(labels(50, 3, 1.0), 30)
    problem = labels(50, 3, 1.0)
    carrier = choose_carrier(problem.geometry, problem.activation)
    few, many = np.ones(20), np.ones(5000)
    assert work.masters_a_search(problem, carrier, few) > pool.CHEAP > work.masters_a_search(problem, carrier, many)
    uneven = labels(50, 3, 1.0, factor=1e5)
    assert work.masters_a_search(uneven, choose_carrier(uneven.geometry, uneven.activation), few) == 0.0
    monkeypatch.setattr(following, "masters_a_search", lambda *_: 0.0)
    state, _ = followed(problem, 1e-4, 1e-2)
    assert state.settled == math.inf


def test_claims_are_confirmed_at_the_dual_point_they_are_made_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """SOLVED needs a search at the best dual point that was meant to refute it."""
    searched: list[tuple[np.ndarray, bool]] = []
    price = pricing.price

    def watched(problem, carrier, state, rng, starts, gap, watch, tolerance, confirm):  # type: ignore[no-untyped-def]
        found = price(problem, carrier, state, rng, starts, gap, watch, tolerance, confirm)
        searched.append((state.dual, found.sure))
        return found

    monkeypatch.setattr(pricing, "price", watched)
    for seed in range(3):
        searched.clear()
        solution = mfo.solve(labels(40, 2, 0.5, seed=seed), tolerance=1e-5)
        assert solution.status is mfo.Status.SOLVED
        assert any(sure and dual is solution.dual for dual, sure in searched)


def test_columns_recalled_under_another_penalty_are_kept_where_the_energy_is_a_small_part_of_that_of_no_atoms() -> None:
    """The first master was as exact as the energy of no atoms asks: at small penalties every column was dropped after it."""
    rng = np.random.default_rng(3)
    problem = mfo.problems.dataset(
        rng.standard_normal((60, 5)), np.sign(rng.standard_normal((60, 2))), lambda1=0.02, lambda2=0.02
    )
    memory: dict[str, object] = {}
    solution = mfo.solve(problem, tolerance=1e-3, time_limit=6.0, memory=memory)
    other = problem.with_penalties(0.021, 0.021)
    carrier = choose_carrier(other.geometry, other.activation)
    state = pool.recalled(other, carrier, solution.measure, memory, 1)
    assert state is not None
    assert state.columns is not None
    assert state.columns.shape[0] > solution.measure.n_atoms
    assert state.energy <= other.energy(solution.measure)
    assert state.energy < 0.1 * other.energy(mfo.Measure.zero(60))

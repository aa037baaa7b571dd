"""Regularisation paths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import meanfield_opt as mfo
from meanfield_backends.colgen import pool
from meanfield_backends.colgen.basins import copied


def data() -> mfo.TwoLayerProblem:
    rng = np.random.default_rng(1)
    return mfo.problems.dataset(rng.standard_normal((30, 1)), np.sign(rng.standard_normal((30, 2))))


def test_a_path_ends_where_single_solves_end() -> None:
    problem = data()
    penalties = [2.0, 1.0, (0.5, 0.25)]
    solutions = mfo.path(problem, penalties, tolerance=1e-5)
    assert [(s.two_layer.lambda1, s.two_layer.lambda2) for s in solutions] == [(2.0, 2.0), (1.0, 1.0), (0.5, 0.25)]
    for solution in solutions:
        alone = mfo.solve(solution.problem, tolerance=1e-5)
        assert solution.energy == pytest.approx(alone.energy, rel=2e-5)


def test_penalties_may_be_any_iterable_or_array() -> None:
    problem = data()
    for penalties in (np.array([9.0, 7.0]), (x for x in (9, 7)), [np.float32(9), np.int64(7)], range(9, 5, -2)):
        assert [s.two_layer.lambda1 for s in mfo.path(problem, penalties, tolerance=1e-2)] == [9.0, 7.0]  # type: ignore[arg-type]
    pairs = mfo.path(problem, np.array([[9.0, 7.0], [5.0, 6.0]]), tolerance=1e-2)  # type: ignore[arg-type]
    assert [(s.two_layer.lambda1, s.two_layer.lambda2) for s in pairs] == [(9.0, 7.0), (5.0, 6.0)]


def test_the_penalty_of_a_hidden_bias_keeps_its_ratio() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((30, 1)), np.sign(rng.standard_normal((30, 2)))
    (solution,) = mfo.path(
        mfo.problems.dataset(x, y, lambda1=1.0, lambda2=1.0, bias_penalty=0.25), [4.0], tolerance=1e-4
    )
    alone = mfo.problems.dataset(x, y, lambda1=4.0, lambda2=4.0, bias_penalty=1.0)
    assert solution.problem.fingerprint == alone.fingerprint


def test_path_refuses_nonsense() -> None:
    """A 0-d array raised TypeError, penalties whose product overflows a warning from within, a dict gave its keys."""
    problem = data()
    nonsense = (
        [],
        [-1.0],
        [(1.0, 2.0, 3.0)],
        ["x"],
        np.array(2.0),
        np.ones((2, 2, 2)),
        {1.0: 2.0},
        {1.0, 2.0},
        [1e200],
        [(1e-200, 1e-200)],
    )
    for bad in nonsense:
        with pytest.raises(mfo.InputError):
            mfo.path(problem, bad)  # type: ignore[arg-type]
    with pytest.raises(mfo.InputError, match="chooses its own starts"):
        mfo.path(problem, [1.0], start=None)


def test_a_path_remembers_columns_and_claims_what_a_wide_search_confirms() -> None:
    """Fewer starts a search where another penalty's basins are known must not make the sampled gaps hopeful."""
    from meanfield_backends.colgen.ascent import ascend, sharpen

    rng = np.random.default_rng(3)
    problem = mfo.problems.dataset(rng.standard_normal((40, 3)), np.sign(rng.standard_normal((40, 2))))
    memory: dict[str, object] = {}
    solutions = mfo.path(problem, [6.0, 3.0, 1.5, 0.8], tolerance=1e-4, memory=memory)
    assert set(memory) == {"problem", "columns", "masses", "basins", "dual", "unknown"}
    rows = problem.geometry.preactivation(np.eye(4)).T
    for solution in solutions:
        posed, dual = solution.two_layer, solution.dual
        x, _ = ascend(posed, rows, dual, np.random.default_rng(9).standard_normal((20_000, 4)), 60, ())
        x = np.vstack([x, sharpen(posed, rows, dual, x[::10], (1e-2, 1e-3, 1e-4, 1e-6))])
        top = float(posed.ratio(dual, x @ rows.T).max())
        scale = posed.loss.best_scale(dual, posed.targets, 1.0 / np.sqrt(top))
        lower = posed.loss.dual_value(scale * dual, posed.targets)
        assert solution.energy - lower <= 2e-4 * solution.energy


def test_an_interruption_that_no_solve_caught_leaves_the_solutions_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the few steps outside a run's rounds lost the whole path."""
    from meanfield_backends import column_generation

    calls = []

    def interrupted(*given: object) -> None:
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(column_generation, "check_size", interrupted)
    solutions = mfo.path(data(), [9.0, 7.0, 5.0], tolerance=1e-2)
    assert [s.two_layer.lambda1 for s in solutions] == [5.0]  # the smallest is the first
    calls[:] = [()]
    with pytest.raises(KeyboardInterrupt):
        mfo.path(data(), [9.0, 7.0], tolerance=1e-2)


def test_an_interruption_while_readouts_are_fitted_keeps_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from meanfield_backends import column_generation

    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(column_generation, "fitted", interrupted)
    solution = mfo.solve(data(), tolerance=1e-2)
    assert solution.status is mfo.Status.INTERRUPTED
    assert solution.measure.n_atoms > 0


def test_an_interruption_at_the_end_of_a_run_keeps_what_it_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while atoms were reduced lost the run."""
    from meanfield_backends.colgen import ending

    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    whole, memory = mfo.solve(data(), tolerance=1e-3), dict[str, object]()
    monkeypatch.setattr(ending, "_merged", interrupted)
    solution = mfo.solve(data(), tolerance=1e-3, memory=memory)
    assert solution.status is mfo.Status.INTERRUPTED
    assert solution.energy == pytest.approx(whole.energy, rel=2e-3)
    monkeypatch.undo()
    assert mfo.solve(data(), tolerance=1e-3, memory=memory).status is mfo.Status.SOLVED


def test_a_memory_that_no_run_wrote_is_refused() -> None:
    """Shapes that do not belong together came up as errors of numpy."""
    memory: dict[str, object] = {}
    mfo.solve(data(), tolerance=1e-2, memory=memory)
    columns = np.asarray(memory["columns"])
    for name, bad in (
        ("columns", None), ("columns", columns[:0]), ("columns", np.nan * columns), ("columns", "x"), ("columns", columns[:, 0]),
        ("masses", None), ("masses", np.ones(1)), ("masses", -np.ones(columns.shape[0])), ("basins", np.ones((2, 9))), ("basins", 3),
        ("dual", None), ("dual", np.ones((1, 3))), ("dual", np.nan * np.asarray(memory["dual"])), ("unknown", "x"), ("unknown", None),
    ):  # fmt: skip
        with pytest.raises(mfo.InputError, match=r"memory holds .* that no run wrote"):
            mfo.solve(data(), memory={**memory, name: bad})
    assert mfo.solve(data(), tolerance=1e-2, memory={**memory, "basins": None}).status is mfo.Status.SOLVED


def test_memory_of_other_data_is_not_used() -> None:
    memory: dict[str, object] = {}
    first = mfo.solve(data(), tolerance=1e-4, memory=memory)
    other = mfo.problems.dataset(np.random.default_rng(8).standard_normal((30, 1)), np.arange(30.0)[:, None])
    assert mfo.solve(other, tolerance=1e-4, memory=memory).energy == mfo.solve(other, tolerance=1e-4).energy
    assert first.status is mfo.Status.SOLVED
    with pytest.raises(mfo.InputError, match="memory must be a dict"):
        mfo.solve(data(), memory=3)


def test_a_memory_that_lacks_something_is_not_used_and_one_of_other_targets_saves_no_starts() -> None:
    from meanfield_backends.colgen import pool
    from meanfield_backends.colgen.carrier import choose_carrier
    from meanfield_opt.activations.piecewise import LeakyReLU

    problem, memory = data(), dict[str, object]()
    energy = mfo.solve(problem, tolerance=1e-4, memory=memory).energy
    for name in memory:
        part = {key: value for key, value in memory.items() if key != name}
        assert mfo.solve(problem, tolerance=1e-4, memory=part).energy == energy
    carrier = choose_carrier(problem.geometry, problem.activation)
    near = problem.with_penalties(1.1 * problem.lambda1, problem.lambda2)
    settings = (near.loss, near.geometry, near.targets, near.lambda1, near.lambda2)
    leaky = mfo.TwoLayerProblem(LeakyReLU(0.1), *settings)
    flipped = mfo.TwoLayerProblem(near.activation, near.loss, near.geometry, -near.targets, near.lambda1, near.lambda2)
    for other, thrift in ((near, pool.LEAST_THRIFT), (leaky, pool.MOST_THRIFT), (flipped, pool.MOST_THRIFT)):
        state = pool.recalled(other, carrier, None, memory, 1)
        assert state is not None
        assert state.thrift == thrift
        assert state.trust == min(1.0, pool.TRUST * thrift)


def test_near_penalties_take_one_search_each() -> None:
    """A penalty next to one that was solved took a search for what is new there and another one to confirm."""
    rng = np.random.default_rng(3)
    problem = mfo.problems.dataset(rng.standard_normal((40, 3)), np.sign(rng.standard_normal((40, 2))))
    rounds = 0
    for seed in range(3):
        solutions = mfo.path(problem, list(np.geomspace(4.0, 2.0, 5)), tolerance=1e-3, seed=seed)
        assert all(solution.status is mfo.Status.SOLVED for solution in solutions)
        rounds += sum(solution.stats["rounds"] for solution in solutions[:-1])
    # 12, were it not for confirming searches that meet a basin (14 here); two each would be 24
    assert rounds <= 17


@given(seed=st.integers(0, 1000), most=st.integers(1, 60))
def test_low_basins_are_remembered_only_where_they_are_far_apart(seed: int, most: int) -> None:
    from meanfield_backends.colgen.basins import HIGH, LOW, memorable
    from meanfield_backends.colgen.carrier import choose_carrier
    from meanfield_backends.colgen.search import evening

    rng = np.random.default_rng(seed)
    problem = mfo.problems.dataset(rng.standard_normal((30, 3)), rng.standard_normal((30, 1)))
    carrier = choose_carrier(problem.geometry, problem.activation)
    centres = rng.standard_normal((8, 4))
    x = np.vstack([centre + 1e-2 * rng.standard_normal((20, 4)) for centre in centres])
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    level = np.sort(rng.uniform(0.3, 1.1, x.shape[0]))[::-1]
    kept = memorable(carrier, x, level, most)
    assert 1 <= kept.shape[0] <= most or not (level > LOW).any()
    index = (kept @ x.T).argmax(axis=1)
    np.testing.assert_allclose(kept, x[index], atol=1e-12)
    unit = kept @ evening(carrier.geometry)[1]
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    low = level[index] <= HIGH
    cosine = unit[low] @ unit[low].T - np.eye(int(low.sum()))
    assert level[index].min() > LOW
    assert cosine.max(initial=-1.0) <= 1.0 - 0.4 * 0.1**2


def test_memories_hold_each_column_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred close penalties took 102 s instead of 13: columns that are copies share their mass, and all of them stayed."""
    rng = np.random.default_rng(0)
    problem = mfo.problems.dataset(rng.standard_normal((60, 4)), rng.standard_normal((60, 2)))

    def copies() -> int:
        memory: dict[str, Any] = {}
        for penalty in np.geomspace(1.0, 1.6, 5):
            mfo.solve(problem.with_penalties(penalty, penalty), tolerance=1e-3, memory=memory, threads=1)
        unit = memory["columns"] / np.linalg.norm(memory["columns"], axis=1, keepdims=True)
        return int(np.count_nonzero(np.triu(unit @ unit.T > 1.0 - 1e-14, 1)))

    assert copies() == 0
    monkeypatch.setattr(pool, "copied", lambda x, met, lengths: np.zeros(x.shape[0], dtype=bool))
    assert copies() > 100


@given(st.integers(0, 10_000))
def test_copies_are_told_whatever_their_length(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, n = int(rng.integers(1, 8)), int(rng.integers(2, 6))
    x, lengths = rng.standard_normal((count, n)), np.diag(10.0 ** rng.uniform(-4, 4, n))
    chosen = rng.random(count) < 0.5
    scaled = x[chosen] * 10.0 ** rng.uniform(-6, 6, (int(chosen.sum()), 1))
    np.testing.assert_array_equal(copied(x, scaled, lengths), chosen)
    assert not copied(x, x[:0], lengths).any()
    assert copied(x[:0], x, lengths).shape == (0,)

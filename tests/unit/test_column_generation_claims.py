"""What searches in few dimensions may claim, and how they tell basins apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import meanfield_opt as mfo
from meanfield_backends.colgen import look as look_module
from meanfield_backends.colgen.apart import apart, away
from meanfield_backends.colgen.basins import ranked
from meanfield_backends.colgen.carrier import choose_carrier
from meanfield_backends.colgen.look import KINDS, Look
from meanfield_backends.colgen.search import levels_at
from meanfield_backends.colgen.state import State, first_state


def teacher(seed: int, penalty: float) -> mfo.TwoLayerProblem:
    """60 samples of four inputs, eight hidden units and noise; two outputs."""
    rng = np.random.default_rng(seed)
    x, w, v = rng.standard_normal((60, 4)), rng.standard_normal((8, 4)), rng.standard_normal((2, 8))
    y = v @ np.maximum(w @ x.T, 0) + 0.3 * rng.standard_normal((2, 60))
    y -= np.median(y, axis=1, keepdims=True)
    return mfo.problems.dataset(x, y.T, lambda1=penalty, lambda2=penalty)


@pytest.mark.parametrize(("seed", "penalty"), [(4, 0.3), (6, 0.1), (9, 0.1)])
def test_the_atoms_of_the_end_do_not_refute_the_estimate(seed: int, penalty: float) -> None:
    """They did by up to 1e-7, and gaps of zero were told: maxima within 1e-4 of each other, where kinks meet, were taken for one."""
    solution = mfo.solve(teacher(seed, penalty), tolerance=1e-5, seed=seed)
    assert solution.status is mfo.Status.SOLVED
    assert solution.stats["history"][-1][2] <= solution.energy
    assert 0 < solution.stats["sampled_gap"] <= 1e-5


def a_look(problem: mfo.TwoLayerProblem) -> tuple[Look, State]:
    carrier = choose_carrier(problem.geometry, problem.activation)
    state = first_state(problem, carrier, None)
    return Look(problem, carrier, state, np.random.default_rng(0), lambda: False, 1e-3, 1e-3, 64), state


def test_a_search_keeps_count_of_what_it_has_met() -> None:
    problem = teacher(0, 0.3)
    look, state = a_look(problem)
    parts = [look.maxima(look.random(40)), look.random(7), np.full((1, look.carrier.dimension), np.nan)]
    look.add(parts[:1])
    first = look.top
    look.add(parts[1:])  # a level that is no number is above no other
    every = levels_at(problem, look.carrier, state.dual, np.vstack(parts))
    assert look.top == np.nanmax(every) >= first
    violated = look.violated()
    assert 0 < violated.shape[0] <= int((every > 1.0).sum())
    assert (np.diff(look.levels(violated)) <= 1e-9).all()
    assert not look.bearable()


@pytest.mark.parametrize("size", [0.05, 0.3, 1.0])
def test_a_long_search_tells_the_highest_level_however_low(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    """Ends below half the feasible level were all forgotten after some ten thousand: then the search told of none, and its estimate was too high."""
    monkeypatch.setattr(look_module, "ROOM", 16)
    look, state = a_look(teacher(0, 0.3))
    x = look.random(100)
    look.dual = size * state.dual / np.sqrt(look.levels(x).max())
    look.add([x[:60], x[60:]])
    assert ranked(look.met)[1][0] == pytest.approx(look.top) == pytest.approx(size**2)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 5), st.sampled_from([1e-5, 1e-2, 0.1, 0.7]))
def test_rows_that_are_kept_apart_are_those_of_the_definition(seed: int, count: int, n: int, angle: float) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(1, count // 3), n))
    x = centres[rng.integers(len(centres), size=count)] + angle * rng.uniform(0, 2) * rng.standard_normal((count, n))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    most = 1.0 - max(1e-11, 0.5 * angle * angle)
    limit = int(rng.integers(1, count + 1))
    chosen: list[int] = []
    for i in range(count):
        if len(chosen) < limit and all(float(unit[i] @ unit[k]) <= most for k in chosen):
            chosen.append(i)
    inner = unit @ unit.T
    if np.abs(inner - most).min() < 1e-14:  # a tie, to rounding
        return
    assert np.flatnonzero(apart(unit, most, limit)).tolist() == chosen
    half = count // 2
    expected = (inner[:half, half:] <= most).all(axis=1)
    assert (away(unit[:half], unit[half:], most) == expected).all()


def test_weights_that_are_no_numbers_are_near_nothing_and_break_nothing() -> None:
    unit = np.array([[np.nan, 0.0], [1.0, 0.0], [np.inf, -np.inf], [0.0, 1.0]])
    assert apart(unit, 0.99, 4)[[1, 3]].all()
    assert away(unit, unit[1:2], 0.99).tolist()[3]
    assert not away(unit, unit[1:2], 0.99)[1]
    assert apart(unit[:0], 0.99, 3).size == 0
    assert away(unit[1:2], unit[:0], 0.99).all()


@pytest.mark.parametrize(("inputs", "targets"), [(1e-30, 1e-30), (1e-30, 1e30), (1e30, 1e-12), (1.0, 1e30)])
def test_the_first_slides_bear_data_of_any_size(inputs: float, targets: float) -> None:
    """They run in single precision, whose range such numbers leave."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 3)), rng.standard_normal((40, 2))
    scale = inputs * targets
    plain = mfo.problems.dataset(x, y, lambda1=0.5, lambda2=0.5, bias=False)
    large = mfo.problems.dataset(inputs * x, targets * y, lambda1=0.5 * scale, lambda2=0.5 * scale, bias=False)
    expected = mfo.solve(plain, tolerance=1e-4).energy
    solution = mfo.solve(large, tolerance=1e-4)
    assert solution.status is mfo.Status.SOLVED
    assert solution.energy / targets**2 == pytest.approx(expected, rel=2e-4)


def test_a_path_of_one_start_a_search_ends() -> None:
    """A share of one start was none, so that groups of no starts never made up what a confirmation wants."""
    solutions = mfo.path(teacher(0, 0.3), [6.0, 5.5], tolerance=1e-2, starts=1, time_limit=20.0)
    assert all(solution.stats["seconds"] < 15.0 for solution in solutions)


def test_further_starts_are_of_all_kinds_as_far_as_there_is_something_to_begin_with() -> None:
    look, state = a_look(teacher(0, 0.3))
    nothing = np.zeros((0, look.carrier.dimension))
    columns = look.random(7)
    alone = look.varied(400, nothing)
    assert alone.shape[0] == 400 - round(400 * KINDS[2])  # no columns, no neighbours of columns
    assert look.varied(400, columns).shape == (400, look.carrier.dimension)
    state.basins = 1e3 * np.eye(look.carrier.dimension)[:2]
    starts = look.varied(400, columns)
    assert np.isfinite(starts).all()
    near = starts[-round(400 * (KINDS[3] + KINDS[4])) : -round(400 * KINDS[4])]
    unit = near / np.linalg.norm(near, axis=1, keepdims=True)
    assert (np.abs(unit[:, :2]).max(axis=1) > 0.7).mean() > 0.9
    assert sum(KINDS) == pytest.approx(1.0)

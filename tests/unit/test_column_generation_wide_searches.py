"""Column generation with many weights a neuron: what a claim rests on, and what passes from one penalty to the next."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from many_weights import instance

import meanfield_opt as mfo
from meanfield_backends.colgen import wide
from meanfield_backends.colgen.starts import KINDS

Array = np.ndarray


def test_the_last_search_is_wide_and_at_the_dual_point_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Array, list[int], list[bool], bool]] = []
    price, begin, ascend = wide._price, wide.starts, wide.reached

    def spy(run: wide.Run, state: Any, *given: Any) -> Any:
        seen.append((state.dual.copy(), [], [], False))
        found, made = price(run, state, *given)
        seen[-1] = (*seen[-1][:3], found.sure)
        assert made == len(seen[-1][1])
        return found, made

    def counted(*given: Any) -> Any:
        x, kinds = begin(*given)
        seen[-1][1].append(int(np.bincount(kinds, minlength=len(KINDS)).min()))
        return x, kinds

    def raced(*given: Any, race: bool = False) -> Any:
        seen[-1][2].append(race)
        return ascend(*given, race=race)

    monkeypatch.setattr(wide, "_price", spy)
    monkeypatch.setattr(wide, "starts", counted)
    monkeypatch.setattr(wide, "reached", raced)
    solution = mfo.solve(instance(), tolerance=3e-2, time_limit=60.0)
    assert solution.status is mfo.Status.SOLVED
    dual, groups, races, sure = seen[-1]
    assert sure
    assert not any(before[3] for before in seen[:-1])
    # half as many groups as before, but at least one search's, of every kind alike, and no ascent given up early
    made = sum(len(before[1]) for before in seen[:-1])
    assert len(groups) == min(max(made // 2, wide.GROUPS), wide.WIDER * len(KINDS))
    assert min(groups) >= wide.LEAST_STARTS // len(KINDS)
    assert not any(races)
    np.testing.assert_array_equal(dual, solution.dual)


def test_a_confirming_search_that_is_cut_short_confirms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from meanfield_backends.colgen.state import Stopwatch

    price, late = wide._price, [False]

    def spy(run: wide.Run, state: Any, gap: float, confirm: bool, *given: Any) -> Any:
        found, made = price(run, state, gap, confirm, *given)
        if found.sure and not late[0]:  # the same search again, with the time over
            late[0] = True
            found, made = price(run, state, gap, True, *given)
            assert not found.sure
        return found, made

    over = Stopwatch.over
    monkeypatch.setattr(wide, "GROUPS", 1)  # the group that was cut short is the last one
    monkeypatch.setattr(wide, "_price", spy)
    monkeypatch.setattr(Stopwatch, "over", lambda self, grace=0.0: late[0] or over(self, grace))
    assert mfo.solve(instance(), tolerance=3e-2, time_limit=60.0).status is mfo.Status.TIME_LIMIT
    assert late[0]


@pytest.mark.parametrize("seed", range(2))
def test_known_basins_are_followed_to_another_penalty(seed: int) -> None:
    problem, memory = instance(), dict[str, Any]()
    mfo.solve(problem, tolerance=1e-2, time_limit=60.0, seed=seed, memory=memory)
    other = problem.with_penalties(3.6, 3.6)
    cold = mfo.solve(other, tolerance=1e-2, time_limit=60.0, seed=seed)
    warm = mfo.solve(other, tolerance=1e-2, time_limit=60.0, seed=seed, memory=memory)
    assert warm.status is cold.status is mfo.Status.SOLVED
    # the first master is already on columns of the other penalty
    assert warm.stats["history"][0][1] < cold.stats["history"][0][1]
    assert warm.energy == pytest.approx(cold.energy, rel=1e-2)
    assert warm.energy >= cold.stats["lower_estimate"] * (1.0 - 1e-3)
    assert memory["problem"] is other

"""Kinds of starts of sweeps."""

from __future__ import annotations

import numpy as np
import pytest

from meanfield_backends.colgen.starts import KEPT, KINDS, Known, Yields, starts


def known_of(count: int, basins: int) -> Known:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((count + basins, 21))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return Known(x[:count], x[count:], x, rng.standard_normal((80, 21)), np.eye(21), rng)


@pytest.mark.parametrize("basins", [0, 7])
def test_every_kind_of_start_is_made(basins: int) -> None:
    x, kinds = starts(known_of(5, basins), Yields(), 200)
    assert x.shape == (kinds.size, 21)
    assert 200 <= kinds.size <= 200 + len(KINDS)
    assert (np.bincount(kinds, minlength=len(KINDS)) >= 200 // len(KINDS)).all()
    assert np.isfinite(x).all()
    assert (np.linalg.norm(x, axis=1) > 0).all()
    only, kinds = starts(known_of(0, 0), Yields(), 20)
    assert only.shape == (20, 21)
    assert not kinds.any()


def test_kinds_that_meet_more_are_made_more_often_and_none_is_given_up() -> None:
    yields = Yields()
    for _ in range(6):
        counts = np.array(yields.counts(900))
        yields.learn(np.repeat(np.arange(len(KINDS)), counts), np.full(30, 3))
    counts = np.array(yields.counts(900))
    assert counts.argmax() == 3
    assert counts[3] > 300
    assert (counts >= 900 * KEPT / len(KINDS)).all()
    for _ in range(6):  # another kind becomes the best
        made = np.repeat(np.arange(len(KINDS)), yields.counts(900))
        yields.learn(made, np.full(30, 5))
    assert int(np.argmax(yields.counts(900))) == 5

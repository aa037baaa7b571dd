"""Regularisation paths."""

from __future__ import annotations

import numpy as np
import pytest

import meanfield_opt as mfo


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


def test_path_refuses_nonsense() -> None:
    problem = data()
    for bad in ([], [-1.0], [(1.0, 2.0, 3.0)], ["x"]):
        with pytest.raises(mfo.InputError):
            mfo.path(problem, bad)  # type: ignore[arg-type]
    with pytest.raises(mfo.InputError, match="chooses its own starts"):
        mfo.path(problem, [1.0], start=None)

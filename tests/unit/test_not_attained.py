"""Infima that are not attained: the error hands over a measure that comes near, and bounds on both sides are proved."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo


def cube(name: str, alignment: float = 0.0, width: float | None = None, d: int = 2) -> mfo.TwoLayerProblem:
    return mfo.problems.hypercube(
        d,
        geometry="aligned" if alignment else "whitened",
        alignment=alignment,
        activation=name,
        lambda1=0.05,
        lambda2=0.05,
        width=width,
    )


def approach(problem: mfo.TwoLayerProblem) -> mfo.Measure:
    with pytest.raises(mfo.errors.NotAttainedError) as caught:
        mfo.solve(problem)
    found: Any = caught.value.approach
    assert isinstance(found, mfo.Measure)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    return found


@pytest.mark.parametrize("alignment", [0.0, 0.5, 2.0])
@pytest.mark.parametrize(("name", "width"), [("softplus", 8.0), ("shifted_relu", 8.0)])
def test_the_infimum_is_that_of_relu(name: str, width: float, alignment: float, tmp_path: Path) -> None:
    problem = cube(name, alignment, width)
    certificate = mfo.certify(problem, approach(problem), refute=np.inf)
    optimum = mfo.certify(cube("relu", alignment), mfo.solve(cube("relu", alignment), tolerance=1e-9))
    assert certificate.verdict == "proved"
    assert certificate.relative_gap < 1e-7
    assert certificate.lower_bound <= optimum.upper_bound
    assert optimum.lower_bound <= certificate.upper_bound
    certificate.save(tmp_path / "c.json")
    assert mfo.verify(tmp_path / "c.json").lower_bound == certificate.lower_bound


@pytest.mark.parametrize("name", ["tanh", "erf", "softsign", "sin"])
def test_the_infimum_of_free_mass_is_that_of_the_slope_at_zero(name: str) -> None:
    problem = cube(name, 0.5)
    certificate = mfo.certify(problem, approach(problem), refute=np.inf)
    assert certificate.verdict == "proved"
    assert certificate.relative_gap < 1e-6
    # a factor c on phi is a factor 1 / c^2 on lambda2
    factor = problem.activation.ratio_bound() ** 2
    linear = mfo.problems.hypercube(
        2, geometry="aligned", alignment=0.5, activation="linear", lambda1=0.05, lambda2=0.05 / factor
    )
    assert certificate.upper_bound == pytest.approx(mfo.solve(linear, tolerance=1e-9).energy, rel=1e-6)


@pytest.mark.parametrize(("name", "width"), [("cubic", 8.0), ("squared_relu", 8.0), ("cubic", None)])
def test_large_neurons_that_cost_nothing(name: str, width: float | None) -> None:
    """The infimum is the least loss, here 0: between the trivial bound and a measure of nearly no energy."""
    problem = cube(name, width=width)
    measure = approach(problem)
    assert width is None or measure.total_mass <= width
    certificate = mfo.certify(problem, measure, refute=np.inf)
    assert -1e-300 < certificate.lower_bound <= 0.0
    assert 0.0 < certificate.upper_bound < 1e-6


def test_off_hypercubes_the_bounds_hold_whatever_they_are_worth() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((12, 2))
    y = x @ np.array([1.0, -0.5])
    problem = mfo.problems.dataset(x, y, activation="tanh", lambda1=0.5, lambda2=0.5)
    measure = approach(problem)
    certificate = mfo.certify(problem, measure, refute=np.inf, time_limit=5)
    linear = mfo.solve(mfo.problems.dataset(x, y, activation="linear", lambda1=0.5, lambda2=0.5), tolerance=1e-9)
    assert certificate.lower_bound <= linear.energy * (1 + 1e-6)
    assert certificate.upper_bound == pytest.approx(linear.energy, rel=1e-6)

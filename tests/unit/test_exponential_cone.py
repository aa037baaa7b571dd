"""The exponential cone and its dual: points of each pair nonnegatively, and distances say which side a point is on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meanfield_opt.formulation.exponential import dual_violation, violation

number = st.floats(-20.0, 20.0)
positive = st.floats(1e-6, 1e3)


@given(number, positive, positive, number, positive, positive)
@settings(max_examples=200, derandomize=True, deadline=None)
def test_points_of_both_cones_pair_nonnegatively(
    ratio: float, y: float, above: float, slope: float, down: float, more: float
) -> None:
    point = np.array([ratio * y, y, y * np.exp(ratio) * (1.0 + above)])
    other = np.array([-down, -down * slope, down * np.exp(slope - 1.0) * (1.0 + more)])
    assert violation(point) <= 0.0
    assert dual_violation(other) <= 0.0
    size = np.abs(point).max() * np.abs(other).max()
    assert point @ other >= -1e-13 * size
    tight, touching = point / [1.0, 1.0, 1.0 + above], other / [1.0, 1.0, 1.0 + more]
    assert abs(violation(tight)) <= 1e-9 * np.abs(tight).max()
    assert abs(dual_violation(touching)) <= 1e-9 * np.abs(touching).max()
    assert violation(tight + np.array([0.5 * y, 0.0, 0.0])) > 0.0
    assert dual_violation(touching - np.array([0.0, 0.5 * down, 0.0])) > 0.0


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ((-1.0, 0.0, 2.0), 0.0),
        ((0.0, 0.0, 0.0), 0.0),
        ((1.0, 0.0, 2.0), 1.0),
        ((-1.0, -0.5, 2.0), 0.5),
        ((-1.0, 0.0, -3.0), 3.0),
        ((1e6, 1.0, 1.0), 1e6),  # without overflow
        ((1e6, 1.0, -1.0), np.inf),
    ],
)
def test_the_limits_of_the_cone(point: tuple[float, float, float], expected: float) -> None:
    assert violation(np.array(point)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("point", "expected"),
    [((0.0, 1.0, 2.0), 0.0), ((0.0, -1.0, 2.0), 1.0), ((0.25, 1.0, 1.0), 0.25), ((-1.0, 0.0, -3.0), np.e**-1 + 3.0)],
)
def test_the_limits_of_the_dual_cone(point: tuple[float, float, float], expected: float) -> None:
    assert dual_violation(np.array(point)) == pytest.approx(expected)

"""Losses: proximal points, weights as repetitions, refusals, and what the laws found."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

import meanfield_opt as mfo
from meanfield_opt.loss import Proximal, SecondOrder
from meanfield_opt.losses.output_bias import zero_row_sums
from meanfield_opt.plugins import LOSSES

Array = Any
WEIGHTS = (0.3, 1.0, 2.5, 7.0, 0.01)
PLAIN = [mfo.loss(name) for name in LOSSES.names() if LOSSES.builtin(name)]
PROXIMAL = [ell for ell in PLAIN if isinstance(ell, Proximal) and ell.name != "weighted"] + [
    mfo.loss("huber", delta=0.3),
    mfo.loss("residual", above=0.5, below=3.0, quadratic=True),
    mfo.loss("residual", above=1.5, below=0.25, quadratic=True, margin=True),
    mfo.loss("residual", above=None, below=0.0, quadratic=True),
    mfo.loss("weighted", base="squared", sample_weights=WEIGHTS),
    mfo.loss("weighted", base="hinge", output_weights=(3.0, 0.1)),
    mfo.loss("weighted", base=mfo.loss("residual", above=0.3, below=0.7), sample_weights=WEIGHTS),
]
SOFTPLUS = mfo.loss_from(
    lambda f, y: np.logaddexp(0.0, -y * f),
    gradient=lambda f, y: -y * special.expit(-y * f),
    conjugate=lambda s, y: np.where(
        (-y * s >= 0) & (-y * s <= 1), special.xlogy(-y * s, -y * s) + special.xlogy(1 + y * s, 1 + y * s), np.inf
    ),
    curvature=0.25,
)
CURVED = [ell for ell in PLAIN + PROXIMAL if isinstance(ell, SecondOrder) and math.isfinite(ell.curvature())] + [
    mfo.loss("weighted", base="softmax", sample_weights=WEIGHTS),
    SOFTPLUS,
]
arrays = st.lists(st.floats(-6, 6), min_size=10, max_size=10).map(lambda x: np.array(x).reshape(2, 5))


@pytest.mark.parametrize("ell", PROXIMAL, ids=lambda ell: str(ell.name))
@settings(derandomize=True, deadline=None, max_examples=10)
@given(f=arrays, g=arrays, step=st.floats(0.01, 20))
def test_proximal_point_is_the_minimiser(ell: Any, f: Array, g: Array, step: float) -> None:
    y = np.array([[1.0, -1.0, 1.0, 1.0, -1.0], [-1.0, 1.0, -1.0, -1.0, 1.0]])

    def objective(x: Array) -> float:
        return float(ell.value(x, y)) + float(np.sum(np.square(x - f))) / (2 * step)

    point = ell.proximal(f, y, step)
    for other in (g, point + 1e-3 * (g - point), f):
        assert objective(point) <= objective(other) * (1 + 1e-12) + 1e-12


@pytest.mark.parametrize("ell", CURVED, ids=lambda ell: str(ell.name))
@settings(derandomize=True, deadline=None, max_examples=20)
@given(f=arrays, move=arrays)
def test_curvature_roots_are_those_of_the_gradient(ell: Any, f: Array, move: Array) -> None:
    """C C^T times a small move is the change of the gradient, but where a second derivative jumps nearby."""
    y = np.array([[1.0, -1.0, 1.0, 1.0, -1.0], [-1.0, 1.0, -1.0, -1.0, 1.0]])
    f = f + 0.0123  # off the kinks of the examples that hypothesis likes best
    roots = ell.curvature_roots(f, y)
    ends = [ell.gradient(f + h * move, y) for h in (1e-5, -1e-5)]
    near = [ell.curvature_roots(f + h * move, y) for h in (2e-5, -2e-5)]
    if roots.ndim == 3:
        change = np.einsum("kap,lap,lp->kp", roots, roots, move)
        smooth = np.ones_like(f, dtype=bool)
    else:
        change, smooth = np.square(roots) * move, np.isclose(near[0], near[1], rtol=1e-3, atol=1e-6)
    scale = max(ell.curvature(), 1.0) * (1.0 + np.abs(move))
    assert (np.abs(change - (ends[0] - ends[1]) / 2e-5) <= 1e-4 * scale)[smooth].all()
    assert np.square(roots).max() <= ell.curvature() * (1 + 1e-6) * (2.0 if roots.ndim == 3 else 1.0)


def test_curvature_roots_of_weights_on_a_loss_that_has_none() -> None:
    y = np.ones((1, 2))
    assert isinstance(mfo.loss("hinge"), SecondOrder) is False
    assert mfo.loss("weighted", base="hinge").curvature_roots(y, y) is None


@pytest.mark.parametrize(
    "base",
    ["logistic", "huber", "squared_hinge", "hinge", "residual", SOFTPLUS],
    ids=lambda base: getattr(base, "label", base),
)
@pytest.mark.parametrize("penalty", [0.0, 0.3])
@settings(derandomize=True, deadline=None, max_examples=30)
@given(f=arrays, size=st.floats(-3, 2), move=st.floats(-9, 0))
def test_no_other_output_bias_is_better(base: Any, penalty: float, f: Array, size: float, move: float) -> None:
    ell: Any = mfo.loss("output_bias", base=base, penalty=penalty)
    y = np.array([[1.0, -1.0, 1.0, 1.0, -1.0], [-1.0, 1.0, -1.0, -1.0, 1.0]])
    f = f * 10.0**size
    best, value = ell.bias(f, y), ell.value(f, y)
    slack = 1e-13 if np.isfinite(ell.curvature()) else 1e-7  # slopes of kinks are those of an envelope
    for sign in (1.0, -1.0):
        b = best + sign * 10.0**move
        assert value <= (ell.base.value(f + b[:, None], y) + penalty * float(b @ b)) * (1 + slack) + slack


def test_integer_weights_are_repetitions() -> None:
    rng = np.random.default_rng(0)
    f, y = rng.standard_normal((2, 5)), np.sign(rng.standard_normal((2, 5)))
    counts = np.array([1, 3, 2, 1, 4])
    for base in ("squared", "logistic", "hinge", "squared_hinge", "huber"):
        ell, weighted = mfo.loss(base), mfo.loss("weighted", base=base, sample_weights=tuple(counts.astype(float)))
        repeated = ell.value(np.repeat(f, counts, axis=1), np.repeat(y, counts, axis=1))
        assert weighted.value(f, y) == pytest.approx(repeated, rel=1e-12)


def test_wrong_targets_and_weights_are_refused() -> None:
    y = np.array([[1.0, 0.5], [-1.0, 1.0]])
    for name in ("logistic", "hinge", "squared_hinge", "softmax"):
        with pytest.raises(mfo.InputError, match=name.replace("_", "[ _]")):
            mfo.loss(name).check_targets(y)
    with pytest.raises(mfo.InputError, match="sample_weights has 3"):
        mfo.loss("weighted", sample_weights=(1.0, 2.0, 3.0)).check_targets(y)
    for bad in ((1.0, -1.0), (0.0, 1.0), (math.nan, 1.0), (), "ab", 3.0):
        with pytest.raises(mfo.InputError):
            mfo.loss("weighted", sample_weights=bad)
    with pytest.raises(mfo.InputError, match="couples"):
        mfo.loss("weighted", base="softmax", output_weights=(1.0, 2.0))
    with pytest.raises(mfo.InputError, match="unpenalised"):
        mfo.loss("output_bias", base="softmax")


def test_zero_row_sums_among_the_denormal_numbers() -> None:
    """Found by the concavity law: no grid is left below the denormal numbers."""
    row = np.array([[-5.6e-312, 0.0, -5.6e-312, -5.6e-312, 1.67e-311]])
    np.testing.assert_array_equal(zero_row_sums(row), np.zeros((1, 5)))

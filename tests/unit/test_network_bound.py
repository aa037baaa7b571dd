"""Networks of a fixed number of neurons: the proved ends against known optima, brute force and the measure's bound."""

from __future__ import annotations

import math

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.network_bound import _Search

SQUARE = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
LINE = np.linspace(-1.0, 1.0, 8)[:, None]


def energy_of(problem: mfo.TwoLayerProblem, theta: np.ndarray) -> float:
    """The least energy of a network with these directions (n, r): masses free, as neurons absorb them."""
    measure = mfo.Measure(problem.geometry.preactivation(theta), np.ones(len(theta)), theta)
    return mfo.integer_width(problem, measure, len(theta), starts=1).upper_bound


def test_one_neuron_in_one_dimension_by_brute_force() -> None:
    """E = |Y|^2 - max ((|Y u| - sqrt(l1 l2))^+ / |u|)^2 over directions u = phi(A theta) / |theta|: a scan of the circle."""
    rng = np.random.default_rng(2)
    for trial in range(6):
        y = rng.standard_normal((8, 1 + trial % 2))
        l = float(10.0 ** rng.uniform(-2, 0))
        problem = mfo.problems.dataset(LINE, y, lambda1=l, lambda2=l)
        angle = np.linspace(0, 2 * math.pi, 400_001)
        u = np.maximum(np.column_stack([np.cos(angle), np.sin(angle)]) @ problem.geometry.factor.T, 0.0)  # type: ignore[attr-defined]
        with np.errstate(all="ignore"):
            gain = np.maximum(np.linalg.norm(u @ y, axis=1) - l, 0.0) / np.linalg.norm(u, axis=1)
        least = float(np.sum(y * y) - np.nanmax(gain) ** 2)
        found = mfo.network_bound(problem, 1, gap=1e-5, time_limit=20)
        assert found.complete
        assert found.lower_bound <= least * (1 + 1e-9)
        assert found.lower_bound == pytest.approx(least, rel=2e-5)
        assert found.upper_bound == pytest.approx(least, rel=2e-5)


@pytest.mark.parametrize("scale", [1e-60, 1.0, 1e60])
def test_two_neurons_for_the_absolute_value(scale: float) -> None:
    """|x| is made of two neurons, and no measure does better: both bounds meet those of certify, at every scale."""
    problem = mfo.problems.dataset(scale * LINE, np.abs(LINE), lambda1=0.05, lambda2=0.05, bias=False)
    if scale == 1.0:
        optimum = mfo.certify(problem, mfo.solve(problem, tolerance=1e-9))
        found = mfo.network_bound(problem, 2, gap=1e-5)
        assert found.lower_bound <= optimum.upper_bound
        assert found.upper_bound == pytest.approx(optimum.upper_bound, rel=1e-5)
        assert found.lower_bound == pytest.approx(optimum.lower_bound, rel=2e-5)
    else:
        found = mfo.network_bound(problem, 2, gap=1e-5, time_limit=5)
        assert found.lower_bound <= found.upper_bound


def test_no_network_is_below_the_bound_and_more_neurons_never_cost() -> None:
    rng = np.random.default_rng(0)
    for name in ("relu", "leaky_relu", "absolute", "linear"):
        y = np.sign(rng.standard_normal((8, 2)))
        problem = mfo.problems.dataset(LINE, y, activation=name, lambda1=0.2, lambda2=0.2)
        bounds = [mfo.network_bound(problem, m, gap=3e-2, time_limit=3) for m in (1, 2)]
        measure = mfo.certify(problem, mfo.solve(problem, tolerance=1e-8), time_limit=10)
        assert bounds[1].lower_bound <= bounds[0].upper_bound
        for m, bound in zip((1, 2), bounds):
            assert bound.upper_bound >= measure.lower_bound
            assert bound.measure.n_atoms <= m
            best = min(energy_of(problem, rng.standard_normal((m, 2))) for _ in range(12))
            assert bound.lower_bound <= best * (1 + 1e-9)


def test_exclusive_or_needs_more_than_one_neuron() -> None:
    problem = mfo.problems.dataset(SQUARE, SQUARE[:, :1] * SQUARE[:, 1:], lambda1=0.05, lambda2=0.05)
    one = mfo.network_bound(problem, 1, gap=1e-4, time_limit=30)
    assert one.complete
    assert 3.0690 < one.lower_bound <= one.upper_bound < 3.0696
    measure = mfo.certify(problem, mfo.solve(problem, tolerance=1e-9))
    assert measure.upper_bound < 0.1 * one.lower_bound
    two = mfo.network_bound(problem, 2, time_limit=3)
    assert not two.complete
    assert 0 < two.lower_bound < two.upper_bound < one.lower_bound


def test_a_box_is_bounded_by_what_happens_inside() -> None:
    """Random boxes, random Z: no direction inside exceeds the sigma of the box."""
    rng = np.random.default_rng(5)
    for trial in range(40):
        r, name = (2, 3)[trial % 2], ("relu", "leaky_relu", "absolute")[trial % 3]
        x = rng.standard_normal((10, r - 1))
        problem = mfo.problems.dataset(x, rng.standard_normal((10, 2)), activation=name, lambda1=0.1, lambda2=0.3)
        search = _Search(problem, 1)
        axis = int(rng.integers(r))
        lo = rng.uniform(-1, 1, r)
        hi = np.minimum(1.0, lo + 10.0 ** rng.uniform(-4, -0.3))
        lo[axis] = hi[axis] = rng.choice([-1.0, 1.0])
        box = lo[None, None], hi[None, None]
        z = rng.standard_normal((1, 2, 10))
        sigma2 = float(search.boxes.sigma2(z, search.boxes.corners_of(*box))[0])
        theta = rng.uniform(lo, hi, (4000, r))
        met = problem.ratio(z[0], problem.geometry.preactivation(theta))
        assert float(met.max()) <= math.sqrt(sigma2) * (1 + 1e-9)


def test_what_it_is_not_for_is_refused() -> None:
    y = LINE[:, :1]
    with pytest.raises(mfo.InputError, match="squared loss"):
        mfo.network_bound(mfo.problems.dataset(LINE, np.sign(LINE), loss="logistic"), 1)
    with pytest.raises(mfo.InputError, match="relu"):
        mfo.network_bound(mfo.problems.dataset(LINE, y, activation="tanh", width=2), 1)
    with pytest.raises(mfo.InputError, match="factor"):
        mfo.network_bound(mfo.problems.hypercube(2), 1)
    with pytest.raises(mfo.InputError, match="input weights"):
        mfo.network_bound(mfo.problems.dataset(np.eye(8), y), 1)
    with pytest.raises(mfo.InputError):
        mfo.network_bound(mfo.problems.dataset(LINE, y), 0)
    for factor, penalty in ((1e-120, 0.1), (1e120, 0.1), (1.0, 1e-80)):
        with pytest.raises(mfo.InputError, match="nearer to 1"):
            mfo.network_bound(mfo.problems.dataset(LINE, factor * y, lambda1=penalty, lambda2=penalty), 1)


def test_the_margins_grow_with_the_outputs() -> None:
    """Sums over samples and outputs have that many terms."""
    problem = mfo.problems.dataset(LINE, np.tile(LINE, (1, 400)), lambda1=0.1, lambda2=0.1)
    assert _Search(problem, 1).boxes.unit > 8 * 400 * 2.0**-53

"""Dense linear algebra by blocks shared among threads: it agrees with SciPy's, whatever the number of threads, and to the last bit with itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import linalg

import meanfield_opt as mfo
from meanfield_backends.colgen import blocked
from meanfield_backends.colgen.carrier import choose_carrier
from meanfield_backends.colgen.columns import ENTRIES, Inner, chosen, features_of, lengths, outputs, responses
from meanfield_backends.colgen.squared_energy import squared_energy

Array = NDArray[np.float64]

SIZES = st.sampled_from([1, 7, blocked.SMALL, blocked.SMALL + 1, 4 * blocked.BLOCK, 777])


def positive(count: int, seed: int, decades: float) -> Array:
    """A positive definite matrix whose rows and columns have scales over so many decades; its upper triangle is not to be read."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((count, count)) / np.sqrt(count)
    scale = 10.0 ** rng.uniform(-decades, 0.0, count)
    matrix = (root @ root.T + 0.1 * np.eye(count)) * scale[:, None] * scale
    return np.asarray(matrix + np.triu(np.full((count, count), np.nan), 1))


@settings(max_examples=12, deadline=None, derandomize=True)
@given(count=SIZES, seed=st.integers(0, 9), decades=st.sampled_from([0.0, 3.0, 8.0]))
def test_the_factor_is_that_of_scipy_for_any_number_of_threads(count: int, seed: int, decades: float) -> None:
    matrix = positive(count, seed, decades)
    one = blocked.cholesky(matrix)
    want = linalg.cholesky(np.tril(matrix) + np.tril(matrix, -1).T, lower=True)
    scale = np.sqrt(np.diagonal(matrix))[:, None]
    np.testing.assert_allclose(one / scale, want / scale, rtol=0, atol=1e-12)
    assert not np.triu(one, 1).any()
    for threads in (2, 4):
        np.testing.assert_array_equal(blocked.cholesky(matrix, threads), one)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(count=SIZES, columns=st.sampled_from([1, 3, 300]), seed=st.integers(0, 9), decades=st.sampled_from([0.0, 8.0]))
def test_solves_leave_residuals_of_rounding_size(count: int, columns: int, seed: int, decades: float) -> None:
    factor = blocked.cholesky(positive(count, seed, decades))
    right = np.random.default_rng(seed).standard_normal((count, columns))
    half = blocked.lower_solver(factor)(right)
    bound = np.abs(factor) @ np.abs(half)
    assert (np.abs(factor @ half - right) <= 1e-13 * (bound + np.abs(right))).all()
    full = blocked.solve(factor, right)
    middle = factor.T @ full
    assert (np.abs(factor @ middle - right) <= 1e-12 * (np.abs(factor) @ (np.abs(factor.T) @ np.abs(full)))).all()


@pytest.mark.parametrize("count", [50, blocked.SMALL + 3, 700])
@pytest.mark.parametrize("fault", [-1e-3, -np.inf, np.nan, np.inf])
def test_what_is_not_positive_definite_raises(count: int, fault: float) -> None:
    for at in (0, count // 2, count - 1):
        matrix = positive(count, 0, 0.0)
        matrix[at, at] = fault
        with pytest.raises(linalg.LinAlgError):
            blocked.cholesky(matrix, 2)


def test_an_indefinite_matrix_with_a_positive_diagonal_raises() -> None:
    matrix = np.eye(600)
    matrix[599, 3] = 1.5
    with pytest.raises(linalg.LinAlgError):
        blocked.cholesky(matrix)


def test_gram_matrices_do_not_depend_on_threads() -> None:
    u = np.random.default_rng(1).standard_normal((310, 700))
    assert u.size * 310 > blocked.FEW_PRODUCTS
    one = blocked.gram(u)
    np.testing.assert_allclose(blocked.whole(one), u @ u.T, rtol=0, atol=1e-11)
    np.testing.assert_array_equal(blocked.gram(u, 4), one)


def test_what_blocks_say_of_many_columns_is_what_products_say() -> None:
    rng = np.random.default_rng(2)
    problem = mfo.problems.dataset(
        rng.standard_normal((3000, 4)), rng.standard_normal((3000, 2)), lambda1=1.0, lambda2=1.0
    )
    carrier, x = choose_carrier(problem.geometry, problem.activation), rng.standard_normal((500, 5))
    assert ENTRIES < 500 * 3000
    features = problem.features(carrier.patterns(x))
    readouts = rng.standard_normal((2, 500)) * (rng.random(500) < 0.4)
    which = np.flatnonzero(rng.random(500) < 0.7)
    for threads in (1, 3):
        got = features_of(problem, carrier, x, threads)
        np.testing.assert_allclose(got, features, rtol=0, atol=1e-12)
        np.testing.assert_allclose(
            responses(got, problem.targets, threads), features @ problem.targets.T, rtol=0, atol=1e-9
        )
        np.testing.assert_allclose(lengths(got, threads), np.linalg.norm(features, axis=1), rtol=1e-12)
        np.testing.assert_allclose(outputs(readouts, got, threads), readouts @ features, rtol=0, atol=1e-9)
        np.testing.assert_array_equal(chosen(got, which, threads), got[which])
    np.testing.assert_array_equal(features_of(problem, carrier, x, 1), features_of(problem, carrier, x, 3))


@pytest.mark.parametrize(("before", "after"), [(0.5, 0.52), (0.5, 0.5), (0.1, 0.9)])
def test_a_gram_matrix_moved_to_other_columns_is_theirs(before: float, after: float) -> None:
    rng = np.random.default_rng(5)
    features, draw = rng.standard_normal((400, 500)), rng.random(400)
    first, second = np.flatnonzero(draw < before), np.flatnonzero((draw < after) & (draw > 0.05))
    got = Inner.of(features, first).moved(features, second, threads=2)
    np.testing.assert_array_equal(got.which, second)
    np.testing.assert_allclose(got.matrix, features[second] @ features[second].T, rtol=0, atol=1e-11)
    np.testing.assert_array_equal(got.matrix, got.matrix.T)


@pytest.mark.parametrize("count", [60, 500, 900])
def test_newton_systems_are_those_of_the_energy(count: int) -> None:
    """Gradient and Hessian against differences of E, with atoms fewer and more than samples and than unknowns."""
    rng = np.random.default_rng(7)
    phi, targets = np.maximum(rng.standard_normal((count, 520)), 0), rng.standard_normal((1, 520))
    phi = phi[:, : 520 if count < 900 else 200] / 15.0
    targets = targets[:, : phi.shape[1]]
    energy = squared_energy(phi, targets, 0.5, 2.0, threads=2)
    assert energy.few == (count <= phi.shape[1])
    m, diagonal = rng.uniform(0.5, 1.5, count), rng.uniform(0.5, 2.0, count)
    at, slope = energy.point(m), rng.standard_normal(count)
    step = energy.system(at, diagonal)(slope)

    def gradient(masses: Array) -> Array:
        q = energy.point(masses).responses
        return np.asarray(0.5 - (q**2).sum(axis=0) / 2.0)

    direction = rng.standard_normal(count)
    numeric = (energy.point(m + 1e-5 * direction).value - energy.point(m - 1e-5 * direction).value) / 2e-5
    assert float(gradient(m) @ direction) == pytest.approx(numeric, rel=1e-6, abs=1e-6)
    bent = (gradient(m + 1e-5 * step) - gradient(m - 1e-5 * step)) / 2e-5
    np.testing.assert_allclose(bent + diagonal * step, -slope, rtol=0, atol=1e-6)

"""Representation metrics on cases with known answers and against independent implementations."""

from __future__ import annotations

import importlib.util
import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

import meanfield_opt as mfo
from meanfield_opt.errors import UndefinedMetricError
from meanfield_opt.metrics import (
    alignment,
    ccgp,
    cka,
    distances,
    effective_dimension,
    kernel_of,
    parallelism_score,
    parallelism_scores,
    participation_ratio,
    procrustes,
    relative_frobenius,
    rsa,
    span_fit,
)

Array = NDArray[np.float64]


def cube(d: int) -> Array:
    return np.array([1.0 - 2.0 * ((np.arange(2**d) >> i) & 1) for i in range(d)])


def brute_parallelism(x: Array, y: Array) -> list[float]:
    """From the definition: all pairs of contexts, one cosine each."""
    conditions = sorted({tuple(c) for c in y.T})
    mean = {c: x[(c == y.T).all(axis=1)].mean(axis=0) for c in conditions}
    out = []
    for k in range(y.shape[0]):
        deltas = []
        for c in conditions:
            other = (*c[:k], -c[k], *c[k + 1 :])
            if c[k] > 0 and other in mean:
                deltas.append(mean[c] - mean[other])
        cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for i, a in enumerate(deltas) for b in deltas[i + 1 :]]
        out.append(float(np.mean(cosines)))
    return out


@pytest.mark.parametrize("d", [2, 3, 4])
def test_optimal_kernels_are_parallel(d: int) -> None:
    problem = mfo.problems.hypercube(d)
    assert problem.known is not None
    assert problem.known.kernel is not None
    kernel = problem.known.kernel()
    assert parallelism_score(kernel, problem.targets) == pytest.approx(1.0, abs=1e-12)
    fit = span_fit(kernel, problem.targets)
    assert fit.residual < 1e-14
    assert fit.constant == pytest.approx(d * fit.strength)


@pytest.mark.parametrize("seed", range(4))
def test_parallelism_is_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = np.repeat(cube(3), 2, axis=1)[:, rng.permutation(16)][:, : 16 - seed]
    x = rng.standard_normal((y.shape[1], 5)) + y.T @ rng.standard_normal((3, 5))
    wanted = brute_parallelism(x, y)
    np.testing.assert_allclose(parallelism_scores(kernel_of(x), y), wanted, atol=1e-10)
    np.testing.assert_allclose(parallelism_scores(None, y, activations=x), wanted, atol=1e-12)
    np.testing.assert_allclose(parallelism_scores(kernel_of(x), y.T), wanted, atol=1e-10)  # scikit-learn's way round


def test_undefined_and_bad_input() -> None:
    y = cube(2)
    with pytest.raises(UndefinedMetricError, match="two labels"):
        parallelism_score(np.eye(2), cube(1))
    with pytest.raises(UndefinedMetricError, match="two contexts"):
        parallelism_score(np.eye(3), y[:, :3])
    with pytest.raises(UndefinedMetricError, match="vanishes"):
        parallelism_score(np.ones((4, 4)), y)
    with pytest.raises(UndefinedMetricError, match="two conditions"):
        ccgp(np.eye(2), cube(1))
    with pytest.raises(mfo.InputError, match="-1 or"):
        parallelism_score(np.eye(4), 2 * y)
    with pytest.raises(mfo.InputError, match="square"):
        alignment(np.ones((3, 2)), np.eye(3))
    with pytest.raises(mfo.InputError, match="NaN"):
        cka(np.full((3, 3), np.nan), np.eye(3))
    with pytest.raises(UndefinedMetricError):
        cka(np.ones((3, 3)), np.zeros((3, 3)))
    with pytest.raises(mfo.InputError, match="negative eigenvalues"):
        procrustes(-np.eye(3), np.eye(3))


def test_kernel_distances_are_invariant_and_exact() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((7, 5))
    rotation, _ = np.linalg.qr(rng.standard_normal((5, 5)))
    k = kernel_of(x)
    turned = kernel_of(x @ rotation)
    assert alignment(k, turned) == pytest.approx(1.0)
    assert cka(k, 3.0 * turned + 2.0) == pytest.approx(1.0)
    assert procrustes(turned, k) < 1e-6
    assert relative_frobenius(1.25 * k, k) == pytest.approx(0.25)
    # the optimal rotation is found: scipy's orthogonal_procrustes is an independent route
    from scipy.linalg import orthogonal_procrustes

    z = rng.standard_normal((7, 5))
    q, _ = orthogonal_procrustes(x, z)
    assert procrustes(k, kernel_of(z)) == pytest.approx(np.linalg.norm(x @ q - z) / np.linalg.norm(z))
    centre = np.eye(7) - 1 / 7
    a, b = centre @ k @ centre, centre @ kernel_of(z) @ centre
    assert cka(k, kernel_of(z)) == pytest.approx(np.trace(a @ b) / np.sqrt(np.trace(a @ a) * np.trace(b @ b)))


def test_dimensions() -> None:
    assert participation_ratio(np.diag([1.0, 1.0, 1.0, 0.0])) == pytest.approx(3.0)
    assert effective_dimension(np.diag([1.0, 3.0]), 1.0) == pytest.approx(0.5 + 0.75)
    assert effective_dimension(np.diag([1.0, 0.0]), 0.0) == 1.0


def test_ccgp_tells_factorised_from_random() -> None:
    y = np.repeat(cube(3), 6, axis=1)
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((3, 20))
    factorised = y.T @ directions + 0.3 * rng.standard_normal((48, 20))
    good = ccgp(factorised, y, null=20, seed=3)
    assert (good.scores > 0.99).all()
    assert (good.p_value < 0.1).all()
    assert (good.null_mean < 0.85).all()
    places = {tuple(c): rng.standard_normal(20) for c in y.T}
    scattered = np.array([places[tuple(c)] for c in y.T]) + 0.05 * rng.standard_normal((48, 20))
    poor = ccgp(scattered, y, null=20, seed=3)
    assert poor.score < 0.8
    again = ccgp(scattered, y, null=20, seed=3)
    np.testing.assert_array_equal(poor.null_mean, again.null_mean)
    for classifier in ("logistic", "least_squares"):
        assert ccgp(factorised, y, classifier=classifier).score > 0.98
    shuffled = ccgp(factorised, y, null=20, null_model="shuffle", seed=1)
    assert (np.abs(shuffled.null_mean - 0.5) < 0.1).all()


def test_xor_generalises_to_nothing() -> None:
    # the label is the product of two others: trained on one diagonal, the decoder fails on the other
    x = cube(2).T
    result = ccgp(np.hstack([x, x[:, :1] * x[:, 1:]]), np.stack([cube(2)[0], cube(2)[1]]), classifier="svm")
    assert result.scores.shape == (2,)
    flat = np.array([[1.0], [-1.0], [-1.0], [1.0]])  # a representation of the product alone
    # by hand: two of the four pairs of left-out conditions are decoded wrongly, two train on coincident points (chance)
    assert ccgp(flat, cube(2), pairs="all").score == 0.25
    assert ccgp(flat, cube(2)).score == 0.0
    # a perfectly factorised square: the diagonal folds are at chance, the neighbouring ones perfect
    assert ccgp(x, cube(2), pairs="all").score == 0.75
    assert ccgp(x, cube(2)).score == 1.0


@pytest.mark.skipif(importlib.util.find_spec("rsatoolbox") is None, reason="rsatoolbox is optional")
@pytest.mark.filterwarnings("ignore")
def test_rsa_agrees_with_rsatoolbox() -> None:
    import rsatoolbox  # type: ignore[import-not-found,import-untyped,unused-ignore]

    rng = np.random.default_rng(5)
    x, z = rng.standard_normal((9, 6)), rng.standard_normal((9, 4))
    theirs = []
    for data in (x, z):
        dataset = rsatoolbox.data.Dataset(data, obs_descriptors={"c": list(range(9))})
        theirs.append(
            {m: rsatoolbox.rdm.calc_rdm(dataset, method=m, descriptor="c") for m in ("euclidean", "correlation")}
        )
    np.testing.assert_allclose(distances(x, activations=True) / 6, theirs[0]["euclidean"].dissimilarities[0], rtol=1e-9)
    np.testing.assert_allclose(
        distances(x, metric="correlation", activations=True), theirs[0]["correlation"].dissimilarities[0], rtol=1e-9
    )
    a, b = theirs[0]["euclidean"], theirs[1]["euclidean"]
    for ours, name in (("pearson", "corr"), ("spearman", "spearman"), ("cosine", "cosine"), ("kendall", "kendall")):
        value = float(rsatoolbox.rdm.compare(a, b, method=name)[0, 0])
        assert rsa(kernel_of(x), kernel_of(z), method=ours) == pytest.approx(value, abs=1e-9)


@pytest.mark.skipif(importlib.util.find_spec("decodanda") is None, reason="decodanda is optional")
@pytest.mark.filterwarnings("ignore")
def test_parallelism_and_ccgp_agree_with_decodanda() -> None:
    """Same held-out pairs (conditions that differ in the decoded variable alone) and the same coding directions."""
    from decodanda import Decodanda  # type: ignore[import-not-found,import-untyped,unused-ignore]

    rng = np.random.default_rng(2)
    y = np.repeat(cube(2), 30, axis=1)
    bend = {tuple(c): 0.9 * rng.standard_normal(12) for c in cube(2).T}
    x = y.T @ rng.standard_normal((2, 12)) + np.array([bend[tuple(c)] for c in y.T])
    x = x - x.mean(axis=1, keepdims=True)  # theirs correlates coding directions; without a mean that is the cosine
    data = {
        "raster": x + 1e-9 * rng.standard_normal(x.shape),
        "a": y[0].astype(int),
        "b": y[1].astype(int),
        "trial": np.arange(120),
    }
    theirs = Decodanda(data=data, conditions={"a": [-1, 1], "b": [-1, 1]}, verbose=False, zscore=False)
    for k, name in enumerate(("a", "b")):
        assert parallelism_scores(kernel_of(x), y)[k] == pytest.approx(
            theirs.parallelism_score_dichotomy(name), abs=1e-6
        )
        accuracy = np.nanmean(theirs.CCGP_dichotomy(name, resamplings=2))
        assert ccgp(x, y).scores[k] == pytest.approx(accuracy, abs=1e-9)


def test_conditions_of_many_labels() -> None:
    """Numbers for the rows of signs, or ranks where the bits do not fit: both in lexicographic order, both find all flips."""
    from meanfield_opt.conditions import find_conditions

    rng = np.random.default_rng(0)
    few = np.sign(rng.standard_normal((5, 40)))
    many = np.vstack([few, np.ones((65, 40))])
    for y in (few, many):
        found = find_conditions(y)
        rows = sorted({tuple(column) for column in y.T})
        assert [tuple(row) for row in found.signs] == rows
        assert np.array_equal(found.signs[found.index].T, y)
        assert found.counts.sum() == 40
        for k in range(5):
            on, off = found.flips(k)
            expected = [(a, b) for a, b in itertools.product(range(len(rows)), repeat=2)
                        if rows[a][k] > 0 and [i for i in range(len(rows[a])) if rows[a][i] != rows[b][i]] == [k]]  # fmt: skip
            assert list(zip(on.tolist(), off.tolist())) == expected

"""Exchangeable samples: whitened inputs with any labels are proved at the order of the number of kinds of labels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_backends.exchange import quotient
from meanfield_backends.kinds import price
from meanfield_opt.certificate.engine import Limits, Question
from meanfield_opt.certificate.exchange_engine import ENGINE, average_over_types
from meanfield_opt.checker.exchange import exchange_sigma, replay_exchange, types_of

RELU, SQUARED = mfo.activation("relu"), mfo.loss("squared")


def whitened(samples: int, labels: int, seed: int, *, weight: float = 1.0) -> mfo.TwoLayerProblem:
    """White inputs with a bias and random signs as labels."""
    y = np.sign(np.random.default_rng(seed).standard_normal((labels, samples)))
    space = mfo.DiagonalPlusLowRank(np.ones(samples), np.ones((samples, 1)), np.array([weight]))
    return mfo.TwoLayerProblem(RELU, SQUARED, space, y, 0.01, 0.01)


@pytest.mark.parametrize(("samples", "labels"), [(9, 1), (30, 2), (300, 2), (40, 3)])
def test_sigma_is_above_every_sample_and_attained_for_few_types(samples: int, labels: int) -> None:
    rng = np.random.default_rng(labels)
    problem = whitened(samples, labels, samples, weight=float(rng.uniform(0.1, 3)))
    kinds = np.unique(problem.targets, axis=1, return_inverse=True)[1].ravel()
    dual = rng.standard_normal((labels, kinds.max() + 1))[:, kinds]
    question = Question(problem, dual)
    proof = ENGINE.prove(question, Limits()).proof
    assert proof is not None
    assert replay_exchange(problem, dual, proof.bound, proof.artefact) == proof.bound
    size = int(kinds.max()) + 1
    loose = rng.standard_normal((3000, problem.n_samples))
    tables = np.maximum(rng.standard_normal((20_000, size)), 0.0)
    for h in (loose, tables[:, kinds]):
        assert problem.ratio(dual, h).max() <= proof.bound * (1 + 1e-12)
    if size <= 4:  # PSD + N is exact there: the best pattern, found on the supports of nonnegative tables, attains it
        q = np.linalg.inv(problem.geometry.apply(np.eye(samples)))
        e = np.eye(size)[kinds]
        cost, response = e.T @ q @ e, dual @ e
        best = 0.0
        for support in range(1, 1 << size):
            on = [k for k in range(size) if support >> k & 1]
            root = np.linalg.inv(np.linalg.cholesky(cost[np.ix_(on, on)]))
            _, vectors = np.linalg.eigh(root @ response[:, on].T @ response[:, on] @ root.T)
            u = root.T @ vectors[:, -1]
            for v in (np.maximum(u, 0), np.maximum(-u, 0)):
                if v.any():
                    table = np.zeros(size)
                    table[on] = v
                    best = max(best, float(problem.ratio(dual, table[kinds][None])[0]))
        assert proof.bound == pytest.approx(best, rel=1e-8)


def test_tampered_proofs_are_rejected() -> None:
    problem = whitened(30, 2, 0)
    dual = 0.1 * problem.targets
    proof = ENGINE.prove(Question(problem, dual), Limits()).proof
    assert proof is not None
    types = types_of(problem, dual)
    assert types is not None
    t = float.fromhex(proof.artefact["t"])
    zero = np.zeros((4, 4))
    assert exchange_sigma(problem, types, t * 0.999, zero) == np.inf
    for bad in (zero - 1e-3, zero + np.nan, np.triu(np.ones((4, 4))), np.zeros((3, 3))):
        assert exchange_sigma(problem, types, 2 * t, bad) == np.inf
    bent = dual.copy()
    bent[0, 3] *= 1 + 1e-12
    moved = types_of(problem, bent)
    assert moved is not None
    assert moved.counts.size == 5  # the moved sample is a type of its own
    aligned = mfo.problems.hypercube(3, geometry="aligned", alignment=0.5)
    assert types_of(aligned, aligned.targets) is None
    with pytest.raises(mfo.CertificateError, match="exchangeable"):
        replay_exchange(aligned, aligned.targets, 1.0, proof.artefact)


def test_averages_over_types() -> None:
    problem = whitened(20, 2, 1)
    rng = np.random.default_rng(0)
    dual = problem.targets + 0.1 * rng.standard_normal((2, 20))
    averaged = average_over_types(problem, dual)
    assert averaged is not None
    assert types_of(problem, averaged) is not None
    assert problem.dual_value(averaged) >= problem.dual_value(dual) - 1e-12
    mixed = dataclasses.replace(problem, targets=rng.standard_normal((2, 20)))
    assert average_over_types(mixed, dual) is None


def test_quotient_has_the_same_energies() -> None:
    problem = whitened(25, 2, 3, weight=0.7)
    found = quotient(problem)
    assert found is not None
    small, kind, root = found
    rng = np.random.default_rng(0)
    tables, masses = rng.standard_normal((5, root.size)), rng.random(5)
    whole = mfo.Measure((tables / root)[:, kind], masses)
    assert problem.energy(whole) == pytest.approx(small.energy(mfo.Measure(tables, masses)), rel=1e-12)


def test_random_labels_are_solved_and_proved() -> None:
    problem = whitened(40, 1, 5)
    solution = mfo.solve(problem, tolerance=1e-8, time_limit=20)
    certificate = mfo.certify(problem, solution)
    assert certificate.verdict == "proved"
    assert certificate.relative_gap < 1e-7
    assert "exchangeable" in certificate.proof


def test_exact_pricing_over_supports_beats_every_sample() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((5, 5))
    inverse = root @ root.T + np.eye(5)
    dual = rng.standard_normal((2, 5))
    supports = (np.arange(1, 32)[:, None] >> np.arange(5)) & 1 == 1
    tables, ratios = price(inverse, supports, dual, 0.1)
    assert (tables >= 0).all()
    np.testing.assert_allclose(np.einsum("si,ij,sj->s", tables, inverse, tables), 1)
    h = np.maximum(rng.standard_normal((100_000, 5)), 0)
    sampled = ((dual @ h.T) ** 2).sum(axis=0) / (0.1 * np.einsum("si,ij,sj->s", h, inverse, h) + 1e-300)
    assert sampled.max() <= ratios.max() * (1 + 1e-12)


@pytest.mark.parametrize(("samples", "labels", "seed"), [(200, 3, 0), (1024, 3, 1), (60, 4, 2)])
def test_many_types_are_proved_by_any_copositivity_proof(samples: int, labels: int, seed: int) -> None:
    """From 5 types on PSD + N is loose; an exact proof comes within 1e-6 of patterns actually met."""
    problem = whitened(samples, labels, seed)
    kinds = np.unique(problem.targets, axis=1, return_inverse=True)[1].ravel()
    rng = np.random.default_rng(seed)
    dual = (problem.targets * rng.uniform(0.5, 1.5, (labels, 1)) + 0.2 * rng.standard_normal((labels, kinds.max() + 1))[:, kinds])  # fmt: skip
    proof = ENGINE.prove(Question(problem, dual), Limits(target=1e-7)).proof
    assert proof is not None
    assert replay_exchange(problem, dual, proof.bound, proof.artefact) == proof.bound
    # independently: the iteration of theory section 3 on patterns of all samples
    h = np.maximum(rng.standard_normal((400, kinds.max() + 1)), 0.0)[:, kinds]
    best = 0.0
    for _ in range(200):
        h = np.maximum(problem.geometry.apply((problem.features(h) @ dual.T) @ dual), 0.0)
        h /= np.maximum(h.max(axis=1, keepdims=True), 1e-300)
        best = max(best, float(problem.ratio(dual, h[h.any(axis=1)]).max(initial=0.0)))
    assert best <= proof.bound * (1 + 1e-12)
    if "copositivity" in proof.artefact:
        assert proof.bound <= best * (1 + 1e-5)
        t = float.fromhex(proof.artefact["t"])
        lower = {**proof.artefact, "t": (t * (1 - 1e-4)).hex()}
        for artefact in (
            lower,
            {**proof.artefact, "t": (-t).hex()},
            {**proof.artefact, "copositivity": {"kind": "psd"}},
            {**proof.artefact, "copositivity": {"kind": "nonnegative"}},
            {**proof.artefact, "copositivity": None},
            {**proof.artefact, "slack": None},
        ):
            with pytest.raises(mfo.CertificateError):
                replay_exchange(problem, dual, proof.bound, artefact)
        with pytest.raises(mfo.CertificateError):
            replay_exchange(problem, 1.01 * dual, proof.bound, proof.artefact)

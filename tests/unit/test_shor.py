"""The Shor bound: above every sampled ratio, below the norm bound's, replayed, and tamper-proof."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.certificate import ENGINES, Limits, Question
from meanfield_opt.checker.norm import norm_sigma
from meanfield_opt.checker.shor import cover, directions_of, replay, shor_sigma, square_bound


@pytest.mark.parametrize(("samples", "inputs", "outputs"), [(12, 3, 1), (20, 6, 2), (15, 20, 3), (9, 2, 5)])
def test_above_everything_sampled_and_better_than_norms(samples: int, inputs: int, outputs: int) -> None:
    rng = np.random.default_rng(samples)
    y = rng.standard_normal((samples, outputs))
    x = rng.standard_normal((samples, inputs))
    x[1] = x[0]
    x[2] = 0.0
    problem = mfo.problems.dataset(x, y, lambda1=0.3, lambda2=0.2)
    dual = rng.standard_normal((outputs, samples))
    proof = ENGINES.get("shor").prove(Question(problem, dual), Limits(seconds=30)).proof
    assert proof is not None
    theta = rng.standard_normal((20000, inputs + 1))
    for _ in range(30):  # ascent on the sampled neurons, so that the test bites
        h = theta @ problem.geometry.factor.T  # type: ignore[attr-defined]
        theta = ((np.maximum(h, 0) @ dual.T @ dual) * (h > 0)) @ problem.geometry.factor  # type: ignore[attr-defined]
        theta /= np.maximum(np.linalg.norm(theta, axis=1, keepdims=True), 1e-300)
    sampled = problem.ratio(dual, theta @ problem.geometry.factor.T).max()  # type: ignore[attr-defined]
    assert sampled <= proof.bound
    if outputs <= 2:
        assert proof.bound <= norm_sigma(problem, dual) * 1.01
    assert replay(problem, dual, proof.bound, proof.artefact) == proof.bound


def test_one_positive_output_and_one_sample_is_exact() -> None:
    problem = mfo.TwoLayerProblem(
        mfo.activation("relu"),
        mfo.loss("squared"),
        mfo.FactorGeometry(np.array([[3.0, 4.0]])),
        np.array([[1.0]]),
        0.25,
        1.0,
    )
    proof = ENGINES.get("shor").prove(Question(problem, np.array([[2.0]])), Limits()).proof
    assert proof is not None
    assert proof.bound == pytest.approx(10.0, rel=1e-6)
    assert proof.bound >= 10.0


def test_covers() -> None:
    assert cover(directions_of(1, 0)) == pytest.approx(1.0)
    assert cover(directions_of(2, 32)) == pytest.approx(np.cos(np.pi / 32) ** 2)
    for wrong in (
        directions_of(2, 32)[:-1][::-1],
        directions_of(2, 32)[:16],
        directions_of(2, 4),
        np.array([[1.0], [1.0]]),
    ):
        with pytest.raises(mfo.CertificateError):
            cover(wrong)


def test_saved_verified_and_tampered(tmp_path: Path) -> None:
    problem = mfo.problems.digits(samples=40, lambda1=5.0, lambda2=5.0)
    solution = mfo.solve(problem, tolerance=1e-3, time_limit=10)
    certificate = mfo.certify(problem, solution, engine="shor")
    assert certificate.verdict == "proved"
    assert certificate.lower_bound > mfo.certify(problem, solution, engine="norm").lower_bound
    certificate.save(tmp_path / "c.json")
    assert mfo.verify(tmp_path / "c.json", problem).lower_bound == certificate.lower_bound
    assert certificate.supremum is not None
    artefact = {"groups": [dict(g) for g in certificate.supremum.artefact["groups"]]}
    artefact["groups"][0]["outputs"] = [0]
    with pytest.raises(mfo.CertificateError):
        replay(problem, certificate.dual, certificate.supremum.bound, artefact)


def test_no_overflow_or_nan_divides_the_bound_away() -> None:
    """A NaN among the q dropped its sample, and directions of absurd length made the cover constant 0, negative or inf."""
    problem = mfo.TwoLayerProblem(
        mfo.activation("relu"),
        mfo.loss("squared"),
        mfo.FactorGeometry(np.array([[3.0, 4.0], [1.0, 0.0]])),
        np.array([[1.0, -1.0]]),
        0.25,
        1.0,
    )
    dual = np.array([[2.0, 1.0]])
    multipliers = np.full((2, 2), 10.0)
    for length in (1e-200, 1e200, 1e-140, 1e140):
        with np.errstate(all="ignore"), pytest.raises(mfo.CertificateError, match=r"length|cover"):
            shor_sigma(problem, dual, [([0], np.array([[length], [-length]]), multipliers)])
    assert square_bound(problem.geometry.factor, np.array([np.nan, 0.0]), np.ones(2)) == np.inf  # type: ignore[attr-defined]
    pair = mfo.TwoLayerProblem(
        problem.activation, problem.loss, problem.geometry, np.array([[1.0, -1.0], [1.0, 1.0]]), 0.25, 1.0
    )
    huge = np.array([[1.7e308, 1.0], [-1.7e308, 1.0]])
    with np.errstate(all="ignore"):
        assert not shor_sigma(pair, huge, [([0, 1], directions_of(2, 32), np.full((32, 2), 10.0))]) < 1e300

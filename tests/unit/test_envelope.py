"""The envelope engine: bounds under a width for bounded activations, on worked cases and against attack."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from scipy import optimize

import meanfield_opt as mfo
from meanfield_opt.certificate.engine import Limits, Question
from meanfield_opt.certificate.envelope_engine import ENGINE
from meanfield_opt.checker.envelope import replay
from meanfield_opt.checker.scalar import suprema

BOUNDED = ("tanh", "erf", "softsign", "sin", "sigmoid", "hard_tanh", "hard_sigmoid", "relu6", "step", "sign")


def tanh_measure(width: float, lam: float) -> mfo.Measure:
    """The measure of theory section 4: M/d neurons at +-alpha v_i, alpha minimising the energy."""
    y = mfo.problems.hypercube(2, activation="tanh", width=width).targets

    def energy(alpha: float) -> float:
        b = width / 2 * np.tanh(alpha) ** 2
        return lam * width * alpha**2 * 4 + 2 * lam * 4 / (lam + 4 * b)

    alpha = float(optimize.minimize_scalar(energy, bounds=(1e-3, 3), method="bounded", options={"xatol": 1e-12}).x)
    return mfo.Measure(np.vstack([alpha * y, -alpha * y]), np.full(4, width / 4))


@pytest.mark.parametrize(("width", "known"), [(4, 0.42728960), (16, 0.40296129), (64, 0.39698296)])
def test_tanh_table_is_proved(width: float, known: float, tmp_path: Any) -> None:
    problem = mfo.problems.hypercube(2, activation="tanh", lambda1=0.05, lambda2=0.05, width=width)
    certificate = mfo.certify(problem, tanh_measure(width, 0.05), engine="envelope", target=1e-6)
    assert certificate.verdict == "proved"
    assert certificate.upper_bound == pytest.approx(known, abs=1e-8)
    assert certificate.lower_bound <= known + 1e-8
    assert certificate.relative_gap < 2e-5
    certificate.save(tmp_path / "c.json")
    assert mfo.verify(tmp_path / "c.json").lower_bound == certificate.lower_bound


@pytest.mark.parametrize("name", BOUNDED)
def test_scalar_suprema_are_above_every_value_and_close(name: str) -> None:
    rng = np.random.default_rng(1)
    phi = mfo.activation(name)
    r, c, a = rng.standard_normal(40), 0.3 * rng.standard_normal(40), 0.07
    top = suprema(phi, (r, r), (c, c), a, 1e-9)
    t = np.concatenate([np.linspace(-60, 60, 60_001), [1.0, 6.0, -1.0, 1 - 1e-12, 1e-12, -1e-12]])
    best = np.max(2 * r[:, None] * phi(t) - a * t**2 - 2 * c[:, None] * t, axis=1)
    assert (top >= best).all()
    assert (top <= best + 1e-4).all()


def attack(problem: mfo.TwoLayerProblem, dual: Any, seed: int) -> float:
    """The largest excess that random patterns and local search meet."""
    rng = np.random.default_rng(seed)
    theta = rng.standard_normal((1500, problem.geometry.n_parameters)) * rng.choice([0.1, 0.5, 1.5, 4.0], (1500, 1))
    theta[:, rng.integers(0, theta.shape[1])] *= 3.0

    def excess(x: Any) -> Any:
        h = problem.geometry.preactivation(np.atleast_2d(x))
        response = dual @ problem.activation(h).T
        return np.sum(response**2, axis=0) / (4 * problem.lambda2) - problem.lambda1 * np.sum(
            np.atleast_2d(x) ** 2, axis=1
        )

    start = theta[int(np.argmax(excess(theta)))]
    found = optimize.minimize(lambda x: -float(excess(x)[0]), start, method="Nelder-Mead", options={"maxiter": 600})
    return max(float(excess(theta).max()), -float(found.fun))


@pytest.mark.parametrize("name", BOUNDED)
def test_no_pattern_exceeds_the_bound(name: str) -> None:
    rng = np.random.default_rng(len(name))
    x, y = rng.standard_normal((7, 2)), rng.standard_normal((7, 2))
    for problem in (
        mfo.problems.dataset(x, y, activation=name, lambda1=0.1, lambda2=0.1, width=3.0),
        mfo.problems.hypercube(
            2, geometry="aligned", alignment=0.7, activation=name, lambda1=0.1, lambda2=0.1, width=3.0
        ),
    ):
        dual = 0.3 * rng.standard_normal(problem.targets.shape)
        outcome = ENGINE.prove(Question(problem, dual), Limits(seconds=1.0, target=1e-3))
        assert outcome.proof is not None
        assert attack(problem, dual, 3) <= outcome.proof.bound
        assert replay(problem, dual, outcome.proof.bound, outcome.proof.artefact) <= outcome.proof.bound


def test_replay_rejects_what_does_not_follow() -> None:
    problem = mfo.problems.hypercube(2, activation="tanh", lambda1=0.05, lambda2=0.05, width=4)
    dual = 0.0567 * problem.targets
    proof = ENGINE.prove(Question(problem, dual), Limits(target=1e-3)).proof
    assert proof is not None
    assert replay(problem, dual, proof.bound, proof.artefact) <= proof.bound

    missing = copy.deepcopy(proof.artefact)
    del missing["boxes"][0]
    with pytest.raises(mfo.CertificateError, match="cover"):
        replay(problem, dual, proof.bound, missing)
    odd = copy.deepcopy(proof.artefact)
    odd["boxes"][0] = odd["boxes"][0][:-1]
    with pytest.raises(mfo.CertificateError, match="malformed"):
        replay(problem, dual, proof.bound, odd)
    moved = copy.deepcopy(proof.artefact)
    moved["tangents"]["f8"] = "00" * (len(moved["tangents"]["f8"]) // 2)
    assert (
        replay(problem, dual, proof.bound, moved) > proof.bound
    )  # a worse tangent is a weaker bound, never a wrong one
    # without the verified symmetry the cells no longer cover
    with pytest.raises(mfo.CertificateError):
        replay(problem, dual + 1e-3 * np.eye(2, 4), proof.bound, proof.artefact)
    # another dual point: the bound follows that point
    assert replay(problem, 2.0 * dual, proof.bound, proof.artefact) > proof.bound


def test_refusals_say_why() -> None:
    free = mfo.problems.hypercube(2, activation="tanh")
    assert "width" in str(ENGINE.refusal(Question(free, free.targets)))
    relu = mfo.problems.hypercube(2, width=3)
    assert "unbounded" in str(ENGINE.refusal(Question(relu, relu.targets)))
    wide = mfo.problems.hypercube(5, activation="tanh", width=3)
    assert "at most" in str(ENGINE.refusal(Question(wide, wide.targets)))

"""The antipodal-pair bound on hypercube tasks: against patterns found by search, worked optima, and tampering."""

from __future__ import annotations

import copy
import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy import optimize

import meanfield_opt as mfo
from meanfield_opt.certificate.engine import Limits, Question
from meanfield_opt.certificate.pairs_engine import ENGINE, rescaled_dual
from meanfield_opt.checker.codec import decode_array, encode_array
from meanfield_opt.checker.pairs import PairForm, cell_top, pair_form, replay, verified

NAMES = ("tanh", "sigmoid", "hard_sigmoid", "relu6", "sin", "softsign", "step")


def excess(problem: mfo.TwoLayerProblem, dual: Any, h: Any) -> Any:
    """|Z phi(h)|^2 / (4 l2) - l1 c(h) for patterns h (n, P)."""
    return -problem.first_variation(dual, np.atleast_2d(h))


def attack(problem: mfo.TwoLayerProblem, dual: Any, seed: int) -> float:
    """The largest excess met by two-level, sparse and random patterns, improved by local search."""
    rng = np.random.default_rng(seed)
    p = problem.n_samples
    size = rng.choice([0.05, 0.3, 1.0, 3.0, 8.0], (600, 1))
    signs = problem.targets[rng.integers(0, problem.n_outputs, 600)] * rng.choice([-1.0, 1.0], (600, 1))
    h = size * (rng.standard_normal((600, 1)) * rng.choice([0, 1], (600, 1)) + signs)
    h[::3] = size[::3] * rng.standard_normal((200, p)) * (rng.random((200, p)) < 0.5)
    h[1::3] *= 1.0 + 0.2 * rng.standard_normal((200, p))
    values = excess(problem, dual, h)
    best = float(values.max())
    for k in np.argsort(-values)[:2]:
        found = optimize.minimize(
            lambda x: -float(excess(problem, dual, x)[0]), h[k], method="Nelder-Mead", options={"maxiter": 400}
        )
        best = max(best, -float(found.fun))
    return best


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("geometry", ["whitened", "aligned", "anisotropic"])
def test_no_pattern_exceeds_the_bound(name: str, geometry: str) -> None:
    rng = np.random.default_rng(len(name) + len(geometry))
    alignment = {"whitened": 0.0, "aligned": 0.7, "anisotropic": [0.0, 1.5]}[geometry]
    problem = mfo.problems.hypercube(
        2, geometry=geometry, alignment=alignment, activation=name, lambda1=0.1, lambda2=0.1, width=3.0
    )
    dual = rng.uniform(0.05, 0.8, (2, 1)) * problem.targets
    outcome = ENGINE.prove(Question(problem, dual), Limits(seconds=3.0, target=1e-3))
    assert outcome.proof is not None
    assert replay(problem, dual, outcome.proof.bound, outcome.proof.artefact) <= outcome.proof.bound
    assert attack(problem, dual, 5) <= outcome.proof.bound


def test_claimed_tops_are_never_below_the_function() -> None:
    """T(s) a little below a value actually taken is never accepted, whatever s, steepness and activation."""
    rng = np.random.default_rng(3)
    problem = mfo.problems.hypercube(2, activation="tanh", width=4)
    form = pair_form(problem, 0.1 * problem.targets)
    assert form is not None
    for trial in range(120):
        phi = mfo.activation(NAMES[trial % len(NAMES)])
        scale = float(10.0 ** rng.uniform(-6, 3))
        reach = 2.0 if phi.odd else 6.0 if phi.name == "relu6" else 1.0
        shape = dataclasses.replace(form, strength=scale * rng.uniform(0.2, 3), steep=scale, reach=reach * (1 + 1e-9))
        s = scale * rng.standard_normal() * rng.choice([0.0, 0.1, 1.0])
        t = np.concatenate([rng.standard_normal(4000) * rng.choice([0.1, 1.0, 4.0], 4000), [1.0, 6.0, s / scale]])
        u = np.concatenate([rng.standard_normal(4000) * rng.choice([0.1, 1.0, 4.0], 4000), [0.0, 0.0, s / scale]])
        h = 0.5 * shape.strength * (phi(t) - phi(u)) ** 2 - shape.steep * (t**2 + u**2) + 2 * s * (t + u)
        met = float(h.max())
        below = met - 1e-7 * max(abs(met), scale)
        assert not verified(phi, shape, np.array([s]), np.array([below]))
        assert verified(phi, shape, np.array([s]), np.array([met + 40.0 * shape.strength * reach**2]))


def test_cells_between_nodes_are_exact_maxima() -> None:
    form = PairForm(1.0, 0.5, 4, Fraction(6), Fraction(1), Fraction(1), 1.0, 1.0)
    rng = np.random.default_rng(0)
    for _ in range(200):
        b = np.sort(rng.standard_normal(2))
        s, t = rng.standard_normal(2), rng.standard_normal(2)
        x = np.linspace(0, 1, 1001)
        beta, tilt, top = b[0] + x * (b[1] - b[0]), s[0] + x * (s[1] - s[0]), t[0] + x * (t[1] - t[0])
        values = 2.0 * top + 6.0 * (0.5 * beta**2 - 2.0 * tilt * beta)
        exact = float(cell_top(form, tuple(b), tuple(s), tuple(t)))
        assert values.max() <= exact + 1e-9 <= values.max() + 1e-4


@pytest.mark.parametrize(
    ("name", "width", "limit"), [("tanh", 4, 1e-6), ("sigmoid", 4, 1e-6), ("hard_sigmoid", 64, 1e-4)]
)
def test_hypercubes_of_three_labels_are_closed(name: str, width: float, limit: float, tmp_path: Any) -> None:
    problem = mfo.problems.hypercube(3, activation=name, lambda1=0.05, lambda2=0.05, width=width)
    solution = mfo.solve(problem, tolerance=1e-7, time_limit=20.0)
    certificate = mfo.certify(problem, solution, engine="pairs", target=1e-6)
    assert certificate.verdict == "proved"
    assert certificate.relative_gap < limit
    certificate.save(tmp_path / "c.json")
    assert mfo.verify(tmp_path / "c.json", problem).lower_bound == certificate.lower_bound


def test_free_mass_by_the_steepest_slope() -> None:
    """For tanh the supremum is approached as h -> 0, where the slope is 1: sigma^2 = P zeta^2 mu / tau."""
    problem = mfo.problems.hypercube(3, activation="tanh", lambda1=0.1, lambda2=0.1)
    dual = 0.05 * problem.targets
    proof = ENGINE.prove(Question(problem, dual), Limits()).proof
    assert proof is not None
    tiny = 1e-6 * problem.targets[:1]
    assert proof.bound == pytest.approx(float(problem.ratio(dual, tiny)[0]), rel=1e-6)
    assert proof.bound >= float(problem.ratio(dual, tiny)[0])


def test_replay_rejects_what_does_not_follow() -> None:
    problem = mfo.problems.hypercube(2, activation="tanh", lambda1=0.05, lambda2=0.05, width=4)
    dual = 0.0567 * problem.targets
    proof = ENGINE.prove(Question(problem, dual), Limits(target=1e-4)).proof
    assert proof is not None
    good = proof.artefact
    assert replay(problem, dual, proof.bound, good) <= proof.bound

    def changed(key: str, change: Any) -> dict[str, Any]:
        out = copy.deepcopy(good)
        out[key] = encode_array(change(decode_array(good[key], key, ndim=1)))
        return out

    for key, change, why in (
        ("tops", lambda x: x - 1e-3 * np.abs(x).max(), "less than"),
        ("tops", lambda x: x[:-1], "fit together"),
        ("betas", lambda x: x[::-1], "order"),
        ("betas", lambda x: 0.5 * x, "cover"),
        ("betas", lambda x: x + 0.01, "cover"),
    ):
        with pytest.raises(mfo.CertificateError, match=why):
            replay(problem, dual, proof.bound, changed(key, change))
    # other multipliers need other tops: for these the old ones are too low
    with pytest.raises(mfo.CertificateError, match="less than"):
        replay(problem, dual, proof.bound, changed("tilts", lambda x: 1.5 * x))
    none = {key: encode_array(np.empty(0)) for key in good}
    with pytest.raises(mfo.CertificateError, match="fit together"):
        replay(problem, dual, proof.bound, none)
    with pytest.raises(mfo.CertificateError, match="unknown"):
        replay(problem, dual, proof.bound, {**good, "more": 1})
    with pytest.raises(mfo.CertificateError, match="diag"):
        replay(problem, dual + 1e-9 * np.eye(2, 4), proof.bound, good)
    with pytest.raises(mfo.CertificateError, match="no nodes"):
        replay(mfo.problems.hypercube(2, activation="tanh", lambda1=0.05, lambda2=0.05), dual, 9.0, good)
    # a larger dual point: the same nodes do not carry over
    with pytest.raises(mfo.CertificateError):
        replay(problem, 1.5 * dual, proof.bound, good)


def test_sigmoid_needs_both_signs_of_the_offset() -> None:
    problem = mfo.problems.hypercube(2, activation="sigmoid", lambda1=0.05, lambda2=0.05, width=4)
    dual = 0.6 * problem.targets
    proof = ENGINE.prove(Question(problem, dual), Limits(target=1e-4)).proof
    assert proof is not None
    betas = decode_array(proof.artefact["betas"], "betas", ndim=1)
    keep = betas >= 0
    half = {k: encode_array(decode_array(proof.artefact[k], k, ndim=1)[keep]) for k in proof.artefact}
    with pytest.raises(mfo.CertificateError, match="cover"):
        replay(problem, dual, proof.bound, half)


def test_refusals_say_why() -> None:
    free = mfo.problems.hypercube(2, activation="relu")
    assert "homogeneous" in str(ENGINE.refusal(Question(free, free.targets)))
    wide = mfo.problems.hypercube(2, activation="squared_relu", width=4, lambda1=1e-3, lambda2=1e-3)
    assert "unbounded" in str(ENGINE.refusal(Question(wide, wide.targets)))
    other = mfo.problems.dataset(np.eye(3), np.array([1.0, -1.0, 1.0]), activation="tanh", width=2)
    assert "hypercube" in str(ENGINE.refusal(Question(other, other.targets)))
    assert rescaled_dual(other, other.targets) is other.targets

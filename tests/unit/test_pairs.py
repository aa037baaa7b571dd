"""The antipodal-pair bound on hypercube tasks: against patterns found by search, worked optima, and tampering."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy import optimize

import meanfield_opt as mfo
from meanfield_opt.activations.piecewise import LeakyReLU
from meanfield_opt.certificate.engine import Limits, Question
from meanfield_opt.certificate.pairs_engine import ENGINE, highest, rescaled_dual
from meanfield_opt.checker.codec import decode_float, encode_float
from meanfield_opt.checker.pair_rules import largest_ratio, oscillation
from meanfield_opt.checker.pairs import pair_form, replay, verified

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
    """A claim a little below a value actually taken is never accepted, whatever the steepness and the activation."""
    rng = np.random.default_rng(3)
    problem = mfo.problems.hypercube(2, activation="tanh", width=4)
    form = pair_form(problem, 0.1 * problem.targets)
    assert form is not None
    for trial in range(120):
        phi = mfo.activation(NAMES[trial % len(NAMES)])
        scale = float(10.0 ** rng.uniform(-6, 3))
        reach = (2.0 if phi.odd else 6.0 if phi.name == "relu6" else 1.0) * (1 + 1e-9)
        even, odd = scale * rng.uniform(0.05, 1.0, 2)
        shape = dataclasses.replace(form, strength=scale * rng.uniform(0.2, 3), even=even, odd=odd, reach=reach)
        t = np.concatenate([rng.standard_normal(4000) * rng.choice([0.1, 1.0, 4.0], 4000), [1.0, 6.0]])
        u = np.concatenate([rng.standard_normal(4000) * rng.choice([0.1, 1.0, 4.0], 4000), [0.0, 0.0]])
        h = 0.5 * (shape.strength * (phi(t) - phi(u)) ** 2 - even * (t + u) ** 2 - odd * (t - u) ** 2)
        met = max(0.0, float(h.max()))
        assert not verified(phi, shape, met - 1e-7 * max(met, scale))
        assert verified(phi, shape, met + 40.0 * shape.strength * reach**2)
        if met > 1e-3 * shape.strength * reach**2 and phi.name != "sin":
            assert verified(phi, shape, highest(phi, shape) + 1e-6 * shape.strength * reach**2)


def test_a_square_whose_squares_overflow_proves_nothing() -> None:
    """-a (t + u)^2 would be -inf there, less than any claim."""
    form = pair_form(mfo.problems.hypercube(2, activation="tanh", width=4), np.zeros((2, 4)))
    assert form is not None
    shape = dataclasses.replace(form, strength=1e-30, even=1.0, odd=1.0)
    phi = mfo.activation("tanh")
    assert verified(phi, dataclasses.replace(shape, box=1e6), 1.0)
    assert not verified(phi, dataclasses.replace(shape, box=1e155), 1.0)


FAMILY = ("softplus", "gelu", "silu", "relu6", "hard_sigmoid", "shifted_relu", "step")
RULED = ("relu", "leaky_relu", "absolute", "linear", "tanh", "erf", "softsign", "sin", "hard_tanh", "sigmoid", *FAMILY)


@pytest.mark.parametrize("name", RULED)
def test_rules_bound_the_ratio_of_the_plane(name: str) -> None:
    """sup d^2 / (a v^2 + b y^2) by rule is never below what sampling meets, and is it for the activations of theory 4."""
    phi, rng = mfo.activation(name), np.random.default_rng(len(name))
    size = np.geomspace(1e-4, 1e4, 81)
    for a, b in ((0.2, 1.0), (1.0, 0.2), (1.0, 1.0), (0.11, 0.13), (0.3, 0.05)):
        x = np.concatenate(
            [rng.uniform(-3, 3, 60), np.linspace(-1, 1, 201), [-1, 0, 1, b / a, -b / a, 1 - 1e-9, (b / a) * (1 - 1e-9)]]
        )
        v, y = (x[:, None] * size).ravel(), np.tile(size, x.size)
        met = float((np.square(phi((v + y) / 2) - phi((v - y) / 2)) / (a * v**2 + b * y**2)).max())
        ratio = largest_ratio(phi, Fraction(a), Fraction(b))
        assert ratio is not None
        assert met <= float(ratio) * (1 + 1e-12)
        if name not in ("sin", "gelu", "silu", "step"):
            assert met >= float(ratio) * (1 - 1e-3), (a, b)


def test_the_oscillation_of_pieces_is_their_own() -> None:
    """Against the definition sup_x (max - min of phi on [-x, x]) / x, on random continuous pieces."""
    rng = np.random.default_rng(1)
    for _ in range(60):
        knots = np.sort(rng.choice(np.arange(-8, 9), int(rng.integers(1, 5)), replace=False)).tolist()
        slopes = rng.integers(-3, 4, len(knots) + 1).tolist()
        rows, level = [], Fraction(0)
        for k, slope in enumerate(slopes):
            left = None if k == 0 else knots[k - 1]
            if k:
                level += (slopes[k - 1] - slope) * Fraction(knots[k - 1])
            rows.append((left, knots[k] if k < len(knots) else None, slope, level))
        phi = mfo.activation_from(pieces=rows)
        m = oscillation(phi)
        assert m is not None
        # the oscillation on [-x, x] is met at the ends or at knots inside
        x = np.unique(np.concatenate([np.linspace(1e-3, 20, 301), [1e9], np.abs(knots)]))
        x = x[x > 0]
        inside = np.clip(np.concatenate([[-math.inf, math.inf], knots])[:, None], -x, x)
        seen = float((np.ptp(phi(inside), axis=0) / x).max())
        assert seen <= float(m) * (1 + 1e-9)
        assert seen >= float(m) * (1 - 1e-6)


@pytest.mark.parametrize("slope", [-1.0, -0.3, 0.0, 0.01, 0.5, 1.0])
def test_two_slopes_are_exact(slope: float) -> None:
    phi = LeakyReLU(slope) if -1 < slope < 1 else mfo.activation("linear" if slope == 1 else "absolute")
    angle = np.linspace(0, 2 * math.pi, 200001)
    for a, b in ((0.2, 1.0), (1.0, 0.2), (0.5, 0.5)):
        v, y = np.cos(angle), np.sin(angle)
        met = float((np.square(phi((v + y) / 2) - phi((v - y) / 2)) / (a * v**2 + b * y**2)).max())
        assert met == pytest.approx(float(largest_ratio(phi, Fraction(a), Fraction(b)) or 0), rel=1e-8)


@pytest.mark.parametrize(
    ("name", "width", "limit"), [("tanh", 4, 1e-7), ("sigmoid", 4, 1e-7), ("hard_sigmoid", 64, 1e-7)]
)
def test_hypercubes_of_three_labels_are_closed(name: str, width: float, limit: float, tmp_path: Any) -> None:
    problem = mfo.problems.hypercube(3, activation=name, lambda1=0.05, lambda2=0.05, width=width)
    solution = mfo.solve(problem, tolerance=1e-7, time_limit=20.0)
    certificate = mfo.certify(problem, solution, engine="pairs", target=1e-8)
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
    top = decode_float(good["top"], "top")
    for bad in (top * (1 - 1e-3), 0.0, -top):
        with pytest.raises(mfo.CertificateError, match="less than"):
            replay(problem, dual, proof.bound, {"top": encode_float(bad)})
    for bad in ("nan", "inf"):
        with pytest.raises(mfo.CertificateError):
            replay(problem, dual, proof.bound, {"top": bad})
    with pytest.raises(mfo.CertificateError, match="unknown"):
        replay(problem, dual, proof.bound, {**good, "more": 1})
    with pytest.raises(mfo.CertificateError, match="diag"):
        replay(problem, dual + 1e-9 * np.eye(2, 4), proof.bound, good)
    with pytest.raises(mfo.CertificateError, match="no artefact"):
        replay(mfo.problems.hypercube(2, activation="tanh", lambda1=0.05, lambda2=0.05), dual, 9.0, good)
    # a larger dual point: the same top does not carry over
    with pytest.raises(mfo.CertificateError):
        replay(problem, 1.5 * dual, proof.bound, good)


@pytest.mark.parametrize("name", ["relu6", "hard_sigmoid", "shifted_relu", "softplus", "leaky_relu", "absolute"])
@pytest.mark.parametrize("alignment", [0.0, 0.5, 2.0])
def test_closed_forms_for_free_mass_are_attained(name: str, alignment: float) -> None:
    """No pattern found by search exceeds sigma, and patterns beta 1 + gamma v_i come as near as one likes."""
    problem = mfo.problems.hypercube(
        2, geometry="aligned", alignment=alignment, activation=name, lambda1=0.05, lambda2=0.05
    )
    dual = 0.05 * problem.targets
    proof = ENGINE.prove(Question(problem, dual), Limits()).proof
    assert proof is not None
    label = problem.targets[0]
    size = np.geomspace(1e-3, 1e6, 60)[:, None, None]
    h = (size * (np.linspace(0, 1, 201)[:, None] + np.linspace(-1, 1, 2)[:, None, None, None] * label)).reshape(-1, 4)
    best = float(problem.ratio(dual, h).max())
    assert best <= proof.bound * (1 + 1e-12)
    assert best >= proof.bound * (1 - 2e-4)
    rng = np.random.default_rng(0)
    wild = rng.standard_normal((4000, 4)) * 10.0 ** rng.uniform(-2, 4, (4000, 1))
    assert float(problem.ratio(dual, wild).max()) <= proof.bound


def test_refusals_say_why() -> None:
    free = mfo.problems.hypercube(2, activation="squared_relu")
    assert "neither steepness" in str(ENGINE.refusal(Question(free, free.targets)))
    wide = mfo.problems.hypercube(2, activation="squared_relu", width=4, lambda1=1e-3, lambda2=1e-3)
    assert "unbounded" in str(ENGINE.refusal(Question(wide, wide.targets)))
    other = mfo.problems.dataset(np.eye(3), np.array([1.0, -1.0, 1.0]), activation="tanh", width=2)
    assert "hypercube" in str(ENGINE.refusal(Question(other, other.targets)))
    assert rescaled_dual(other, other.targets) is other.targets

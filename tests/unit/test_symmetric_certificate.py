"""The invariant certificate of hypercube tasks: tight where theory has a closed form, and hard to fool."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import meanfield_opt as mfo
from meanfield_opt.certificate.engine import Limits, Question
from meanfield_opt.certificate.symmetric_engine import ENGINE
from meanfield_opt.checker.document import digest
from meanfield_opt.checker.hypercube import hypercube_of, sign_classes
from meanfield_opt.checker.symmetric import decode_fraction, largest_multiple, psd2, replay_hypercube, sqrt_upper

CASES = [
    (1, "whitened", 0.0, 1),
    (1, "aligned", 3.0, 2),
    (2, "whitened", 0.0, 3),
    (3, "whitened", 0.0, 1),
    (3, "aligned", 0.5, 1),
    (3, "aligned", 2.0, 1),
    (3, "anisotropic", (0.0, 0.3, 0.8), 1),
    (3, "anisotropic", (0.0, 0.5, 2.0), 1),
    (4, "anisotropic", (0.0, 0.3, 0.8, 1.0), 2),
    (5, "anisotropic", (7.0, 0.3, 1.0, 1.0, 1e-9), 1),
    (6, "aligned", 1.0, 1),
    (8, "whitened", 0.0, 1),
]


def optimum(problem: mfo.TwoLayerProblem) -> mfo.Measure:
    assert problem.known is not None
    assert problem.known.measure is not None
    return problem.known.measure()


@pytest.mark.parametrize(("latents", "geometry", "alignment", "copies"), CASES)
def test_known_optima_are_proved(latents, geometry, alignment, copies, tmp_path: Path) -> None:
    problem = mfo.problems.hypercube(latents, geometry=geometry, alignment=alignment, samples_per_class=copies)
    certificate = mfo.certify(problem, optimum(problem), engine="symmetric")
    assert problem.known is not None
    assert certificate.verdict == "proved"
    assert certificate.relative_gap <= 1e-11
    assert certificate.lower_bound <= problem.known.energy * (1 + 1e-14)
    assert "symmetry" in certificate.proof
    certificate.save(tmp_path / "c.json")
    assert mfo.verify(tmp_path / "c.json").lower_bound == certificate.lower_bound


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from([0.0, 1e-12, 0.3, 0.999, 1.0, 1.001, 4.0, 1e6]), min_size=1, max_size=4),
    st.integers(1, 2),
    st.integers(0, 10**6),
)
def test_sigma_is_above_every_sampled_ratio_and_attained(a: list[float], copies: int, seed: int) -> None:
    """Truth: no pattern beats the proved sigma, at any invariant dual point, and the closed-form pattern attains it."""
    rng = np.random.default_rng(seed)
    problem = mfo.problems.hypercube(len(a), geometry="anisotropic", alignment=a, samples_per_class=copies)
    dual = rng.standard_normal((len(a), 1)) * problem.targets
    proof = ENGINE.prove(Question(problem, dual), Limits()).proof
    assert proof is not None
    assert replay_hypercube(problem, dual, proof.bound, proof.artefact) == proof.bound
    patterns = [rng.standard_normal((200, problem.n_samples)), rng.standard_normal((200, len(a))) @ problem.targets]
    patterns += [patterns[1] + rng.standard_normal((200, 1)), np.eye(problem.n_samples)]
    p, best = problem.n_samples, 0.0
    for row, ai in zip(problem.targets, a):
        q0, q1 = 1 / (1 + p), 1 / (1 + ai * p)
        beta = min(q1 / (q0 + q1), 0.5)
        patterns.append((beta + (1 - beta) * row)[None])
        best = max(best, float(problem.ratio(dual, patterns[-1])[0]))
    assert max(float(problem.ratio(dual, h).max()) for h in patterns) <= proof.bound * (1 + 1e-9)
    assert best == pytest.approx(proof.bound, rel=1e-8)


def test_structure_is_recognised_in_any_order_and_only_exactly() -> None:
    rng = np.random.default_rng(3)
    base = mfo.problems.hypercube(4, geometry="aligned", alignment=0.5)
    order = rng.permutation(16)
    flips = np.array([1.0, -1.0, -1.0, 1.0])[:, None]
    targets = (flips * base.targets)[rng.permutation(4)][:, order]
    space = base.geometry
    assert isinstance(space, mfo.DiagonalPlusLowRank)

    def problem(diagonal: np.ndarray, columns: np.ndarray, y: np.ndarray) -> mfo.TwoLayerProblem:
        shuffled = mfo.DiagonalPlusLowRank(diagonal, columns, space.weight)
        return mfo.TwoLayerProblem(base.activation, base.loss, shuffled, y, 0.01, 0.01)

    shuffled = problem(space.diagonal[order], -space.columns[order], targets)
    cube = hypercube_of(shuffled)
    assert cube is not None
    assert cube.weights == (Fraction(1, 2),) * 4
    for array in ("diagonal", "columns", "targets"):
        parts = {"diagonal": space.diagonal[order], "columns": space.columns[order], "targets": targets.copy()}
        parts[array] = parts[array].copy()
        parts[array].flat[5] += 1e-9
        assert hypercube_of(problem(parts["diagonal"], parts["columns"], parts["targets"])) is None
    targets[:, 0] = targets[:, 1]
    assert sign_classes(targets) is None


def test_singular_kernels_are_proved_too() -> None:
    base = mfo.problems.hypercube(3)
    problem = mfo.problems.dataset(2.0 * base.targets.T, base.targets.T, lambda1=0.01, lambda2=0.01)
    dual = 0.1 * problem.targets
    proof = ENGINE.prove(Question(problem, dual), Limits()).proof
    assert proof is not None
    theta = np.random.default_rng(0).standard_normal((2000, 4))
    top = problem.ratio(dual, problem.geometry.preactivation(theta)).max()
    assert top <= proof.bound
    q0, q1 = 1 / 8, 1 / 32
    best = np.array([[0.0, 0.0, q0 / (q0 + q1), q1 / (q0 + q1)]]) * [2**-1, 2**-1, 2**-1, 1]
    assert problem.ratio(dual, problem.geometry.preactivation(best))[0] == pytest.approx(proof.bound, rel=1e-12)


def test_engine_refuses_what_it_cannot_prove() -> None:
    problem = mfo.problems.hypercube(2)
    bent = problem.targets.copy()
    bent[0, 0] += 1e-12
    assert "not invariant" in str(ENGINE.refusal(Question(problem, bent)))
    tanh = mfo.problems.hypercube(2, activation="tanh", width=4)
    assert ENGINE.refusal(Question(tanh, tanh.targets)) is not None
    with pytest.raises(mfo.CertificateError, match="not invariant"):
        replay_hypercube(problem, bent, 1.0, {})


@pytest.mark.parametrize(
    ("change", "value", "reason"),
    [
        ("nu11", "1/3", "constants"),
        ("nu11", "-1/5", "negative"),
        ("nu22", "nan", "not a rational"),
        ("delta", "7", "PSD"),
        ("delta", "1/0", "denominator"),
        ("extra", "-1/2", None),
        ("flips", [[0, "1/8"]], "translation"),
        ("flips", [[8, "1/8"]], "translation"),
        ("flips", [[1, "-1/8"]], "negative"),
        ("flips", [[True, "1/8"]], "translation"),
        ("flips", "abc", "malformed"),
    ],
)
def test_tampered_artefacts_are_rejected(tmp_path: Path, change: str, value: object, reason: str | None) -> None:
    problem = mfo.problems.hypercube(3, geometry="aligned", alignment=0.5)
    path = tmp_path / "c.json"
    mfo.certify(problem, optimum(problem), engine="symmetric").save(path)
    body = json.loads(path.read_text())
    body.pop("digest")
    body["proof"]["artefact"][change] = value
    path.write_text(json.dumps({**body, "digest": digest(body)}))
    with pytest.raises(mfo.CertificateError, match=reason):
        mfo.verify(path, problem)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.fractions(0, 9), st.fractions(-9, 9), st.fractions(0, 9), st.fractions(-3, 3), st.fractions(-3, 3))
def test_largest_multiple_is_the_largest(x: Fraction, y: Fraction, z: Fraction, u: Fraction, v: Fraction) -> None:
    if not psd2(x, y, z) or (u, v) == (0, 0):
        return
    t = largest_multiple(x, y, z, (u, v))
    assert t is not None
    assert psd2(x - t * u * u, y - t * u * v, z - t * v * v)
    t += Fraction(1, 10**30)
    assert not psd2(x - t * u * u, y - t * u * v, z - t * v * v)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.fractions(0), st.integers(-1200, 1200))
def test_square_roots_are_above(x: Fraction, shift: int) -> None:
    x *= Fraction(2) ** shift
    root = sqrt_upper(x)
    assert root == math.inf or Fraction(root) ** 2 >= x
    if 2**-1000 < x < 2**1000:
        assert Fraction(math.nextafter(math.nextafter(root, 0), 0)) ** 2 <= x


def test_fractions_decode_strictly() -> None:
    for text in ("1e9", " 1", "1/2/3", "0x1", None, 1, "1.5", "--1"):
        with pytest.raises(mfo.CertificateError):
            decode_fraction(text, "x")

"""The copositive lift: tight on hypercube tasks without using their symmetry, and refused when it should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.certificate import ENGINES, Limits, Question
from meanfield_opt.certificate.improve import best_ratio
from meanfield_opt.checker.bounds import tau_bounds
from meanfield_opt.checker.codec import decode_array, encode_array, encode_float
from meanfield_opt.checker.lift import replay_lift
from meanfield_opt.errors import InputError
from meanfield_opt.geometry import DenseGeometry, DiagonalPlusLowRank, FactorGeometry, Geometry
from meanfield_opt.plugins import activation, loss
from meanfield_opt.problem import TwoLayerProblem


def random_problem(geometry: Geometry, phi: str, seed: int, l1: float = 0.1, l2: float = 0.3) -> TwoLayerProblem:
    y = np.sign(np.random.default_rng(seed).standard_normal((2, geometry.n_samples)))
    return TwoLayerProblem(activation(phi), loss("squared"), geometry, y, l1, l2)


def geometries() -> list[Geometry]:
    rng = np.random.default_rng(0)
    g = rng.standard_normal((6, 8))
    k = g @ g.T
    return [
        DenseGeometry((k + k.T) / 2),
        FactorGeometry(g),
        DiagonalPlusLowRank(0.5 + rng.random(6), rng.standard_normal((6, 2)), np.array([1.0, 2.0])),
        DiagonalPlusLowRank(np.ones(6), np.ones((6, 1)), np.ones(1)),
    ]


@pytest.mark.parametrize(
    ("latents", "kind", "alignment"),
    [
        (2, "whitened", 0.0),
        (2, "aligned", 0.5),
        (3, "aligned", 2.0),
        (3, "whitened", 0.0),
        (2, "anisotropic", (0.3, 2.0)),
    ],
)
def test_hypercubes_without_symmetry(latents: int, kind: str, alignment: object, tmp_path: Path) -> None:
    problem = mfo.problems.hypercube(latents=latents, geometry=kind, alignment=alignment, lambda1=0.01, lambda2=0.01)
    certificate = mfo.certify(problem, mfo.solve(problem, backend="closed_form"), engine="copositive")
    assert problem.known is not None
    assert certificate.lower_bound <= problem.known.energy * (1 + 1e-13)
    assert certificate.relative_gap < 1e-7
    certificate.save(tmp_path / "c.json")
    assert mfo.verify(tmp_path / "c.json", problem).lower_bound == certificate.lower_bound


@pytest.mark.parametrize("phi", ["relu", "leaky_relu", "absolute", "linear"])
@pytest.mark.parametrize("which", range(4))
def test_bounds_hold_and_are_close_on_random_problems(phi: str, which: int) -> None:
    problem = random_problem(geometries()[which], phi, which)
    z = np.random.default_rng(which).standard_normal((2, 6))
    outcome = ENGINES.get("copositive").prove(Question(problem, z), Limits())
    assert outcome.proof is not None
    attained = (best_ratio(problem, z) / tau_bounds(problem)[0]) ** 0.5
    assert outcome.proof.bound >= attained * (1 - 1e-12)
    assert outcome.proof.bound <= attained * 1.1
    if phi == "linear":
        assert outcome.proof.bound <= attained * (1 + 1e-6)
    replayed = replay_lift(problem, z, outcome.proof.bound, outcome.proof.artefact)
    assert replayed == outcome.proof.bound


def test_a_weakened_artefact_is_refused() -> None:
    problem = random_problem(geometries()[0], "relu", 5)
    z = np.random.default_rng(5).standard_normal((2, 6))
    proof = ENGINES.get("copositive").prove(Question(problem, z), Limits()).proof
    assert proof is not None
    t = float.fromhex(proof.artefact["t"])
    attained = best_ratio(problem, z)
    for factor in (1 - 1e-6, 0.5, 0.0, -1.0):
        wrong = {**proof.artefact, "t": encode_float(min(t, attained) * factor)}
        assert replay_lift(problem, z, proof.bound, wrong) == np.inf
    slack = decode_array(proof.artefact["slack"], "N", ndim=1)
    for entry in (-1e-300, -1.0):
        negative = np.array(slack)
        negative[0] = entry
        assert replay_lift(problem, z, proof.bound, {**proof.artefact, "slack": encode_array(negative)}) == np.inf
    # the reduced form is not valid for this geometry
    short = {"t": encode_float(1e9), "diagonal": None, "slack": encode_array(np.zeros(15))}
    assert replay_lift(problem, z, proof.bound, short) == np.inf


def test_extreme_scales_stay_valid() -> None:
    for scale in (1e-150, 1e-60, 1e60, 1e100):
        problem = random_problem(DenseGeometry(np.eye(4) * scale), "relu", 1)
        z = np.random.default_rng(1).standard_normal((2, 4))
        proof = ENGINES.get("copositive").prove(Question(problem, z), Limits()).proof
        if proof is not None and np.isfinite(proof.bound):
            assert proof.bound >= (best_ratio(problem, z) / tau_bounds(problem)[0]) ** 0.5 * (1 - 1e-12)


def test_refusals_say_why() -> None:
    tall = FactorGeometry(np.ones((5, 2)))
    with pytest.raises(InputError, match="full rank"):
        mfo.certify(random_problem(tall, "relu", 0), mfo.Measure.zero(5), engine="copositive")
    with pytest.raises(InputError, match="not of that form"):
        mfo.certify(random_problem(geometries()[0], "tanh", 0), mfo.Measure.zero(6), engine="copositive")

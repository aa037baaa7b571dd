"""The lift proposed in a coherent algebra proves what the full lift proves, on data with other groups than the cube's."""

from __future__ import annotations

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.certificate.copositive_engine import ENGINE as FULL
from meanfield_opt.certificate.engine import Limits, Question
from meanfield_opt.certificate.orbital_engine import ENGINE
from meanfield_opt.checker.replays import REPLAYS
from meanfield_opt.symmetry.relaxation import reduced_relaxation

RELU, SQUARED = mfo.activation("relu"), mfo.loss("squared")


def ring(m: int, *, turned: bool = False) -> mfo.TwoLayerProblem:
    """m inputs on a circle with white noise, every half plane a label; turned: a second circle breaks reflections."""
    i = np.arange(m)
    difference = (i[:, None] - i) % m
    y = np.array([np.where((i - k) % m < m // 2, 1.0, -1.0) for k in range(m // 2)])
    angle = 2 * np.pi * np.minimum(i, m - i) / m
    kernel = (1 + np.cos(angle))[difference]
    if turned:
        cross = (1 + 0.5 * np.cos(2 * np.pi * i / m - 0.3))[difference]
        kernel = np.block([[kernel, cross], [cross.T, (1 + 0.25 * np.cos(angle))[difference]]])
        y = np.hstack([y, np.roll(y, 1, axis=1)])
    kernel = kernel + 0.5 * np.eye(kernel.shape[0])
    return mfo.TwoLayerProblem(RELU, SQUARED, mfo.DenseGeometry(kernel), y, 0.01, 0.01)


@pytest.mark.parametrize(("size", "turned"), [(6, False), (4, True)])
def test_reduced_and_full_lifts_prove_the_same(size: int, turned: bool) -> None:
    problem = ring(size, turned=turned)
    dual = reduced_relaxation(problem).dual
    question = Question(problem, dual)
    assert ENGINE.refusal(question) is None
    mine, full = ENGINE.prove(question, Limits()).proof, FULL.prove(question, Limits()).proof
    assert mine is not None
    assert full is not None
    assert mine.bound == pytest.approx(full.bound, rel=1e-5)
    rng = np.random.default_rng(0)
    patterns = problem.geometry.preactivation(rng.standard_normal((5000, problem.n_samples)))
    assert problem.ratio(dual, patterns).max() <= mine.bound
    replayed = REPLAYS["copositive"](problem, dual, mine.bound, mine.artefact)
    assert replayed <= mine.bound


def test_leaky_relu_hypercubes_are_proved_by_orbits() -> None:
    problem = mfo.problems.hypercube(3, activation="leaky_relu")
    question = Question(problem, 0.1 * problem.targets)
    proof = ENGINE.prove(question, Limits()).proof
    assert proof is not None
    assert "symmetry" in proof.words
    rng = np.random.default_rng(0)
    patterns = np.vstack([rng.standard_normal((5000, 8)), 1 + problem.targets, problem.targets])
    assert problem.ratio(question.dual, patterns).max() <= proof.bound


def test_refusals() -> None:
    rng = np.random.default_rng(0)
    whitened = mfo.problems.hypercube(3)
    assert "exchangeable" in str(ENGINE.refusal(Question(whitened, whitened.targets)))
    problem = mfo.problems.hypercube(3, geometry="aligned", alignment=0.5)
    assert "invariant" in str(ENGINE.refusal(Question(problem, rng.standard_normal((3, 8)))))
    generic = mfo.TwoLayerProblem(
        RELU, SQUARED, mfo.DenseGeometry(np.eye(9) + np.ones((9, 9))), rng.standard_normal((2, 9)), 0.1, 0.1
    )
    assert "too little symmetry" in str(ENGINE.refusal(Question(generic, generic.targets)))

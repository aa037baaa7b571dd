"""Activations that grow (gelu, silu): solved under a width, proved by way of their homogeneous limit, and attacked."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.certificate.engine import Limits, Question
from meanfield_opt.certificate.pairs_engine import ENGINE
from meanfield_opt.certificate.tail_search import find_tail
from meanfield_opt.checker.codec import encode_float
from meanfield_opt.checker.pairs import replay
from meanfield_opt.checker.tail import largest_cost, limit_problem

NAMES = ("gelu", "silu", "softplus", "shifted_relu")


def cube(name: str, d: int = 2, alignment: float = 0.0, width: float | None = 8.0, l: float = 0.05) -> Any:
    return mfo.problems.hypercube(
        d,
        geometry="aligned" if alignment else "whitened",
        alignment=alignment,
        activation=name,
        lambda1=l,
        lambda2=l,
        width=width,
    )


def near_the_limit(problem: Any, share: float = 0.97) -> Any:
    """A multiple of Y whose supremum for the limit is ``share``."""
    tail = find_tail(problem, 1e-3 * problem.targets, 2.0)
    assert tail is not None
    return share * 1e-3 / tail.proof.bound * problem.targets


@pytest.mark.parametrize("name", ["gelu", pytest.param("silu", marks=pytest.mark.slow)])
def test_growing_activations_under_a_width_are_solved_and_proved(name: str, tmp_path: Path) -> None:
    problem = cube(name)
    solution = mfo.solve(problem)
    certificate = mfo.certify(problem, solution, target=1e-6)
    assert certificate.verdict == "proved"
    assert certificate.relative_gap < 2e-5
    # a neuron of gelu is never cheaper than the limit's by more than the kinks allow, and mass stays finite
    relu = mfo.solve(cube("relu", width=None)).energy
    assert 0.99 * relu < certificate.lower_bound < relu
    certificate.save(tmp_path / "c.json")
    assert mfo.verify(tmp_path / "c.json").lower_bound == certificate.lower_bound


@pytest.mark.slow
def test_a_narrow_width_binds() -> None:
    problem = cube("gelu", width=0.02)
    solution = mfo.solve(problem, time_limit=10)
    certificate = mfo.certify(problem, solution, target=1e-6, time_limit=20)
    assert certificate.relative_gap < 2e-3
    assert certificate.lower_bound > mfo.solve(cube("gelu")).energy


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("alignment", [0.0, 0.7, 2.0])
def test_no_pattern_exceeds_the_bound(name: str, alignment: float) -> None:
    rng = np.random.default_rng(len(name))
    problem = cube(name, alignment=alignment, width=3.0, l=0.1)
    dual = near_the_limit(problem, rng.uniform(0.9, 0.98))
    tail = find_tail(problem, dual, 2.0)
    assert tail is not None
    outcome = ENGINE.prove(Question(problem, dual), Limits(seconds=3.0, target=1e-3))
    assert outcome.proof is not None
    artefact = outcome.proof.artefact
    assert replay(problem, dual, outcome.proof.bound, artefact) <= outcome.proof.bound
    h = rng.standard_normal((3000, 4)) * 10.0 ** rng.uniform(-2, 3, (3000, 1))
    h[::2] = 10.0 ** rng.uniform(-2, 3, (1500, 1)) * (
        rng.standard_normal((1500, 1)) + problem.targets[rng.integers(2, size=1500)]
    )
    excess = -problem.first_variation(dual, h)
    assert excess.max() <= outcome.proof.bound
    # and none has an excess beyond the cost that the limit's proof gives
    far = h[problem.geometry.cost(h) > tail.cost]
    assert far.shape[0] > 100
    assert (problem.first_variation(dual, far) >= 0).all()


def test_forged_tails_are_rejected() -> None:
    problem = cube("gelu", width=3.0, l=0.1)
    dual = near_the_limit(problem)
    outcome = ENGINE.prove(Question(problem, dual), Limits(seconds=3.0, target=1e-3))
    assert outcome.proof is not None
    bound, genuine = outcome.proof.bound, outcome.proof.artefact
    without = {key: value for key, value in genuine.items() if key != "tail"}
    smaller = copy.deepcopy(genuine)
    smaller["tail"]["bound"] = encode_float(0.5 * float.fromhex(genuine["tail"]["bound"]))
    nested = {**genuine, "tail": {"kind": "pairs", "words": "", "bound": encode_float(0.1), "artefact": genuine}}
    for forged in (without, smaller, nested, {**genuine, "tail": {}}):
        with pytest.raises((mfo.CertificateError, TypeError)):
            replay(problem, dual, bound, forged)
    tanh = cube("tanh", width=3.0, l=0.1)
    with pytest.raises(mfo.CertificateError, match="no homogeneous limit"):
        replay(tanh, dual, bound, genuine)
    with pytest.raises(mfo.CertificateError):  # sigma of the limit exceeds 1 at a larger dual point
        replay(problem, 20.0 * dual, bound, genuine)


def test_nothing_follows_from_a_limit_that_gains() -> None:
    problem = cube("gelu")
    dual = problem.targets
    assert largest_cost(problem, dual, 1.0) == math.inf
    assert largest_cost(problem, dual, math.nan) == math.inf
    assert largest_cost(problem, dual, -0.1) == math.inf
    assert math.isfinite(largest_cost(problem, dual, 0.999))
    assert largest_cost(cube("tanh"), dual, 0.5) == math.inf
    assert find_tail(problem, 10.0 * dual, 1.0) is None
    assert limit_problem(cube("tanh")) is None
    outcome = ENGINE.prove(Question(problem, 10.0 * dual), Limits(seconds=2.0))
    assert outcome.proof is None

"""The output-view engine against the input view of the same kernel, random search, degenerate data and tampering."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import meanfield_opt as mfo
from meanfield_opt.certificate import ENGINES, Limits, Outcome, Question
from meanfield_opt.checker.output_view import output_form, output_sigma
from meanfield_opt.checker.replays import REPLAYS

Array = NDArray[np.float64]


def pair_of(
    diagonal: Array, columns: Array, weight: Array, y: Array, activation: str = "relu", penalty: float = 0.3
) -> tuple[mfo.TwoLayerProblem, mfo.TwoLayerProblem]:
    """The same problem with K_X as diagonal + low rank and as A A^T."""
    phi, ell = mfo.activation(activation), mfo.loss("squared")
    low = mfo.DiagonalPlusLowRank(diagonal, columns, weight)
    factor = mfo.FactorGeometry(np.hstack([np.diag(np.sqrt(diagonal)), columns * np.sqrt(weight)]))
    return (
        mfo.TwoLayerProblem(phi, ell, low, y, penalty, penalty),
        mfo.TwoLayerProblem(phi, ell, factor, y, penalty, penalty),
    )


def prove(problem: mfo.TwoLayerProblem, dual: Array, engine: str = "output_view", **limits: Any) -> Outcome:
    return ENGINES.get(engine).prove(Question(problem, dual), Limits(**{"seconds": 20.0, "target": 1e-7, **limits}))


def replay(problem: mfo.TwoLayerProblem, dual: Array, outcome: Outcome) -> float:
    assert outcome.proof is not None
    return REPLAYS[outcome.proof.kind](problem, dual, outcome.proof.bound, outcome.proof.artefact)


def best_ratio(problem: mfo.TwoLayerProblem, dual: Array, seed: int, count: int = 20_000) -> float:
    rng = np.random.default_rng(seed)
    h = problem.geometry.preactivation(rng.standard_normal((count, problem.geometry.n_parameters)))
    h = np.vstack([h, np.maximum(h, 0), np.sign(h), np.ones((1, h.shape[1])), -np.ones((1, h.shape[1]))])
    return float(problem.ratio(dual, h).max())


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "absolute", "linear"])
@pytest.mark.parametrize(("p", "k", "outputs"), [(3, 1, 1), (3, 1, 2), (2, 2, 2)])
def test_agrees_with_the_input_view(activation: str, p: int, k: int, outputs: int) -> None:
    rng = np.random.default_rng(p + 10 * k + 100 * outputs)
    diagonal, weight = rng.uniform(0.3, 3, p), rng.uniform(0.3, 3, k)
    columns, dual = rng.standard_normal((p, k)), rng.standard_normal((outputs, p))
    low, factor = pair_of(diagonal, columns, weight, dual, activation)
    a, b = prove(low, dual), prove(factor, dual, "input_view")
    assert a.complete
    assert b.complete
    assert replay(low, dual, a) == pytest.approx(replay(factor, dual, b), rel=4e-7)
    assert a.neuron is not None
    h = low.geometry.preactivation(a.neuron[None])
    assert a.proof is not None
    assert low.ratio(dual, h)[0] >= a.proof.bound * (1 - 1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_whitened_random_labels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = 60
    y = np.sign(rng.standard_normal((3, p)))
    y[:, 1], y[:, 2], y[:, 3] = y[:, 0], -y[:, 0], 0.0  # repeated, opposite and silent samples
    low, _ = pair_of(np.ones(p), np.ones((p, 1)), np.ones(1), y)
    outcome = prove(low, y, target=1e-6)
    assert outcome.proof is not None
    bound = replay(low, y, outcome)
    assert best_ratio(low, y, seed) <= bound
    assert outcome.neuron is not None
    assert bound <= low.ratio(y, low.geometry.preactivation(outcome.neuron[None]))[0] * (1 + 3e-6)


def test_the_hypercube_optimum_is_certified() -> None:
    for options in ({}, {"geometry": "aligned", "alignment": 2.0}):
        problem = mfo.problems.hypercube(3, **options)
        assert problem.known is not None
        assert problem.known.measure is not None
        if problem.n_outputs + problem.geometry.weight.size > 4:  # type: ignore[attr-defined]
            continue
        certificate = mfo.certify(problem, problem.known.measure(), engine="output_view", target=1e-7)
        assert certificate.verdict == "proved"
        assert certificate.lower_bound <= problem.known.energy * (1 + 1e-12)
        assert certificate.relative_gap < 1e-6


@pytest.mark.parametrize("size", [1e-120, 1e120])
def test_scales(size: float) -> None:
    rng = np.random.default_rng(1)
    dual = rng.standard_normal((2, 6))
    low, _ = pair_of(rng.uniform(1, 2, 6), rng.standard_normal((6, 1)), np.ones(1), dual)
    tiny, _ = pair_of(
        low.geometry.diagonal * size,  # type: ignore[attr-defined]
        low.geometry.columns,  # type: ignore[attr-defined]
        np.ones(1) * size,
        dual,
    )
    plain, scaled = prove(low, dual), prove(tiny, dual)
    assert plain.proof is not None
    assert scaled.proof is not None
    assert scaled.proof.bound == pytest.approx(plain.proof.bound * size**0.5, rel=1e-6)
    replay(tiny, dual, scaled)


def test_a_lower_level_or_another_dual_is_refused() -> None:
    rng = np.random.default_rng(2)
    dual = rng.standard_normal((2, 20))
    low, _ = pair_of(np.ones(20), np.ones((20, 1)), np.ones(1), dual)
    outcome = prove(low, dual, target=1e-5)
    assert outcome.proof is not None
    good, bound = outcome.proof.artefact, outcome.proof.bound
    lower = {**good, "level": (float.fromhex(good["level"]) * (1 - 1e-4)).hex()}
    for z, claim, artefact in ((dual, bound, lower), (dual * 1.0001, bound, good), (dual, bound * (1 - 1e-6), good)):
        with pytest.raises(mfo.CertificateError):
            REPLAYS["output_view"](low, z, claim, artefact)


def test_the_bound_pays_for_rounding_in_proportion_to_the_condition() -> None:
    """With W large against Lambda the float slack is multiplied by up to 1 + delta W, visibly."""
    dual = np.ones((1, 4))
    bounds = []
    for weight in (1.0, 1e6, 1e14):
        low, _ = pair_of(np.ones(4), np.ones((4, 1)), np.array([weight]), dual)
        form = output_form(low, dual)
        assert form is not None
        bounds.append(output_sigma(low, form, 1.0, 10) / output_sigma(low, form, 1.0, 9))
        excess = output_sigma(low, form, 1.0, 10) * np.sqrt(low.tau) / 2.0**form.shift - 1
        assert excess >= 1e-13 * weight / 10

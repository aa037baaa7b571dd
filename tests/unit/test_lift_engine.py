"""The lifted relaxation of low-rank inputs: never above a better measure, replayed, and close to the supremum where it is tight."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import meanfield_opt as mfo
from meanfield_opt.certificate.engine import ENGINES, Limits, Question
from meanfield_opt.certificate.lifted_relaxation import LiftedRelaxation, least_bound
from meanfield_opt.checker.definite import proved_psd


def task(seed: int, samples: int = 14, inputs: int = 3, outputs: int = 2, **options: object) -> mfo.TwoLayerProblem:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, inputs))
    y = np.sign(rng.standard_normal((samples, outputs)))
    return mfo.problems.dataset(x, y, **{"lambda1": 1.0, "lambda2": 1.0, **options})


@settings(max_examples=5, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    activation=st.sampled_from(["relu", "leaky_relu", "absolute"]),
    penalty=st.sampled_from([0.1, 1.0, 5.0]),
)
def test_its_bound_is_never_above_the_energy_of_a_measure(seed: int, activation: str, penalty: float) -> None:
    problem = task(seed, activation=activation, lambda1=penalty, lambda2=penalty)
    solution = mfo.solve(problem, tolerance=1e-3)
    certificate = mfo.certify(problem, solution, engine="lift", time_limit=1, refute=math.inf)
    assert certificate.verdict == "proved"
    assert 0 < certificate.lower_bound <= solution.energy * (1 + 1e-12)


def test_it_is_far_better_than_the_norm_bound_and_is_replayed(tmp_path: Path) -> None:
    problem = task(0, samples=24, inputs=6)
    solution = mfo.solve(problem, tolerance=1e-3)
    lift = mfo.certify(problem, solution, engine="lift", time_limit=8)
    norm = mfo.certify(problem, solution, engine="norm")
    assert lift.lower_bound > 1.5 * norm.lower_bound
    lift.save(tmp_path / "c.json")
    assert mfo.verify(tmp_path / "c.json", problem).lower_bound == lift.lower_bound


def test_one_sample_repeated_and_a_zero_row() -> None:
    rng = np.random.default_rng(3)
    factor = rng.standard_normal((12, 4))
    factor[5] = factor[4]
    factor[7] = 0.0
    targets = np.sign(rng.standard_normal((2, 12)))
    problem = mfo.TwoLayerProblem(
        mfo.activation("relu"), mfo.loss("squared"), mfo.FactorGeometry(factor), targets, 0.5, 0.5
    )
    solution = mfo.solve(problem)
    certificate = mfo.certify(problem, solution, engine="lift", time_limit=20)
    assert certificate.verdict == "proved"
    assert certificate.lower_bound <= solution.energy
    assert certificate.relative_gap < 0.5


def test_multipliers_bound_the_form_at_every_iteration() -> None:
    problem = task(1)
    factor = problem.geometry.factor
    relaxation = LiftedRelaxation(factor, 0.0, problem.loss, problem.targets, 1.0, 1.0)
    theta = np.random.default_rng(0).standard_normal((4000, factor.shape[1]))
    theta /= np.linalg.norm(theta, axis=1)[:, None]
    features = np.maximum(theta @ factor.T, 0.0)
    for _ in range(4):
        dual, diagonal, slack = relaxation.run(20)
        level = float(np.abs(diagonal).mean())
        for shift in (0.0, 0.1, 1.0):
            t = least_bound(factor, dual, 0.0, diagonal + shift * level, slack)
            assert t >= float(np.max(np.sum((features @ dual.T) ** 2, axis=1))) * (1 - 1e-9)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"loss": "hinge"}, "smooth loss"),
        ({"activation": "tanh", "width": 3.0}, "free mass"),
        ({"activation": "squared_relu"}, "not of that form"),
    ],
)
def test_refusals_give_the_reason(change: dict[str, object], reason: str) -> None:
    problem = task(2, **change)
    refusal = ENGINES.get("lift").refusal(Question(problem, np.zeros_like(problem.targets)))
    assert refusal is not None
    assert reason in refusal


def test_a_limit_of_no_time_still_ends() -> None:
    problem = task(4)
    outcome = ENGINES.get("lift").prove(Question(problem, problem.targets.copy()), Limits(seconds=1e-3))
    assert outcome.proof is None or math.isfinite(outcome.proof.bound)


def test_rows_that_are_coupled_to_none_do_not_spoil_a_proof() -> None:
    # their whole shift went into the rounding of their own entry, and the next shift was exactly that much again
    rng = np.random.default_rng(0)
    for order in (60, 200):
        wide = rng.standard_normal((order, order)) / math.sqrt(order)
        matrix = np.diag(1.0 + rng.random(order + 65))
        matrix[:order, :order] = wide @ wide.T + 1e-4 * np.eye(order)
        matrix[:order, :order] += matrix[:order, :order].T
        matrix[order + 1, order + 2] = matrix[order + 2, order + 1] = 5e-324  # no exact scaling by powers of two
        assert proved_psd(matrix)


def test_a_breakdown_of_the_iteration_keeps_what_was_met(monkeypatch: pytest.MonkeyPatch) -> None:
    # found by the truth tests: an eigenvalue decomposition that does not converge ended the engine
    problem, original = task(4), LiftedRelaxation.run
    calls = iter(range(1_000_000))

    def run(self: LiftedRelaxation, iterations: int) -> object:
        if next(calls) >= 3:
            raise np.linalg.LinAlgError("Eigenvalues did not converge")
        return original(self, iterations)

    monkeypatch.setattr(LiftedRelaxation, "run", run)
    outcome = ENGINES.get("lift").prove(Question(problem, problem.targets.copy(), movable=True), Limits(seconds=5.0))
    assert outcome.proof is not None
    assert math.isfinite(outcome.proof.bound)

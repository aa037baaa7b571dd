"""A seeded part of benchmarks/attack_certificates.py, and each known trap as a test of its own."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.certificate import (
    ENGINES,
    Limits,
    Outcome,
    ProofEngine,
    Question,
    SupremumProof,
    copositive_engine,
    engine_search,
)
from meanfield_opt.certificate.improve import best_ratio
from meanfield_opt.checker.bounds import best_rigorous_scale, lower_from_proof, network_energy_upper
from meanfield_opt.checker.document import digest
from meanfield_opt.errors import CertificateError, InputError
from meanfield_opt.geometry import DenseGeometry, DiagonalPlusLowRank, FactorGeometry
from meanfield_opt.measure import Measure
from meanfield_opt.plugins import activation, loss
from meanfield_opt.problem import TwoLayerProblem
from meanfield_opt.rounding import dot_bounds, gram_norm_upper, matmul_bounds, sum_bounds, sum_upper

Script = Callable[[str], ModuleType]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("forms", 1500),
        ("energies", 600),
        ("logistic", 400),
        ("suprema", 80),
        ("widths", 30),
        ("optima", 60),
        ("boxes", 600),
        ("cells", 400),
        ("neurons", 12),
    ],
)
def test_no_claim_is_false(kind: str, count: int, benchmark_script: Script) -> None:
    made, claims, false = benchmark_script("attack_truth").run(kind, count, 7)
    assert made >= count
    assert claims > count // 8
    assert false == []


# rounding: the cases that break naive bounds -----------------------------------------------------------------------
def test_overflow_and_nan_give_the_whole_line() -> None:
    with np.errstate(all="ignore"):
        lo, hi = matmul_bounds(np.array([[1e200, -1e200]]), np.array([[1e200], [1e200]]))
        assert lo[0, 0] == -np.inf
        assert hi[0, 0] == np.inf
        lo, hi = matmul_bounds(np.array([[np.nan]]), np.array([[1.0]]))
        assert (lo[0, 0], hi[0, 0]) == (-np.inf, np.inf)
        assert dot_bounds(np.array([1e200, 1e200]), np.array([1e200, -1e200])) == (-np.inf, np.inf)
        assert sum_bounds(np.array([1e308, 1e308])) == (-np.inf, np.inf)
        assert sum_bounds(np.array([np.inf, -np.inf])) == (-np.inf, np.inf)
        assert not gram_norm_upper(np.array([[np.nan], [1.0]])) < np.inf
        assert not gram_norm_upper(np.array([[1e300, 1.0]])) < np.inf
        assert not sum_upper(np.array([np.inf, -np.inf])) < np.inf


def test_dot_bounds_with_mixed_huge_and_denormal_entries() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        x = rng.standard_normal(6) * 10.0 ** rng.integers(-300, 130, 6)
        y = rng.standard_normal(6) * 10.0 ** rng.integers(-300, 130, 6)
        x[rng.integers(6)] = 5e-324 * rng.integers(-5, 6)
        lo, hi = dot_bounds(x, y)
        exact = sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(x, y, strict=True))
        assert Fraction(lo) <= exact <= Fraction(hi)


def test_gram_norm_of_denormals_is_not_zero() -> None:
    tiny = np.array([[0.0, 5e-324], [5e-324, 0.0]])
    assert gram_norm_upper(tiny) > 0


# known traps ----------------------------------------------------------------------------------------------------------
def hypercube() -> TwoLayerProblem:
    problem = mfo.problems.hypercube(latents=2, lambda1=0.01, lambda2=0.01)
    assert isinstance(problem, TwoLayerProblem)
    return problem


class Liar(ProofEngine):
    """An engine that answers with whatever bound it is given."""

    name = "liar"

    def __init__(self, bound: float) -> None:
        self.bound = bound

    def refusal(self, question: Question) -> str | None:
        return None

    def predicted_seconds(self, question: Question) -> float:
        return 0.0

    def tightness(self, question: Question) -> int:
        return 0

    def prove(self, question: Question, limits: Limits) -> Outcome:
        return Outcome(SupremumProof("norm", "a lie", self.bound))


@pytest.mark.parametrize("bound", [math.nan, math.inf, -math.inf, -1.0])
def test_an_unbounded_or_undefined_relaxation_is_no_bound(bound: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_search, "engines_to_try", lambda question, name: [Liar(bound)])
    problem = hypercube()
    certificate = mfo.certify(problem, mfo.solve(problem, backend="closed_form"))
    assert certificate.verdict == "open"
    assert -1e-300 < certificate.lower_bound <= 0.0
    assert lower_from_proof(problem, certificate.dual, 1.0, bound) == -math.inf


def test_a_bound_too_good_to_be_true_is_rejected_by_the_checker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(engine_search, "engines_to_try", lambda question, name: [Liar(0.5)])
    problem = hypercube()
    certificate = mfo.certify(problem, mfo.solve(problem, backend="closed_form"))
    certificate.save(tmp_path / "c.json")
    with pytest.raises(CertificateError, match="supremum"):
        mfo.verify(tmp_path / "c.json")


def test_a_solver_that_lies_costs_tightness_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever point the semidefinite solver returns, the bound that is accepted is valid."""
    rng = np.random.default_rng(0)
    g = rng.standard_normal((4, 5))
    geometry = DenseGeometry(np.tril(g @ g.T) + np.tril(g @ g.T, -1).T)
    y = np.sign(rng.standard_normal((2, 4)))
    problem = TwoLayerProblem(activation("relu"), loss("squared"), geometry, y, 0.1, 0.1)
    question = Question(problem, y)
    floor = (best_ratio(problem, y) / problem.tau) ** 0.5
    for lie in (1e-9, 0.3, -1.0, 1e6, math.nan):

        def solved(base: Any, fixed: Any, free: int, seconds: float, lie: float = lie) -> Any:
            return lie, np.full(free, lie), np.abs(np.full(base.shape, lie))

        monkeypatch.setattr(copositive_engine, "solve_split", solved)
        try:
            proof = ENGINES.get("copositive").prove(question, Limits()).proof
        except (np.linalg.LinAlgError, ValueError):
            continue  # failing loudly is allowed, claiming is not
        assert proof is None or proof.bound >= floor * (1 - 1e-12)


def test_degenerate_samples_are_not_missed() -> None:
    """Repeated, antiparallel and zero samples: cells of the arrangement that a floating enumeration loses."""
    rows = np.array([[1.0, 2.0], [1.0, 2.0], [-1.0, -2.0], [0.0, 0.0], [2.0, 4.0], [0.5, -1.0]])
    rng = np.random.default_rng(2)
    y = np.sign(rng.standard_normal((2, 6)))
    problem = TwoLayerProblem(activation("relu"), loss("squared"), FactorGeometry(rows), y, 0.1, 0.1)
    angle = np.linspace(0, 2 * np.pi, 20001)
    theta = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for _ in range(5):
        z = rng.standard_normal((2, 6))
        h = np.maximum(theta @ rows.T, 0.0)
        for name in ENGINES.names():
            engine = ENGINES.get(name)
            if engine.refusal(Question(problem, z)) is None:
                outcome = engine.prove(Question(problem, z), Limits(seconds=5.0))
                proof, at = outcome.proof, z if outcome.dual is None else outcome.dual
                best = float(np.sqrt(np.max(np.sum((h @ at.T) ** 2, axis=1)) / problem.tau))
                assert proof is None or proof.bound >= best * (1 - 1e-12), name


def test_the_scale_is_feasible_in_real_numbers() -> None:
    problem = hypercube()
    rng = np.random.default_rng(0)
    z = 10 * problem.targets
    for bound in [*(10.0 ** rng.uniform(-300, 300, 200)), 1.0, 1 + 2.0**-52, 1 - 2.0**-53, 5e-324, 1.7e308]:
        scale = best_rigorous_scale(problem, z * 1e3, float(bound))
        assert Fraction(scale) * Fraction(float(bound)) <= 1
        assert lower_from_proof(problem, z * 1e3, scale, float(bound)) > -math.inf


def test_mass_beyond_the_width_has_no_upper_bound() -> None:
    problem = mfo.problems.hypercube(latents=2, lambda1=0.01, lambda2=0.01, activation="hard_tanh", width=1.0)
    measure = Measure(np.ones((2, 4)), np.array([1.0, 2.0**-60]), None, np.zeros((2, 2)))
    with pytest.raises(InputError, match="width"):
        network_energy_upper(problem, measure)


def test_numbers_beyond_double_precision_in_the_file_are_rejected(tmp_path: Path) -> None:
    problem = hypercube()
    path = tmp_path / "c.json"
    mfo.certify(problem, mfo.solve(problem, backend="closed_form")).save(path)
    text = path.read_text()
    for bad in ("NaN", "Infinity", "-Infinity", "1e999", "1" * 5000):
        path.write_text(text[:-1] + f', "x": {bad}}}')
        with pytest.raises(CertificateError):
            mfo.verify(path)
    body = json.loads(text)
    body["claims"]["lower"] = body["claims"]["lower"].upper()
    body.pop("digest")
    path.write_text(json.dumps({**body, "digest": digest(body)}))
    with pytest.raises(CertificateError, match="canonical"):
        mfo.verify(path)


@pytest.mark.parametrize("size", [1e-320, 1e-310, 5e-324])
def test_suprema_among_the_denormal_numbers(size: float) -> None:
    """Scaling a bound back by a power of two is inexact there; found by the attack at seed 0."""
    for phi in ("relu", "leaky_relu"):
        for geometry in (
            FactorGeometry(np.array([[1.0]])),
            FactorGeometry(np.array([[0.7, -0.2]])),
            DiagonalPlusLowRank(np.ones(1), np.ones((1, 1)), np.ones(1)),
        ):
            problem = TwoLayerProblem(
                activation(phi), loss("squared"), geometry, np.ones((1, 1)), 0.5011872336272722, 0.01
            )
            z = np.array([[size]])
            norm = max(abs(geometry.preactivation(np.eye(geometry.n_parameters))).ravel())
            truth = (
                Fraction(size) ** 2 * Fraction(float(norm)) ** 2 / (4 * Fraction(0.5011872336272722) * Fraction(0.01))
            )
            for name in ENGINES.names():
                engine = ENGINES.get(name)
                if engine.refusal(Question(problem, z)) is None:
                    outcome = engine.prove(Question(problem, z), Limits(seconds=2.0, workers=1))
                    if outcome.dual is not None:
                        continue  # about another dual point than this one
                    proof = outcome.proof
                    assert proof is None or not np.isfinite(proof.bound) or Fraction(proof.bound) ** 2 >= truth, name


def test_the_lift_proposes_nothing_where_nothing_pulls() -> None:
    """Found by the truth tests: a division by zero where the pull of the data underflows."""
    rows = np.array([[1.0], [0.5], [-2.0]])
    for size in (0.0, 1e-200):
        problem = TwoLayerProblem(
            activation("relu"), loss("squared"), FactorGeometry(rows), np.full((1, 3), size), 0.1, 0.1
        )
        outcome = ENGINES.get("lift").prove(Question(problem, np.full((1, 3), size)), Limits(seconds=1.0))
        assert outcome.proof is None or outcome.proof.bound >= 0

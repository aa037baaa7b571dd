"""Losses in cones: the residual form is the loss, conic programs keep the energy, and solvers reach the same optimum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.formulation import ConicLimits, DNNLift, Formulation, GroupLasso, MomentProgram
from meanfield_opt.formulation.loss_terms import exponential_form, loss_refusal, residual_form
from meanfield_opt.losses.output_bias import OutputBias

CONIC: dict[str, Any] = {
    "hinge": "hinge",
    "squared_hinge": "squared_hinge",
    "huber": mfo.loss("huber", delta=0.4),
    "weighted huber": mfo.loss("weighted", base="huber", sample_weights=(1.0, 2.0, 0.5, 3.0)),
    "weighted squared": mfo.loss("weighted", base="squared", output_weights=(1.0, 2.0)),
    "squared, free bias": mfo.loss("output_bias", base="squared", penalty=0.0),
    "squared, bias": mfo.loss("output_bias", base="squared", penalty=0.3),
    "hinge, bias": mfo.loss("output_bias", base="hinge", penalty=0.3),
    "squared hinge, free bias": mfo.loss("output_bias", base="squared_hinge", penalty=0.0),
}
EXPONENTIAL: dict[str, Any] = {
    "logistic": "logistic",
    "weighted logistic": mfo.loss("weighted", base="logistic", sample_weights=(1.0, 2.0, 0.5, 3.0)),
    "logistic, free bias": mfo.loss("output_bias", base="logistic", penalty=0.0),
    "logistic, bias": mfo.loss("output_bias", base="logistic", penalty=0.3),
    "softmax": "softmax",
    "weighted softmax": mfo.loss("weighted", base="softmax", sample_weights=(1.0, 2.0, 0.5, 3.0)),
    "softmax, bias": mfo.loss("output_bias", base="softmax", penalty=0.3),
}
#: the output weights of a nonsmooth loss are found to 1e-11
EMBEDDING = {"hinge": 1e-9, "hinge, bias": 1e-9}


def problem_with(name: str, **extra: Any) -> mfo.TwoLayerProblem:
    if "softmax" in name:
        x = np.array([[1.0, 0.2], [-0.5, 1.0], [0.3, -1.0], [-1.0, -0.4]])
        return mfo.problems.dataset(
            x, np.eye(3)[[0, 1, 2, 1]], loss=EXPONENTIAL[name], lambda1=0.05, lambda2=0.08, **extra
        )
    if name in EXPONENTIAL:
        return mfo.problems.hypercube(2, loss=EXPONENTIAL[name], lambda1=0.05, lambda2=0.08, **extra)
    return mfo.problems.hypercube(2, loss=CONIC[name], lambda1=0.05, lambda2=0.08, **extra)


@pytest.mark.parametrize("name", CONIC)
def test_the_residual_form_is_the_loss(name: str) -> None:
    problem = problem_with(name)
    rng = np.random.default_rng(1)
    for size in (0.1, 1.0, 10.0):
        f = size * rng.standard_normal(problem.targets.shape)
        form = residual_form(problem)
        assert form is not None
        base, extra = problem.loss, 0.0
        if isinstance(base, OutputBias):
            b = base.bias(f, problem.targets)
            extra, base, f = base.penalty * float(b @ b), base.base, f + b[:, None]
        assert float(form.value(f).sum()) + extra == pytest.approx(base.value(f, problem.targets) + extra, rel=1e-13)


@pytest.mark.parametrize("name", EXPONENTIAL)
def test_the_exponential_form_is_the_loss(name: str) -> None:
    problem = problem_with(name)
    rng = np.random.default_rng(1)
    form = exponential_form(problem)
    assert form is not None
    assert residual_form(problem) is None
    base = problem.loss.base if isinstance(problem.loss, OutputBias) else problem.loss
    for size in (0.1, 1.0, 10.0, 1e4):
        f = size * rng.standard_normal(problem.targets.shape)
        assert form.value(f) == pytest.approx(base.value(f, problem.targets), rel=1e-12)


@pytest.mark.parametrize("name", [*CONIC, *EXPONENTIAL])
def test_embedding_is_feasible_and_keeps_the_energy(name: str) -> None:
    problem = problem_with(name, width=5.0)
    free = problem_with(name)
    rng = np.random.default_rng(2)
    atoms = problem.geometry.preactivation(rng.standard_normal((3, problem.geometry.n_parameters)))
    measure = mfo.Measure(atoms, rng.uniform(0.1, 1.0, 3))
    cases: list[tuple[mfo.TwoLayerProblem, Formulation]] = [
        (problem, GroupLasso(atoms)),
        (problem, MomentProgram(atoms)),
        (free, DNNLift()),
    ]
    for here, form in cases:
        program = form.lower(here)
        x = form.embed(here, measure)
        assert program.objective(x) == pytest.approx(here.energy(measure), rel=EMBEDDING.get(name, 1e-11))
        assert program.violation(x) <= 1e-9 * max(1.0, np.abs(x).max())


@pytest.mark.parametrize("name", [*CONIC, *EXPONENTIAL])
def test_programs_agree_with_the_loss_of_cvxpy_and_give_dual_points(name: str) -> None:
    """Same dictionary, three ways: conic group lasso, conic moment program, the loss's own expression."""
    from meanfield_backends.clarabel_ import SOLVER
    from meanfield_backends.conic import solve_formulation
    from meanfield_backends.cvxpy_ import expression_step

    cvxpy = pytest.importorskip("cvxpy")
    problem = problem_with(name)
    rng = np.random.default_rng(3)
    atoms = problem.geometry.preactivation(rng.standard_normal((6, problem.geometry.n_parameters)))
    lasso, answer = solve_formulation(SOLVER, GroupLasso(atoms), problem, ConicLimits(1e-10))
    moment, _ = solve_formulation(SOLVER, MomentProgram(atoms), problem, ConicLimits(1e-10))
    stated, _ = expression_step(cvxpy, problem, atoms, ConicLimits(1e-10), "CLARABEL")
    assert answer.x is not None
    value = GroupLasso(atoms).lower(problem).objective(answer.x)
    for lifted in (lasso, moment, stated):
        assert lifted.measure is not None
        assert lifted.dual is not None
        assert problem.energy(lifted.measure) == pytest.approx(value, rel=1e-5)
        z = problem.loss.project_dual(lifted.dual, problem.targets)
        worst = float(problem.ratio(z, atoms).max())
        assert worst <= 1.0 + 1e-4
        assert problem.dual_value(z / max(worst, 1.0)) == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize("name", ["clarabel", "scs", "picos", "highs", "mosek"])
def test_losses_without_any_form_are_refused_by_name(name: str) -> None:
    loss = mfo.loss_from(
        lambda f, y: np.sqrt(1.0 + (f - y) ** 2) - 1.0,
        gradient=lambda f, y: (f - y) / np.sqrt(1.0 + (f - y) ** 2),
        conjugate=lambda s, y: np.where(np.abs(s) <= 1, s * y + 1.0 - np.sqrt(np.maximum(1.0 - s**2, 0.0)), np.inf),
        curvature=1.0,
    )
    problem = mfo.problems.hypercube(2, loss=loss)
    assert "numpy_loss" in str(loss_refusal(problem))
    assert "cvxpy" in str(loss_refusal(problem))
    with pytest.raises(mfo.RefusalError, match="numpy_loss"):
        mfo.solve(problem, name)


@pytest.mark.parametrize("name", ["picos", "highs"])
def test_solvers_without_the_exponential_cone_refuse_by_its_name(name: str) -> None:
    problem = problem_with("weighted logistic")
    assert loss_refusal(problem) is None
    with pytest.raises(mfo.RefusalError, match="exponential cone: clarabel, scs, mosek and cvxpy take it"):
        mfo.solve(problem, name)


def test_cvxopt_through_cvxpy_refuses_the_exponential_cone() -> None:
    with pytest.raises(mfo.RefusalError, match="CVXOPT does not take the exponential cone"):
        mfo.solve(problem_with("logistic"), "cvxpy", solver="CVXOPT")


def test_hinge_through_a_conic_backend_is_proved() -> None:
    problem = mfo.problems.hypercube(2, loss="hinge", lambda1=0.05, lambda2=0.05)
    solution = mfo.solve(problem, "clarabel")
    certificate = mfo.certify(problem, solution, target=1e-7, time_limit=20)
    assert certificate.verdict == "proved"
    assert certificate.relative_gap < 1e-5

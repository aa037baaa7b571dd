"""What each backend and each formulation cannot take, refused by its reason; options; missing and broken solvers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backend_cases import NAMES, SOLVERS, backend_here, planar

import meanfield_opt as mfo
from meanfield_backends.conic import solve_formulation
from meanfield_opt.backend import BACKENDS
from meanfield_opt.errors import MissingDependencyError, SolveError
from meanfield_opt.formulation import ArrangementSDP, ConicLimits, DNNLift, GroupLasso, MomentProgram, ParriloLift
from meanfield_opt.formulation.program import CONES
from meanfield_opt.formulation.solver import import_solver
from meanfield_opt.problem import MeanFieldProblem

cube = mfo.problems.hypercube


def numpy_loss() -> mfo.Loss:
    """sqrt(1 + (f - y)^2) - 1 from numpy functions: without any conic form."""
    return mfo.loss_from(
        lambda f, y: np.sqrt(1.0 + (f - y) ** 2) - 1.0,
        gradient=lambda f, y: (f - y) / np.sqrt(1.0 + (f - y) ** 2),
        conjugate=lambda s, y: np.where(np.abs(s) <= 1, s * y + 1.0 - np.sqrt(np.maximum(1.0 - s**2, 0.0)), np.inf),
        curvature=1.0,
    )


PROBLEMS: dict[str, Callable[[], MeanFieldProblem]] = {
    "quadratic": lambda: mfo.problems.stability_program("C5"),
    "any quadratic": lambda: mfo.problems.standard_quadratic_program([[2, -1], [-1, 3]]),
    "design": lambda: mfo.problems.optimal_design(2),
    "logistic": lambda: cube(2, loss="logistic"),
    "hinge": lambda: cube(2, loss="hinge"),
    "many hinges": lambda: planar(1000, loss="hinge"),
    "numpy loss": lambda: cube(2, loss=numpy_loss()),
    "free tanh": lambda: cube(2, activation="tanh"),
    "free sigmoid": lambda: cube(2, activation="sigmoid"),
    "free gelu": lambda: cube(2, activation="gelu"),
    "narrow gelu": lambda: cube(2, activation="gelu", width=3.0),
    "free cubic": lambda: cube(2, activation="cubic"),
    "narrow cubic": lambda: cube(2, activation="cubic", width=3.0),
    "relu": lambda: cube(2),
    "aligned 4, a=2": lambda: cube(4, geometry="aligned", alignment=2.0, activation="tanh", width=2.0),
    "plane": planar,
    "linear, logistic": lambda: cube(2, activation="linear", loss="logistic"),
    "linear, width": lambda: planar(activation="linear", width=2.0),
    "linear, odd data": lambda: planar(activation="linear"),
    "step": lambda: cube(2, activation="step"),
    "many steps": lambda: cube(5, activation="step"),
    "step, hinge": lambda: cube(2, activation="step", loss="hinge"),
}

CONIC = [name for name in ("clarabel", "scs", "picos", "highs", "mosek", "cvxpy") if name in NAMES]

#: (backend, problem, words of the reason)
REFUSALS = [
    *((name, "quadratic", "two-layer problems") for name in CONIC),
    *((name, "free tanh", "infinitely many infinitesimal neurons; give a width") for name in CONIC),
    *((name, "free sigmoid", "infinitesimal neurons; give a width") for name in CONIC),
    *((name, "free gelu", "ever larger neurons; give a width") for name in CONIC),
    *((name, "free cubic", "degree 3") for name in CONIC),
    *((name, "narrow gelu", "the search for patterns has no end") for name in CONIC),
    *((name, "narrow cubic", "not attained under any width") for name in CONIC),
    *(
        (name, "logistic", "the logistic loss needs the exponential cone")
        for name in ("picos", "highs")
        if name in NAMES
    ),
    *((name, "numpy loss", "the numpy_loss loss is not written in the zero") for name in CONIC if name != "cvxpy"),
    ("column_generation", "quadratic", "two-layer problems only"),
    ("column_generation", "many hinges", "hinge loss is not smooth, and masters of nonsmooth losses are for at most"),
    ("enumeration", "quadratic", "two-layer problems only"),
    ("enumeration", "relu", "has not finitely many values"),
    ("enumeration", "many steps", "feature patterns are too many"),
    ("enumeration", "step, hinge", "is not smooth"),
    ("closed_form", "any quadratic", "no formula is known for problems of kind"),
    ("closed_form", "plane", "no closed form is known for these data"),
    ("closed_form", "linear, logistic", "squared loss only"),
    ("closed_form", "linear, width", "a width was given"),
    ("closed_form", "linear, odd data", "row space of Y invariant"),
    ("copositive", "relu", "standard quadratic programs only"),
    ("design", "relu", "optimal designs only"),
]


@pytest.mark.parametrize(("name", "label", "words"), REFUSALS)
def test_each_refusal_has_its_reason(name: str, label: str, words: str) -> None:
    """The reason is known without the solver, and ``solve`` raises it before any work."""
    problem = PROBLEMS[label]()
    reason = BACKENDS.get(name).refusal(problem)
    assert reason is not None
    assert words in reason
    with pytest.raises(mfo.RefusalError) as caught:
        mfo.solve(problem, name)
    assert reason in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("formulation", "label", "words"),
    [
        ("dnn_lift", "narrow tanh", "is for relu"),
        ("parrilo", "whitened 4", "24 is the limit"),
        ("arrangement_sdp", "whitened 4", "given by a factor"),
        ("dnn_lift", "cvxpy, numpy loss", "group_lasso formulation only"),
    ],
)
def test_each_formulation_asked_of_a_backend_is_refused_with_its_reason(
    formulation: str, label: str, words: str
) -> None:
    problem = {
        "narrow tanh": lambda: cube(2, activation="tanh", width=3.0),
        "whitened 4": lambda: cube(4),
        "cvxpy, numpy loss": lambda: cube(2, loss=numpy_loss()),
    }[label]()
    name = "cvxpy" if label.startswith("cvxpy") else "clarabel"
    with pytest.raises(mfo.InputError, match=words):
        mfo.solve(problem, name, formulation=formulation)


def test_formulations_refuse_with_reasons() -> None:
    relu, atoms = cube(2), np.ones((2, 4))
    tanh = cube(2, activation="tanh", width=3.0)
    cases: list[tuple[Any, mfo.TwoLayerProblem, str]] = [
        (GroupLasso(atoms), planar(), "the dictionary is over 4 samples"),
        (MomentProgram(atoms), planar(), "the dictionary is over 4 samples"),
        (MomentProgram(np.ones((1, 256))), cube(8), "PSD block would have order"),
        (GroupLasso(atoms), cube(2, loss=numpy_loss()), "numpy_loss"),
        (MomentProgram(atoms), cube(2, loss=numpy_loss()), "numpy_loss"),
        (DNNLift(), tanh, "relu"),
        (DNNLift(), cube(2, width=2.0), "free mass"),
        (DNNLift(), cube(7), "order 256"),
        (DNNLift(), cube(2, loss=numpy_loss()), "numpy_loss"),
        (DNNLift(reduced=True), cube(2, geometry="aligned", alignment=2.0), "positive off-diagonal"),
        (ParriloLift(), cube(4), "24"),
        (ParriloLift(), cube(2, loss=numpy_loss()), "numpy_loss"),
        (ArrangementSDP.enumerated(planar(6, seed=3)), relu, "factor"),
        (ArrangementSDP.enumerated(planar(6, seed=3)), planar(8, seed=3), "other data"),
    ]
    for form, problem, words in cases:
        reason = form.refusal(problem)
        assert reason is not None, (form.name, words)
        assert words in reason


@pytest.mark.parametrize("name", SOLVERS)
def test_cones_that_are_missing_are_refused_by_name(name: str) -> None:
    solver = SOLVERS[name]
    assert solver.cones <= set(CONES)
    backend_here(name)
    if "psd" not in solver.cones:
        with pytest.raises(mfo.RefusalError, match="does not take the psd cone"):
            mfo.solve(cube(2), name, formulation="dnn_lift")
    if "exponential" not in solver.cones:
        with pytest.raises(mfo.RefusalError, match="does not take the exponential cone"):
            solve_formulation(solver, GroupLasso(np.ones((2, 4))), cube(2, loss="logistic"), ConicLimits())


@pytest.mark.parametrize("name", NAMES)
def test_backends_say_what_they_are(name: str) -> None:
    backend = BACKENDS.get(name)
    assert backend.name == name
    assert len(backend.summary) > 20
    state = backend.availability()
    assert state.installed == (state.version is not None)
    assert state.installed or state.reason


@pytest.mark.parametrize("name", NAMES)
def test_unknown_options_are_refused(name: str) -> None:
    problem = next((p for p in (make() for make in PROBLEMS.values()) if backend_here(name).refusal(p) is None), None)
    assert problem is not None, "no problem here that it takes"
    with pytest.raises(mfo.InputError, match="no_such_option"):
        mfo.solve(problem, name, no_such_option=1)


@pytest.mark.parametrize("name", [n for n in SOLVERS if BACKENDS.builtin(n)])
def test_options_of_the_wrong_kind_are_refused(name: str) -> None:
    backend_here(name)
    for bad in ({"rounds": "many"}, {"rounds": -1}, {"samples": 0}, {"formulation": "guess"}):
        with pytest.raises(mfo.InputError):
            mfo.solve(cube(2), name, **bad)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clarabel", {"direct_solve_method": "nonsense"}),
        ("clarabel", {"max_step_fraction": 2.0}),
        ("clarabel", {"objective_scale": -1.0}),
        ("clarabel", {"objective_scale": np.nan}),
        ("clarabel", {"samples": True}),
        ("clarabel", {"atoms": [[1.0, 2.0, 3.0]]}),
        ("clarabel", {"atoms": "x"}),
        ("clarabel", {"atoms": [[1.0, 2.0, np.nan, 0.0]]}),
        ("clarabel", {"atoms": np.zeros((2, 4))}),
        ("scs", {"eps": -1.0}),
        ("scs", {"eps": "small"}),
        ("scs", {"scale": 0.0}),
        ("scs", {"acceleration_lookback": -3}),
        ("scs", {"max_iters": 0}),
        ("mosek", {"threads": -1}),
        ("highs", {"directions": 1}),
        ("highs", {"cut_tolerance": -1.0}),
        ("picos", {"solver": "scs"}),
        ("cvxpy", {"solver": "clarabel"}),
    ],
)
def test_options_of_the_wrong_value_are_refused_in_one_line(name: str, options: dict[str, Any]) -> None:
    """By name and before the solver sees them: some crashed in it, a NaN in the support was dropped without a word."""
    backend_here(name)
    with pytest.raises(mfo.InputError) as caught:
        mfo.solve(cube(2), name, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "solver"), [("picos", "mosek"), ("cvxpy", "MOSEK")])
def test_mosek_through_others_without_a_licence_is_one_line(
    name: str, solver: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("mosek")
    backend_here(name)
    monkeypatch.setenv("MOSEKLM_LICENSE_FILE", str(tmp_path / "none.lic"))
    with pytest.raises(mfo.errors.LicenseError, match=r"put mosek\.lic into") as caught:
        mfo.solve(cube(2), name, solver=solver)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4


def test_missing_and_broken_solvers_are_two_different_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "highspy" else real(name, *rest)
    )
    state = BACKENDS.get("highs").availability()
    assert not state.installed
    assert "pip install 'meanfield-opt[highs]'" in str(state.reason)
    with pytest.raises(MissingDependencyError, match="pip install") as caught:
        mfo.solve(cube(2), "highs")
    assert caught.value.exit_code == 4

    def broken() -> None:
        raise ImportError("undefined symbol")

    with pytest.raises(SolveError, match="installed but broken: undefined symbol"):
        import_solver("some", mfo.backend.Availability(True, "1"), broken)

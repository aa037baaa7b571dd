"""Every formulation on every conic solver, for every named problem it can hold: values, duality, sides, refusals."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from backend_cases import CASES, SOLVERS, problem_named, run_or_skip, solution_of

import meanfield_opt as mfo
from meanfield_backends.conic import solve_formulation
from meanfield_opt.formulation import (
    ArrangementSDP,
    ConicLimits,
    DNNLift,
    Formulation,
    GroupLasso,
    MomentProgram,
    ParriloLift,
)
from meanfield_opt.formulation.solver import cone_refusal

#: what value a conic solver reaches on the programs below, relatively
PROGRAM_ACCURACY = {"scs": 1e-5, "highs": 2e-6}

#: solvers and problems of the default run; the other cells are slow
QUICK_SOLVERS = {"clarabel"}
QUICK_PROBLEMS = {"whitened 2", "aligned 2, a=2", "hinge", "huber", "free output bias", "planar 6", "narrow tanh"}
SMALL = {"whitened 2", "planar 6"}

#: solvers that meet their own iteration limit on some of these programs and say so in their status, with the reason
LIMITS = {
    "scs": "first-order: near-parallel atoms",
    "highs": "tangents of cones that meet at their tips, or are nearly flat, converge slowly",
}


#: slow cells of more than a few seconds
COSTLY = {("scs", "planar"), ("picos", "planar"), ("cvxpy", "planar"), ("clarabel", "planar"), ("scs", "three copies")}

#: programs too large for a solver, with the reason: it gets so many seconds and says that they are over
CUT_SHORT = {
    ("scs", "arrangement_sdp", "planar"): "first-order: 134 matrices tied by 8844 signs",
    ("picos", "arrangement_sdp", "planar"): "CVXOPT factors dense matrices of order 10544",
}
SECONDS = 10.0


@cache
def problem_of(label: str) -> mfo.TwoLayerProblem:
    if label == "planar 6":
        rng = np.random.default_rng(3)
        x, y = rng.standard_normal((6, 2)), np.sign(rng.standard_normal((6, 1)))
        return mfo.problems.dataset(x, y, lambda1=0.1, lambda2=0.1, name="planar")
    if label == "narrow tanh":
        return mfo.problems.hypercube(2, activation="tanh", width=2.0, lambda1=0.05, lambda2=0.05)
    found = problem_named(label)
    assert isinstance(found, mfo.TwoLayerProblem)
    return found


LABELS = [
    *(
        label
        for label, case in CASES.items()
        if isinstance(problem_named(label), mfo.TwoLayerProblem) and not case.slow
    ),
    "planar 6",
    "narrow tanh",
]


@cache
def atoms_of(label: str, generic: bool) -> Any:
    """The atoms of an optimum; or generic ones."""
    problem = problem_of(label)
    rng = np.random.default_rng(0)
    random = problem.geometry.preactivation(rng.standard_normal((12, problem.geometry.n_parameters)))
    if generic:
        return random
    if problem.known is not None and problem.known.measure is not None:
        found = problem.known.measure().atoms
    elif label == "hinge":
        found = atoms_of("whitened 2", False)  # its optimum has the same patterns
    elif label in CASES and label != "zero is optimal":
        found = solution_of(
            "column_generation" if label in ("logistic", "softmax") else "clarabel", label
        ).measure.atoms
    else:
        return random
    return found if found.shape[0] else random


def formulations(label: str, generic: bool = False) -> list[Formulation]:
    problem = problem_of(label)
    atoms = atoms_of(label, generic)
    forms: list[Formulation] = [GroupLasso(atoms), MomentProgram(atoms), DNNLift(), ParriloLift()]
    if isinstance(problem.geometry, mfo.FactorGeometry):
        forms.append(ArrangementSDP.enumerated(problem))
    return forms


def cells() -> list[Any]:
    """(solver, problem)."""
    out = []
    for name in SOLVERS:
        for label in LABELS:
            quick = label in SMALL or (name in QUICK_SOLVERS and label in QUICK_PROBLEMS)
            marks = [] if quick else [pytest.mark.slow]
            if (name, label) in COSTLY:
                marks.append(pytest.mark.costly)
            out.append(pytest.param(name, label, marks=marks))
    return out


@pytest.mark.parametrize(("name", "label"), cells())
def test_every_formulation_on_every_solver(name: str, label: str) -> None:
    """Primal and dual values agree, the dual point is feasible, bounds are on their side, measures are feasible."""
    solver = SOLVERS[name]
    problem = problem_of(label)
    accuracy = PROGRAM_ACCURACY.get(name, 2e-6)
    best = math.inf
    values: dict[str, float] = {}
    bounds: dict[str, str] = {}
    for form in formulations(label, generic=name == "scs"):
        reason = form.refusal(problem)
        if reason is not None:
            refused(solver, form, problem, reason)
            continue
        program = form.lower(problem)
        reason = cone_refusal(solver, program)
        if reason is not None:
            refused(solver, form, problem, reason)
            continue
        if form.name == "parrilo" and problem.n_samples > 4:
            continue  # 2P blocks of order 2P: seconds to minutes each; P = 4 shows the translation
        if (name, form.name, label) in CUT_SHORT:
            answer = run_or_skip(solver, program, ConicLimits(1e-9, time_limit=SECONDS))
            assert answer.status is mfo.Status.TIME_LIMIT
            continue
        answer = run_or_skip(solver, program)
        if name in LIMITS and answer.status is mfo.Status.ITERATION_LIMIT:
            continue
        assert answer.status in (mfo.Status.SOLVED, mfo.Status.INACCURATE), answer.words
        value = program.objective(answer.x)
        size = max(abs(value), 1e-2)
        values[form.name], bounds[form.name] = value, form.bound
        assert program.violation(answer.x) < 1e-5 * max(1.0, np.abs(answer.x).max())
        assert program.dual_violation(answer.y) < 1e-5 * max(1.0, np.abs(program.c).max())
        assert program.dual_objective(answer.y) == pytest.approx(value, rel=20 * accuracy, abs=20 * accuracy * size)
        lifted = form.lift(problem, answer)
        assert lifted.measure is not None
        assert lifted.dual is not None
        energy = problem.energy(lifted.measure)
        best = min(best, energy)
        if problem.width is not None:
            assert lifted.measure.total_mass <= problem.width * (1 + 1e-9)
        if form.bound == "upper" or lifted.reason is None:
            assert energy <= value + 2e-5 * size
        if form.bound == "lower":
            assert value <= energy + 10 * accuracy * size
    optimum = problem.known.energy if problem.known is not None and problem.width is None else best
    for form_name, value in values.items():
        side = 1e-5 * max(abs(optimum), 1e-2)
        if bounds[form_name] == "lower":
            assert value <= optimum + side
        else:
            assert value >= optimum - side
    if {"group_lasso", "moment"} <= set(values):
        assert values["moment"] == pytest.approx(values["group_lasso"], rel=2e-5, abs=1e-7)
    if {"dnn_lift", "parrilo"} <= set(values):
        assert values["parrilo"] >= values["dnn_lift"] * (1 - 1e-5)


def refused(solver: Any, form: Formulation, problem: mfo.TwoLayerProblem, reason: str) -> None:
    """A refusal is a sentence, and asking all the same raises it."""
    assert len(reason) > 20
    assert reason.endswith((".", ")"))
    with pytest.raises(mfo.RefusalError) as caught:
        solve_formulation(solver, form, problem, ConicLimits(1e-6))
    assert reason in str(caught.value)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_dictionary_under_a_width_that_binds(name: str) -> None:
    """The masses fill the width, and the value lies above the one with free mass on the same atoms."""
    wide, narrow = problem_of("whitened 2"), mfo.problems.hypercube(2, width=0.3)
    atoms = atoms_of("whitened 2", False)
    answer = run_or_skip(SOLVERS[name], GroupLasso(atoms).lower(narrow))
    free = run_or_skip(SOLVERS[name], GroupLasso(atoms).lower(wide))
    lifted = GroupLasso(atoms).lift(narrow, answer)
    assert lifted.measure is not None
    assert lifted.measure.total_mass == pytest.approx(0.3, rel=1e-4)
    assert GroupLasso(atoms).lower(narrow).objective(answer.x) > GroupLasso(atoms).lower(wide).objective(free.x) * 1.1

"""What the laws of the backends run over: every registered backend, every named problem, and the known shortfalls.

Cells outside the default run are marked slow, never left out silently: what is left out stands in a table with its reason.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.backend import BACKENDS, Backend
from meanfield_opt.errors import LicenseError, MissingDependencyError
from meanfield_opt.formulation import ConicLimits, ConicProgram, ConicSolver
from meanfield_opt.plugins import FAMILIES
from meanfield_opt.problem import MeanFieldProblem

NAMES = mfo.backends(special=True)

#: relative accuracy a backend promises at its defaults; the rest promise 1e-6
ACCURACY = {"scs": 1e-5, "highs": 1e-4}


@dataclass(frozen=True)
class Case:
    """A named problem. everywhere: small enough for every backend in the default run; slow: for none of them.

    attained: how close to the best known energy a backend must come, where the default is too strict, with the reason.
    """

    family: str
    make: Callable[[], MeanFieldProblem]
    everywhere: bool = False
    slow: bool = False
    tolerance: float = 0.0
    why: str = ""


def planar(samples: int = 12, seed: int = 0, **extra: Any) -> mfo.TwoLayerProblem:
    """Random labels on two-dimensional data."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((samples, 2)), np.sign(rng.standard_normal((samples, 1)))
    return mfo.problems.dataset(x, y, **{"lambda1": 0.1, "lambda2": 0.1, "name": "planar", **extra})


def classes(samples: int = 8) -> mfo.TwoLayerProblem:
    """Softmax on two-dimensional data, three classes."""
    rng = np.random.default_rng(4)
    y = np.eye(3)[rng.integers(0, 3, samples)]
    return mfo.problems.dataset(rng.standard_normal((samples, 2)), y, loss="softmax", lambda1=0.1, lambda2=0.1)


def cube(latents: int = 2, **extra: Any) -> Callable[[], MeanFieldProblem]:
    return lambda: mfo.problems.hypercube(latents, **extra)


def lossy(loss: Any) -> Callable[[], MeanFieldProblem]:
    return lambda: mfo.problems.hypercube(2, loss=loss, lambda1=0.05, lambda2=0.05)


FLAT = "a nonsmooth loss: the search for its dual point ends earlier"

CASES: dict[str, Case] = {
    "whitened 2": Case("hypercube", cube(), everywhere=True),
    "whitened 3": Case("hypercube", cube(3)),
    "whitened 4": Case("hypercube", cube(4), slow=True),
    "aligned 2, a=0.5": Case("hypercube", cube(geometry="aligned", alignment=0.5), everywhere=True),
    "aligned 2, a=2": Case("hypercube", cube(geometry="aligned", alignment=2.0)),
    "aligned 3, a=0.5": Case("hypercube", cube(3, geometry="aligned", alignment=0.5)),
    "aligned 3, a=2": Case("hypercube", cube(3, geometry="aligned", alignment=2.0), slow=True),
    "anisotropic 3": Case("hypercube", cube(3, geometry="anisotropic", alignment=(0.0, 0.3, 0.8))),
    "three copies": Case("hypercube", cube(samples_per_class=3)),
    "linear": Case("hypercube", cube(activation="linear"), everywhere=True),
    "leaky relu": Case("hypercube", cube(activation="leaky_relu"), tolerance=1e-5),
    "absolute": Case("hypercube", cube(activation="absolute"), tolerance=1e-5),
    "zero is optimal": Case("hypercube", cube(lambda1=50.0, lambda2=50.0), everywhere=True),
    "narrow relu": Case("hypercube", cube(width=0.3)),
    "tanh, width 4": Case(
        "hypercube",
        cube(activation="tanh", width=4.0, lambda1=0.05, lambda2=0.05),
        slow=True,
        tolerance=1e-4,
        why="a discretised support slides to the best scale of a neuron by rounds only",
    ),
    "step": Case(
        "hypercube",
        cube(activation="step", lambda1=0.05, lambda2=0.05),
        tolerance=np.inf,
        why=("local search has no slopes to climb on steps: only the enumeration backend is held to the optimum"),
    ),
    "hinge": Case("hypercube", lossy("hinge"), slow=True, tolerance=1e-5, why=FLAT),
    "squared hinge": Case("hypercube", lossy("squared_hinge"), everywhere=True),
    "huber": Case("hypercube", lossy("huber"), everywhere=True),
    "logistic": Case("hypercube", lossy("logistic"), everywhere=True),
    "weighted": Case("hypercube", lossy(mfo.loss("weighted", sample_weights=(1.0, 2.0, 3.0, 1.0))), tolerance=1e-5),
    "free output bias": Case("hypercube", lossy(mfo.loss("output_bias", penalty=0.0))),
    "softmax": Case("dataset", classes, slow=True, tolerance=1e-5),
    "planar": Case("dataset", planar, tolerance=1e-5, why="many near-parallel atoms share the optimum"),
    "without bias": Case("dataset", lambda: planar(8, bias=False), tolerance=1e-5),
    "digits": Case(
        "digits",
        lambda: mfo.problems.digits(samples=20, components=2, lambda1=1.0, lambda2=1.0),
        slow=True,
        tolerance=1e-5,
    ),
    "pentagon": Case("stability_program", lambda: mfo.problems.stability_program("C5")),
    "planted quadratic": Case("planted_quadratic_program", lambda: mfo.problems.planted_quadratic_program(6, horns=0)),
    "indefinite quadratic": Case(
        "standard_quadratic_program",
        lambda: mfo.problems.standard_quadratic_program([[2, -1, 0], [-1, 3, 1], [0, 1, 4]]),
    ),
    "D-optimal design": Case("optimal_design", lambda: mfo.problems.optimal_design(2)),
}
CASES.update(
    {
        f"plug-in {name}": Case(name, FAMILIES.get(name))
        for name in FAMILIES.names()
        if not FAMILIES.builtin(name)
        and all(p.default is not p.empty for p in inspect.signature(FAMILIES.get(name)).parameters.values())
    }
)

#: backends that are quick enough to meet every problem in the default run; the others meet the small ones, the rest slowly
QUICK = {"closed_form", "column_generation", "clarabel", "enumeration", "copositive", "design"}

#: accuracy where a backend falls short of its promise today, with the reason
SHORTFALL: dict[tuple[str, str], tuple[float, str]] = {
    ("column_generation", "planar"): (1e-3, "its local search misses an atom that the enumerated relaxation shows"),
    ("highs", "tanh, width 4"): (1e-3, "tangents and rounds together end early"),
}

#: the same problem from fewer random candidates, where a large first support makes every round costly
FEWER = {"samples": 2}
OPTIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("picos", "tanh, width 4"): FEWER,
    ("highs", "tanh, width 4"): FEWER,
    ("highs", "anisotropic 3"): FEWER,
    ("highs", "whitened 3"): FEWER,
    ("highs", "digits"): FEWER,
    ("scs", "tanh, width 4"): {"samples": 2, "rounds": 12},  # later rounds gain less than is asked for
    ("scs", "aligned 2, a=2"): FEWER,
    ("scs", "aligned 3, a=2"): FEWER,
    ("highs", "aligned 3, a=2"): FEWER,
    ("highs", "whitened 4"): FEWER,
}


#: slow cells of more than a few seconds, which continuous integration leaves to a run by hand (pytest -m costly)
COSTLY_PROBLEMS = {"tanh, width 4", "digits", "hinge", "softmax", "weighted", "whitened 4", "planar", "leaky relu"}
COSTLY_CELLS = {("highs", "anisotropic 3"), ("highs", "whitened 3"), ("scs", "whitened 3")}


def is_costly(name: str, label: str) -> bool:
    """Whether a slow cell takes more than a few seconds."""
    return label in COSTLY_PROBLEMS or (name, label) in COSTLY_CELLS


def is_quick(name: str, label: str) -> bool:
    """Whether a cell belongs to the default run."""
    case = CASES[label]
    return case.everywhere or (name in QUICK and not case.slow and (name, label) not in SHORTFALL)


def cells() -> list[Any]:
    """(backend, problem) for all pairs; those of one problem go to one worker, which keeps their solutions."""
    return [pytest.param(name, label, marks=marks_of(name, label)) for name in NAMES for label in CASES]


def marks_of(name: str, label: str) -> list[Any]:
    """Marks of a cell."""
    marks = [pytest.mark.xdist_group(label)]
    if not is_quick(name, label):
        marks.append(pytest.mark.slow)
        if is_costly(name, label):
            marks.append(pytest.mark.costly)
    return marks


def backend_here(name: str) -> Backend:
    """The backend, if its solver is installed."""
    backend = BACKENDS.get(name)
    state = backend.availability()
    if not state.installed:
        pytest.skip(str(state.reason))
    return backend


def solve_or_skip(problem: MeanFieldProblem, name: str, **options: Any) -> mfo.Solution:
    """Skips only a commercial solver without a licence, and what is not installed."""
    try:
        return mfo.solve(problem, name, **options)
    except LicenseError as error:
        if name != "mosek":
            raise
        pytest.skip(str(error))
    except MissingDependencyError as error:
        pytest.skip(str(error))


@cache
def problem_named(label: str) -> MeanFieldProblem:
    return CASES[label].make()


@cache
def solution_of(name: str, label: str) -> mfo.Solution:
    return solve_or_skip(problem_named(label), name, **OPTIONS.get((name, label), {}))


@cache
def certificate_of(name: str, label: str) -> Any:
    return mfo.certify(problem_named(label), solution_of(name, label), time_limit=1.0, workers=1)


@cache
def reference(label: str) -> float:
    """The known energy, or for other problems the best of the exact backends, the enumerated relaxation, and the default."""
    problem = problem_named(label)
    if problem.known is not None and problem.known.provenance != "conjectured":
        return problem.known.energy
    for name in ("closed_form", "enumeration", "copositive", "design"):
        if BACKENDS.get(name).refusal(problem) is None:
            return solution_of(name, label).energy
    if label == "planar":
        return mfo.solve(problem, "clarabel", formulation="arrangement_sdp").energy
    found = [
        solution_of(name, label).energy for name in ("clarabel", "column_generation", "cvxpy") if accepts(name, label)
    ]
    return min(found)


def accepts(name: str, label: str) -> bool:
    """Whether a backend takes the problem, without asking whether its solver is here."""
    return BACKENDS.get(name).refusal(problem_named(label)) is None


def tolerance_of(name: str, label: str) -> float:
    if (name, label) in SHORTFALL:
        return SHORTFALL[name, label][0]
    if name in ("closed_form", "enumeration"):
        return 1e-9
    return max(ACCURACY.get(name, 1e-6), CASES[label].tolerance)


#: the conic solvers behind backends, a plug-in's too
SOLVERS: dict[str, ConicSolver] = {name: conic for name in NAMES if (conic := BACKENDS.get(name).conic) is not None}


def run_or_skip(solver: ConicSolver, program: ConicProgram, limits: ConicLimits | None = None) -> Any:
    """The answer of a conic solver, which must leave the program as it was."""
    before = (program.a.toarray(), program.b.copy(), program.c.copy())
    try:
        answer = solver.solve(program, limits or ConicLimits(1e-9), solver.options_type())
    except LicenseError as error:
        assert solver.name == "mosek"
        pytest.skip(str(error))
    except MissingDependencyError as error:
        pytest.skip(str(error))
    for kept, now in zip(before, (program.a.toarray(), program.b, program.c)):
        np.testing.assert_array_equal(kept, now, "an adapter changed the program it was given")
    return answer

"""PICOS, with CVXOPT unless another of its solvers is named."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from meanfield_opt.backend import Availability
from meanfield_opt.errors import InputError, LicenseError, MissingDependencyError
from meanfield_opt.formulation import ConicAnswer, ConicLimits, ConicProgram, ConicSolver
from meanfield_opt.formulation.solver import import_solver, map_status, package_availability, recorded_warnings
from meanfield_opt.formulation.symmetric import svec, unpacking
from meanfield_opt.solution import Status

from .conic import NO_LICENCE, USABLE, ConicBackend

Array = NDArray[np.float64]

#: (claimed state of the primal solution, problem state) are words of PICOS
STATUSES = {
    "optimal": Status.SOLVED,
    "feasible": Status.INACCURATE,
    "infeasible": Status.FAILED,
    "unknown": Status.FAILED,
    "failure": Status.FAILED,
    "premature": Status.ITERATION_LIMIT,
    "empty": Status.FAILED,
}
PROBLEM_STATES = {
    "infeasible": Status.INFEASIBLE,
    "unbounded": Status.UNBOUNDED,
    "ambiguous": Status.FAILED,
    "illposed": Status.FAILED,
    "feasible": None,
    "unknown": None,
}

#: floors of the tolerances asked of CVXOPT: below them its residuals stall, and it runs on to its iteration limit (lifts over
#: singular inputs end at residuals of 2e-8, and grow from there)
FEASIBILITY, GAP = 1e-7, 1e-8

NAMES = ("cvxopt", "mosek", "ecos")


@dataclass(frozen=True)
class PicosOptions:
    """solver: cvxopt (the default, always), or another that PICOS finds: mosek, ecos."""

    solver: str = "cvxopt"

    def __post_init__(self) -> None:
        if self.solver not in NAMES:
            raise InputError(f"solver must be one of {', '.join(NAMES)}, not {self.solver!r}.")


def _load() -> Any:
    import picos

    return picos


@contextmanager
def _own_cvxopt_options() -> Iterator[None]:
    """PICOS leaves its limits in CVXOPT's global options, where every later user of CVXOPT would inherit them."""
    from cvxopt import solvers

    before = dict(solvers.options)
    try:
        yield
    finally:
        solvers.options.clear()
        solvers.options.update(before)


class _TimeUp(Exception):
    """The time limit has passed inside CVXOPT."""


@contextmanager
def _clock(limit: float) -> Iterator[None]:
    """A clock for CVXOPT, which has none: its factorisations, one an iteration, look at the time first and raise _TimeUp.

    Like the options above they are CVXOPT's own global names, put back afterwards.
    """
    from cvxopt import misc

    deadline = time.perf_counter() + limit
    before = {name: getattr(misc, name) for name in ("kkt_chol", "kkt_ldl")}

    def timed(make: Any) -> Any:
        def prepare(*arguments: Any, **named: Any) -> Any:
            factor = make(*arguments, **named)

            def checked(*scaling: Any) -> Any:
                if time.perf_counter() > deadline:
                    raise _TimeUp
                return factor(*scaling)

            return checked

        return prepare

    try:
        if math.isfinite(limit):
            for name, make in before.items():
                setattr(misc, name, timed(make))
        yield
    finally:
        for name, make in before.items():
            setattr(misc, name, make)


@dataclass(frozen=True)
class PicosSolver(ConicSolver):
    """The conic program as a PICOS problem."""

    name = "picos"
    cones = frozenset({"zero", "nonnegative", "second_order", "psd"})
    options_type = PicosOptions

    def availability(self) -> Availability:
        picos = package_availability("picos", "PICOS", "picos")
        if not picos.installed:
            return picos
        cvxopt = package_availability("cvxopt", "cvxopt", "picos")
        return picos if cvxopt.installed else cvxopt

    def licence(self) -> str:
        return "open source (GPL-3.0, with CVXOPT, GPL-3.0)"

    def solve(self, program: ConicProgram, limits: ConicLimits, options: Any) -> ConicAnswer:
        picos = import_solver(self.name, self.availability(), _load)
        begin = time.perf_counter()
        with recorded_warnings() as record, _own_cvxopt_options():
            problem, x, constraints = _model(picos, program)
            problem.options.solver = options.solver
            problem.options.verbosity = 0
            problem.options.primals = None
            problem.options.duals = None
            for key in ("abs_prim_fsb_tol", "rel_prim_fsb_tol", "abs_dual_fsb_tol", "rel_dual_fsb_tol"):
                problem.options[key] = max(limits.tolerance, FEASIBILITY)
            problem.options.abs_ipm_opt_tol = problem.options.rel_ipm_opt_tol = max(limits.tolerance, GAP)
            if math.isfinite(limits.time_limit):
                problem.options.timelimit = None if options.solver == "cvxopt" else limits.time_limit
            if limits.max_iterations is not None:
                problem.options.max_iterations = limits.max_iterations
            setup = time.perf_counter() - begin
            try:
                with _clock(limits.time_limit - setup if options.solver == "cvxopt" else math.inf):
                    solution = problem.solve()
            except _TimeUp:
                seconds = time.perf_counter() - begin - setup
                words = record.words("cvxopt: stopped at the time limit, without a point")
                return ConicAnswer(Status.TIME_LIMIT, None, None, words, None, setup, seconds)
            except picos.SolutionFailure as failure:
                return ConicAnswer(Status.FAILED, None, None, record.words(f"{options.solver}: {failure}"))
            except (ValueError, ArithmeticError) as failure:
                # CVXOPT's scaling takes roots of what rounding made negative
                if options.solver != "cvxopt":
                    raise
                return ConicAnswer(Status.FAILED, None, None, record.words(f"cvxopt broke down: {failure}"))
            except Exception as error:
                if "licen" in str(error).lower():
                    raise LicenseError(NO_LICENCE) from error
                if "not available" in str(error).lower():
                    raise MissingDependencyError(f"PICOS does not find the solver {options.solver}: {error}") from error
                raise
        seconds = time.perf_counter() - begin - setup
        words = f"{options.solver}: primal {solution.primalStatus}, problem {solution.problemStatus}"
        state = map_status(PROBLEM_STATES, solution.problemStatus, self.name)
        status = map_status(STATUSES, solution.primalStatus, self.name) if state is None else state
        if status is Status.FAILED and limits.max_iterations is not None:
            status = Status.ITERATION_LIMIT if solution.primals else Status.FAILED
        if seconds > limits.time_limit:
            status = Status.TIME_LIMIT if status in USABLE else status
        status = record.status(status)
        value = x.value
        if value is None or status not in USABLE:
            return ConicAnswer(status, None, None, record.words(words), None, setup, seconds)
        point = np.array(value, dtype=np.float64).ravel()
        return ConicAnswer(status, point, _multipliers(program, constraints), record.words(words), None, setup, seconds)


def _model(picos: Any, program: ConicProgram) -> tuple[Any, Any, list[Any]]:
    problem = picos.Problem()
    x = picos.RealVariable("x", program.c.size)
    problem.minimize = _constant(picos, program.c[None, :]) * x + program.offset
    rows_of = program.a.tocsr()
    constraints = []
    for kind, rows, size in program.cones.blocks():
        a, b = rows_of[rows], program.b[rows]
        if kind == "zero":
            constraints.append(problem.add_constraint(_affine(picos, a, b, x) == 0))
        elif kind == "nonnegative":
            constraints.append(problem.add_constraint(_affine(picos, a, b, x) >= 0))
        elif kind == "second_order":
            s = _affine(picos, a, b, x)
            constraints.append(problem.add_constraint(s << picos.SecondOrderCone()))
        else:
            lift = unpacking(size)
            s = _affine(picos, sparse.csr_array(lift @ a), np.asarray(lift @ b), x)
            constraints.append(problem.add_constraint(s.reshaped((size, size)).hermitianized >> 0))
    return problem, x, constraints


def _affine(picos: Any, a: Any, b: Array, x: Any) -> Any:
    return picos.Constant(b) - _constant(picos, a) * x


def _constant(picos: Any, matrix: Any) -> Any:
    """A PICOS constant of a sparse matrix, by way of CVXOPT's own type."""
    from cvxopt import spmatrix

    coo = sparse.coo_array(matrix)
    rows, columns = coo.coords
    values = spmatrix(coo.data.tolist(), rows.tolist(), columns.tolist(), size=coo.shape)
    return picos.Constant("A", values, coo.shape)


def _multipliers(program: ConicProgram, constraints: list[Any]) -> Array | None:
    """y in the project's signs."""
    y = np.zeros(program.b.size)
    for (kind, rows, size), constraint in zip(program.cones.blocks(), constraints):
        value = constraint.dual
        if value is None:
            return None
        dual = np.array(value, dtype=np.float64)
        if kind == "psd":
            dual = dual.reshape(size, size)
            y[rows] = svec(0.5 * (dual + dual.T))
        else:
            y[rows] = dual.ravel()
    return y


SOLVER = PicosSolver()
BACKEND = ConicBackend(SOLVER, "PICOS with CVXOPT (or another solver by name): discretised support, relaxations")

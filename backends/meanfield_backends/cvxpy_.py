"""CVXPY with a solver named explicitly, on a discretised support; any loss with a cvxpy expression."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.backend import Availability, Backend, SolveOptions
from meanfield_opt.errors import InputError, LicenseError, MissingDependencyError, RefusalError, SolveError
from meanfield_opt.formulation import ConicAnswer, ConicLimits, ConicProgram, ConicSolver, Lifted
from meanfield_opt.formulation.group_lasso import NEGLIGIBLE
from meanfield_opt.formulation.loss_terms import loss_refusal
from meanfield_opt.formulation.program import CONES
from meanfield_opt.formulation.solver import (
    Recorded,
    import_solver,
    map_status,
    package_availability,
    recorded_warnings,
)
from meanfield_opt.formulation.symmetric import svec, unpacking
from meanfield_opt.measure import Measure
from meanfield_opt.problem import MeanFieldProblem, TwoLayerProblem
from meanfield_opt.solution import Solution, Status

from .conic import NO_LICENCE, USABLE, ConicBackend, accepted, in_width, not_attained, split_options
from .refine import Refinement

Array = NDArray[np.float64]

STATUSES = {
    "optimal": Status.SOLVED,
    "optimal_inaccurate": Status.INACCURATE,
    "infeasible": Status.INFEASIBLE,
    "infeasible_inaccurate": Status.INFEASIBLE,
    "unbounded": Status.UNBOUNDED,
    "unbounded_inaccurate": Status.UNBOUNDED,
    "infeasible_or_unbounded": Status.FAILED,
    "user_limit": Status.ITERATION_LIMIT,
    "solver_error": Status.FAILED,
    None: Status.FAILED,
}

#: the objective is handed over times this factor: small objectives end early in Clarabel (see clarabel_.py)
OBJECTIVE_SCALE = 100.0

#: how each solver spells tolerance, time limit and iteration limit; only these may be named
SETTINGS: dict[str, tuple[tuple[str, ...], str | None, str]] = {
    "CLARABEL": (("tol_gap_abs", "tol_gap_rel", "tol_feas"), "time_limit", "max_iter"),
    "SCS": (("eps_abs", "eps_rel"), "time_limit_secs", "max_iters"),
    "CVXOPT": (("abstol", "reltol", "feastol"), None, "max_iters"),
    "MOSEK": ((), None, ""),
}


@dataclass(frozen=True)
class CvxpyOptions:
    """solver: CLARABEL (the default, always), SCS, CVXOPT or MOSEK."""

    solver: str = "CLARABEL"

    def __post_init__(self) -> None:
        if self.solver not in SETTINGS:
            raise InputError(f"solver must be one of {', '.join(SETTINGS)}, not {self.solver!r}.")


def _load() -> Any:
    import cvxpy

    return cvxpy


def settings_for(name: str, limits: ConicLimits) -> dict[str, Any]:
    """Keyword arguments of ``Problem.solve`` for that solver; InputError for a limit it cannot take."""
    tolerances, clock, counter = SETTINGS[name]
    floor = 1e-8 if name in ("SCS", "CVXOPT") else 1e-11
    out: dict[str, Any] = {key: max(limits.tolerance, floor) for key in tolerances}
    if math.isfinite(limits.time_limit):
        if name == "MOSEK":
            out["mosek_params"] = {"MSK_DPAR_OPTIMIZER_MAX_TIME": limits.time_limit}
        elif clock is None:
            raise InputError(f"cvxpy's {name} has no time limit; choose another solver or leave the limit out.")
        else:
            out[clock] = limits.time_limit
    if limits.max_iterations is not None and counter:
        out[counter] = limits.max_iterations
    return out


def run_problem(
    cvxpy: Any, problem: Any, name: str, limits: ConicLimits
) -> tuple[Status, str, float, float, int | None]:
    """(status, words, setup seconds, seconds, iterations) of one solve; the point is in the problem's variables."""
    if name not in cvxpy.installed_solvers():
        raise MissingDependencyError(f"cvxpy does not find the solver {name}; install it or name another.")
    begin = time.perf_counter()
    record: Recorded
    with recorded_warnings() as record:
        try:
            problem.solve(solver=name, **settings_for(name, limits))
        except cvxpy.error.SolverError as error:
            if "license" in str(error).lower() or "licence" in str(error).lower():
                raise LicenseError(NO_LICENCE) from error
            return Status.FAILED, f"{name}: {error}", 0.0, time.perf_counter() - begin, None
        except Exception as error:
            if "mosek" in type(error).__module__.lower() and "licen" in str(error).lower():
                raise LicenseError(NO_LICENCE) from error
            raise
    status = map_status(STATUSES, problem.status, "cvxpy")
    seconds = time.perf_counter() - begin
    if status is Status.ITERATION_LIMIT and seconds >= limits.time_limit:
        status = Status.TIME_LIMIT
    record[:] = [text for text in record if "inaccurate" not in text or status is Status.SOLVED]
    stats = problem.solver_stats
    iterations = None if stats is None or stats.num_iters is None else int(stats.num_iters)
    inner = float(stats.solve_time) if stats is not None and stats.solve_time is not None else seconds
    return (
        record.status(status),
        record.words(f"{name}: {problem.status}"),
        max(seconds - inner, 0.0),
        inner,
        iterations,
    )


@dataclass(frozen=True)
class CvxpySolver(ConicSolver):
    """The conic program written in cvxpy, for any of the solvers it is told to use."""

    name = "cvxpy"
    cones = frozenset(CONES)
    options_type = CvxpyOptions

    def availability(self) -> Availability:
        return package_availability("cvxpy", "cvxpy", None)

    def licence(self) -> str:
        return "open source (Apache-2.0); MOSEK through it needs its own licence"

    def solve(self, program: ConicProgram, limits: ConicLimits, options: Any) -> ConicAnswer:
        if program.cones.exponential and options.solver == "CVXOPT":
            raise RefusalError("cvxpy's CVXOPT does not take the exponential cone; name CLARABEL, SCS or MOSEK.")
        cvxpy = import_solver(self.name, self.availability(), _load)
        begin = time.perf_counter()
        problem, x, constraints = model(cvxpy, program)
        status, words, setup, seconds, iterations = run_problem(cvxpy, problem, options.solver, limits)
        setup += time.perf_counter() - begin - setup - seconds
        if x.value is None or status not in USABLE:
            return ConicAnswer(status, None, None, words, iterations, setup, seconds)
        return ConicAnswer(
            status, np.asarray(x.value), _multipliers(program, constraints), words, iterations, setup, seconds
        )


def model(cvxpy: Any, program: ConicProgram) -> tuple[Any, Any, list[Any]]:
    """(cvxpy problem, variable, one constraint a block)."""
    x = cvxpy.Variable(program.c.size)
    constraints = []
    rows_of = program.a.tocsr()
    for kind, rows, size in grouped(program):
        s = program.b[rows] - rows_of[rows] @ x
        if kind == "zero":
            constraints.append(s == 0)
        elif kind == "nonnegative":
            constraints.append(s >= 0)
        elif kind == "second_order":
            columns = cvxpy.reshape(s, (size, (rows.stop - rows.start) // size), order="F")
            constraints.append(cvxpy.SOC(columns[0, :], columns[1:, :], axis=0))
        elif kind == "psd":
            constraints.append(cvxpy.reshape(unpacking(size) @ s, (size, size), order="F") >> 0)
        else:
            columns = cvxpy.reshape(s, (3, (rows.stop - rows.start) // 3), order="F")
            constraints.append(cvxpy.ExpCone(columns[0, :], columns[1, :], columns[2, :]))
    return (
        cvxpy.Problem(cvxpy.Minimize(OBJECTIVE_SCALE * (program.c @ x + program.offset)), constraints),
        x,
        constraints,
    )


def grouped(program: ConicProgram) -> list[tuple[str, slice, int]]:
    """The blocks, runs of second-order cones of one length, or of exponential cones, taken together: one constraint."""
    out: list[tuple[str, slice, int]] = []
    for kind, rows, size in program.cones.blocks():
        if kind in ("second_order", "exponential") and out and out[-1][0] == kind and out[-1][2] == size:
            out[-1] = (kind, slice(out[-1][1].start, rows.stop), size)
        else:
            out.append((kind, rows, size))
    return out


def _multipliers(program: ConicProgram, constraints: list[Any]) -> Array | None:
    """y in the project's signs: the Lagrangian is c . x - y . s."""
    y = np.zeros(program.b.size)
    for (kind, rows, size), constraint in zip(grouped(program), constraints):
        value = constraint.dual_value
        if value is None:
            return None
        if kind == "zero":
            y[rows] = -np.ravel(value)
        elif kind == "nonnegative":
            y[rows] = np.ravel(value)
        elif kind == "second_order":
            bound = np.reshape(value[0], (1, -1))
            y[rows] = np.vstack([bound, np.reshape(value[1], (size - 1, bound.size))]).ravel(order="F")
        elif kind == "psd":
            y[rows] = svec(0.5 * (value + value.T))
        else:
            y[rows] = np.vstack([np.ravel(part) for part in value]).ravel(order="F")
    return y / OBJECTIVE_SCALE


def expression_step(
    cvxpy: Any, problem: TwoLayerProblem, atoms: Array, limits: ConicLimits, name: str
) -> tuple[Lifted, ConicAnswer]:
    """The group lasso with the loss's own cvxpy expression; masses appear explicitly under a width."""
    cost = problem.geometry.cost(atoms)
    features = problem.features(atoms) / np.sqrt(cost)[:, None]
    v = cvxpy.Variable((problem.n_outputs, atoms.shape[0]))
    outputs = cvxpy.Variable(problem.targets.shape)
    fit = problem.loss.expression(outputs, problem.targets)
    link = outputs == v @ features
    constraints = [link]
    if problem.width is None:
        penalty = 2.0 * math.sqrt(problem.lambda1 * problem.lambda2) * cvxpy.sum(cvxpy.norm(v, 2, axis=0))
    else:
        m = cvxpy.Variable(atoms.shape[0], nonneg=True)
        u = cvxpy.Variable(atoms.shape[0])
        constraints.append(cvxpy.sum(cvxpy.multiply(1.0 / cost, m)) <= problem.width)
        constraints.append(
            cvxpy.SOC(u + m, cvxpy.vstack([2.0 * v, cvxpy.reshape(u - m, (1, m.size), order="C")]), axis=0)
        )
        penalty = problem.lambda1 * cvxpy.sum(m) + problem.lambda2 * cvxpy.sum(u)
    status, words, setup, seconds, iterations = run_problem(
        cvxpy, cvxpy.Problem(cvxpy.Minimize(fit + penalty), constraints), name, limits
    )
    if v.value is None or status not in USABLE:
        raise SolveError(f"cvxpy found no solution of the group lasso: {words}.")
    if problem.width is None:
        masses = math.sqrt(problem.lambda2 / problem.lambda1) * np.linalg.norm(v.value, axis=0) / cost
    else:
        masses = np.maximum(m.value, 0.0) / cost
        masses *= min(1.0, problem.width / max(float(masses.sum()), 1e-300))
    keep = masses > NEGLIGIBLE * max(float(masses.max(initial=0.0)), 1e-300)
    answer = ConicAnswer(status, np.ravel(v.value), None, words, iterations, setup, seconds)
    # its Lagrangian is L(F) + <multiplier, F - V Phi>, so the multiplier is -grad L = Z
    dual = None if link.dual_value is None else np.asarray(link.dual_value, dtype=np.float64)
    return Lifted(Measure(atoms[keep], masses[keep]), dual), answer


class CvxpyBackend(Backend):
    """Losses with a residual or an exponential form go through the conic program like in every other conic backend; others by their cvxpy
    expression."""

    name = "cvxpy"
    summary = (
        "CVXPY with a named solver (CLARABEL unless told otherwise): discretised support, any loss, conic relaxations"
    )
    conic = CvxpySolver()

    def availability(self) -> Availability:
        return self.conic.availability()

    def refusal(self, problem: MeanFieldProblem) -> str | None:
        if not isinstance(problem, TwoLayerProblem):
            return f"conic formulations are for two-layer problems, not {type(problem).__name__}."
        return not_attained(problem)

    def solve(self, problem: MeanFieldProblem, options: SolveOptions) -> Solution:
        problem = accepted(self, problem)
        if problem.width is not None and not problem.width_binds:
            return in_width(problem, self.solve(problem.with_free_mass(), options))
        if loss_refusal(problem) is None:
            return ConicBackend(self.conic, self.summary).solve(problem, options)
        grid, own = split_options(self.conic, options.extra)
        if grid.formulation != "group_lasso":
            raise RefusalError(f"the {problem.loss.name} loss is held by the group_lasso formulation only.")
        cvxpy = import_solver(self.name, self.availability(), _load)

        def step(atoms: Array, limits: ConicLimits) -> tuple[Lifted, ConicAnswer]:
            return expression_step(cvxpy, problem, atoms, limits, own.solver)

        return Refinement(problem, options, grid, self.name, step).solve()


BACKEND = CvxpyBackend()

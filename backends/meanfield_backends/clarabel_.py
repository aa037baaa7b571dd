"""Clarabel, called directly (interior point; all cones)."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from meanfield_opt.backend import Availability
from meanfield_opt.errors import InputError
from meanfield_opt.formulation import ConicAnswer, ConicLimits, ConicProgram, ConicSolver
from meanfield_opt.formulation.program import CONES
from meanfield_opt.formulation.solver import import_solver, map_status, package_availability, recorded_warnings
from meanfield_opt.formulation.symmetric import upper_order
from meanfield_opt.solution import Status
from meanfield_opt.validate import positive

from .conic import ConicBackend

STATUSES = {
    "Solved": Status.SOLVED,
    "AlmostSolved": Status.INACCURATE,
    "PrimalInfeasible": Status.INFEASIBLE,
    "AlmostPrimalInfeasible": Status.INFEASIBLE,
    "DualInfeasible": Status.UNBOUNDED,
    "AlmostDualInfeasible": Status.UNBOUNDED,
    "MaxIterations": Status.ITERATION_LIMIT,
    "MaxTime": Status.TIME_LIMIT,
    "NumericalError": Status.FAILED,
    "InsufficientProgress": Status.INACCURATE,
    "CallbackTerminated": Status.INTERRUPTED,
    "Unsolved": Status.FAILED,
}


@dataclass(frozen=True)
class ClarabelOptions:
    """Names as in Clarabel's settings, and objective_scale: the objective is handed over times this factor, because small
    objectives end early (order-32 lifts: relative error 3e-6 at 1, 3e-8 at 100, same tolerance, Clarabel 0.11.1)."""

    direct_solve_method: str = "qdldl"
    presolve_enable: bool = True
    chordal_decomposition_enable: bool = True
    max_step_fraction: float = 0.99
    objective_scale: float = 100.0

    def __post_init__(self) -> None:
        if not 0 < positive(self.max_step_fraction, "max_step_fraction") < 1:
            raise InputError(f"max_step_fraction must lie in (0, 1), not {self.max_step_fraction!r}.")
        positive(self.objective_scale, "objective_scale")


@dataclass(frozen=True)
class ClarabelSolver(ConicSolver):
    """Rows pass unchanged except PSD blocks, whose triangle is listed the other way round."""

    name = "clarabel"
    cones = frozenset(CONES)
    options_type = ClarabelOptions

    def availability(self) -> Availability:
        return package_availability("clarabel", "clarabel", None)

    def licence(self) -> str:
        return "open source (Apache-2.0)"

    def solve(self, program: ConicProgram, limits: ConicLimits, options: Any) -> ConicAnswer:
        clarabel = import_solver(self.name, self.availability(), _load)
        begin = time.perf_counter()
        order, a, b, cones = _translate(clarabel, program)
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        settings.max_threads = 1
        settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = limits.tolerance
        settings.direct_solve_method = options.direct_solve_method
        settings.presolve_enable = options.presolve_enable
        settings.chordal_decomposition_enable = options.chordal_decomposition_enable
        settings.max_step_fraction = options.max_step_fraction
        if math.isfinite(limits.time_limit):
            settings.time_limit = limits.time_limit
        if limits.max_iterations is not None:
            settings.max_iter = limits.max_iterations
        n = program.c.size
        with recorded_warnings() as record:
            try:
                solver = clarabel.DefaultSolver(
                    sparse.csc_matrix((n, n)), options.objective_scale * program.c, a, b, cones, settings
                )
            except Exception as error:  # Clarabel has no type of its own for a method that it was built without
                raise InputError(f"clarabel takes no such options: {error}.") from error
            setup = time.perf_counter() - begin
            result = solver.solve()
        word = str(result.status)
        status = record.status(map_status(STATUSES, word, self.name))
        x, z = np.array(result.x), np.array(result.z)
        found = status not in (Status.INFEASIBLE, Status.UNBOUNDED, Status.FAILED)
        y = np.empty_like(z)
        y[order] = z / options.objective_scale
        seconds = time.perf_counter() - begin - setup
        return ConicAnswer(
            status,
            x if found else None,
            y if found else None,
            record.words(word),
            int(result.iterations),
            setup,
            seconds,
        )


def _load() -> Any:
    import clarabel

    return clarabel


def _translate(clarabel: Any, program: ConicProgram) -> tuple[Any, Any, Any, list[Any]]:
    """(order, A, b, cones) with Clarabel's rows = our rows[order]."""
    order = np.arange(program.b.size)
    cones: list[Any] = []
    for kind, rows, size in program.cones.blocks():
        if kind == "zero":
            cones.append(clarabel.ZeroConeT(size))
        elif kind == "nonnegative":
            cones.append(clarabel.NonnegativeConeT(size))
        elif kind == "second_order":
            cones.append(clarabel.SecondOrderConeT(size))
        elif kind == "psd":
            cones.append(clarabel.PSDTriangleConeT(size))
            order[rows] = rows.start + upper_order(size)
        else:
            cones.append(clarabel.ExponentialConeT())
    if not program.cones.psd:
        return order, sparse.csc_matrix(program.a), program.b, cones
    inverse = np.empty_like(order)
    inverse[order] = np.arange(order.size)
    a = program.a
    moved = sparse.csc_matrix((a.data.copy(), inverse[a.indices], a.indptr), shape=a.shape)  # sorted in place
    moved.sort_indices()
    return order, moved, program.b[order], cones


SOLVER = ClarabelSolver()
BACKEND = ConicBackend(SOLVER, "interior point (Clarabel, direct): discretised support and conic relaxations")

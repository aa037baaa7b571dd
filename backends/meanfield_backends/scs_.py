"""SCS, called directly (first-order splitting; its cone order and svec are the project's own)."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from meanfield_opt.backend import Availability
from meanfield_opt.formulation import ConicAnswer, ConicLimits, ConicProgram, ConicSolver
from meanfield_opt.formulation.program import CONES
from meanfield_opt.formulation.solver import import_solver, map_status, package_availability, recorded_warnings
from meanfield_opt.solution import Status
from meanfield_opt.validate import integer, positive

from .conic import ConicBackend

STATUSES = {
    1: Status.SOLVED,
    2: Status.INACCURATE,
    -1: Status.UNBOUNDED,
    -2: Status.INFEASIBLE,
    -3: Status.FAILED,
    -4: Status.FAILED,
    -5: Status.INTERRUPTED,
    -6: Status.FAILED,
    -7: Status.FAILED,
}
#: SCS tells a limit in words only
INACCURATE = (2, -6, -7)


@dataclass(frozen=True)
class SCSOptions:
    """Names as in SCS's settings; ``eps`` None follows the tolerance asked for, but not below 1e-8."""

    max_iters: int = 100_000
    acceleration_lookback: int = 10
    scale: float = 0.1
    normalize: bool = True
    eps: float | None = None

    def __post_init__(self) -> None:
        integer(self.max_iters, "max_iters", least=1)
        integer(self.acceleration_lookback, "acceleration_lookback", least=0)
        positive(self.scale, "scale")
        if self.eps is not None:
            positive(self.eps, "eps")


@dataclass(frozen=True)
class SCSSolver(ConicSolver):
    """The program passes as it is."""

    name = "scs"
    cones = frozenset(CONES)
    options_type = SCSOptions

    def availability(self) -> Availability:
        return package_availability("scs", "scs", None)

    def licence(self) -> str:
        return "open source (MIT)"

    def solve(self, program: ConicProgram, limits: ConicLimits, options: Any) -> ConicAnswer:
        scs = import_solver(self.name, self.availability(), _load)
        begin = time.perf_counter()
        cones = program.cones
        # SCS normalises b and c only jointly: a unit-size objective keeps its relative tolerances meaningful
        size = max(float(np.abs(program.c).max(initial=0.0)), 1e-300)
        data = {"A": sparse.csc_matrix(program.a), "b": program.b, "c": program.c / size}
        cone = {
            "z": cones.zero,
            "l": cones.nonnegative,
            "q": list(cones.second_order),
            "s": list(cones.psd),
            "ep": cones.exponential,
        }
        eps = max(limits.tolerance, 1e-8) if options.eps is None else options.eps
        settings = {
            "verbose": False,
            "eps_abs": eps,
            "eps_rel": eps,
            "max_iters": options.max_iters if limits.max_iterations is None else limits.max_iterations,
            "acceleration_lookback": options.acceleration_lookback,
            "scale": options.scale,
            "normalize": options.normalize,
            "time_limit_secs": limits.time_limit if math.isfinite(limits.time_limit) else 0.0,
        }
        with recorded_warnings() as record:
            solver = scs.SCS(data, cone, **settings)
            setup = time.perf_counter() - begin
            result = solver.solve()
        info = result["info"]
        word = str(info["status"])
        status = map_status(STATUSES, int(info["status_val"]), self.name)
        if int(info["status_val"]) in INACCURATE:
            if "time_limit" in word:
                status = Status.TIME_LIMIT
            elif "max_iters" in word:
                status = Status.ITERATION_LIMIT
        status = record.status(status)
        x, y = np.asarray(result["x"]), np.asarray(result["y"]) * size
        found = int(info["status_val"]) in (1, 2) and np.isfinite(x).all()
        return ConicAnswer(
            status,
            x if found else None,
            y if found else None,
            record.words(word),
            int(info["iter"]),
            setup,
            time.perf_counter() - begin - setup,
        )


def _load() -> Any:
    import scs

    return scs


SOLVER = SCSSolver()
BACKEND = ConicBackend(SOLVER, "first-order splitting (SCS, direct): discretised support and conic relaxations")

"""HiGHS, called directly: linear programs, and second-order cones by polyhedral outer approximation."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.backend import Availability
from meanfield_opt.errors import SolveError
from meanfield_opt.formulation import ConicAnswer, ConicLimits, ConicProgram, ConicSolver
from meanfield_opt.formulation.solver import import_solver, map_status, package_availability, recorded_warnings
from meanfield_opt.solution import Status
from meanfield_opt.validate import integer, positive

from .conic import ConicBackend

Array = NDArray[np.float64]
Index = NDArray[np.int32]

STATUSES = {
    "kOptimal": Status.SOLVED,
    "kInfeasible": Status.INFEASIBLE,
    "kUnbounded": Status.UNBOUNDED,
    "kUnboundedOrInfeasible": Status.FAILED,
    "kIterationLimit": Status.ITERATION_LIMIT,
    "kTimeLimit": Status.TIME_LIMIT,
    "kInterrupt": Status.INTERRUPTED,
    "kHighsInterrupt": Status.INTERRUPTED,
    "kModelEmpty": Status.SOLVED,
    "kNotset": Status.FAILED,
    "kLoadError": Status.FAILED,
    "kModelError": Status.FAILED,
    "kPresolveError": Status.FAILED,
    "kSolveError": Status.FAILED,
    "kPostsolveError": Status.FAILED,
    "kObjectiveBound": Status.FAILED,
    "kObjectiveTarget": Status.FAILED,
    "kUnknown": Status.FAILED,
    "kSolutionLimit": Status.ITERATION_LIMIT,
    "kMemoryLimit": Status.FAILED,
}


#: after these a warm start is given up and the same linear program is solved afresh, once
RESTART = ("kNotset", "kUnknown", "kSolveError")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HighsOptions:
    """cut_rounds: rounds of cuts a program. directions: tangents per coordinate at the start. cut_tolerance: relative cone
    violation at which the polyhedral approximation counts as exact."""

    cut_rounds: int = 40
    directions: int = 9
    cut_tolerance: float = 1e-7

    def __post_init__(self) -> None:
        integer(self.cut_rounds, "cut_rounds", least=1)
        integer(self.directions, "directions", least=2)
        positive(self.cut_tolerance, "cut_tolerance")


def _load() -> Any:
    import highspy

    return highspy


@dataclass(frozen=True)
class HighsSolver(ConicSolver):
    """A cone t >= |u| becomes sum_i w_i <= t with tangents w_i >= 2 a u_i - a^2 t of u_i^2 <= t w_i (Vielma et al. 2017);
    each round adds the tangents at a = u_i / t until the cones hold. An outer approximation: the value approaches the
    optimum from below, and the multipliers form an exactly cone-feasible dual point."""

    name = "highs"
    cones = frozenset({"zero", "nonnegative", "second_order"})
    options_type = HighsOptions

    def availability(self) -> Availability:
        return package_availability("highspy", "highspy", "highs")

    def licence(self) -> str:
        return "open source (MIT)"

    def solve(self, program: ConicProgram, limits: ConicLimits, options: Any) -> ConicAnswer:
        highspy = import_solver(self.name, self.availability(), _load)
        if not program.cones.kinds() <= self.cones:
            raise SolveError("highs takes linear and second-order cones only.")
        begin = time.perf_counter()
        with recorded_warnings() as record:
            outer = _OuterApproximation(highspy, program, limits, options)
            setup = time.perf_counter() - begin
            word, violation = outer.run(begin)
        status = record.status(map_status(STATUSES, word, self.name))
        if status is Status.SOLVED and violation > options.cut_tolerance:
            status = Status.TIME_LIMIT if time.perf_counter() - begin > limits.time_limit else Status.ITERATION_LIMIT
        words = record.words(f"{word} after {outer.rounds} cut rounds, cone violation {violation:.1e}")
        seconds = time.perf_counter() - begin - setup
        if outer.x is None:
            return ConicAnswer(status, None, None, words, outer.iterations, setup, seconds)
        return ConicAnswer(status, outer.x, outer.y, words, outer.iterations, setup, seconds)


class _OuterApproximation:
    """The growing linear program. Columns: x, then one w per coordinate u_i of each cone."""

    def __init__(self, highspy: Any, program: ConicProgram, limits: ConicLimits, options: HighsOptions) -> None:
        self.highspy, self.program, self.limits, self.options = highspy, program, limits, options
        self.x: Array | None = None
        self.y: Array | None = None
        self.rounds, self.iterations = 0, 0
        blocks = program.cones.blocks()
        self.flat = sum(size for kind, _, size in blocks if kind in ("zero", "nonnegative"))
        starts = [rows.start for kind, rows, _ in blocks if kind == "second_order"]
        sizes = [size for kind, _, size in blocks if kind == "second_order"]
        #: per coordinate: the row of its u_i, the row of its t, and its cone
        self.u_row = np.concatenate([np.arange(s + 1, s + n) for s, n in zip(starts, sizes)] or [np.zeros(0, int)])
        self.t_row = np.concatenate([np.full(n - 1, s) for s, n in zip(starts, sizes)] or [np.zeros(0, int)])
        self.starts, self.sizes = starts, sizes
        self.a = program.a.tocsr()
        self.n = program.c.size
        self.h = highspy.Highs()
        self.h.setOptionValue("output_flag", False)
        self.h.setOptionValue("threads", 1)
        tolerance = max(min(limits.tolerance, 1e-7), 1e-10)
        self.h.setOptionValue("primal_feasibility_tolerance", tolerance)
        self.h.setOptionValue("dual_feasibility_tolerance", tolerance)
        #: (coordinate, slope) of every tangent, in row order
        self.tangents: list[tuple[NDArray[Any], Array]] = []
        self._base()

    def _base(self) -> None:
        h, inf = self.h, self.highspy.kHighsInf
        total = self.n + self.u_row.size
        h.addVars(total, np.full(total, -inf), np.full(total, inf))
        h.changeColsCost(self.n, np.arange(self.n, dtype=np.int32), self.program.c)
        # u_i^2 <= t w_i implies 0 <= w_i
        h.changeColsBounds(
            self.u_row.size,
            np.arange(self.n, total, dtype=np.int32),
            np.zeros(self.u_row.size),
            np.full(self.u_row.size, inf),
        )
        b, zero = self.program.b, self.program.cones.zero
        # A x <= b, with equality in the zero cone
        self._add(np.where(np.arange(self.flat) < zero, b[: self.flat], -inf), b[: self.flat], self.a[: self.flat])
        rows, lower = [], []
        place = self.n
        for start, size in zip(self.starts, self.sizes):  # t - sum w >= 0, t >= 0
            row = self.a[[start]].tocoo()
            _, columns = row.coords
            extra = np.arange(place, place + size - 1)
            rows.append((np.concatenate([columns, extra]), np.concatenate([-row.data, -np.ones(size - 1)])))
            lower.append(-b[start])
            place += size - 1
        self._add_rows(rows, np.array(lower))
        self.sum_rows = len(rows)
        grid = np.linspace(-1.0, 1.0, self.options.directions)
        coordinates = np.repeat(np.arange(self.u_row.size), grid.size)
        self._cut(coordinates, np.tile(grid, self.u_row.size))

    def _add(self, lower: Array, upper: Array, a: Any) -> None:
        if a.shape[0]:
            self.h.addRows(
                a.shape[0], lower, upper, a.nnz, a.indptr[:-1].astype(np.int32), a.indices.astype(np.int32), a.data
            )

    def _add_rows(self, rows: list[tuple[Any, Array]], lower: Array) -> None:
        if not rows:
            return
        counts = np.array([columns.size for columns, _ in rows])
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int32)
        columns = np.concatenate([c for c, _ in rows]).astype(np.int32)
        values = np.concatenate([v for _, v in rows])
        upper = np.full(lower.size, self.highspy.kHighsInf)
        self.h.addRows(lower.size, lower, upper, int(counts.sum()), starts, columns, values)

    def _cut(self, coordinates: NDArray[Any], slopes: Array) -> None:
        """w_i - 2 a u_i + a^2 t >= 0 with u_i = b_u - A_u x, t = b_t - A_t x."""
        from scipy import sparse

        if coordinates.size == 0:
            return
        u, t = self.u_row[coordinates], self.t_row[coordinates]
        two, square = 2.0 * slopes, slopes**2
        left = sparse.diags_array(two) @ self.a[u] - sparse.diags_array(square) @ self.a[t]
        k = coordinates.size
        right: Any = sparse.csr_array((np.ones(k), (np.arange(k), coordinates)), shape=(k, self.u_row.size))
        rows = sparse.hstack([left, right], format="csr")
        rows.sum_duplicates()
        lower = two * self.program.b[u] - square * self.program.b[t]
        self._add(lower, np.full(k, self.highspy.kHighsInf), rows)
        self.tangents.append((coordinates, slopes))

    def run(self, begin: float) -> tuple[str, float]:
        """(HiGHS's last word, remaining relative cone violation)."""
        violation = math.inf
        word = "kNotset"
        for round_ in range(1, self.options.cut_rounds + 1):
            self.rounds = round_
            left = self.limits.time_limit - (time.perf_counter() - begin)
            if left <= 0:
                return ("kTimeLimit" if self.x is None else word), violation
            if math.isfinite(left):
                # HiGHS counts its clock over all runs of one model
                self.h.setOptionValue("time_limit", float(self.h.getRunTime()) + left)
            if self.limits.max_iterations is not None:
                self.h.setOptionValue("simplex_iteration_limit", self.limits.max_iterations)
            self.h.run()
            if self.h.getModelStatus().name in RESTART:
                log.info("HiGHS lost its basis (%s); the same model is solved again from scratch", self.rounds)
                self.h.clearSolver()
                self.h.run()
            word = self.h.getModelStatus().name
            self.iterations += max(int(self.h.getInfo().simplex_iteration_count), 0)
            if word not in ("kOptimal", "kModelEmpty"):
                return word, violation
            solution = self.h.getSolution()
            self.x = np.array(solution.col_value)[: self.n]
            self.y = self._multipliers(np.array(solution.row_dual))
            s = self.program.slack(self.x)
            violation = self._violation(s)
            if violation <= self.options.cut_tolerance:
                break
            t, u = s[self.t_row], s[self.u_row]
            w = np.array(solution.col_value)[self.n :]
            scale = np.maximum(t, 1e-12)
            bad = u**2 > t * w + 1e-3 * self.options.cut_tolerance * scale**2
            bad &= np.abs(u) > 1e-13
            slopes = np.clip(u[bad] / scale[bad], -1.0, 1.0)
            if not bad.any():
                break
            self._cut(np.flatnonzero(bad), slopes)
        return word, violation

    def _violation(self, s: Array) -> float:
        worst = 0.0
        for start, size in zip(self.starts, self.sizes):
            part = s[start : start + size]
            worst = max(worst, float(np.linalg.norm(part[1:]) - part[0]) / max(1.0, abs(float(part[0]))))
        return worst

    def _multipliers(self, row_dual: Array) -> Array:
        """y of the cones: sum over tangents of lambda (a^2, -2 a e_i), plus the multiplier of t - sum w >= 0 on t."""
        y = np.zeros(self.program.b.size)
        y[: self.flat] = -row_dual[: self.flat]
        y[self.starts] += row_dual[self.flat : self.flat + self.sum_rows]
        at = self.flat + self.sum_rows
        for coordinates, slopes in self.tangents:
            weight = row_dual[at : at + coordinates.size]
            at += coordinates.size
            np.add.at(y, self.t_row[coordinates], weight * slopes**2)
            np.add.at(y, self.u_row[coordinates], -2.0 * weight * slopes)
        return y


SOLVER = HighsSolver()
BACKEND = ConicBackend(SOLVER, "HiGHS linear programs: polyhedral outer approximation of the discretised problem")

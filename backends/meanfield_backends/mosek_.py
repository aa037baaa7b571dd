"""MOSEK's Optimizer API, called directly: rows in x, second-order and exponential cones as affine conic constraints, PSD
blocks as symmetric-matrix variables. Needs a licence to optimise; writing a model to a file does not."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.backend import Availability
from meanfield_opt.errors import InputError, LicenseError, SolveError
from meanfield_opt.formulation import ConicAnswer, ConicLimits, ConicProgram, ConicSolver
from meanfield_opt.formulation.program import CONES
from meanfield_opt.formulation.solver import import_solver, map_status, package_availability, recorded_warnings
from meanfield_opt.formulation.symmetric import lower_indices, svec_size, svec_weights
from meanfield_opt.solution import Status
from meanfield_opt.validate import integer

from .conic import NO_LICENCE, ConicBackend

Array = NDArray[np.float64]

#: by name of mosek.solsta
STATUSES = {
    "optimal": Status.SOLVED,
    "integer_optimal": Status.SOLVED,
    "prim_and_dual_feas": Status.INACCURATE,
    "prim_feas": Status.INACCURATE,
    "dual_feas": Status.INACCURATE,
    "unknown": Status.FAILED,
    "prim_infeas_cer": Status.INFEASIBLE,
    "dual_infeas_cer": Status.UNBOUNDED,
    "prim_illposed_cer": Status.FAILED,
    "dual_illposed_cer": Status.FAILED,
}
#: by name of mosek.rescode that ``optimize`` returns when it stops early
TERMINATIONS = {
    "ok": None,
    "trm_max_iterations": Status.ITERATION_LIMIT,
    "trm_max_time": Status.TIME_LIMIT,
    "trm_user_callback": Status.INTERRUPTED,
    "trm_server_max_time": Status.TIME_LIMIT,
    "trm_server_max_memory": Status.FAILED,
    "trm_stall": Status.INACCURATE,
    "trm_max_num_setbacks": Status.INACCURATE,
    "trm_numerical_problem": Status.INACCURATE,
    "trm_objective_range": Status.INACCURATE,
    "trm_lost_race": Status.FAILED,
    "trm_internal": Status.FAILED,
    "trm_internal_stop": Status.FAILED,
}

FILE_FORMATS = (".cbf", ".ptf", ".jtask", ".task")


@dataclass(frozen=True)
class MosekOptions:
    """threads: 0 lets MOSEK choose. presolve: whether MOSEK may presolve."""

    threads: int = 1
    presolve: bool = True

    def __post_init__(self) -> None:
        integer(self.threads, "threads", least=0)


def _load() -> Any:
    import mosek

    return mosek


@cache
def _environment(mosek: Any) -> Any:
    """One environment, and so one licence check-out, a process."""
    return mosek.Env()


@dataclass(frozen=True)
class MosekSolver(ConicSolver):
    """A x + S = b with S a symmetric-matrix variable for each PSD block, and b - A x in the cone elsewhere."""

    name = "mosek"
    cones = frozenset(CONES)
    options_type = MosekOptions

    def availability(self) -> Availability:
        return package_availability("mosek", "mosek", "mosek")

    def licence(self) -> str:
        """Looks where MOSEK looks: the environment variable and ~/mosek/mosek.lic. A found file may still be expired."""
        where = os.environ.get("MOSEKLM_LICENSE_FILE")
        if where:
            # a list of files or port@host entries; only plain files can be looked at
            files = [entry for entry in where.split(os.pathsep) if "@" not in entry]
            gone = (
                files
                and not any(Path(entry).exists() for entry in files)
                and len(files) == len(where.split(os.pathsep))
            )
            state = "which is not there" if gone else "not checked"
            return f"commercial; licence named by MOSEKLM_LICENSE_FILE ({where}), {state}"
        if (Path.home() / "mosek" / "mosek.lic").exists():
            return "licence file found in ~/mosek"
        return "commercial; no licence file found"

    def solve(self, program: ConicProgram, limits: ConicLimits, options: Any) -> ConicAnswer:
        mosek = import_solver(self.name, self.availability(), _load)
        begin = time.perf_counter()
        with recorded_warnings() as record, _environment(mosek).Task(0, 0) as task:
            model = _fill(mosek, task, program)
            _configure(mosek, task, limits, options)
            setup = time.perf_counter() - begin
            try:
                code = task.optimize()
            except mosek.MosekException as error:
                raise _typed(mosek, error) from error
            seconds = time.perf_counter() - begin - setup
            whence = mosek.soltype.itr
            if not task.solutiondef(whence):
                status = map_status(TERMINATIONS, _word(code), self.name)
                return ConicAnswer(status or Status.FAILED, None, None, _word(code), None, setup, seconds)
            state = _word(task.getsolsta(whence))
            status = map_status(STATUSES, state, self.name)
            early = map_status(TERMINATIONS, _word(code), self.name)
            if early is not None and status not in (Status.SOLVED, Status.INFEASIBLE, Status.UNBOUNDED):
                status = early
            status = record.status(status)
            words = record.words(f"{state} ({_word(code)})")
            iterations = int(task.getintinf(mosek.iinfitem.intpnt_iter))
            if status in (Status.INFEASIBLE, Status.UNBOUNDED, Status.FAILED):
                return ConicAnswer(status, None, None, words, iterations, setup, seconds)
            x = np.array(task.getxx(whence))
            y = multipliers(task, whence, program, model)
            return ConicAnswer(status, x, y, words, iterations, setup, seconds)

    def write(self, program: ConicProgram, path: str | Path) -> None:
        """Write the model to a .cbf, .ptf, .jtask or .task file: this needs MOSEK installed, but no licence."""
        target = Path(path)
        if target.suffix not in FILE_FORMATS:
            raise InputError(f"MOSEK writes {', '.join(FILE_FORMATS)} here, not {target.suffix or target.name!r}.")
        mosek = import_solver(self.name, self.availability(), _load)
        with _environment(mosek).Task(0, 0) as task:
            _fill(mosek, task, program)
            try:
                task.writedata(str(target))
            except mosek.MosekException as error:
                raise _typed(mosek, error) from error


@dataclass(frozen=True)
class Blocks:
    """Where blocks of the program went: linear rows come first, then PSD rows, in order; one acc a second-order block, then
    one an exponential block, whose rows MOSEK lists backwards."""

    linear: int
    psd: tuple[slice, ...]
    second_order: tuple[slice, ...]
    exponential: tuple[slice, ...]


def _word(value: Any) -> str:
    return str(value).rsplit(".", 1)[-1]


def _typed(mosek: Any, error: Any) -> Exception:
    """Licence errors have codes 1000 to 1030 in MOSEK; the rest is a solver failure."""
    code = getattr(error, "errno", None)
    number = int(getattr(code, "value", code) if code is not None else -1)
    if 1000 <= number <= 1030:
        return LicenseError(NO_LICENCE)
    return SolveError(f"MOSEK failed: {error}")


def _fill(mosek: Any, task: Any, program: ConicProgram) -> Blocks:
    cones = program.cones
    n = program.c.size
    linear = cones.zero + cones.nonnegative
    model = blocks_of(program)
    psd_rows = model.psd
    task.appendvars(n)
    task.putvarboundsliceconst(0, n, mosek.boundkey.fr, -math.inf, math.inf)
    task.putclist(np.arange(n, dtype=np.int32), program.c)
    task.putcfix(program.offset)
    task.putobjsense(mosek.objsense.minimize)
    psd_total = sum(svec_size(order) for order in cones.psd)
    task.appendcons(linear + psd_total)
    csr = program.a.tocsr()
    b = program.b
    if linear:
        keys = [mosek.boundkey.fx] * cones.zero + [mosek.boundkey.up] * cones.nonnegative
        lower = np.concatenate([b[: cones.zero], np.full(cones.nonnegative, -math.inf)])
        task.putconboundslice(0, linear, keys, lower, b[:linear])
    keep = np.concatenate([np.arange(linear), *(np.arange(rows.start, rows.stop) for rows in psd_rows)]).astype(int)
    rows_, columns, values = _triplets(csr, keep)
    if values.size:
        task.putaijlist(rows_.astype(np.int32), columns.astype(np.int32), values)
    at = linear
    if cones.psd:
        task.appendbarvars(list(cones.psd))
    for j, (rows, order) in enumerate(zip(psd_rows, cones.psd)):
        size = svec_size(order)
        right = b[rows]
        task.putconboundslice(at, at + size, [mosek.boundkey.fx] * size, right, right)
        i, k = lower_indices(order)
        # <E, S> = svec(S)_row: 1 on the diagonal, sqrt(2) S_ik = 2 v S_ik off it
        weights = np.where(i == k, 1.0, 0.5 * svec_weights(order))
        task.putbarablocktriplet(
            np.arange(at, at + size, dtype=np.int32),
            np.full(size, j, dtype=np.int32),
            i.astype(np.int32),
            k.astype(np.int32),
            weights,
        )
        at += size
    chosen = [*(np.arange(r.start, r.stop) for r in model.second_order), *(_backwards(r) for r in model.exponential)]
    if chosen:
        at_rows = np.concatenate(chosen)
        task.appendafes(at_rows.size)
        f_rows, f_columns, f_values = _triplets(csr, at_rows)
        if f_values.size:
            task.putafefentrylist(f_rows, f_columns.astype(np.int32), -f_values)
        task.putafegslice(0, at_rows.size, b[at_rows])
        domains = {size: task.appendquadraticconedomain(size) for size in sorted(set(cones.second_order))}
        exponential = task.appendprimalexpconedomain() if cones.exponential else None
        place = 0
        for domain, size in [
            *((domains[size], size) for size in cones.second_order),
            *[(exponential, 3)] * cones.exponential,
        ]:
            task.appendaccseq(domain, place, None)
            place += size
    return model


def _backwards(rows: slice) -> NDArray[np.int64]:
    """MOSEK's exponential cone is (z, y, x)."""
    return np.arange(rows.stop - 1, rows.start - 1, -1)


def blocks_of(program: ConicProgram) -> Blocks:
    """Where the blocks of a program go."""
    blocks = program.cones.blocks()
    return Blocks(
        program.cones.zero + program.cones.nonnegative,
        tuple(rows for kind, rows, _ in blocks if kind == "psd"),
        tuple(rows for kind, rows, _ in blocks if kind == "second_order"),
        tuple(rows for kind, rows, _ in blocks if kind == "exponential"),
    )


def _triplets(csr: Any, rows: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    part = csr[rows].tocoo()
    i, j = part.coords
    return i.astype(np.int64), j.astype(np.int64), part.data


def _configure(mosek: Any, task: Any, limits: ConicLimits, options: MosekOptions) -> None:
    for key in ("intpnt_co_tol_rel_gap", "intpnt_co_tol_pfeas", "intpnt_co_tol_dfeas"):
        task.putdouparam(getattr(mosek.dparam, key), limits.tolerance)
    if math.isfinite(limits.time_limit):
        task.putdouparam(mosek.dparam.optimizer_max_time, limits.time_limit)
    if limits.max_iterations is not None:
        task.putintparam(mosek.iparam.intpnt_max_iterations, limits.max_iterations)
    task.putintparam(mosek.iparam.num_threads, options.threads)
    if not options.presolve:
        task.putintparam(mosek.iparam.presolve_use, mosek.presolvemode.off)


def multipliers(task: Any, whence: Any, program: ConicProgram, model: Blocks) -> Array:
    """y in the project's signs from MOSEK's dual solution.

    MOSEK's manual: A^T y + F^T doty = c, barS = barC - sum_i y_i barA_i, y <= 0 on A x <= b. So its y on A x + S = b and
    A x <= b is minus ours; F = -A on conic rows, so doty is ours; barC = 0, so barS is ours, without svec weights.
    The conformance suite holds this to multipliers of the file that MOSEK writes.
    """
    y = np.zeros(program.b.size)
    y[: model.linear] = -np.array(task.gety(whence))[: model.linear]
    for j, rows in enumerate(model.psd):
        bars = np.array(task.getbarsj(whence, j))  # lower triangle, column by column, unscaled
        y[rows] = bars * svec_weights(program.cones.psd[j])
    for k, rows in enumerate(model.second_order):
        y[rows] = np.array(task.getaccdoty(whence, k))
    for k, rows in enumerate(model.exponential, start=len(model.second_order)):
        y[_backwards(rows)] = np.array(task.getaccdoty(whence, k))
    return y


SOLVER = MosekSolver()
BACKEND = ConicBackend(SOLVER, "MOSEK (licence needed): discretised support and conic relaxations")

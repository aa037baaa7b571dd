"""The map: certified optima of hypercube tasks over activation x geometry x penalty x width x d_Y x n.

Every cell is solved, certified and read off independently; finished cells go to an append-only journal (one JSON object
a line), so that an interrupted scan resumes where it stopped.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from .backend import BACKENDS, solve
from .certificate import certify
from .certificate.pairs_engine import two_level_measure
from .errors import InputError, MeanFieldError, MissingDependencyError, NotAttainedError, SolveError
from .integer_width import integer_width
from .metrics import SpanFit, parallelism_score, span_fit
from .plugins import FAMILIES, activation
from .problem import TwoLayerProblem
from .solution import Status
from .validate import file_path, integer, nonnegative, positive, seconds, shown

log = logging.getLogger(__name__)

AXES = ("activation", "parameters", "alignment", "penalty", "width", "latents", "copies")
MOST_WORKERS = 1024


def scan(
    activations: Sequence[str | tuple[str, dict[str, Any]]] = ("relu", "tanh"),
    *,
    alignments: Sequence[float] = (0.0,),
    penalties: Sequence[float] = (0.01,),
    widths: Sequence[float | None] = (None,),
    latents: Sequence[int] = (2,),
    copies: Sequence[int] = (1,),
    journal: str | Path | None = None,
    executor: Executor | None = None,
    workers: int = 2,
    dask_address: str | None = None,
    time_limit: float = 30.0,
    tolerance: float = 1e-6,
) -> Any:
    """A pandas table with one certified row a cell (needs pandas).

    activations: names, or (name, parameters). alignments: 0 is whitened. penalties: lambda1 = lambda2.
    journal: a file that finished cells are appended to and resumed from. executor: any concurrent.futures-style one;
    else Dask's at ``dask_address``, else ``workers`` processes (0: in this process). time_limit: seconds a cell for each
    of solving and certifying.

    Columns: the axes; energy, lower, upper, gap, network (a rigorous energy of an actual network of that width), verdict, proof, reason (of a cell without a result); residual of K in
    span{1 1^T, K_Y}; weights of K on them; parallelism; atoms; mass; candidate (theory section 4) and its relative
    excess over the certified lower bound; seconds. Where the infimum is not attained, verdict is "not attained", lower and
    upper are proved bounds on the infimum, and nothing is read off ("none" where nothing is known of it).
    """
    pandas = _pandas()
    cells = [dict(zip(AXES, (*named, *rest))) for named, *rest in itertools.product(
        _axis(activations, "activations", _named),
        _axis(alignments, "alignments", nonnegative),
        _axis(penalties, "penalties", positive),
        _axis(widths, "widths", lambda w, name: None if w is None else positive(w, name)),
        _axis(latents, "latents", lambda d, name: integer(d, name, least=1)),
        _axis(copies, "copies", lambda n, name: integer(n, name, least=1)),
    )]  # fmt: skip
    integer(workers, "workers", least=0, most=MOST_WORKERS)
    seconds(time_limit, "time_limit")
    journal = None if journal is None else file_path(journal, "the journal")
    done = _read(journal)
    left = [cell for cell in cells if _key(cell) not in done]
    log.info("%d of %d cells are left", len(left), len(cells))
    if workers == 0 and executor is None and dask_address is None:
        for cell in left:
            done[_key(cell)] = _append(journal, run_cell(cell, time_limit, tolerance))
    elif left:
        futures: list[Any] = []
        try:
            with _executor(executor, workers, dask_address) as pool:
                futures += [pool.submit(run_cell, cell, time_limit, tolerance) for cell in left]
                for future in _completed(futures):
                    row = future.result()
                    done[_key(row)] = _append(journal, row)
        except BrokenProcessPool as error:
            raise SolveError(
                'a worker process of the scan died; in a script, call scan under `if __name__ == "__main__":`, or give workers=0.'
            ) from error
        finally:  # cells that ended while an interruption was under way are not lost
            for future in futures:
                if future.done() and not future.cancelled() and future.exception() is None:
                    row = future.result()
                    if _key(row) not in done:
                        done[_key(row)] = _append(journal, row)
    table = pandas.DataFrame([done[_key(cell)] for cell in cells])
    table["parameters"] = [json.dumps(p, sort_keys=True) for p in table["parameters"]] if len(table) else []
    return table


def _axis(values: Any, name: str, check: Callable[[Any, str], Any]) -> list[Any]:
    """The checked values of one axis; all of them before any work."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise InputError(f"{name} must be a list, not {shown(values)}.")
    return [check(value, name) for value in values]


def _named(value: Any, name: str) -> tuple[str, dict[str, Any]]:
    """(name, parameters) of an activation that exists and takes them."""
    pair = (value, {}) if isinstance(value, str) else value
    if not (isinstance(pair, (tuple, list)) and len(pair) == 2 and isinstance(pair[1], Mapping)):
        raise InputError(f"{name} must hold names or pairs (name, parameters), not {shown(value)}.")
    activation(pair[0], **pair[1])
    return pair[0], dict(pair[1])


def run_cell(cell: dict[str, Any], time_limit: float, tolerance: float) -> dict[str, Any]:
    """One row: what was asked, and what was found and proved, or the reason why not."""
    started = time.monotonic()
    row = dict(cell)
    try:
        problem = FAMILIES.get("hypercube")(
            cell["latents"],
            samples_per_class=cell["copies"],
            geometry="aligned" if cell["alignment"] > 0 else "whitened",
            alignment=cell["alignment"],
            activation=activation(cell["activation"], **cell["parameters"]),
            lambda1=cell["penalty"],
            lambda2=cell["penalty"],
            width=cell["width"],
        )
        try:
            row.update(_measured(problem, time_limit, tolerance))
        except NotAttainedError as error:
            row.update(_approached(problem, error, time_limit, tolerance))
        if "lower" in row:
            row.update(_candidate(problem, row, cell))
    except MeanFieldError as error:
        row.update(verdict="none", reason=f"{type(error).__name__}: {error}")
    row["seconds"] = round(time.monotonic() - started, 3)
    return row


def _measured(problem: TwoLayerProblem, time_limit: float, tolerance: float) -> dict[str, Any]:
    exact = BACKENDS.get("enumeration").refusal(problem) is None
    backend = "enumeration" if exact and not problem.activation.escapes else "column_generation"
    solution = solve(problem, backend, time_limit=time_limit, tolerance=tolerance)
    if solution.status is Status.INTERRUPTED:  # half a result must not enter the journal as a whole one
        raise KeyboardInterrupt
    certificate = certify(problem, solution, time_limit=time_limit, target=tolerance).uninterrupted()
    if certificate.relative_gap > 10.0 * tolerance:  # once more from where the proof says that the optimum is
        start = two_level_measure(problem, certificate.dual)
        again = None if start is None else solve(problem, time_limit=time_limit, tolerance=tolerance, start=start)
        if again is not None and again.energy < solution.energy and again.status is not Status.INTERRUPTED:
            solution = again
            certificate = certify(problem, solution, time_limit=time_limit, target=tolerance).uninterrupted()
    network = integer_width(problem, solution, starts=8).upper_bound if problem.width_binds else None
    kernel = solution.kernel
    fit = span_fit(kernel, problem.targets) if kernel.any() else SpanFit(0.0, 0.0, 0.0)
    parallelism: float | None = None
    if problem.n_outputs > 1:
        try:
            parallelism = float(parallelism_score(kernel, problem.targets))
        except MeanFieldError:  # undefined where a coding direction vanishes, as at the zero measure
            parallelism = None
    return {
        "backend": backend,
        "energy": solution.energy,
        "lower": certificate.lower_bound,
        "upper": certificate.upper_bound,
        "gap": certificate.relative_gap,
        "network": network,
        "verdict": certificate.verdict,
        "proof": certificate.proof,
        "reason": "",
        "constant": fit.constant,
        "along": fit.strength,
        "residual": fit.residual,
        "parallelism": parallelism,
        "atoms": solution.measure.n_atoms,
        "mass": solution.measure.total_mass,
    }


def _approached(
    problem: TwoLayerProblem, error: NotAttainedError, time_limit: float, tolerance: float
) -> dict[str, Any]:
    """Proved bounds on an infimum that is not attained: no optimum to read off."""
    row: dict[str, Any] = {"verdict": "none", "reason": f"{type(error).__name__}: {error}"}
    if error.approach is not None:
        found = certify(
            problem, error.approach, time_limit=time_limit, target=tolerance, refute=math.inf
        ).uninterrupted()
        row.update(lower=found.lower_bound, upper=found.upper_bound, gap=found.relative_gap, proof=found.proof)
        row["verdict"] = "not attained"
    return row


def _candidate(problem: TwoLayerProblem, row: dict[str, Any], cell: dict[str, Any]) -> dict[str, Any]:
    """The published candidate with c = inf t^2 / phi(t)^2 (whitened; free mass), and how far it is above the proved optimum.

    threshold type: b* = sqrt(l2/(l1 c C)) - l2/P on K = b (d 1 1^T + K_Y); odd: b* = sqrt(l2/(l1 c P)) - l2/P on K = b K_Y.
    """
    top = problem.activation.ratio_bound()
    phi = problem.activation
    threshold = not phi.odd and bool((phi(np.linspace(-9, -1e-6, 50)) == 0.0).all())
    if not (math.isfinite(top) and (phi.odd or threshold)):
        return {"candidate": None, "candidate_excess": None}
    l, d = cell["penalty"], cell["latents"]
    p = cell["copies"] * 2**d
    q0, q1 = 1.0 / (1.0 + p), 1.0 / (1.0 + cell["alignment"] * p)
    cost = p * q1 if phi.odd else (p * (q0 + q1) if q1 >= q0 else 4.0 * p * q0 * q1 / (q0 + q1))
    cost /= top**2
    b = max(math.sqrt(1.0 / cost) - l / p, 0.0)
    energy = l * d * b * cost + d * l * p / (l + b * p)
    return {"candidate": energy, "candidate_excess": (energy - row["lower"]) / abs(energy)}


def _key(cell: dict[str, Any]) -> str:
    return json.dumps([cell[axis] for axis in AXES], sort_keys=True)


def _read(journal: Path | None) -> dict[str, dict[str, Any]]:
    """The rows of the journal, which is created here if it is not there: better refused now than after the first cell."""
    if journal is None:
        return {}
    try:
        with journal.open("a+", encoding="utf-8") as file:
            file.seek(0)
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the journal {journal} cannot be used ({error}); name another file.") from error
    rows: dict[str, dict[str, Any]] = {}
    for line in lines:
        try:
            row = json.loads(line)
            rows[_key(row)] = row
        except (ValueError, KeyError, TypeError, RecursionError):
            log.warning("a line of the journal %s is cut short; its cell is computed again", journal)
    return rows


def _append(journal: Path | None, row: dict[str, Any]) -> dict[str, Any]:
    """One write of one whole line, flushed to disk; a crash can cut only the last line, which ``_read`` then ignores."""
    if journal is not None:
        text = json.dumps({k: (None if isinstance(v, float) and not math.isfinite(v) else v) for k, v in row.items()})
        cut = journal.exists() and journal.stat().st_size > 0 and not journal.read_bytes().endswith(b"\n")
        with journal.open("a", encoding="utf-8") as file:
            file.write(("\n" if cut else "") + text + "\n")
            file.flush()
            os.fsync(file.fileno())
    return row


@contextmanager
def _executor(executor: Executor | None, workers: int, address: str | None) -> Iterator[Any]:
    if executor is not None:
        yield executor
    elif address is not None:
        try:
            from distributed import Client
        except ImportError as error:
            raise MissingDependencyError("a Dask address needs distributed: pip install distributed.") from error
        with Client(address) as client:
            yield client.get_executor()
    else:
        if workers < 1:
            raise InputError(f"workers must be at least 1 (or 0 for this process), not {workers}.")
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
        try:
            yield pool
        finally:  # after an interruption the cells that have not begun are dropped, the others end
            pool.shutdown(cancel_futures=True)


def _completed(futures: list[Any]) -> Iterator[Any]:
    """In order of completion for the standard library's futures, in order of submission for others."""
    try:
        yield from as_completed(futures)
    except AttributeError:  # foreign futures without the standard library's internals
        yield from futures


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise MissingDependencyError("scan returns a pandas table: pip install 'meanfield-opt[scan]'.") from error
    return pandas

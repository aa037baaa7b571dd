"""Backends side by side: what each is (``backend_table``), and what each reaches on a problem (``bench``)."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .backend import BACKENDS, Backend, solve
from .certificate import certify
from .errors import MeanFieldError
from .plugins import FAMILIES
from .problem import MeanFieldProblem
from .solution import Status

STATUS_FILE = Path("/proc/self/status")
CLEAR_FILE = Path("/proc/self/clear_refs")


def probes() -> dict[str, MeanFieldProblem]:
    """Small problems of different kinds: what a backend refuses among them is what the listing shows."""
    hypercube, dataset = FAMILIES.get("hypercube"), FAMILIES.get("dataset")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((12, 2)), rng.standard_normal((12, 1))
    return {
        "hypercube tasks": hypercube(2),
        "arbitrary data": dataset(x, y),
        "logistic loss": hypercube(2, loss="logistic"),
        "a width": hypercube(2, activation="tanh", width=4.0),
        "free-mass tanh": hypercube(2, activation="tanh"),
        "linear networks": hypercube(2, activation="linear"),
    }


def backend_table() -> list[dict[str, Any]]:
    """One row a registered backend; imports no solver.

    Keys: name, version (or "not installed"), cones, licence, refuses (kinds of problems out of ``probes``), summary,
    note (why it cannot run here, or ""). A broken plug-in is a row with its error, not an exception.
    """
    kinds = probes()
    return [_row(name, kinds) for name in BACKENDS.names(special=True)]


def _row(name: str, kinds: dict[str, MeanFieldProblem]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": name,
        "version": "",
        "cones": "",
        "licence": "",
        "refuses": "",
        "summary": "",
        "note": "",
    }
    try:
        backend = BACKENDS.get(name)
        state = backend.availability()
        conic = backend.conic
        row["version"] = state.version if state.installed else "not installed"
        row["note"] = state.reason or ""
        row["summary"] = backend.summary
        row["cones"] = "" if conic is None else ", ".join(sorted(conic.cones))
        row["licence"] = "part of this package" if conic is None else conic.licence()
        row["refuses"] = "; ".join(kind for kind, problem in kinds.items() if backend.refusal(problem) is not None)
    except MeanFieldError as error:
        row["note"] = str(error)
    return row


def bench(
    problem: MeanFieldProblem,
    *,
    backends: Sequence[str] | None = None,
    tolerance: float = 1e-6,
    time_limit: float = 60.0,
    certify_limit: float = 30.0,
    warm_up: bool = True,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Solve ``problem`` with each backend and certify what comes back; one row each, best certified gap first.

    Keys: backend, status, seconds (the solve alone), certify_seconds, energy, lower_bound, gap (certified, relative;
    1.0 or more means nothing was proved), verdict, memory_mib (peak resident memory above the start of the solve;
    None where the system does not tell), note (why there is no result). backends: names, all by default.
    warm_up: solve a 4-sample task first, so that imports and compilation are not counted.
    """
    rows = []
    for name in BACKENDS.names() if backends is None else backends:
        row: dict[str, Any] = {
            "backend": name,
            "status": "",
            "seconds": math.nan,
            "certify_seconds": math.nan,
            "energy": math.nan,
            "lower_bound": math.nan,
            "gap": math.inf,
            "verdict": "",
            "memory_mib": None,
            "note": "",
        }
        try:
            backend = BACKENDS.get(name)
            reason = _obstacle(backend, problem)
            if reason is None:
                if warm_up:
                    _warm_up(backend, seed)
                _run(row, backend, problem, tolerance, time_limit, certify_limit, seed)
            row["note"] = reason or ""
        except MeanFieldError as error:
            row["note"] = f"{type(error).__name__}: {error}"
        rows.append(row)
    return sorted(rows, key=lambda row: (row["gap"], row["seconds"]) if row["verdict"] else (math.inf, math.inf))


def _obstacle(backend: Backend, problem: MeanFieldProblem) -> str | None:
    state = backend.availability()
    return state.reason if not state.installed else backend.refusal(problem)


def _warm_up(backend: Backend, seed: int) -> None:
    small = FAMILIES.get("hypercube")(2)
    if backend.refusal(small) is None:
        solve(small, backend, seed=seed)


def _run(
    row: dict[str, Any],
    backend: Backend,
    problem: MeanFieldProblem,
    tolerance: float,
    time_limit: float,
    certify_limit: float,
    seed: int,
) -> None:
    before = _reset_peak()
    begin = time.perf_counter()
    solution = solve(problem, backend, tolerance=tolerance, time_limit=time_limit, seed=seed)
    row["seconds"] = time.perf_counter() - begin
    if solution.status is Status.INTERRUPTED:  # by the user, who does not mean this backend alone
        raise KeyboardInterrupt
    peak = _peak()
    row["memory_mib"] = None if before is None or peak is None else max(peak - before, 0.0)
    row["status"], row["energy"] = solution.status.name.lower(), solution.energy
    begin = time.perf_counter()
    certificate = certify(problem, solution, time_limit=certify_limit).uninterrupted()
    row["certify_seconds"] = time.perf_counter() - begin
    row["lower_bound"], row["gap"] = certificate.lower_bound, certificate.relative_gap
    row["verdict"] = certificate.verdict


def _memory(key: str) -> float | None:
    """A line of /proc/self/status in MiB."""
    try:
        for line in STATUS_FILE.read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) / 1024.0
    except OSError:
        return None
    return None


def _peak() -> float | None:
    return _memory("VmHWM:")


def _reset_peak() -> float | None:
    """Reset the peak counter (Linux) and return the resident memory now, in MiB; None where that is not possible."""
    try:
        CLEAR_FILE.write_text("5")
    except OSError:
        return None
    return _memory("VmRSS:")

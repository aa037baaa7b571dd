"""Solve and prove in turn until the proved gap is closed: what a proof search finds better is the next start."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backend import solve
from ..measure import Measure
from ..problem import TwoLayerProblem
from ..solution import Solution, Status
from ..validate import integer, positive
from .certify import certify
from .improve import with_neurons
from .record import Certificate

Array = NDArray[np.float64]


def close_gap(
    problem: TwoLayerProblem,
    *,
    gap: float = 1e-6,
    backend: str = "column_generation",
    engine: str = "auto",
    time_limit: float = 300.0,
    rounds: int = 12,
    workers: int = 2,
    **options: Any,
) -> tuple[Solution, Certificate]:
    """A solution and its certificate, with relative gap at most ``gap`` if ``rounds`` and ``time_limit`` allow.

    A sampled search for violating neurons can miss some; the proof engines cannot. Each round solves (from the last
    measure and the violating neurons that the proof met), then certifies; the better certificate is kept.
    options: of the backend. Read ``certificate.relative_gap`` to see how far it came. Interrupted (Ctrl-C), it returns the best so
    far, with ``certificate.interrupted`` set.
    """
    positive(gap, "gap")
    positive(time_limit, "time_limit")
    deadline = time.monotonic() + time_limit
    start: Measure | None = None
    best: tuple[Solution, Certificate] | None = None
    try:
        for attempt in range(integer(rounds, "rounds", least=1)):
            left = max(deadline - time.monotonic(), 1.0)
            solution = solve(
                problem,
                backend,
                tolerance=min(0.1, 0.3 * gap),
                time_limit=0.6 * left,
                seed=attempt,
                start=start,
                **options,
            )
            left = max(deadline - time.monotonic(), 1.0)
            certificate = certify(
                problem, solution, engine=engine, time_limit=left, target=0.1 * gap, workers=workers, refute=1.0
            )
            if best is None or certificate.relative_gap < best[1].relative_gap:
                best = (solution, certificate)
            if certificate.interrupted or solution.status is Status.INTERRUPTED:
                raise KeyboardInterrupt
            if best[1].relative_gap <= gap or time.monotonic() >= deadline:
                break
            theta = violating(problem, solution.dual, certificate)
            if theta.shape[0] == 0:
                break
            start = with_neurons(problem, solution.measure, theta)
    except KeyboardInterrupt:
        if best is None:
            raise
        best = best[0], replace(best[1], interrupted=True)
    assert best is not None
    return best


def violating(problem: TwoLayerProblem, dual: Array, certificate: Certificate) -> Array:
    """The neurons (n, r) that the engines met and whose first variation at ``dual`` is negative."""
    found = [np.atleast_2d(entry["neurons"]) for entry in certificate.stats.get("engines", ()) if "neurons" in entry]
    if certificate.neuron is not None:
        found.append(certificate.neuron[None, :])
    found = [theta for theta in found if theta.shape[1] == problem.geometry.n_parameters]
    if not found:
        return np.zeros((0, problem.geometry.n_parameters))
    theta = np.vstack(found)
    return np.asarray(theta[problem.ratio(dual, problem.geometry.preactivation(theta)) > 1.0])

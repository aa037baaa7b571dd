"""Solve and certify in turn: the proof engine's worst neuron is the column that the solver's own search had missed."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import solve
from ..errors import InputError
from ..problem import TwoLayerProblem
from ..solution import Solution
from ..validate import positive
from .certify import Certificate, certify
from .improve import with_neurons

log = logging.getLogger(__name__)


def prove(
    problem: TwoLayerProblem,
    *,
    gap: float = 1e-6,
    backend: str = "column_generation",
    engine: str = "auto",
    time_limit: float = 300.0,
    workers: int = 2,
    progress: Callable[[float, float, int], None] | None = None,
    **options: Any,
) -> tuple[Solution, Certificate]:
    """A solution and its certificate, aiming at a proved relative gap of ``gap``; the best found by ``time_limit``.

    A local search for violating neurons can miss the worst one, and then no effort spent on the proof closes the gap.
    Here each certificate's neuron starts the next solve. The suprema of the first rounds are only proved roughly (a
    violation of 1e-3 needs no bound to 1e-7). backend must accept ``start``; options go to it.
    """
    if not isinstance(problem, TwoLayerProblem):
        raise InputError(f"prove takes two-layer problems, not a {type(problem).__name__}.")
    positive(gap, "gap")
    deadline = time.monotonic() + positive(time_limit, "time_limit")
    finest = max(1e-9, min(1e-7, 0.1 * gap))
    options.setdefault("tolerance", min(1e-6, 0.1 * gap))
    solution = solve(problem, backend, time_limit=0.5 * time_limit, **options)
    target, best = max(finest, 1e-3), None
    while True:
        left = max(0.5, deadline - time.monotonic())
        certificate = certify(
            problem,
            solution,
            engine=engine,
            time_limit=left,
            target=target,
            workers=workers,
            progress=progress,
            refute=math.inf,
        )
        log.info("proved gap %.3g at target %.3g", certificate.relative_gap, target)
        best = _better(best, (solution, certificate))
        sigma = math.inf if certificate.supremum is None else certificate.supremum.bound
        if best[1].relative_gap <= gap or time.monotonic() > deadline:
            return best
        neuron = certificate.neuron
        improved = None
        if neuron is not None and neuron.shape == (problem.geometry.n_parameters,):
            start = with_neurons(problem, certificate.measure, neuron, 1e-3 * max(certificate.measure.total_mass, 1e-3))
            if problem.width is not None:
                start = type(start)(
                    start.atoms, start.masses * min(1.0, problem.width / start.total_mass), start.neurons
                )
            left = max(0.5, 0.5 * (deadline - time.monotonic()))
            candidate = solve(problem, backend, start=start, time_limit=left, **options)
            if candidate.energy < solution.energy - 1e-3 * gap * abs(solution.energy):
                improved = candidate
        if improved is not None:
            solution = improved
            # what is left of the violation says how sharp the next proof must be
            if math.isfinite(sigma) and sigma > 1:
                target = float(np.clip(0.1 * (sigma - 1), finest, target))
        elif target > finest:
            target = max(finest, 0.03 * target)
        else:
            return best


def _better(
    old: tuple[Solution, Certificate] | None, new: tuple[Solution, Certificate]
) -> tuple[Solution, Certificate]:
    return new if old is None or new[1].relative_gap < old[1].relative_gap else old

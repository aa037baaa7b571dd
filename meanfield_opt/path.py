"""Regularisation paths: one problem under many penalties, each solve started from the last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np

from .backend import BACKENDS, Backend, solve
from .errors import InputError
from .measure import Measure
from .problem import TwoLayerProblem, check_penalty_product
from .solution import Solution, Status
from .validate import positive, shown


def path(
    problem: TwoLayerProblem,
    lambdas: Iterable[float | tuple[float, float]],
    backend: str | Backend = "column_generation",
    **options: Any,
) -> list[Solution]:
    """Solve ``problem`` under each penalty, in the order given, warm-started from the solution before.

    lambdas: numbers l (lambda1 = lambda2 = l) or pairs (lambda1, lambda2), as an iterable or an array (n,) or (n, 2); from large to small
    is the fastest order.
    A hidden bias's own penalty keeps its ratio to lambda1, see ``with_penalties``.
    options: as for ``solve``. Problems with a declared symmetry are solved from scratch: their reduced form needs no start.
    Interrupted (Ctrl-C), it returns what it has: fewer solutions, and the last one has the status INTERRUPTED where its solve kept
    something. Before there is any, KeyboardInterrupt is raised.
    Raises InputError for an empty list, a penalty that is not positive, or a problem that is not a two-layer one.
    """
    if not isinstance(problem, TwoLayerProblem):
        raise InputError(f"path takes two-layer problems, not {type(problem).__name__}.")
    if "start" in options:
        raise InputError("path chooses its own starts; give 'start' to solve instead.")
    if isinstance(lambdas, np.ndarray):
        lambdas = lambdas.tolist()
    if isinstance(lambdas, (str, bytes, Mapping, Set)) or not isinstance(lambdas, Iterable):
        raise InputError(f"lambdas must be a list of penalties, not {shown(lambdas)}.")
    pairs = [_pair(item) for item in lambdas]
    if not pairs:
        raise InputError("lambdas is empty; give at least one penalty.")
    chosen = backend if isinstance(backend, Backend) else BACKENDS.get(backend)
    if chosen.remembers:  # what searches have met serves the next penalty too
        options = {"memory": {}, **options}
    out: list[Solution] = []
    start: Measure | None = None
    for lambda1, lambda2 in pairs:
        try:
            solution = solve(problem.with_penalties(lambda1, lambda2), chosen, start=start, **options)
        except KeyboardInterrupt:  # where a backend keeps nothing
            if not out:
                raise
            break
        out.append(solution)
        if solution.status is Status.INTERRUPTED:
            break
        start = solution.measure if problem.symmetry is None else None
    return out


def _pair(item: float | tuple[float, float]) -> tuple[float, float]:
    if isinstance(item, (tuple, list)):
        if len(item) != 2:
            raise InputError(f"a penalty is one number or a pair (lambda1, lambda2), not {shown(item)}.")
        pair = positive(item[0], "lambda1"), positive(item[1], "lambda2")
    else:
        pair = (positive(item, "lambda"),) * 2
    check_penalty_product(*pair)
    return pair

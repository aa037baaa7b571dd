"""Regularisation paths: one problem under many penalties, each solve started from the one before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import fields
from typing import Any

import numpy as np

from .backend import BACKENDS, Backend, Remembering, SolveOptions, solve
from .errors import InputError
from .measure import Measure
from .problem import TwoLayerProblem, check_penalty_product
from .solution import Solution, Status
from .threads import blas_threads, entries_of
from .validate import positive, shown

#: penalties whose searches judge the claim before them
JUDGES = 2


def path(
    problem: TwoLayerProblem,
    lambdas: Iterable[float | tuple[float, float]],
    backend: str | Backend = "column_generation",
    **options: Any,
) -> list[Solution]:
    """Solve ``problem`` under each penalty, warm-started from the solution before; the solutions are in the order given.

    lambdas: numbers l (lambda1 = lambda2 = l) or pairs (lambda1, lambda2), as an iterable or an array (n,) or (n, 2). Column generation solves from
    the smallest up, as what it knows of one penalty covers most of the next larger; other backends in the order given.
    A hidden bias's own penalty keeps its ratio to lambda1, see ``with_penalties``.
    options: as for ``solve``, for each penalty. Column generation makes few starts at but the first, since what one search meets serves the others:
    in the end each claim is judged by what the searches of the next two penalties have met, and solved for again where they refute it. Problems with a declared symmetry are solved from scratch: their reduced form needs no start.
    Interrupted (Ctrl-C), it returns what it has: fewer solutions, of which the one that was interrupted has the status INTERRUPTED where its solve
    kept something. Before there is any, KeyboardInterrupt is raised.
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
    if isinstance(chosen, Remembering):  # what searches have met serves the next penalty too
        options = {"memory": {}, **options}
    memory = options.get("memory") if isinstance(chosen, Remembering) else None
    order: Sequence[int] = range(len(pairs))
    if memory is not None:  # downwards a third of the atoms are new at each penalty
        order = sorted(order, key=lambda k: pairs[k][0] * pairs[k][1])
    out: dict[int, Solution] = {}
    memories: list[dict[str, Any]] = []
    start: Measure | None = None
    try:
        for k in order:
            solution = out[k] = solve(problem.with_penalties(*pairs[k]), chosen, start=start, **options)
            memories.append(dict(memory or {}))
            if solution.status is Status.INTERRUPTED:
                return _in_order(out)
            start = solution.measure if problem.symmetry is None else None
        if isinstance(chosen, Remembering):
            _reconsider(chosen, out, order, memories, options)
    except KeyboardInterrupt:  # where a backend keeps nothing
        if not out:
            raise
    return _in_order(out)


def _in_order(out: dict[int, Solution]) -> list[Solution]:
    return [out[k] for k in sorted(out)]


def _reconsider(
    chosen: Remembering,
    out: dict[int, Solution],
    order: Sequence[int],
    memories: list[dict[str, Any]],
    options: dict[str, Any],
) -> None:
    """Each solution judged by what the searches of the next two have met, from the last but one to the first; solved for again where they refute it."""
    known = {field.name for field in fields(SolveOptions)}
    extra = {name: value for name, value in options.items() if name not in known}
    given = SolveOptions(**{name: value for name, value in options.items() if name in known}, extra=extra)
    for place, k in reversed(list(enumerate(order[:-1]))):
        claimed = out[k].status
        with blas_threads(entries_of(out[k].problem)):
            out[k] = chosen.reconsider(out[k], memories[place], memories[place + 1 : place + 1 + JUDGES], given)
        if out[k].status is claimed:
            continue
        again = solve(out[k].problem, chosen, start=out[k].measure, **{**options, "memory": memories[place]})
        if again.status is Status.SOLVED or again.energy <= out[k].energy:
            out[k] = again
        if again.status is Status.INTERRUPTED:
            return


def _pair(item: float | tuple[float, float]) -> tuple[float, float]:
    if isinstance(item, (tuple, list)):
        if len(item) != 2:
            raise InputError(f"a penalty is one number or a pair (lambda1, lambda2), not {shown(item)}.")
        pair = positive(item[0], "lambda1"), positive(item[1], "lambda2")
    else:
        pair = (positive(item, "lambda"),) * 2
    check_penalty_product(*pair)
    return pair

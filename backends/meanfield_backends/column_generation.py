"""The default backend: column generation with sliding atoms (theory sections 2 and 3). Parts: ``colgen``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from meanfield_opt.backend import Availability, Remembering, SolveOptions
from meanfield_opt.errors import InputError
from meanfield_opt.problem import MeanFieldProblem, TwoLayerProblem
from meanfield_opt.solution import Solution, Status
from meanfield_opt.validate import integer

from . import exchange, orbit
from .attained import check_attained, check_size
from .colgen import bank
from .colgen.bound import relative_gap
from .colgen.loop import run, to_measure
from .colgen.memory import check_memory
from .colgen.refit import fitted
from .colgen.revise import reconsidered, usable
from .colgen.state import Settings
from .kinds import MOST_KINDS, solve_kinds
from .two_levels import two_level_start


@dataclass(frozen=True)
class ColumnGeneration(Remembering):
    """Group-lasso master on the active atoms, batched local search for violated patterns, sliding, merging, pruning."""

    name = "column_generation"
    summary = "column generation with sliding atoms: any loss, any activation with attained optimum, large data"

    def availability(self) -> Availability:
        return Availability(True, "built in")

    def refusal(self, problem: MeanFieldProblem) -> str | None:
        if not isinstance(problem, TwoLayerProblem):
            return "it solves two-layer problems only."
        if not np.isfinite(problem.loss.curvature()):
            reason = bank.refusal(problem)
            if reason is not None:
                return (
                    f"the {problem.loss.name} loss is not smooth, and {reason} Use a conic backend (clarabel, cvxpy)."
                )
        return None

    def solve(self, problem: MeanFieldProblem, options: SolveOptions) -> Solution:
        assert isinstance(problem, TwoLayerProblem)
        settings, use_symmetry = read_settings(options.extra)
        if problem.width is not None and not problem.width_binds:
            part = self.solve(problem.with_free_mass(), options)
            return replace(part, problem=problem, measure=problem.within_width(part.measure))
        far = check_attained(problem, options)
        if options.start is None:
            stepped = far is None and problem.activation.levels is not None
            options = replace(options, start=two_level_start(problem) if stepped else far)
        if use_symmetry and options.start is None and orbit.refusal(problem) is None:
            solution = orbit.solve_orbits(problem, options, self.name)
            if solution is not None:
                return solution
        if use_symmetry and options.start is None:
            begin, kinds = time.perf_counter(), exchange.quotient(problem)
            if kinds is not None:
                small, kind, root = kinds
                few = root.size <= MOST_KINDS and problem.width is None
                part = solve_kinds(small, options, self.name) if few else self.solve(small, options)
                return exchange.lifted(problem, part, kind, root, begin)
        state, status, stats = run(problem, options, settings)
        measure = to_measure(problem, state)
        check_size(problem, measure, state.energy)
        dual = state.dual if state.best_dual is None else state.best_dual
        try:
            better = fitted(problem, measure, options.tolerance, settings.threads)
        except KeyboardInterrupt:
            if status is Status.INTERRUPTED:  # for the second time
                raise
            better, status = None, Status.INTERRUPTED
        if better is not None:
            measure, energy = better
            lower = min(state.lower, energy)
            stats.update(lower_estimate=lower, sampled_gap=relative_gap(energy, lower))
        return Solution(problem, measure, dual, status, self.name, stats)

    def reconsider(
        self, solution: Solution, memory: dict[str, Any], others: Sequence[dict[str, Any]], options: SolveOptions
    ) -> Solution:
        problem = solution.problem
        if not isinstance(problem, TwoLayerProblem) or not usable(problem, memory):
            return solution
        threads = read_settings(options.extra)[0].threads
        lower, met = reconsidered(problem, solution.dual, memory, others, options.tolerance, threads)
        lower = min(lower, solution.stats["lower_estimate"])
        gap = relative_gap(solution.energy, lower)
        stats = {**solution.stats, "lower_estimate": lower, "sampled_gap": gap}
        if gap <= options.tolerance or solution.status is not Status.SOLVED:
            return replace(solution, stats=stats)
        memory["basins"] = met if memory["basins"] is None else np.vstack([met, memory["basins"]])
        return replace(solution, stats=stats, status=Status.INACCURATE)


def read_settings(extra: dict[str, Any]) -> tuple[Settings, bool]:
    """The backend's own options, and whether to use declared symmetries; InputError for unknown names or bad values."""
    known = {field.name for field in fields(Settings)} | {"symmetry"}
    unknown = sorted(set(extra) - known - {"memory"})
    if unknown:
        raise InputError(
            f"column_generation does not know the option {', '.join(unknown)}; it takes {', '.join(sorted(known))}."
        )
    use_symmetry = extra.get("symmetry", True)
    if not isinstance(use_symmetry, bool):
        raise InputError(f"symmetry must be True or False, not {use_symmetry!r}.")
    check_memory(extra.get("memory", {}))
    numbers = {
        name: integer(value, name, least=1) for name, value in extra.items() if name not in ("symmetry", "memory")
    }
    return Settings(**numbers), use_symmetry


BACKEND = ColumnGeneration()

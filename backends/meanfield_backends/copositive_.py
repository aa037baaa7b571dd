"""Local search for standard quadratic programs: pairwise descent from many starts, then the exact stationary point."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

import meanfield_opt
from meanfield_opt.backend import Availability, Backend, SolveOptions
from meanfield_opt.copositive.simplex import incumbents
from meanfield_opt.errors import InputError
from meanfield_opt.measure import Measure
from meanfield_opt.problem import MeanFieldProblem
from meanfield_opt.solution import Solution, Status


@dataclass(frozen=True)
class CopositiveSearch(Backend):
    """Proposes a minimiser; ``certify`` proves it."""

    name = "copositive"
    summary = "standard quadratic programs: multistart pairwise descent with exact polishing"

    def availability(self) -> Availability:
        return Availability(True, meanfield_opt.__version__)

    def refusal(self, problem: MeanFieldProblem) -> str | None:
        if type(problem).__name__ == "StandardQuadraticProgram":
            return None
        return "it takes standard quadratic programs only (mfo.problems.standard_quadratic_program)."

    def solve(self, problem: MeanFieldProblem, options: SolveOptions) -> Solution:
        if options.extra:
            raise InputError(
                f"backend 'copositive' has no options of its own, but was given {', '.join(options.extra)}."
            )
        begin = time.perf_counter()
        program: Any = problem
        points, value = incumbents(program.matrix, options.seed)
        measure = Measure(np.array([[float(v) for v in points[0]]]), np.ones(1))
        stats = {"seconds": time.perf_counter() - begin, "value": float(value)}
        return Solution(problem, measure, np.array([[float(value)]]), Status.SOLVED, self.name, stats)


BACKEND = CopositiveSearch()

"""Ours: the curve is drawn by rounds."""

from __future__ import annotations

from typing import Any

from benchopt import BaseSolver

import meanfield_opt as mfo


class Solver(BaseSolver):
    name = "column_generation"
    sampling_strategy = "iteration"
    parameters = {"symmetry": [True, False]}  # noqa: RUF012

    def set_objective(self, problem: mfo.TwoLayerProblem) -> None:
        self.problem = problem

    def run(self, n_iter: int) -> None:
        options: dict[str, Any] = {"symmetry": self.symmetry}
        self.solution = mfo.solve(self.problem, tolerance=1e-9, max_iterations=n_iter + 1, time_limit=120.0, **options)

    def get_result(self) -> dict[str, Any]:
        return {"energy": self.solution.energy, "solution": self.solution}

"""The group lasso on known and random atoms as a conic program in cvxpy."""

from __future__ import annotations

from typing import Any

from benchmark_utils import rivals
from benchopt import BaseSolver

import meanfield_opt as mfo


class Solver(BaseSolver):
    name = "cvxpy_grid"
    sampling_strategy = "run_once"
    requirements = ["pip::cvxpy"]  # noqa: RUF012
    parameters = {"solver": ["CLARABEL", "SCS"], "atoms": [500]}  # noqa: RUF012

    def set_objective(self, problem: mfo.TwoLayerProblem) -> None:
        self.problem = problem

    def run(self, _: int) -> None:
        self.energy = rivals.conic_grid(self.problem, self.solver, self.atoms)[0]

    def get_result(self) -> dict[str, Any]:
        return {"energy": self.energy}

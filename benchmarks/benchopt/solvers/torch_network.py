"""A trained network: Adam with a rate that decays to zero, or L-BFGS."""

from __future__ import annotations

from typing import Any

from benchmark_utils import rivals
from benchopt import BaseSolver

import meanfield_opt as mfo


class Solver(BaseSolver):
    name = "torch"
    sampling_strategy = "iteration"
    requirements = ["pip::torch"]  # noqa: RUF012
    parameters = {"method": ["adam", "lbfgs"], "units": [256], "seed": [0]}  # noqa: RUF012

    def set_objective(self, problem: mfo.TwoLayerProblem) -> None:
        self.problem = problem

    def run(self, n_iter: int) -> None:
        self.energy = rivals.torch_network(self.problem, self.method, self.units, 20 * n_iter + 1, self.seed)[0]

    def get_result(self) -> dict[str, Any]:
        return {"energy": self.energy}

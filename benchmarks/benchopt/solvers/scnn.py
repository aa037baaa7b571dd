"""pyscnn, convex reformulation on sampled gates."""

from __future__ import annotations

from typing import Any

from benchmark_utils import rivals
from benchopt import BaseSolver

import meanfield_opt as mfo


class Solver(BaseSolver):
    name = "scnn"
    sampling_strategy = "run_once"
    requirements = ["pip::pyscnn"]  # noqa: RUF012
    parameters = {"mode": ["ecos", "al"], "gates": [200]}  # noqa: RUF012

    def set_objective(self, problem: mfo.TwoLayerProblem) -> None:
        self.problem = problem

    def run(self, _: int) -> None:
        self.energy = rivals.scnn(self.problem, self.mode, self.gates)[0]

    def get_result(self) -> dict[str, Any]:
        return {"energy": self.energy}

"""benchopt objective: energy of the measure or network returned, and its certified gap where one is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from benchopt import BaseObjective

import meanfield_opt as mfo


class Objective(BaseObjective):
    name = "mean-field two-layer ReLU network, squared loss"
    min_benchopt_version = "1.6"
    requirements = ["meanfield-opt"]  # noqa: RUF012
    parameters = {"certified": [False]}  # noqa: RUF012

    def set_data(self, problem: mfo.TwoLayerProblem) -> None:
        self.problem = problem

    def get_objective(self) -> dict[str, Any]:
        return {"problem": self.problem}

    def evaluate_result(self, energy: float, solution: Any = None) -> dict[str, float]:
        out = {"value": energy}
        if self.problem.known is not None:
            out["excess"] = (energy - self.problem.known.energy) / self.problem.known.energy
        if self.certified and solution is not None:
            out["certified_gap"] = mfo.certify(self.problem, solution).relative_gap
        return out

    def get_one_result(self) -> dict[str, float]:
        return {"energy": float(np.sum(np.square(self.problem.targets)))}

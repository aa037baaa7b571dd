"""Hypercube tasks with an activation of finitely many values: the cheapest patterns of two values that follow one label.

Slopes are zero there, so no local search finds them. The optimum is made of such patterns wherever labels weigh the same
(``meanfield_opt.checker.pairs``); elsewhere they are a start.
"""

from __future__ import annotations

import math

import numpy as np

from meanfield_opt.checker.hypercube import hypercube_of
from meanfield_opt.measure import Measure
from meanfield_opt.problem import TwoLayerProblem

#: how far inside its interval a value is kept, relative to its size
INSIDE = 1e-12


def two_level_start(problem: TwoLayerProblem) -> Measure | None:
    """For every label and every pair of levels the cheapest beta 1 + gamma v_i that takes them; None where there are none."""
    levels, cube = problem.activation.levels, hypercube_of(problem)
    if levels is None or cube is None:
        return None
    q0, q1, _ = cube.inverse_eigenvalues(cube.ridge * 0)
    y = problem.targets
    rows = []
    for i, row in enumerate(y):
        a, b = float(q0), float(q1[i])
        for first in levels:
            for second in levels:
                if first[2] != second[2]:
                    t, u = _cheapest(a, b, first[:2], second[:2])
                    rows.append(np.where(row > 0, t, u))
    atoms = np.array(rows)
    costs = problem.geometry.cost(atoms)
    atoms = atoms[np.isfinite(costs) & (costs > 0)]
    if len(atoms) == 0:
        return None
    mass = 1.0 / len(atoms) if problem.width is None else min(1.0, problem.width) / len(atoms)
    return Measure(atoms, np.full(len(atoms), mass))


def _cheapest(a: float, b: float, first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """argmin a (t + u)^2 + b (t - u)^2 for t and u in two intervals, a little inside: coordinate by coordinate."""
    ends = [
        tuple(x + s * INSIDE * max(1.0, abs(x)) if math.isfinite(x) else x for x, s in zip(interval, (1.0, -1.0)))
        for interval in (first, second)
    ]
    pull = (b - a) / (a + b)
    t, u = (min(max(0.0, low), high) for low, high in ends)
    for _ in range(200):
        t = min(max(pull * u, ends[0][0]), ends[0][1])
        u = min(max(pull * t, ends[1][0]), ends[1][1])
    return t, u

"""Exchange algorithm for optimal designs: optimal weights on the support, support moved to the peaks of the variance."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import meanfield_opt
from meanfield_opt.backend import Availability, Backend, SolveOptions
from meanfield_opt.errors import InputError, SolveError
from meanfield_opt.measure import Measure
from meanfield_opt.problem import MeanFieldProblem
from meanfield_opt.solution import Solution, Status

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DesignExchange(Backend):
    """degree + 1 points carry an optimal design; their weights have a closed form (Pukelsheim and Torsney 1991)."""

    name = "design"
    summary = "A- and D-optimal designs for polynomial regression on an interval: Remez-like exchange"

    def availability(self) -> Availability:
        return Availability(True, meanfield_opt.__version__)

    def refusal(self, problem: MeanFieldProblem) -> str | None:
        if type(problem).__name__ == "OptimalDesign":
            return None
        return "it takes optimal designs only (mfo.problems.optimal_design)."

    def solve(self, problem: MeanFieldProblem, options: SolveOptions) -> Solution:
        if options.extra:
            raise InputError(f"backend 'design' has no options of its own, but was given {', '.join(options.extra)}.")
        begin = time.perf_counter()
        design: Any = problem
        a, b = design.interval
        count = design.degree + 1
        points = 0.5 * (a + b) - 0.5 * (b - a) * np.cos(np.pi * np.arange(count) / max(1, count - 1))
        best: tuple[float, Measure] | None = None
        status, step = Status.ITERATION_LIMIT, 1.0
        for _ in range(options.max_iterations or 500):
            measure = Measure(points[:, None], _weights(design, points))
            energy = design.energy(measure)
            if not np.isfinite(energy):
                raise SolveError(f"the design of {design.name} became singular; the interval may be badly scaled.")
            if best is None or energy < best[0]:
                best = energy, measure
            elif energy > best[0] + 1e-14 * abs(best[0]):
                step = max(0.5 * step, 0.05)
            dual = design.dual_point(measure)
            gap = energy - design.dual_value(dual)
            if gap <= 0.01 * options.tolerance * max(1.0, abs(energy)):
                status = Status.SOLVED
                break
            peaks = _peaks(design, dual, points)
            points = np.sort((1 - step) * points + step * peaks)
        assert best is not None
        stats = {"seconds": time.perf_counter() - begin}
        return Solution(problem, best[1], design.dual_point(best[1]), status, self.name, stats)


def _weights(design: Any, points: Array) -> Array:
    """Optimal weights on degree + 1 points: equal ("D"), or proportional to |rows of F^-T| ("A")."""
    if design.criterion == "D":
        return np.full(len(points), 1.0 / len(points))
    inverse = np.linalg.inv(design.features(points))
    w = np.linalg.norm(inverse, axis=0)
    return np.asarray(w / w.sum())


def _peaks(design: Any, dual: Array, points: Array) -> Array:
    """The maximum of the variance function near each support point (between the middles to its neighbours)."""
    a, b = design.interval
    middles = np.concatenate([[a], 0.5 * (points[1:] + points[:-1]), [b]])
    out = np.empty(len(points))
    for k in range(len(points)):
        lo, hi = middles[k], middles[k + 1]
        for _ in range(12):  # ever finer grids around the best point
            grid = np.linspace(lo, hi, 21)
            top = int(np.argmax(design.variance(dual, grid)))
            lo, hi = grid[max(0, top - 1)], grid[min(20, top + 1)]
        out[k] = 0.5 * (lo + hi) if 0 < top < 20 else grid[top]
    return out


BACKEND = DesignExchange()

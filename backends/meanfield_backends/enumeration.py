"""Exact column generation for activations with finitely many values: every feature pattern is a known column."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from meanfield_opt.backend import Availability, Backend, SolveOptions
from meanfield_opt.certificate.levels_engine import box_minimisers
from meanfield_opt.checker.levels import MOST_PATTERNS, patterns
from meanfield_opt.errors import InputError, NotAttainedError
from meanfield_opt.measure import Measure
from meanfield_opt.problem import MeanFieldProblem, TwoLayerProblem
from meanfield_opt.solution import Solution, Status

from .colgen.bank_master import parts_of
from .colgen.master import master_energy, solve_master
from .colgen.saddle import solve_saddle


@dataclass(frozen=True)
class Enumeration(Backend):
    """All patterns of levels with their least costs; the master takes in the most violated ones until none is left."""

    name = "enumeration"
    summary = "all feature patterns of a step or sign activation, exactly priced; few samples only"

    def availability(self) -> Availability:
        return Availability(True, "built in")

    def refusal(self, problem: MeanFieldProblem) -> str | None:
        if not isinstance(problem, TwoLayerProblem):
            return "it solves two-layer problems only."
        levels = problem.activation.levels
        if levels is None:
            return f"{problem.activation.name} has not finitely many values."
        if len(levels) ** problem.n_samples > MOST_PATTERNS:
            return f"{len(levels)}^{problem.n_samples} feature patterns are too many (at most {MOST_PATTERNS})."
        if not np.isfinite(problem.loss.curvature()):
            return f"the {problem.loss.name} loss is not smooth."
        return None

    def solve(self, problem: MeanFieldProblem, options: SolveOptions) -> Solution:
        assert isinstance(problem, TwoLayerProblem)
        if options.extra:
            raise InputError(f"enumeration does not know the option {', '.join(sorted(options.extra))}.")
        started = time.monotonic()
        values, lows, highs = patterns(problem)
        if problem.activation.escapes:
            # closed boxes contain patterns of no cost that keep their effect: the optimum is only approached
            raise NotAttainedError(
                f"hidden weights of {problem.activation.name} can shrink to nothing without losing their effect, so the "
                "infimum is not attained; use a positive threshold, or another backend with a width for an approximation."
            )
        kernel = problem.geometry.apply(np.eye(problem.n_samples))
        inverse = np.asarray(np.linalg.pinv(0.5 * (kernel + kernel.T), rcond=1e-12, hermitian=True), dtype=np.float64)
        h = box_minimisers(inverse, lows, highs)
        # the floating-point activation decides what a pattern really does: drop those whose cost would be misjudged
        features = problem.features(h)
        keep = values.any(axis=1) & (features == values).all(axis=1)
        h, features = h[keep], features[keep]
        cost = problem.geometry.cost(h)
        active = np.zeros(0, dtype=np.intp)
        readouts = np.zeros((problem.n_outputs, 0))
        dual = problem.dual_point(Measure.zero(problem.n_samples))
        status, kappa, top = Status.ITERATION_LIMIT, 0.0, 0.0
        parts = parts_of(problem)
        scale = max(problem.loss.value(np.zeros_like(problem.targets), problem.targets), 1e-300)
        for _ in range(options.max_iterations or 200):
            response = dual @ features.T
            level = problem.lambda1 * cost + kappa
            ratio = np.einsum("kj,kj->j", response, response) / (4.0 * problem.lambda2 * level)
            top = float(ratio.max(initial=0.0))
            fresh = np.setdiff1d(np.argsort(-ratio)[:64], active)
            fresh = fresh[ratio[fresh] > 1.0 + 0.1 * options.tolerance]
            if fresh.size == 0:  # where patterns in use are violated the master was not solved
                status = Status.SOLVED if top <= 1.0 + 1e-2 * math.sqrt(options.tolerance) else Status.INACCURATE
                break
            if active.size and time.monotonic() - started > options.time_limit:
                status = Status.TIME_LIMIT
                break
            active = np.concatenate([active, fresh])
            start = np.hstack([readouts, np.zeros((problem.n_outputs, fresh.size))])
            price = problem.lambda1 * cost[active]
            found = (
                None
                if parts is None
                else solve_saddle(parts, features[active], price, problem.lambda2, problem.width, scale)
            )
            if found is not None:
                readouts, kappa, masses, dual = found.readouts, found.kappa, found.masses, found.dual
            if found is None or found.gap >= 1e-3 * options.tolerance:
                master = solve_master(problem, features[active], cost[active], start, 1e-3 * options.tolerance, kappa)
                # first-order steps may end far from the optimum: more so than an interior point that just misses its accuracy
                if found is None or master.energy < master_energy(
                    problem, features[active], cost[active], readouts, masses
                ):
                    readouts, kappa, masses = master.readouts, master.kappa, master.masses
                    dual = -problem.loss.gradient(readouts @ features[active], problem.targets)
            used = masses > 1e-14 * masses.sum()
            active, readouts = active[used], readouts[:, used]
        if active.size == 0:
            measure = Measure.zero(problem.n_samples)
        else:
            masses = masses[used]
            measure = Measure(h[active], masses, None, readouts / masses)
        stats = {"patterns": len(h), "worst_ratio": top, "seconds": time.monotonic() - started}
        return Solution(problem, measure, dual, status, self.name, stats)


BACKEND = Enumeration()

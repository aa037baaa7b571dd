"""A discretised support that is refined: solve on it, search for violated patterns, add them, repeat."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.backend import Progress, SolveOptions
from meanfield_opt.errors import InputError, SolveError
from meanfield_opt.formulation import ConicAnswer, ConicLimits, Lifted
from meanfield_opt.formulation.search import ascend, distinct
from meanfield_opt.formulation.support import initial_support, with_cost
from meanfield_opt.measure import Measure
from meanfield_opt.problem import TwoLayerProblem
from meanfield_opt.solution import Solution, Status
from meanfield_opt.validate import real_array

Array = NDArray[np.float64]
log = logging.getLogger(__name__)

FORMULATIONS = ("group_lasso", "moment", "dnn_lift", "arrangement_sdp", "parrilo")

#: relative gain in energy below which a round of refinement counts as stalled
STALL = 1e-10

DictionaryStep = Callable[[Array, ConicLimits], tuple[Lifted, ConicAnswer]]


@dataclass(frozen=True)
class DiscretisationOptions:
    """formulation: one of ``FORMULATIONS``. rounds: refinements of the support (0: none). samples: random candidates
    at the start. atoms: a support of your own (J, P), used instead of the candidates."""

    formulation: str = "group_lasso"
    rounds: int = 30
    samples: int = 40
    atoms: Any = None

    def __post_init__(self) -> None:
        if self.formulation not in FORMULATIONS:
            raise InputError(f"formulation must be one of {', '.join(FORMULATIONS)}, not {self.formulation!r}.")
        if self.rounds < 0 or self.samples < 1:
            raise InputError("rounds must be >= 0 and samples >= 1.")


def limits_of(options: SolveOptions, used: float) -> ConicLimits:
    """Solver limits from backend options, after ``used`` seconds."""
    left = options.time_limit - used if math.isfinite(options.time_limit) else math.inf
    tolerance = min(max(1e-3 * options.tolerance, 1e-11), 1e-8)
    return ConicLimits(tolerance, max(left, 1e-2), options.max_iterations)


def worse(first: Status, second: Status) -> Status:
    """The less good of two statuses."""
    order = [Status.SOLVED, Status.INACCURATE, Status.ITERATION_LIMIT, Status.TIME_LIMIT, Status.INTERRUPTED]
    return max((first, second), key=lambda s: order.index(s) if s in order else len(order))


@dataclass(frozen=True, eq=False)
class Refinement:
    """Solve on a support, add the most violated patterns that a local search finds, drop idle ones, repeat."""

    problem: TwoLayerProblem
    options: SolveOptions
    grid: DiscretisationOptions
    backend: str
    step: DictionaryStep

    def solve(self) -> Solution:
        begin = time.perf_counter()
        problem, options = self.problem, self.options
        atoms = self._start()
        best: tuple[float, Measure, Array] | None = None
        statuses: list[Status] = []
        setup = solving = 0.0
        ratio, gap, rounds = math.inf, math.inf, 0
        words, iterations, stalled = "no support: zero network", 0, 0
        stop = Status.SOLVED
        while atoms.shape[0]:
            used = time.perf_counter() - begin
            if best is not None and used > options.time_limit:
                stop = Status.TIME_LIMIT
                break
            try:
                lifted, answer = self.step(atoms, limits_of(options, used))
            except SolveError as error:
                if best is None:
                    raise
                log.info("%s stops with the best found so far: %s", self.backend, error)
                words = str(error)
                stop = Status.TIME_LIMIT if time.perf_counter() - begin > options.time_limit else Status.INACCURATE
                break
            statuses.append(answer.status)
            setup, solving = setup + answer.setup_seconds, solving + answer.seconds
            words, iterations = answer.words, iterations + (answer.iterations or 0)
            if lifted.measure is None:
                raise SolveError(f"{self.backend}: {lifted.reason}")
            measure = replace(lifted.measure, readout=None)  # the best output weights are recomputed
            energy = problem.energy(measure)
            gained = math.inf if best is None else (best[0] - energy) / max(abs(best[0]), 1e-300)
            held = None if best is None else best[2]
            if best is None or gained > 0:
                best = (energy, measure, np.zeros_like(problem.targets) if best is None else best[2])
            before = gap
            # columns come from this round's dual point; the one reported is the best so far, searched afresh each time
            dual, fresh, ratio, gap = self._better_dual(lifted.dual, best[1], best[0], rounds)
            reported = dual
            if held is not None:
                more, its_ratio, its_gap = self._violated(held, best[1], best[0], rounds)
                fresh = np.vstack([fresh, more])
                if its_gap < gap:
                    reported, ratio, gap = held, its_ratio, its_gap
            best = (best[0], best[1], reported)
            # of a nonsmooth loss the measure may be optimal long before the dual point is
            stalled = 0 if gained > STALL or gap < 0.9 * before else stalled + 1
            if options.progress is not None:
                seconds = time.perf_counter() - begin
                options.progress(Progress("refine", rounds, best[0], best[0] - gap, seconds, atoms.shape[0]))
            relative = gap / max(abs(best[0]), 1e-300)
            log.debug("%s round %d: energy %.12g, sampled gap %.2e", self.backend, rounds, best[0], relative)
            if relative <= options.tolerance:
                break
            if fresh.shape[0] == 0 or rounds >= self.grid.rounds or stalled >= 3:
                stop = Status.INACCURATE if relative > options.tolerance else Status.SOLVED
                break
            rounds += 1
            atoms = distinct(np.vstack([self._active(atoms, dual), best[1].atoms, fresh]), rays=self._rays)
        if best is None:
            zero = Measure.zero(problem.n_samples)
            best = (problem.energy(zero), zero, problem.dual_point(zero))
        last = statuses[-1] if statuses else Status.SOLVED
        relative = gap / max(abs(best[0]), 1e-300)
        # a solver that stopped early, but whose point is good by the sampled gap, has done its work
        status = stop if relative <= options.tolerance else worse(last, stop)
        stats = {
            "formulation": self.grid.formulation,
            "support": "discretised: local search refines it, so nothing outside it is ruled out",
            "support_size": int(atoms.shape[0]),
            "rounds": rounds,
            "sampled_ratio": ratio,
            "sampled_gap": relative,
            "solver_words": words,
            "solver_iterations": iterations,
            "setup_seconds": setup,
            "solver_seconds": solving,
            "seconds": time.perf_counter() - begin,
        }
        return Solution(problem, best[1], best[2], status, self.backend, stats)

    @property
    def _rays(self) -> bool:
        return self.problem.activation.degree == 1.0

    def _start(self) -> Array:
        given = self.grid.atoms
        if given is not None:
            atoms = np.atleast_2d(real_array(given, "atoms", ndim=(1, 2)))
            if atoms.shape[1] != self.problem.n_samples:
                raise InputError(f"atoms are over {atoms.shape[1]} samples, the problem over {self.problem.n_samples}.")
            usable = with_cost(self.problem, atoms)
            if usable.shape[0] == 0:
                raise InputError("atoms holds patterns of cost zero only; give at least one that is not zero.")
            return usable
        atoms = initial_support(self.problem, self.grid.samples, self.options.seed)
        if self.options.start is not None and self.options.start.n_atoms:
            atoms = np.vstack([self.options.start.atoms, atoms])
        return atoms

    def _better_dual(
        self, given: Array | None, measure: Measure, energy: float, round_: int
    ) -> tuple[Array, Array, float, float]:
        """(dual point, violated patterns, worst ratio or excess, sampled gap) of the better of two dual points."""
        candidates = [] if given is None else [self.problem.loss.project_dual(given, self.problem.targets)]
        if given is None or math.isfinite(self.problem.loss.curvature()):  # of a nonsmooth loss it takes long to find
            candidates.append(self.problem.dual_point(measure))
        results = [(dual, *self._violated(dual, measure, energy, round_)) for dual in candidates]
        return min(results, key=lambda item: item[3])

    def _violated(self, dual: Array, measure: Measure, energy: float, round_: int) -> tuple[Array, float, float]:
        """(violated patterns, worst ratio or excess seen, sampled duality gap)."""
        problem = self.problem
        rng = np.random.default_rng([self.options.seed, round_])
        theta = rng.standard_normal((30, problem.geometry.n_parameters))
        starts = np.vstack([measure.atoms, problem.geometry.preactivation(theta)])
        if not self._rays:
            size = np.abs(measure.atoms).max(initial=1.0)
            starts = np.vstack([starts, *(starts * s for s in (0.3, 3.0)), np.full((1, problem.n_samples), size)])
        found = with_cost(problem, ascend(problem, dual, starts))
        if problem.width is None:
            ratio = problem.ratio(dual, found)
            worst = max(1.0, float(ratio.max(initial=0.0)))
            limit = 1.0 / worst
            scale = problem.loss.best_scale(dual, problem.targets, limit)
            gap = energy - problem.dual_value(scale * dual)
            violated = ratio > 1.0 + 1e-12
        else:
            excess = -problem.first_variation(dual, found)
            worst = max(0.0, float(excess.max(initial=0.0)))
            gap = energy - (problem.dual_value(dual) - problem.width * worst)
            ratio, violated = excess, excess > 1e-3 * worst
        order = np.argsort(-ratio[violated])[:30]
        return found[violated][order], worst, max(gap, 0.0)

    def _active(self, atoms: Array, dual: Array) -> Array:
        """The part of the support that is near to being used."""
        slack = self.problem.first_variation(dual, atoms) / self.problem.geometry.cost(atoms)
        return atoms[slack <= 0.2 * self.problem.lambda1] if self._rays else atoms

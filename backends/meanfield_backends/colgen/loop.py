"""The outer loop: search, master, slide, merge, until the sampled gap is small."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.backend import Progress, SolveOptions
from meanfield_opt.measure import Measure
from meanfield_opt.problem import TwoLayerProblem
from meanfield_opt.solution import Status

from . import newton, pool
from .bound import lower_estimate, relative_gap
from .carrier import Carrier, ThetaCarrier, choose_carrier
from .master import master_energy, solve_master
from .reduce import merge, prune
from .search import Found, distinct, search
from .slide import Particles, slide

Array = NDArray[np.float64]

#: rounds that may pass without a gain that matters at the tolerance asked for
PATIENCE = 8

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """Options of this backend: starts a search, columns added a round, iterations of a slide."""

    starts: int = 128
    columns: int = 24
    slide_iterations: int = 400


@dataclass
class State:
    """The best so far, kept consistent at every moment so that an interruption can return it."""

    particles: Particles
    dual: Array
    energy: float
    lower: float = -math.inf
    best_dual: Array | None = None
    kappa: float = 0.0
    columns: Array | None = None
    rounds: int = 0
    history: list[tuple[float, float, float, int]] = field(default_factory=list)


class Stopwatch:
    """Seconds since construction, and whether a limit has passed."""

    def __init__(self, limit: float) -> None:
        self.start, self.limit = time.perf_counter(), limit

    def seconds(self) -> float:
        return time.perf_counter() - self.start

    def over(self) -> bool:
        return self.seconds() > self.limit


def run(problem: TwoLayerProblem, options: SolveOptions, settings: Settings) -> tuple[State, Status, dict[str, Any]]:
    """Column generation with sliding from ``options.start`` or from the zero measure."""
    watch = Stopwatch(options.time_limit)
    rng = np.random.default_rng(options.seed)
    carrier = choose_carrier(problem.geometry, problem.activation)
    state = _first_state(problem, carrier, options.start)
    status = Status.INACCURATE
    most = options.max_iterations if options.max_iterations is not None else 200
    try:
        status = _rounds(problem, carrier, options, settings, state, watch, rng, most)
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
        LOGGER.info("interrupted after %.1f s; returning the best so far", watch.seconds())
    stats = {
        "seconds": watch.seconds(),
        "rounds": state.rounds,
        "sampled_gap": relative_gap(state.energy, state.lower),
        "lower_estimate": state.lower,
        "history": state.history,
    }
    return state, status, stats


def _first_state(problem: TwoLayerProblem, carrier: Carrier, start: Measure | None) -> State:
    zero = np.zeros_like(problem.targets)
    empty = Particles(np.zeros((0, carrier.dimension)), np.zeros((problem.n_outputs, 0)), np.zeros(0))
    state = State(empty, -problem.loss.gradient(zero, problem.targets), problem.loss.value(zero, problem.targets))
    if start is not None and start.n_atoms:
        known = start.neurons is not None and start.neurons.shape[1] == problem.geometry.n_parameters
        x = (
            carrier.from_neurons(start.neurons)
            if known and start.neurons is not None
            else carrier.from_patterns(start.atoms)
        )
        readouts = problem.readout(start) * start.masses
        optimise_masses(problem, carrier, state, Particles(x, readouts, start.masses), 1e-10)
    return state


def optimise_masses(
    problem: TwoLayerProblem, carrier: Carrier, state: State, particles: Particles, tolerance: float
) -> float:
    """Solve the master on these atoms; take the result over if it is no worse. Returns the energy it reached."""
    features = problem.features(carrier.patterns(particles.x))
    cost = carrier.cost(particles.x)
    master = solve_master(problem, features, cost, particles.readouts, tolerance, state.kappa)
    if master.energy <= state.energy * (1 + 1e-15):
        new = prune(carrier, Particles(particles.x, master.readouts, master.masses))
        outputs = master.readouts @ features
        state.particles, state.energy, state.kappa = new, master.energy, master.kappa
        state.dual = problem.loss.project_dual(-problem.loss.gradient(outputs, problem.targets), problem.targets)
    return master.energy


def _rounds(
    problem: TwoLayerProblem,
    carrier: Carrier,
    options: SolveOptions,
    settings: Settings,
    state: State,
    watch: Stopwatch,
    rng: np.random.Generator,
    most: int,
) -> Status:
    stalled = 0
    pooled = pool.applies(problem, carrier)
    for _ in range(most):
        state.rounds += 1
        # what the search finds is sharpened below: no need to take it far
        steps = 10 if pooled else 60
        wide = settings.starts if stalled == 0 else 4 * settings.starts
        found = search(
            problem, carrier, state.dual, state.particles.x, rng, starts=wide, iterations=steps, watch=watch.over
        )
        if pooled:
            count = 4 * settings.starts if stalled else settings.starts
            found = pool.sharpened(problem, carrier, state.dual, found, state.particles.x, rng, count)
        top = found.top
        lower = lower_estimate(problem, state.dual, top)
        # the newest estimate at this dual point replaces any older and more hopeful one
        state.lower, state.best_dual = lower, state.dual
        gap = relative_gap(state.energy, lower)
        state.history.append((watch.seconds(), state.energy, lower, state.particles.count))
        LOGGER.debug("round %d energy %.12g gap %.2e atoms %d", state.rounds, state.energy, gap, state.particles.count)
        if options.progress is not None:
            options.progress(
                Progress("column generation", state.rounds, state.energy, lower, watch.seconds(), state.particles.count)
            )
        if gap <= options.tolerance:
            if stalled > 0:
                return Status.SOLVED
            stalled = 1  # look again, more widely, before believing it
            continue
        if watch.over():
            # what the search has just found is never thrown away: at the least it beats the zero measure
            _add(problem, carrier, state, _violators(problem, carrier, settings, state, found))
            return Status.TIME_LIMIT
        if len(state.history) > PATIENCE:
            gained = state.history[-1 - PATIENCE][1] - state.energy
            if gained <= 0.05 * options.tolerance * abs(state.energy):
                return Status.INACCURATE
        before = state.energy
        if pooled and _pooled(problem, carrier, settings, state, found, gap, options.tolerance, rng):
            if gap < 1e-3:
                reached = state.energy
                _second_order(problem, carrier, state, gap, watch, min(1e-10, 1e-2 * options.tolerance))
                if state.energy < reached:  # fewer atoms, whose dual point ignores the other columns
                    _pooled(problem, carrier, settings, state, None, gap, options.tolerance, rng)
            stalled = stalled + 1 if state.energy >= before - 1e-13 * abs(before) else 0
            if stalled > 3:
                return Status.INACCURATE
            continue
        new = _violators(problem, carrier, settings, state, found)
        images = Particles(found.images, state.particles.readouts, state.particles.masses)
        optimise_masses(problem, carrier, state, images, 1e-10)
        _improve(problem, carrier, settings, state, new, gap, watch, min(1e-10, 1e-2 * options.tolerance), rng)
        if state.energy < before - 1e-13 * abs(before):
            stalled = 0
        else:
            stalled += 1
            if stalled > 3:
                return Status.INACCURATE
    return Status.ITERATION_LIMIT


def _violators(problem: TwoLayerProblem, carrier: Carrier, settings: Settings, state: State, found: Found) -> Array:
    """The columns to add: distinct patterns that lower the energy."""
    above = 1.0 if problem.width is None else state.kappa
    return distinct(carrier, problem, found, above, settings.columns)


def _add(problem: TwoLayerProblem, carrier: Carrier, state: State, new: Array) -> None:
    """Solve the master with new columns beside the present atoms."""
    old = state.particles
    both = Particles(
        np.vstack([old.x, new]),
        np.hstack([old.readouts, np.zeros((problem.n_outputs, new.shape[0]))]),
        np.concatenate([old.masses, np.zeros(new.shape[0])]),
    )
    optimise_masses(problem, carrier, state, both, 1e-8)


def _pooled(
    problem: TwoLayerProblem,
    carrier: Carrier,
    settings: Settings,
    state: State,
    found: Found | None,
    gap: float,
    tolerance: float,
    rng: np.random.Generator,
) -> bool:
    """The master on everything kept and found; False (and nothing changed) where that is worse than the present atoms."""
    if state.columns is None:
        state.columns = pool.unit_rows(rng.standard_normal((8 * settings.columns, carrier.dimension)))
    new = np.zeros((0, carrier.dimension))
    if found is not None:
        new = pool.different(found.x[found.level > 1.0], 6 * settings.columns, 0.1 * gap)
    accuracy = min(1e-9, max(1e-12, 1e-2 * tolerance), max(1e-12, 1e-5 * gap))
    solved = pool.solve_pool(problem, carrier, state.columns, state.particles, new, accuracy)
    if solved is None:
        return False
    atoms, outputs, columns = solved
    features = problem.features(carrier.patterns(atoms.x))
    energy = master_energy(problem, features, carrier.cost(atoms.x), atoms.readouts, atoms.masses)
    if not energy <= state.energy * (1 + 1e-8):
        return False
    if energy <= state.energy:
        state.particles, state.energy, state.columns = atoms, energy, columns
    else:  # equal but for rounding: these columns still make the better dual point
        state.columns = np.vstack([columns, atoms.x])
    state.dual = problem.loss.project_dual(-problem.loss.gradient(outputs, problem.targets), problem.targets)
    return True


def _improve(
    problem: TwoLayerProblem,
    carrier: Carrier,
    settings: Settings,
    state: State,
    new: Array,
    gap: float,
    watch: Stopwatch,
    tolerance: float,
    rng: np.random.Generator,
) -> None:
    """Add columns, then master, slide, merge, master."""
    _add(problem, carrier, state, new)
    rounded = problem.activation.pieces is not None and len(problem.activation.pieces) > 1
    if rounded and isinstance(carrier, ThetaCarrier):
        _rounded(problem, carrier, settings, state, gap, watch, tolerance, rng)
        return
    for angle in (0.0, 0.1, 1e-2, 1e-4):
        fewer = merge(problem, carrier, state.particles, angle) if angle else state.particles
        if angle and fewer.count == state.particles.count:
            continue
        steps = settings.slide_iterations if angle else settings.slide_iterations // 4
        moved = slide(problem, carrier, fewer, iterations=steps, tolerance=1e-15, watch=watch.over)
        energy = optimise_masses(problem, carrier, state, moved, tolerance)
        LOGGER.debug(
            "merging within %.0e: %d atoms, energy %.12g (best %.12g)", angle, moved.count, energy, state.energy
        )


def _rounded(
    problem: TwoLayerProblem,
    carrier: Carrier,
    settings: Settings,
    state: State,
    gap: float,
    watch: Stopwatch,
    tolerance: float,
    rng: np.random.Generator,
) -> None:
    """Slide with rounded kinks, less and less rounded; begin as far away as the gap suggests. Near atoms merge on the way."""
    moved = state.particles
    schedule: tuple[float, ...]
    if gap > 0.5 and moved.count < 4 * settings.columns:
        moved = _with_random(problem, carrier, moved, 8 * settings.columns, rng)
        schedule, steps = (0.1, 0.03, 3e-3, 3e-4), settings.slide_iterations // 2
    else:
        schedule, steps = tuple(f * min(0.1, 0.1 * gap) for f in (1.0, 0.2, 0.04)), settings.slide_iterations // 2
    # large data: a slide may cost about as much as the search
    work = moved.count * problem.n_samples * (carrier.dimension + problem.n_outputs)
    steps = min(steps, max(20, int(1e10 / work)))
    for eps in schedule:
        moved = slide(
            problem, carrier, moved, eps=eps, iterations=steps, tolerance=1e-9 * min(1.0, 10 * gap), watch=watch.over
        )
        moved = merge(problem, carrier, prune(carrier, moved, 1e-6), min(0.02, eps))
        if watch.over():
            break
    optimise_masses(problem, carrier, state, moved, tolerance)
    if gap < 1e-2:
        _second_order(problem, carrier, state, gap, watch, tolerance)


def _second_order(
    problem: TwoLayerProblem, carrier: Carrier, state: State, gap: float, watch: Stopwatch, tolerance: float
) -> None:
    """Newton from the best atoms, near ones merged: as few atoms as do no harm."""
    tried = 0
    for angle in (3e-2, 3e-3, 3e-4, 0.0):
        fewer = merge(problem, carrier, state.particles, angle)
        if fewer.count == tried or watch.over() or not newton.applies(problem, carrier, fewer.count):
            continue
        tried, before = fewer.count, state.energy
        first, last = min(1e-3, 0.1 * gap), max(1e-6 * gap, 1e-12)
        moved = newton.polish(problem, carrier, fewer, first=first, last=last, steps=40, watch=watch.over)
        energy = optimise_masses(problem, carrier, state, moved, tolerance)
        LOGGER.debug("newton within %.0e: %d atoms, %.12g (best %.12g)", angle, fewer.count, energy, state.energy)
        if energy <= before:
            return


def _with_random(
    problem: TwoLayerProblem, carrier: Carrier, particles: Particles, count: int, rng: np.random.Generator
) -> Particles:
    """Random atoms beside the given ones, all of the size of a typical one; a wide start finds the basin soonest."""
    theta = rng.standard_normal((count, carrier.geometry.n_parameters))
    x = carrier.from_neurons(theta / np.linalg.norm(theta, axis=1, keepdims=True))
    v = rng.standard_normal((problem.n_outputs, count))
    v *= np.sqrt(problem.lambda1 / problem.lambda2) / np.linalg.norm(v, axis=0)
    return Particles(
        np.vstack([particles.x, x]),
        np.hstack([particles.readouts, v]),
        np.concatenate([particles.masses, np.ones(count)]),
    )

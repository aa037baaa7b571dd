"""The outer loop: search, master, slide, merge, until the sampled gap is small."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.backend import Progress, SolveOptions
from meanfield_opt.measure import Measure
from meanfield_opt.problem import TwoLayerProblem
from meanfield_opt.solution import Status

from . import bank, bank_master, ending, improve, pool, pricing, wide
from .bound import lower_estimate, relative_gap
from .carrier import Carrier, choose_carrier
from .follow import follow
from .search import Found, levels_at, search
from .slide import Particles
from .state import Settings, State, Stopwatch, first_state, optimise_masses

Array = NDArray[np.float64]

#: rounds that may pass without a gain that matters at the tolerance asked for; with a pool, whose searches refute claims by basins that
#: hardly change the energy
PATIENCE, POOLED = 8, 60
#: masters in a row on columns of another penalty, at most, before the first search
RECALLED_STEPS = 8

LOGGER = logging.getLogger(__name__)


def run(problem: TwoLayerProblem, options: SolveOptions, settings: Settings) -> tuple[State, Status, dict[str, Any]]:
    """Column generation with sliding from ``options.start`` or from the zero measure."""
    watch = Stopwatch(options.time_limit)
    rng = np.random.default_rng(options.seed)
    carrier = choose_carrier(problem.geometry, problem.activation)
    memory = options.extra.get("memory")
    recalled = pool.recalled(problem, carrier, options.start, memory, settings.threads)
    state = first_state(problem, carrier, options.start) if recalled is None else recalled
    state.threads = settings.threads
    status, banked = Status.INACCURATE, bank.applies(problem)
    most = options.max_iterations if options.max_iterations is not None else 200
    try:
        if wide.applies(problem, carrier):
            status = wide.rounds(problem, carrier, options, state, watch, rng, most)
        else:
            status = (bank.rounds if banked else _rounds)(problem, carrier, options, settings, state, watch, rng, most)
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
        LOGGER.info("interrupted after %.1f s; returning the best so far", watch.seconds())
    pool.remember(problem, state, memory)
    try:
        if banked:
            bank_master.finish(problem, carrier, state, options.tolerance)
        else:
            ending.finish(problem, carrier, state, options.tolerance, watch)
        pool.remember(problem, state, memory)  # with the masses of its accurate master
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
        LOGGER.info("interrupted at the end; the atoms are as many as they are")
    state.lower = min(state.lower, state.energy)  # an estimate above an energy that was reached is refuted
    stats = {
        "seconds": watch.seconds(),
        "rounds": state.rounds,
        "sampled_gap": relative_gap(state.energy, state.lower),
        "lower_estimate": state.lower,
        "history": state.history,
    }
    return state, status, stats


def to_measure(problem: TwoLayerProblem, state: State) -> Measure:
    """The measure of the best state. For degree 1 atoms have unit cost, so that masses compare neurons."""
    carrier = choose_carrier(problem.geometry, problem.activation)
    particles = state.particles
    if particles.count == 0:
        return Measure.zero(problem.n_samples)
    x, masses, readouts = particles.x, particles.masses, particles.readouts
    if problem.activation.degree == 1.0 and problem.width is None:
        norm = np.sqrt(carrier.cost(x))
        x = x / norm[:, None]
        readouts = readouts * norm
        masses = np.sqrt(problem.lambda2 / problem.lambda1) * np.sqrt(np.einsum("kj,kj->j", readouts, readouts))
    order = np.argsort(-masses, kind="stable")
    x, masses, readouts = x[order], masses[order], readouts[:, order]
    return Measure(carrier.patterns(x), masses, carrier.neurons(x), readouts / masses)


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
    stalled, gap = 0, state.recalled
    pooled = pool.applies(problem, carrier)
    if pooled and state.columns is not None:
        follow(problem, carrier, state, min(gap, state.unknown), options, watch, RECALLED_STEPS)
    for _ in range(most):
        state.rounds += 1
        sure = stalled > 0
        if pooled:
            sure = sure or state.settled <= options.tolerance
            starts = max(1, int(settings.starts * state.thrift))
            found = pricing.price(problem, carrier, state, rng, starts, gap, watch.over, options.tolerance, sure)
            state.settled, sure = math.inf, found.sure
        else:
            found = search(
                problem,
                carrier,
                state.dual,
                state.particles.x,
                rng,
                starts=(4 if sure else 1) * settings.starts,
                watch=watch.over,
            )
        # a search that was cut short says little about the present dual point
        here = _estimate(problem, carrier, state, found, not watch.over(), pooled)
        gap = relative_gap(state.energy, state.lower)
        if state.rounds == 1:
            state.unknown = here
        state.history.append((watch.seconds(), state.energy, state.lower, state.particles.count))
        LOGGER.debug("round %d energy %.12g gap %.2e atoms %d", state.rounds, state.energy, gap, state.particles.count)
        if options.progress is not None:
            seconds, atoms = watch.seconds(), state.particles.count
            options.progress(Progress("column generation", state.rounds, state.energy, state.lower, seconds, atoms))
        if gap <= options.tolerance:
            # a pool keeps an older dual point where its bound is better: the claim is about that one
            if sure and (state.best_dual is state.dual or not pooled):
                return Status.SOLVED
            if not watch.over():  # look again at this dual point, more widely, before believing it
                stalled, state.dual = 1, state.dual if state.best_dual is None else state.best_dual
                continue
        if watch.over():
            # what the search has just found is never thrown away: at the least it beats the zero measure
            if not (
                pooled and state.columns is not None and pool.round_(problem, carrier, state, found, here, options)
            ):
                improve.add(problem, carrier, state, improve.violators(problem, carrier, settings, state, found))
            return Status.TIME_LIMIT
        patience = POOLED if pooled else PATIENCE
        if len(state.history) > patience:
            then = state.history[-1 - patience]
            gained = max(then[1] - state.energy, state.lower - then[2])
            if gained <= 0.05 * options.tolerance * abs(state.energy):
                return Status.INACCURATE
        before = state.energy
        if not (pooled and _pooled(problem, carrier, state, found, here, options, rng, watch)):
            new = improve.violators(problem, carrier, settings, state, found)
            if not pooled:  # a pool searches from its columns, not from the present atoms
                images = Particles(found.images, state.particles.readouts, state.particles.masses)
                optimise_masses(problem, carrier, state, images, 1e-10)
            accuracy = min(1e-10, 1e-2 * options.tolerance)
            improve.improve(problem, carrier, settings, state, new, here, watch, accuracy, rng)
        stalled = stalled + 1 if state.energy >= before - 1e-13 * abs(before) else 0
        if stalled > 3:
            return Status.INACCURATE
    return Status.ITERATION_LIMIT


def _estimate(problem: TwoLayerProblem, carrier: Carrier, state: State, found: Found, whole: bool, keep: bool) -> float:
    """The gap at the present dual point, which becomes the best; the best is judged also by what was found since.

    whole: whether the search ended by itself, so that its top means something. keep: the older one stays where it is better.
    """
    lower = lower_estimate(problem, state.dual, found.top)
    if state.best_dual is state.dual:
        lower = state.lower = min(lower, state.lower)  # a second look may refute the first
    elif state.best_dual is not None and (keep or not whole):
        x = found.x[:1000]
        level = levels_at(problem, carrier, state.best_dual, x)
        state.lower = min(state.lower, lower_estimate(problem, state.best_dual, float(level.max(initial=0.0))))
    if state.best_dual is None or (whole and (not keep or lower > state.lower)):
        state.lower, state.best_dual = lower, state.dual
    return relative_gap(state.energy, lower)


def _pooled(
    problem: TwoLayerProblem,
    carrier: Carrier,
    state: State,
    found: Found,
    gap: float,
    options: SolveOptions,
    rng: np.random.Generator,
    watch: Stopwatch,
) -> bool:
    """A round with the pool, and second-order sliding near the end; False where its master fails."""
    if state.columns is None:
        pool.begin(problem, carrier, state, rng, watch)
    if not pool.round_(problem, carrier, state, found, gap, options):
        return False
    if gap < 1e-3:
        reached = state.energy
        improve.second_order(problem, carrier, state, gap, watch, min(1e-10, 1e-2 * options.tolerance))
        if state.energy < reached:  # fewer atoms, whose dual point ignores the other columns
            pool.add(carrier, state, problem, state.particles)
            if not pool.round_(problem, carrier, state, None, gap, options):
                return False
    follow(problem, carrier, state, gap, options, watch)
    return True

"""One round without a pool: new columns, master, slide, merge, master."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.problem import TwoLayerProblem

from . import newton
from .carrier import Carrier, ThetaCarrier
from .reduce import merge, prune
from .search import Found, distinct
from .slide import Particles, slide
from .state import Settings, State, Stopwatch, optimise_masses

Array = NDArray[np.float64]

LOGGER = logging.getLogger(__name__)


def violators(problem: TwoLayerProblem, carrier: Carrier, settings: Settings, state: State, found: Found) -> Array:
    """The columns to add: distinct patterns that lower the energy."""
    above = 1.0 if problem.width is None else state.kappa
    return distinct(carrier, problem, found, above, settings.columns)


def add(problem: TwoLayerProblem, carrier: Carrier, state: State, new: Array) -> None:
    """Solve the master with new columns beside the present atoms."""
    old = state.particles
    both = Particles(
        np.vstack([old.x, new]),
        np.hstack([old.readouts, np.zeros((problem.n_outputs, new.shape[0]))]),
        np.concatenate([old.masses, np.zeros(new.shape[0])]),
    )
    optimise_masses(problem, carrier, state, both, 1e-8)


def improve(
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
    add(problem, carrier, state, new)
    rounded = problem.activation.pieces is not None and len(problem.activation.pieces) > 1
    if rounded and isinstance(carrier, ThetaCarrier):
        _rounded(problem, carrier, settings, state, gap, watch, tolerance, rng)
        return
    for angle in (0.0, 0.3, 0.1, 1e-2, 1e-4):
        fewer = merge(problem, carrier, state.particles, angle) if angle else state.particles
        if angle and fewer.count == state.particles.count:
            continue
        steps = settings.slide_iterations if angle else settings.slide_iterations // 8
        moved = slide(
            problem, carrier, fewer, iterations=steps, tolerance=max(1e-15, 1e-2 * tolerance), watch=watch.over
        )
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
        moved = with_random(problem, carrier, moved, 8 * settings.columns, rng)
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
        second_order(problem, carrier, state, gap, watch, tolerance)


def second_order(
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


def with_random(
    problem: TwoLayerProblem, carrier: Carrier, particles: Particles, count: int, rng: np.random.Generator
) -> Particles:
    """Random atoms beside the given ones, all alike; a wide start finds the basin soonest.

    Together their outputs are a third of the targets: from larger ones descent first shrinks everything,
    from much smaller ones atoms first turn the same way.
    """
    theta = rng.standard_normal((count, carrier.geometry.n_parameters))
    x = carrier.from_neurons(theta / np.linalg.norm(theta, axis=1, keepdims=True))
    v = rng.standard_normal((problem.n_outputs, count))
    v *= np.sqrt(problem.lambda1 / problem.lambda2) / np.linalg.norm(v, axis=0)
    outputs = float(np.linalg.norm(v @ problem.features(carrier.patterns(x))))
    size = np.sqrt(0.3 * float(np.linalg.norm(problem.targets)) / max(outputs, 1e-300))
    x, v = size * x, size * v
    return Particles(
        np.vstack([particles.x, x]),
        np.hstack([particles.readouts, v]),
        np.concatenate([particles.masses, np.ones(count)]),
    )

"""The end of a run with a pool: an accurate master, then as few atoms as do no harm."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.problem import TwoLayerProblem

from . import newton
from .bound import affordable, relative_gap
from .carrier import Carrier
from .glide import glide
from .masses import interior_point
from .master import master_energy, solve_master
from .pool import SLIDING, add, master
from .reduce import caratheodory, merge, prune
from .search import spread
from .slide import Particles, slide
from .state import State, Stopwatch
from .work import UNEVEN

Array = NDArray[np.float64]

#: atoms that are reduced by moving along a null space, cubic in their number
MOST_REDUCED = 1000
#: entries of the features of the atoms beyond which these are left as they are after the time limit
LONG = 2_500_000
#: seconds after the limit in which steps that may be long are still begun: at most, at least, and this share of the limit
GRACE, LEAST_GRACE, GRACE_SHARE = 3.0, 1.0, 0.1
#: accuracy of the last master, relative to the tolerance, and to the gap where that was not reached
EXACT, FAR = 1e-3, 1e-4
#: tolerance from which on atoms slide in single precision (not on inputs of uneven scales), and no further than to this share of what fewer of them may cost
COARSE, ENOUGH = 1e-5, 0.5


def finish(problem: TwoLayerProblem, carrier: Carrier, state: State, tolerance: float, watch: Stopwatch) -> None:
    """An accurate master on the final columns and atoms, then as few atoms as do no harm; the dual point stays as it is.

    Once time is over no step is begun that could take long beside the limit, so that more atoms may stay than are needed; large data keep those of
    the last master.
    """
    if state.columns is None or state.particles.count == 0:
        return
    if watch.over() and state.particles.count * problem.n_samples > LONG:
        return
    dual, before, energy = state.dual, state.particles, state.energy
    most, gap = affordable(energy, state.lower, tolerance, 0.05), relative_gap(energy, state.lower)
    grace = min(GRACE, LEAST_GRACE + GRACE_SHARE * watch.limit)
    # the round that ended with the limit has ended with a master, which is dear
    late = watch.over() and carrier.dimension > SLIDING
    if not late:
        add(carrier, state, problem, before)
        state.energy = most
    # more is wasted where the energy is that far from the optimum
    accuracy = max(EXACT * tolerance, FAR * min(gap, 1.0))
    done = not late and master(problem, carrier, state, state.columns[:0], accuracy, accuracy / EXACT)
    state.dual = dual
    if not done or state.particles is before:
        state.energy = energy
    atoms = state.particles
    weight = np.sqrt(carrier.cost(atoms.x) * np.einsum("kj,kj->j", atoms.readouts, atoms.readouts))
    order = np.argsort(weight, kind="stable")
    # the smallest, which together are too little to matter at the tolerance
    little = np.cumsum(weight[order]) <= 5e-3 * tolerance * float(weight.sum())
    atoms = atoms.take(np.sort(order[~little]))
    if not watch.over(grace):
        atoms = _merged(problem, carrier, atoms, most, tolerance, state.threads)
    if atoms.count > MOST_REDUCED:
        return
    features, cost = problem.features(carrier.patterns(atoms.x)), carrier.cost(atoms.x)
    factor = caratheodory(features, cost, atoms.readouts)
    keep = factor > 0
    few = Particles(atoms.x[keep], (atoms.readouts * factor)[:, keep], (atoms.masses * factor)[keep])
    reached = master_energy(problem, features[keep], cost[keep], few.readouts, few.masses)
    if reached <= most:
        state.particles, state.energy = few, reached
    coarse = tolerance >= COARSE and spread(carrier.geometry) <= UNEVEN
    for angle in () if watch.over(grace) else (3e-2, 3e-3, 3e-4):
        steps, bound = 40 if tolerance < 1e-4 else 12, affordable(energy, state.lower, tolerance, 0.2)
        if _sparser(problem, carrier, state, bound, steps, angle, coarse) or watch.over(grace):
            return


def _merged(
    problem: TwoLayerProblem, carrier: Carrier, atoms: Particles, most: float, tolerance: float, threads: int
) -> Particles:
    """Near atoms merged as far as a master on the rest keeps the energy at ``most`` or below."""
    none = problem.loss.value(np.zeros_like(problem.targets), problem.targets)
    for angle in (1e-2, 3e-3, 1e-3, 3e-4, 1e-4):
        few = merge(problem, carrier, atoms, angle)
        if few.count == atoms.count:
            continue
        x = few.x / np.sqrt(carrier.cost(few.x))[:, None]
        features = problem.features(carrier.patterns(x))
        start = np.sqrt(problem.lambda2 / problem.lambda1 * carrier.cost(few.x))
        start *= np.sqrt(np.einsum("kj,kj->j", few.readouts, few.readouts))
        wanted = max(1e-15, 1e-2 * tolerance * most / none)
        l1, l2, near = problem.lambda1, problem.lambda2, tolerance * most / none
        centre = interior_point(
            features, problem.targets, l1, l2, start, wanted, near=near, threads=threads, loss=problem.loss
        )
        if centre is None:
            continue
        few = Particles(x, centre.readouts, centre.masses)
        if master_energy(problem, features, carrier.cost(x), few.readouts, few.masses) <= most:
            return prune(carrier, few, 1e-3 * tolerance / few.count)
    return atoms


def _sparser(
    problem: TwoLayerProblem, carrier: Carrier, state: State, most: float, steps: int, angle: float, coarse: bool
) -> bool:
    """Near atoms merged, dust dropped, the rest polished: taken where the energy stays at ``most`` or below, and whether it did."""
    few = merge(problem, carrier, prune(carrier, state.particles, 1e-4), angle)
    if few.count >= state.particles.count:
        return False
    enough = state.energy + ENOUGH * (most - state.energy) if coarse else -math.inf
    if newton.applies(problem, carrier, few.count):
        few = newton.polish(problem, carrier, few, first=1e-4, last=1e-12, steps=steps, enough=enough)
    elif carrier.dimension > SLIDING or coarse:
        rows = carrier.patterns(np.eye(carrier.dimension)).T
        few = glide(problem, carrier, rows, few, eps=1e-4, iterations=200, enough=enough, threads=state.threads)
    else:
        few = slide(problem, carrier, few, eps=1e-4, iterations=200, tolerance=1e-9)
    features, cost = problem.features(carrier.patterns(few.x)), carrier.cost(few.x)
    reached = master_energy(problem, features, cost, few.readouts, few.masses)
    if reached > most:  # perhaps masses alone are to blame
        done = solve_master(problem, features, cost, few.readouts, 1e-12, state.kappa)
        few, reached = Particles(few.x, done.readouts, done.masses), done.energy
    if reached <= most:
        state.particles, state.energy = prune(carrier, few), reached
    return reached <= most

"""Rounds with a bank: every column met so far that may matter, an exact master on all of them, thorough pricing.

For activations of any shape and losses that need not be smooth, on few inputs. Sliding alone crawls there: under a width the master in
readouts needs many nested iterations, saturated neurons have no slopes, and of a nonsmooth loss only the master knows a dual point.
"""

from __future__ import annotations

import logging
import math

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.backend import Progress, SolveOptions
from meanfield_opt.problem import TwoLayerProblem
from meanfield_opt.solution import Status

from . import bank_master, corners
from .bound import relative_gap
from .carrier import Carrier, ThetaCarrier
from .peaks import Pricing, apart, rows_of
from .reduce import merge, prune
from .scout import MORE, MOST_NEW, MOST_STARTS, Bank, price
from .slide import Particles, slide
from .state import Settings, State, Stopwatch

Array = NDArray[np.float64]

LOGGER = logging.getLogger(__name__)

MOST_UNKNOWNS, MOST_PARAMETERS = 700, 24
#: columns kept, and the level below which they are forgotten
MOST_COLUMNS, LOW = 800, 0.7
#: weights of a neuron up to which corners of cells are searched at random where they are too many to list
MOST_CORNERED = 4
#: rounds without a gain that matters after which the run ends
PATIENCE = 12


def applies(problem: TwoLayerProblem) -> bool:
    """Whether a bank is for the problem: possible, and there is something that the other ways are not good at."""
    if problem.activation.degree == 1.0 and math.isfinite(problem.loss.curvature()):
        return False
    return refusal(problem) is None


def refusal(problem: TwoLayerProblem) -> str | None:
    """None where a bank can be used, otherwise the reason."""
    if problem.n_outputs * problem.n_samples > MOST_UNKNOWNS:
        return f"masters of nonsmooth losses are for at most {MOST_UNKNOWNS} outputs times samples."
    if problem.geometry.n_parameters > MOST_PARAMETERS:
        return f"thorough pricing is for at most {MOST_PARAMETERS} weights of a neuron."
    if problem.activation.levels is not None:
        ends = corners.thresholds(problem.activation)
        if ends is None:
            return f"{problem.activation.name} has no slopes to climb on."
        _, choices = corners.count(problem.n_samples, problem.geometry.n_parameters, ends.size)
        if problem.geometry.n_parameters > MOST_CORNERED and choices > corners.MOST_CHOICES:
            return f"{problem.activation.name} has no slopes to climb on, and too many cells."
    if bank_master.model_of(problem) is None:
        return "it is not a sum over entries."
    return None


def rounds(
    problem: TwoLayerProblem,
    carrier: Carrier,
    options: SolveOptions,
    settings: Settings,
    state: State,
    watch: Stopwatch,
    rng: np.random.Generator,
    most: int,
) -> Status:
    """Price, add, solve the master, slide, until no violation is found twice."""
    model = bank_master.model_of(problem)
    assert model is not None
    rows = rows_of(problem.geometry)
    weights = ThetaCarrier(problem.geometry)
    none = np.zeros((0, rows.shape[1]))
    empty = np.zeros((problem.n_outputs, 0))
    bank = Bank(none, np.zeros((0, problem.n_samples)), np.zeros(0), np.zeros(0), empty, none)
    scale = max(problem.loss.value(np.zeros_like(problem.targets), problem.targets), 1e-300)
    if state.particles.count:
        bank.add(problem, rows, carrier.neurons(state.particles.x))
    state.dual = problem.loss.project_dual(state.dual, problem.targets)
    kappa = state.kappa if problem.width is None else max(state.kappa, problem.lambda1)
    gap, sure = 1.0, 0
    for _ in range(most):
        state.rounds += 1
        pricing = Pricing(problem, rows, state.dual, kappa)
        many = MOST_STARTS if sure else (1 if gap > 1e-2 else MORE)
        found, level = price(pricing, bank, many * settings.starts, gap, rng, watch)
        _bound(problem, pricing, state, bank, found)
        gap = relative_gap(state.energy, state.lower)
        state.history.append((watch.seconds(), state.energy, state.lower, state.particles.count))
        LOGGER.debug("bank round %d energy %.12g gap %.2e columns %d", state.rounds, state.energy, gap, bank.cost.size)
        if options.progress is not None:
            seconds, atoms = watch.seconds(), state.particles.count
            options.progress(Progress("column generation", state.rounds, state.energy, state.lower, seconds, atoms))
        if gap <= options.tolerance:
            sure += 1
            if sure > 1:
                return Status.SOLVED
        violated = np.flatnonzero(level > 1.0 + 1e-11)
        new = violated[apart(pricing, found[violated], level[violated], MOST_NEW, float(np.clip(gap, 1e-6, 0.03)))]
        if new.size == 0 and gap > options.tolerance:
            sure += 1
            if sure > 3:
                return Status.INACCURATE
        if len(state.history) > PATIENCE:
            before = state.history[-1 - PATIENCE]
            if before[1] - state.energy + state.lower - before[2] <= 0.05 * options.tolerance * abs(state.energy):
                return Status.INACCURATE
        bank.add(problem, rows, found[new])
        accuracy = float(np.clip(1e-3 * min(gap, 1.0), 1e-12, 1e-5))
        if not bank_master.master(problem, model, carrier, state, bank, scale, accuracy):
            return Status.INACCURATE
        kappa = state.kappa
        if watch.over():
            return Status.TIME_LIMIT
        if math.isfinite(problem.loss.curvature()) and problem.activation.levels is None and gap < 0.3:
            _slid(problem, weights, bank, rows, gap, watch)
            if not bank_master.master(problem, model, carrier, state, bank, scale, accuracy):
                return Status.INACCURATE
            kappa = state.kappa
        _forget(problem, state, bank)
    return Status.ITERATION_LIMIT


def _bound(problem: TwoLayerProblem, pricing: Pricing, state: State, bank: Bank, found: Array) -> None:
    """The sampled bound at the present dual point, and again at the best one so far with what has been found since."""
    top, cost = pricing.parts(np.vstack([found, bank.theta]))
    scale, lower = best_scale(problem, state.dual, top, cost)
    if state.best_dual is not None:
        old_top, old_cost = Pricing(problem, pricing.rows, state.best_dual, 0.0).parts(np.vstack([found, bank.theta]))
        again, state.lower = best_scale(problem, state.best_dual, old_top, old_cost)
        state.best_dual = again * state.best_dual
    if state.best_dual is None or lower > state.lower:
        state.lower, state.best_dual = lower, scale * state.dual


def best_scale(problem: TwoLayerProblem, dual: Array, top: Array, cost: Array) -> tuple[float, float]:
    """(s, bound): the largest of D(s Z) - M kappa(s Z), or of D(s Z) under |s Z phi|^2 <= tau c, over columns with top = |Z phi|^2."""
    top, price = top / (4.0 * problem.lambda2), problem.lambda1 * cost
    loss, targets = problem.loss, problem.targets
    if problem.width is None:
        with np.errstate(over="ignore"):
            ratio = np.where(top > 0, top / np.where(price > 0, price, 1e-300), 0.0)
        worst = float(ratio.max(initial=0.0))
        scale = loss.best_scale(dual, targets, math.inf if worst <= 0 else 1.0 / math.sqrt(worst))
        return scale, loss.dual_value(scale * dual, targets)
    width = problem.width

    def value(s: float) -> float:
        bound = loss.dual_value(s * dual, targets) - width * max(0.0, float((s * s * top - price).max(initial=0.0)))
        return bound if bound == bound else -math.inf

    golden = 0.5 * (math.sqrt(5.0) - 1.0)
    low, high = 0.0, 1.0
    a, b = high - golden * (high - low), low + golden * (high - low)
    fa, fb = value(a), value(b)
    for _ in range(60):
        if fa >= fb:
            high, b, fb = b, a, fa
            a = high - golden * (high - low)
            fa = value(a)
        else:
            low, a, fa = a, b, fb
            b = low + golden * (high - low)
            fb = value(b)
    return max(((s, value(s)) for s in (0.0, 0.5 * (low + high), 1.0)), key=lambda pair: pair[1])


def _slid(problem: TwoLayerProblem, weights: Carrier, bank: Bank, rows: Array, gap: float, watch: Stopwatch) -> None:
    """The atoms in use, near ones merged, slide; where they come to rest are columns beside the others."""
    used = bank.masses > 1e-5 * float(bank.masses.sum())
    atoms = Particles(bank.theta[used], bank.readouts[:, used], bank.masses[used])
    eps = 0.0
    if problem.activation.pieces is not None:
        eps = min(1e-2, 0.1 * gap)
    few = merge(problem, weights, atoms, float(np.clip(10.0 * gap, 1e-3, 0.1)))
    moved = slide(problem, weights, few, eps=eps, iterations=150, tolerance=1e-12, watch=watch.over)
    moved = prune(weights, moved, 1e-6)
    bank.add(problem, rows, moved.x)


def _forget(problem: TwoLayerProblem, state: State, bank: Bank) -> None:
    """Columns without mass of low level are dropped, and copies."""
    pricing = Pricing(problem, rows_of(problem.geometry), state.dual, state.kappa)
    level = pricing.level(bank.theta)
    heavy = bank.masses > 1e-7 * float(bank.masses.sum())
    rank = np.where(heavy, 2.0 + level, level)
    order = np.argsort(-rank, kind="stable")
    keep = order[: max(MOST_COLUMNS, int(heavy.sum()))]
    bank.take(np.sort(keep[(rank[keep] > LOW)]))

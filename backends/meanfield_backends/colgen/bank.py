"""Rounds with a bank: every column met so far that may matter, an exact master on all of them, thorough pricing.

For activations of any shape and losses that need not be smooth, on few inputs. Sliding alone crawls there: under a width the master in
readouts needs many nested iterations, saturated neurons have no slopes, and of a nonsmooth loss only the master knows a dual point.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.backend import Progress, SolveOptions
from meanfield_opt.geometry import DiagonalPlusLowRank
from meanfield_opt.loss import ConicTerms
from meanfield_opt.losses.output_bias import OutputBias
from meanfield_opt.problem import TwoLayerProblem
from meanfield_opt.solution import Status

from . import corners, tangents
from .bound import relative_gap
from .carrier import BoxCarrier, Carrier, ThetaCarrier
from .master import master_energy
from .peaks import EPSILONS, Pricing, apart, climb, rows_of
from .reduce import caratheodory, merge, prune
from .saddle import Parts, Saddle, of_form, solve_saddle
from .search import evening, search
from .slide import Particles, slide
from .state import Settings, State, Stopwatch
from .tangents import Tangents

Array = NDArray[np.float64]

LOGGER = logging.getLogger(__name__)

MOST_UNKNOWNS, MOST_PARAMETERS = 700, 24
#: columns kept, and the level below which they are forgotten
MOST_COLUMNS, LOW = 800, 0.7
#: weights of a neuron up to which corners of cells are searched at random where they are too many to list
MOST_CORNERED = 4
#: maxima of the level that are remembered, and how high they are
MOST_BASINS, HIGH = 400, 0.9
#: how many times the starts of the first rounds are made near the end, and by the search that ends the run
MORE, MOST_STARTS = 3, 16
#: the most violated columns, and half of those in use, that a failed master is tried again with
FEW = 100
#: columns added a round
MOST_NEW = 80
#: entries of preactivations looked at for starts in one search
GLANCES = 1_000_000
#: mean preactivation to which smaller ones are scaled up, for free mass: mass that escapes to ever smaller neurons stops there
SMALLEST = 1e-4
#: rounds without a gain that matters after which the run ends
PATIENCE = 12


#: masters for one set of columns, at most, until tangents agree with the loss
MOST_TANGENT_STEPS = 8


def parts_of(problem: TwoLayerProblem) -> Parts | None:
    """The dual of the loss in parts, or None where it is not given by residuals."""
    loss, bias = problem.loss, None
    if isinstance(loss, OutputBias):
        loss, bias = loss.base, loss.penalty
    form = loss.residual_form(problem.targets) if isinstance(loss, ConicTerms) else None
    return None if form is None else of_form(form, bias)


def model_of(problem: TwoLayerProblem) -> Parts | Tangents | None:
    """The dual of the loss in parts, or tangents of the loss, or None where it is not a sum over entries."""
    parts = parts_of(problem)
    if parts is not None:
        return parts
    return Tangents.around_zero(problem.loss, problem.targets) if tangents.applies(problem.loss) else None


def _solve(
    problem: TwoLayerProblem, model: Parts | Tangents, features: Array, cost: Array, scale: float, accuracy: float
) -> Saddle | None:
    """The master on these columns."""
    price, l2, width = problem.lambda1 * cost, problem.lambda2, problem.width
    if isinstance(model, Parts):
        return solve_saddle(model, features, price, l2, width, scale, accuracy)
    for _ in range(MOST_TANGENT_STEPS):
        done = solve_saddle(model.parts(), features, price, l2, width, scale, accuracy)
        if done is None:
            return None
        done = replace(done, dual=model.clipped(done.dual))
        outputs = done.readouts @ features
        if model.miss(outputs) <= 0.1 * accuracy * scale:
            break
        model.refine(outputs)
    return done


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
    if model_of(problem) is None:
        return "it is not a sum over entries."
    return None


@dataclass
class Bank:
    """Columns theta (J, r) with features (J, P), costs and masses (J,); the readouts of the last master; maxima to start from."""

    theta: Array
    features: Array
    cost: Array
    masses: Array
    readouts: Array
    basins: Array
    corners: list[corners.Corners] | None = None

    def take(self, keep: NDArray[np.intp]) -> None:
        """Keep only these columns."""
        self.theta, self.features, self.cost = self.theta[keep], self.features[keep], self.cost[keep]
        self.masses, self.readouts = self.masses[keep], self.readouts[:, keep]

    def add(self, problem: TwoLayerProblem, rows: Array, theta: Array) -> None:
        """Further columns, without mass."""
        count = theta.shape[0]
        self.theta = np.vstack([self.theta, theta])
        self.features = np.vstack([self.features, problem.features(theta @ rows.T)])
        self.cost = np.concatenate([self.cost, np.einsum("nr,nr->n", theta, theta)])
        self.masses = np.concatenate([self.masses, np.zeros(count)])
        self.readouts = np.hstack([self.readouts, np.zeros((problem.n_outputs, count))])


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
    model = model_of(problem)
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
        found, level = _price(pricing, bank, many * settings.starts, gap, rng, watch)
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
        if not _master(problem, model, carrier, state, bank, scale, accuracy):
            return Status.INACCURATE
        kappa = state.kappa
        if watch.over():
            return Status.TIME_LIMIT
        if math.isfinite(problem.loss.curvature()) and problem.activation.levels is None and gap < 0.3:
            _slid(problem, weights, bank, rows, gap, watch)
            if not _master(problem, model, carrier, state, bank, scale, accuracy):
                return Status.INACCURATE
            kappa = state.kappa
        _forget(problem, state, bank)
    return Status.ITERATION_LIMIT


def _price(
    pricing: Pricing, bank: Bank, starts: int, gap: float, rng: np.random.Generator, watch: Stopwatch
) -> tuple[Array, Array]:
    """Local maxima of the level and the levels there; the high ones are remembered as starts of later searches."""
    if pricing.problem.activation.levels is not None:
        return _price_corners(pricing, bank, starts, rng)
    known = np.vstack([bank.theta, bank.basins])
    if known.shape[0]:
        level = pricing.level(known)
        known = known[np.argsort(-level, kind="stable")[: 2 * starts + 256]]
    if isinstance(pricing.problem.geometry, DiagonalPlusLowRank) and pricing.problem.activation.pieces is not None:
        # samples are nearly independent: best responses to outputs are exact there
        output = search(
            pricing.problem, BoxCarrier(pricing.problem.geometry), pricing.dual, known @ pricing.rows.T, rng
        )
        known = np.vstack([pricing.problem.geometry.weights(output.x[:starts]), known])
    first = np.vstack([_starts(pricing, starts, rng), known, _neighbours(known[: starts // 2], pricing.rows, rng)])
    # much rounding leads past small basins, little of it ends early: a third of the starts each
    rough = first.copy()
    for k in range(3) if pricing.problem.activation.pieces is not None else range(1):
        part = slice(k, None, 3) if pricing.problem.activation.pieces is not None else slice(None)
        rough[part] = climb(pricing, first[part], EPSILONS[k:4] if k else EPSILONS[:3], 5, watch.over)
    keep = apart(pricing, rough, pricing.level(rough), 2 * starts if gap < 0.1 else starts, 3e-3)
    sharp = climb(pricing, rough[keep], EPSILONS[2:], 6 if gap > 0.1 else 10, watch.over)
    found = np.vstack([sharp, rough, first])
    if pricing.kappa == 0.0 and pricing.problem.activation.degree is None:
        size = np.sqrt(np.mean(np.square(found @ pricing.rows.T), axis=1))
        found = found * np.where(size > 0, np.maximum(SMALLEST / np.maximum(size, 1e-300), 1.0), 1.0)[:, None]
    level = pricing.level(found)
    high = np.flatnonzero(level > HIGH)
    bank.basins = found[high[apart(pricing, found[high], level[high], MOST_BASINS, 1e-2)]]
    return found, level


def highest_excess(problem: TwoLayerProblem, dual: Array, seed: int) -> float:
    """The largest |Z phi|^2 / (4 l2) - l1 |theta|^2 that a thorough search meets, under a width; of a slightly smaller Z.

    A dual point of a limit at infinity is exact up to its tolerance only, which counts without end on ever larger neurons.
    """
    assert problem.width is not None
    scale = problem.loss.value(np.zeros_like(problem.targets), problem.targets)
    pricing = Pricing(problem, rows_of(problem.geometry), (1.0 - 1e-5) * dual, 1e-6 * scale / problem.width)
    first = _starts(pricing, 512, np.random.default_rng(seed))
    top, cost = pricing.parts(np.vstack([first, climb(pricing, first, EPSILONS, 10, lambda: False)]))
    return float((top / (4.0 * problem.lambda2) - problem.lambda1 * cost).max(initial=0.0))


def _price_corners(pricing: Pricing, bank: Bank, starts: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """The best corners of cells; where they are not all listed, also those a few swaps away from the best."""
    groups = corners.listed(pricing.rows, pricing.problem.activation, rng) if bank.corners is None else bank.corners
    if bank.corners is None and all(group.complete for group in groups):
        bank.corners = groups
    found, _ = corners.price(pricing, groups, 2 * MOST_NEW)
    if bank.corners is None:
        for _ in range(3 if starts < MOST_STARTS else 12):
            level = pricing.level(found)
            best = found[apart(pricing, found, level, 2 * MOST_NEW, 1e-6)]
            more, _ = corners.price(pricing, corners.swapped(pricing, best, rng), 2 * MOST_NEW)
            if more.shape[0] == 0 or not pricing.level(more).max() > level.max() * (1.0 + 1e-12):
                found = np.vstack([found, more])
                break
            found = np.vstack([found, more])
    found = np.vstack([found, bank.theta])
    return found, pricing.level(found)


def _starts(pricing: Pricing, count: int, rng: np.random.Generator) -> Array:
    """The best and some others of many random neurons: of random direction and length, or with given values at random samples.

    The values are random, or kinks of the activation: maxima often lie where kinks of several samples meet.
    """
    rows, pieces = pricing.rows, pricing.problem.activation.pieces
    samples, r = rows.shape
    many = int(np.clip(GLANCES // samples, 4 * count, 20_000))
    theta = rng.standard_normal((many // 2, r))
    theta[::2] = theta[::2] @ evening(pricing.problem.geometry)[0]
    size = np.sqrt(np.mean(np.square(theta @ rows.T), axis=1))
    theta *= (10.0 ** rng.uniform(-1.0, 1.5, theta.shape[0]) / np.maximum(size, 1e-300))[:, None]
    few = min(r, samples)
    chosen = rng.integers(samples, size=(many - theta.shape[0], few))
    goal = rng.standard_normal((chosen.shape[0], few)) * 10.0 ** rng.uniform(-1.0, 1.0, (chosen.shape[0], 1))
    if pieces is not None and len(pieces) > 1:
        kinks = np.array([float(piece.left) for piece in pieces if piece.left is not None])
        goal[::2] = rng.choice(kinks, size=goal[::2].shape)
    square = rows[chosen]  # (N, few, r)
    gram = square @ square.transpose(0, 2, 1)
    gram[:, np.arange(few), np.arange(few)] += 1e-6 * np.trace(gram, axis1=1, axis2=2)[:, None] + 1e-300
    through = np.einsum("nfr,nf->nr", square, np.linalg.solve(gram, goal[:, :, None])[:, :, 0])
    both = np.vstack([theta, through])
    both = both[np.isfinite(both).all(axis=1)]
    level = pricing.level(both)
    order = np.argsort(-level, kind="stable")
    best = order[: 8 * count]
    best = best[apart(pricing, both[best], level[best], count, 0.1)]
    return np.asarray(both[np.union1d(best, rng.integers(both.shape[0], size=count // 2))])


def _neighbours(theta: Array, rows: Array, rng: np.random.Generator) -> Array:
    """Two random neighbours of each: violations hide in cells next to good ones."""
    base = np.vstack([theta, theta])
    noise = rng.standard_normal(base.shape)
    size = np.linalg.norm(base @ rows.T, axis=1) / np.maximum(np.linalg.norm(noise @ rows.T, axis=1), 1e-300)
    return np.asarray(base + noise * (size * 10.0 ** rng.uniform(-3.0, 0.0, base.shape[0]))[:, None])


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


def _master(
    problem: TwoLayerProblem,
    model: Parts | Tangents,
    carrier: Carrier,
    state: State,
    bank: Bank,
    scale: float,
    accuracy: float,
) -> bool:
    """Solve the master on the bank; the state takes its dual point, and its atoms where the energy fell. False where it fails."""
    if bank.cost.size == 0:
        return True
    done = _solve(problem, model, bank.features, bank.cost, scale, accuracy)
    if done is None or not done.gap < 1e-2:
        # too many near-parallel columns of very different size: those in use and the most violated ones
        level = Pricing(problem, rows_of(problem.geometry), state.dual, state.kappa).level(bank.theta)
        massive = np.argsort(-bank.masses, kind="stable")[: 2 * FEW]
        worst = np.argsort(-level, kind="stable")[:FEW]
        bank.take(np.unique(np.concatenate([massive[bank.masses[massive] > 0], worst])).astype(np.intp))
        done = _solve(problem, model, bank.features, bank.cost, scale, accuracy)
    if done is None or not done.gap < 1e-2:
        return False
    bank.masses, bank.readouts = done.masses, done.readouts
    state.dual, state.kappa = problem.loss.project_dual(done.dual, problem.targets), done.kappa
    used = done.masses > 1e-3 * accuracy / done.masses.size * float(done.masses.sum())
    masses, readouts = done.masses[used], done.readouts[:, used]
    if problem.width is not None:
        masses = masses * min(1.0, problem.width / max(float(masses.sum()), 1e-300))
    energy = master_energy(problem, bank.features[used], bank.cost[used], readouts, masses)
    if energy < state.energy:
        state.energy = energy
        state.particles = Particles(carrier.from_neurons(bank.theta[used]), readouts, masses)
    return True


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


def finish(problem: TwoLayerProblem, carrier: Carrier, state: State, tolerance: float) -> None:
    """As few atoms as do no harm: near ones merged, then dependent ones dropped; the dual point stays as it is."""
    model = model_of(problem)
    if model is None or state.particles.count < 2:
        return
    scale = max(problem.loss.value(np.zeros_like(problem.targets), problem.targets), 1e-300)
    most = state.energy + 0.1 * tolerance * abs(state.energy)
    for angle in (3e-2, 3e-3, 3e-4, 3e-5, 0.0):
        few = merge(problem, carrier, state.particles, angle) if angle else state.particles
        if angle and few.count == state.particles.count:
            continue
        for _ in range(2):
            features, cost = problem.features(carrier.patterns(few.x)), carrier.cost(few.x)
            done = _solve(problem, model, features, cost, scale, 1e-3 * tolerance)
            if done is None:
                break
            masses, readouts = done.masses, done.readouts
            if problem.width is not None:
                masses = masses * min(1.0, problem.width / max(float(masses.sum()), 1e-300))
            energy = master_energy(problem, features, cost, readouts, masses)
            if energy > most:
                break
            share = masses / float(masses.sum())
            keep = share > 1e-4 * tolerance / share.size
            state.particles = Particles(few.x[keep], readouts[:, keep], masses[keep])
            state.energy = energy = master_energy(problem, features[keep], cost[keep], readouts[:, keep], masses[keep])
            price = problem.lambda1 * cost[keep] + done.kappa
            factor = caratheodory(features[keep], price, readouts[:, keep])
            few = state.particles.take(factor > 0)
            if few.count == state.particles.count:
                break
        if state.particles.count <= few.count:
            break

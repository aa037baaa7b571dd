"""The search for violated columns of any activation, and the bank of columns it fills."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.geometry import DiagonalPlusLowRank
from meanfield_opt.problem import TwoLayerProblem

from . import corners
from .carrier import BoxCarrier
from .peaks import EPSILONS, Pricing, apart, climb, rows_of
from .search import evening, search
from .state import Stopwatch

Array = NDArray[np.float64]

#: mean preactivation to which smaller ones are scaled up, for free mass: mass that escapes to ever smaller neurons stops there
SMALLEST = 1e-4
#: maxima of the level that are remembered, and how high they are
MOST_BASINS, HIGH = 400, 0.9
#: columns added a round
MOST_NEW = 80
#: entries of preactivations looked at for starts in one search
GLANCES = 1_000_000
#: how many times the starts of the first rounds are made near the end, and by the search that ends the run
MORE, MOST_STARTS = 3, 16


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


def price(
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
    first = np.vstack(
        [starting_points(pricing, starts, rng), known, _neighbours(known[: starts // 2], pricing.rows, rng)]
    )
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
    first = starting_points(pricing, 512, np.random.default_rng(seed))
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


def starting_points(pricing: Pricing, count: int, rng: np.random.Generator) -> Array:
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

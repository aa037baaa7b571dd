"""The search for violated patterns: batched multi-start local ascent of the first variation.

Free mass: the ratio |Z phi(h)|^2 / (tau c(h)) (a violation above 1). Width M: the excess |Z phi(h)|^2/(4 l2) - l1 c(h)
(a violation above the multiplier kappa). Everything found is a lower estimate of the supremum and proves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.geometry import DiagonalPlusLowRank, Geometry
from meanfield_opt.problem import TwoLayerProblem

from .carrier import Carrier
from .pieces import best_response

Array = NDArray[np.float64]

#: ascent steps made even when time is over: what they find is what a first master needs
LEAST_STEPS = 3
#: typical preactivations, at most, of the neurons that a search under a width returns
LONGEST = 1e4


@dataclass(frozen=True)
class Found:
    """Patterns x (N, n) in the carrier's coordinates with their levels (N,), best first.

    images: (J, n), where the ascent from each known atom ended.
    """

    x: Array
    level: Array
    images: Array
    sure: bool = False

    @property
    def top(self) -> float:
        """The highest level met."""
        return float(self.level[0]) if self.level.size else 0.0


def levels(problem: TwoLayerProblem, dual: Array, features: Array, cost: Array) -> Array:
    """The ratio (free mass) or the excess (width) of patterns given by features (N, P) and costs (N,)."""
    with np.errstate(over="ignore", invalid="ignore"):  # of an ascent that overflows; NaN is above no other level
        q = features @ dual.T
        top = np.einsum("nk,nk->n", q, q)
        if problem.width is None:
            low = problem.tau * cost
            return np.asarray(np.divide(top, low, out=np.zeros_like(top), where=low > 0))
        return np.asarray(top / (4.0 * problem.lambda2) - problem.lambda1 * cost)


def levels_at(problem: TwoLayerProblem, carrier: Carrier, dual: Array, x: Array) -> Array:
    """``levels`` (N,) of the weights x (N, n), in the carrier's coordinates."""
    return levels(problem, dual, problem.features(carrier.patterns(x)), carrier.cost(x))


def search(
    problem: TwoLayerProblem,
    carrier: Carrier,
    dual: Array,
    known: Array,
    rng: np.random.Generator,
    *,
    starts: int = 64,
    iterations: int = 60,
    watch: Callable[[], bool] | None = None,
) -> Found:
    """Local maxima of the level from structured and random starts and from ``known`` atoms (J, n), best first.

    watch: once it says so the ascent ends early; what it has reached by then is returned.
    """
    space = carrier.geometry
    if isinstance(space, DiagonalPlusLowRank) and problem.activation.pieces is not None:
        patterns = _output_view(problem, space, dual, carrier.patterns(known), rng, starts, iterations, watch)
        x = carrier.from_patterns(patterns)
    else:
        theta = _input_view(problem, carrier, dual, carrier.neurons(known), rng, starts, iterations, watch)
        x = carrier.from_neurons(theta)
    features = problem.features(carrier.patterns(x))
    level = levels(problem, dual, features, carrier.cost(x))
    order = np.argsort(-level, kind="stable")
    return Found(x[order], level[order], x[x.shape[0] - known.shape[0] :])


def _directions(dual: Array, rng: np.random.Generator, count: int) -> Array:
    """Output directions: signed coordinates, signed singular directions of Z, then random ones; (>= count, d_Y)."""
    d = dual.shape[0]
    _, vectors = np.linalg.eigh(dual @ dual.T)
    first = np.vstack([np.eye(d), -np.eye(d), vectors.T, -vectors.T])
    rest = rng.standard_normal((max(count - first.shape[0], 8), d))
    return np.vstack([first, rest / np.linalg.norm(rest, axis=1, keepdims=True)])


def _scales(problem: TwoLayerProblem, count: int, rng: np.random.Generator) -> Array:
    """Typical preactivation sizes to start from: irrelevant for degree 1, spread over decades otherwise."""
    if problem.activation.degree == 1.0:
        return np.ones(count)
    return np.asarray(10.0 ** rng.uniform(-1.0, 1.0, count))


def _perturbed(known: Array, rng: np.random.Generator, count: int) -> Array:
    """Random neighbours of known atoms: violations hide in cells next to theirs."""
    if known.shape[0] == 0:
        return known
    base = known[rng.integers(known.shape[0], size=count)]
    noise = rng.standard_normal(base.shape)
    size = np.linalg.norm(base, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
    return np.asarray(base + noise * size * 10.0 ** rng.uniform(-1.5, 0.0, (count, 1)))


def _output_view(
    problem: TwoLayerProblem,
    space: DiagonalPlusLowRank,
    dual: Array,
    known: Array,
    rng: np.random.Generator,
    starts: int,
    iterations: int,
    watch: Callable[[], bool] | None,
) -> Array:
    """Alternating exact maximisation over patterns and over (w, b), Dinkelbach in the ratio: monotone."""
    w = _directions(dual, rng, starts)
    scale = np.sqrt(space.columns.T @ space.columns)[np.diag_indices(space.weight.size)]
    b = rng.standard_normal((w.shape[0], space.weight.size)) / np.maximum(scale, 1e-300) * np.sqrt(space.n_samples)
    b[: 4 * dual.shape[0]] = 0.0
    pull = w @ dual
    size = _scales(problem, w.shape[0], rng)
    pull *= (size / np.maximum(np.sqrt(np.mean(pull**2, axis=1)), 1e-300))[:, None]
    centre = (b * size[:, None]) @ space.columns.T
    h = best_response(problem.activation, pull, centre, np.ones_like(pull))
    h = np.vstack([h, known])
    features = problem.features(h)
    cost = space.cost(h)
    level = levels(problem, dual, features, cost)
    active = np.arange(h.shape[0])
    for step in range(iterations):
        if step >= LEAST_STEPS and watch is not None and watch():
            break
        old = level[active]
        q = features[active] @ dual.T
        tau = np.full(active.size, problem.tau)
        if problem.width is None:
            tau *= np.maximum(old, 1e-30)
        trial = best_response(
            problem.activation, q @ dual, space.coefficients(h[active]) @ space.columns.T, tau[:, None] / space.diagonal
        )
        f = problem.features(trial)
        c = space.cost(trial)
        new = levels(problem, dual, f, c)
        better = new > old
        rows = active[better]
        h[rows], features[rows], cost[rows], level[rows] = trial[better], f[better], c[better], new[better]
        active = active[better & (new > old + 1e-13 * np.abs(new))]
        if active.size == 0:
            break
    return h


def evening(space: Geometry) -> tuple[Array, Array]:
    """T and T^-1 (r, r) such that theta T has patterns that vary alike in every direction: those of A T^T have equal lengths.

    On inputs of very different scales weights drawn alike give patterns that follow the largest alone. T = U diag(s_max / s_i) U^T, with
    1 in directions that change no pattern.
    """
    u, factor = _spectrum(space)
    return (u * factor) @ u.T, (u / factor) @ u.T


def spread(space: Geometry) -> float:
    """The median of s_max / s_i: how much larger some inputs are than most."""
    return float(np.median(_spectrum(space)[1]))


def _size(space: Geometry) -> float:
    """|A|_2 (Frobenius)."""
    return float(np.linalg.norm(space.preactivation(np.eye(space.n_parameters))))


def _spectrum(space: Geometry) -> tuple[Array, Array]:
    """Eigenvectors U of A^T A, and s_max / s_i."""
    gram = space.pullback(space.preactivation(np.eye(space.n_parameters)))
    w, u = np.linalg.eigh(0.5 * (gram + gram.T))
    ratio = w / max(float(w[-1]), 1e-300)
    return u, 1.0 / np.sqrt(np.where(ratio > 1e-20, ratio, 1.0))


def _input_view(
    problem: TwoLayerProblem,
    carrier: Carrier,
    dual: Array,
    known: Array,
    rng: np.random.Generator,
    starts: int,
    iterations: int,
    watch: Callable[[], bool] | None,
) -> Array:
    """Damped fixed-point ascent theta <- theta + gamma (A^T (phi' Z^T Z phi) / tau - theta), gamma kept by success."""
    space = carrier.geometry
    homogeneous = problem.activation.degree == 1.0
    directions = _directions(dual, rng, starts // 2)
    random = rng.standard_normal((starts // 2 + 8, space.n_parameters))
    random[::2] = random[::2] @ evening(space)[0]
    theta = np.vstack([space.pullback(directions @ dual), random])
    h = space.preactivation(theta)
    size = _scales(problem, theta.shape[0], rng) / np.maximum(np.sqrt(np.mean(h**2, axis=1)), 1e-300)
    theta = np.vstack([theta * size[:, None], _perturbed(known, rng, starts), known])

    def evaluate(t: Array) -> tuple[Array, Array, Array]:
        h = space.preactivation(t)
        features = problem.features(h)
        level = levels(problem, dual, features, np.einsum("nr,nr->n", t, t))
        slope = problem.activation.derivative(h) * ((features @ dual.T) @ dual)
        return t, level, space.pullback(slope)

    # under a width a dual point far from the end may want ever longer neurons
    most = math.inf if problem.width is None else LONGEST * math.sqrt(space.n_samples) / max(_size(space), 1e-300)

    def normalise(t: Array) -> Array:
        length = np.maximum(np.linalg.norm(t, axis=1, keepdims=True), 1e-300)
        return np.asarray(t / length if homogeneous else t * np.minimum(1.0, most / length))

    theta, level, ascent = evaluate(normalise(theta))
    gamma = np.ones(theta.shape[0])
    active = np.arange(theta.shape[0])
    for step in range(iterations):
        if step >= LEAST_STEPS and watch is not None and watch():
            break
        tau = np.full(active.size, problem.tau)
        if problem.width is None:
            tau *= np.maximum(level[active], 1e-30)
        move = ascent[active] / tau[:, None] - theta[active]
        trial, new, up = evaluate(normalise(theta[active] + gamma[active][:, None] * move))
        better = new > level[active]
        rows = active[better]
        theta[rows], level[rows], ascent[rows] = trial[better], new[better], up[better]
        gamma[active] = np.where(better, gamma[active] * 1.5, gamma[active] * 0.3)
        active = active[gamma[active] > 1e-7]
        if active.size == 0:
            break
    return theta


def distinct(carrier: Carrier, problem: TwoLayerProblem, found: Found, above: float, limit: int) -> Array:
    """Up to ``limit`` of the patterns whose level exceeds ``above``, no two with nearly parallel features; (n_new, n)."""
    rows = np.flatnonzero(found.level > above)[: 8 * limit]
    if rows.size == 0:
        return found.x[:0]
    features = problem.features(carrier.patterns(found.x[rows]))
    features = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-300)
    chosen: list[int] = []
    for i in range(rows.size):
        if all(float(features[i] @ features[k]) < 0.9999 for k in chosen):
            chosen.append(i)
            if len(chosen) == limit:
                break
    return np.asarray(found.x[rows[chosen]])

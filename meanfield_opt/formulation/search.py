"""Local search for patterns that violate dual feasibility, and best masses on a dictionary. Floating point: proposals only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ..geometry import DiagonalPlusLowRank, FactorGeometry
from ..measure import Measure
from ..problem import TwoLayerProblem

Array = NDArray[np.float64]


def ascend(problem: TwoLayerProblem, dual: Array, patterns: Array, *, steps: int = 100) -> Array:
    """Patterns (J, P) of no smaller violation than the given ones, each climbed from its row.

    ReLU on a diagonal-plus-low-rank geometry: exact alternating maximisation over h with (w, beta) fixed (theory 3.3),
    the ratio taking the place of tau after every step (Dinkelbach). Otherwise: gradient steps in theta that are
    halved until they do not lose.
    """
    patterns = np.atleast_2d(patterns)
    if isinstance(problem.geometry, DiagonalPlusLowRank) and problem.activation.name == "relu":
        return _alternate(problem, problem.geometry, dual, patterns, steps)
    return _climb(problem, dual, patterns, steps)


def merit(problem: TwoLayerProblem, dual: Array, theta: Array) -> Array:
    """What is maximised over neurons (J, r): the ratio for free mass, the excess under a width."""
    response = problem.features(problem.geometry.preactivation(theta)) @ dual.T
    top = np.einsum("jk,jk->j", response, response)
    cost = np.einsum("jr,jr->j", theta, theta)
    if problem.width is None:
        return np.asarray(np.divide(top, problem.tau * cost, out=np.zeros_like(top), where=cost > 0))
    return np.asarray(top / (4.0 * problem.lambda2) - problem.lambda1 * cost)


def _climb(problem: TwoLayerProblem, dual: Array, patterns: Array, steps: int) -> Array:
    """Gradient steps; then, for low-dimensional inputs and kinks, again inside the hyperplanes h_p = 0 that are near.

    A maximiser often lies on such hyperplanes, where plain gradient steps only zigzag.
    """
    geometry = problem.geometry
    theta = _gradient_steps(problem, dual, geometry.weights(patterns), steps, None)
    if not (isinstance(geometry, FactorGeometry) and problem.activation.name == "relu" and problem.width is None):
        return geometry.preactivation(theta)
    value = merit(problem, dual, theta)
    for pins in range(1, min(geometry.n_parameters, 5)):
        projector = _pinned(geometry.factor, theta, pins)
        trial = _gradient_steps(problem, dual, np.einsum("jrs,js->jr", projector, theta), steps, projector)
        reached = merit(problem, dual, trial)
        better = reached > value
        theta, value = np.where(better[:, None], trial, theta), np.where(better, reached, value)
    return geometry.preactivation(theta)


def _pinned(factor: Array, theta: Array, pins: int) -> Array:
    """(J, r, r) projectors on the complement of the ``pins`` rows nearest to orthogonal to each theta."""
    size = np.maximum(np.linalg.norm(factor, axis=1), 1e-300)
    nearest = np.argsort(np.abs(theta @ factor.T) / size, axis=1)[:, :pins]
    rows = factor[nearest] / size[nearest][..., None]
    _, sigma, right = np.linalg.svd(rows, full_matrices=False)
    right = np.where(sigma[..., None] > 1e-10, right, 0.0)
    return np.asarray(np.eye(factor.shape[1]) - np.einsum("jpr,jps->jrs", right, right))


def _gradient_steps(problem: TwoLayerProblem, dual: Array, theta: Array, steps: int, projector: Array | None) -> Array:
    geometry = problem.geometry
    free_scale = problem.width is None and problem.activation.degree == 1.0
    if free_scale:
        theta = theta / np.maximum(np.linalg.norm(theta, axis=1, keepdims=True), 1e-300)
    value = merit(problem, dual, theta)
    step = np.full(theta.shape[0], 0.5)
    for _ in range(2 * steps):
        h = geometry.preactivation(theta)
        response = problem.features(h) @ dual.T
        uphill = geometry.pullback((response @ dual) * problem.activation.derivative(h))
        if projector is not None:
            uphill = np.einsum("jrs,js->jr", projector, uphill)
        length = np.linalg.norm(uphill, axis=1, keepdims=True)
        if free_scale:
            trial = theta + step[:, None] * uphill / np.maximum(length, 1e-300)
            trial /= np.maximum(np.linalg.norm(trial, axis=1, keepdims=True), 1e-300)
        else:
            slope = 2.0 * uphill / (4.0 * problem.lambda2) - 2.0 * problem.lambda1 * theta
            if problem.width is None:
                cost = np.maximum(np.einsum("jr,jr->j", theta, theta), 1e-300)[:, None]
                slope = uphill / (problem.tau * cost) - theta * value[:, None] / cost
            scale = np.linalg.norm(theta, axis=1, keepdims=True) / np.maximum(
                np.linalg.norm(slope, axis=1, keepdims=True), 1e-300
            )
            trial = theta + step[:, None] * scale * slope
        reached = merit(problem, dual, trial)
        better = reached > value
        theta = np.where(better[:, None], trial, theta)
        value = np.where(better, reached, value)
        step = np.where(better, np.minimum(step * 1.5, 1e3), 0.5 * step)
        if (step < 1e-12).all():
            break
    return theta


def _alternate(
    problem: TwoLayerProblem, geometry: DiagonalPlusLowRank, dual: Array, patterns: Array, steps: int
) -> Array:
    h = patterns / np.maximum(np.abs(patterns).max(axis=1, keepdims=True), 1e-300)
    spread = geometry.diagonal
    best, best_ratio = h, problem.ratio(dual, h)
    for _ in range(steps):
        q = np.maximum(h, 0.0) @ dual.T
        cost = geometry.cost(h)[:, None]
        level = np.maximum(np.einsum("jk,jk->j", q, q)[:, None] / np.maximum(cost, 1e-300), 1e-300)
        r = q @ dual
        s = geometry.coefficients(h) @ geometry.columns.T
        on = np.maximum(s + r * spread / level, 0.0)
        off = np.minimum(s, 0.0)
        gain_on = 2.0 * r * on - level * (on - s) ** 2 / spread
        gain_off = -level * (off - s) ** 2 / spread
        h = np.where(gain_on > gain_off, on, off)
        h = h / np.maximum(np.abs(h).max(axis=1, keepdims=True), 1e-300)
        ratio = problem.ratio(dual, h)
        better = ratio > best_ratio
        moved = (ratio > best_ratio * (1 + 1e-14)).any()
        best, best_ratio = np.where(better[:, None], h, best), np.where(better, ratio, best_ratio)
        if not moved:
            break
    return np.asarray(best)


def distinct(patterns: Array, *, rays: bool, tolerance: float = 1e-7) -> Array:
    """Rows without zero rows and near duplicates (of directions where only the ray matters)."""
    size = np.linalg.norm(patterns, axis=1)
    patterns = patterns[size > 0]
    if patterns.shape[0] == 0:
        return patterns
    unit = patterns / np.linalg.norm(patterns, axis=1, keepdims=True) if rays else patterns
    keys = np.round(unit / (tolerance * max(float(np.abs(unit).max()), 1e-300)))
    _, first = np.unique(keys, axis=0, return_index=True)
    return np.asarray(patterns[np.sort(first)])


def fit_masses(problem: TwoLayerProblem, atoms: Array) -> Measure:
    """The best measure on a few atoms, by L-BFGS-B on the masses; the gradient of the energy is the first variation."""
    cost = problem.geometry.cost(atoms)
    unit = 1.0 / np.maximum(cost, 1e-300)
    start = np.full(atoms.shape[0], 1.0 / atoms.shape[0])
    value0 = max(problem.loss.value(np.zeros_like(problem.targets), problem.targets), 1e-300)

    def objective(m: Array) -> tuple[float, Array]:
        measure = Measure(atoms, np.maximum(m, 0.0) * unit)
        slope = problem.first_variation(problem.dual_point(measure), atoms) * unit
        return problem.energy(measure) / value0, slope / value0

    result = optimize.minimize(
        objective,
        start * float(np.sqrt(problem.lambda2 / problem.lambda1)) * np.sqrt(value0),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None)] * atoms.shape[0],
        options={"maxiter": 3000, "maxfun": 6000, "ftol": 1e-16, "gtol": 1e-12},
    )
    masses = np.maximum(result.x, 0.0) * unit
    keep = masses * cost > 1e-9 * max(float((masses * cost).max(initial=0.0)), 1e-300)
    return Measure(atoms[keep], masses[keep])

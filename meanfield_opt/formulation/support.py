"""Where a discretised support starts: deterministic seeded candidates, and exact cells where the inputs are low-dimensional."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..geometry import FactorGeometry
from ..problem import TwoLayerProblem
from .arrangement import cell_count_bound, enumerate_cells
from .search import ascend, distinct

Array = NDArray[np.float64]

#: at most so many cells are turned into candidates
MOST_CELLS = 2000

#: scales of the candidates where the activation is not homogeneous
SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)


def initial_support(problem: TwoLayerProblem, count: int, seed: int) -> Array:
    """Patterns (J, P): maximisers of the dual response at the zero network, label patterns, random neurons, cells.

    The same for the same problem, count and seed. No known answer is looked at.
    """
    geometry = problem.geometry
    rng = np.random.default_rng(seed)
    theta = rng.standard_normal((count, geometry.n_parameters))
    random = geometry.preactivation(theta)
    y = problem.targets
    labels = geometry.apply(np.vstack([y, -y, np.ones((1, y.shape[1])), y + 1.0, 1.0 - y]))
    dual = -problem.loss.gradient(np.zeros_like(y), y)
    climbed = ascend(problem, dual, np.vstack([labels, random]))
    parts = [climbed, labels, random]
    if isinstance(geometry, FactorGeometry) and problem.activation.name == "relu":
        rank = geometry.n_parameters
        if rank <= 4 and cell_count_bound(geometry.n_samples, rank) <= MOST_CELLS:
            parts.append(cell_representatives(geometry))
    patterns = np.vstack(parts)
    if problem.activation.degree == 1.0:
        return with_cost(problem, distinct(patterns, rays=True))
    unit = patterns / np.maximum(np.abs(patterns).max(axis=1, keepdims=True), 1e-300)
    return with_cost(problem, distinct(np.vstack([s * unit for s in SCALES]), rays=False))


def cell_representatives(geometry: FactorGeometry) -> Array:
    """One pattern inside each cell of the arrangement: a least-squares direction of its signs, corrected into the cell."""
    cells = enumerate_cells(geometry.factor)
    signs = np.where(cells, 1.0, -1.0)
    rows = geometry.factor / np.maximum(np.linalg.norm(geometry.factor, axis=1, keepdims=True), 1e-300)
    theta = signs @ rows
    for _ in range(200):  # perceptron steps towards the signs; a cell that resists keeps its nearby direction
        wrong = (theta @ rows.T) * signs < 0
        if not wrong.any():
            break
        theta += (wrong * signs) @ rows
    return geometry.preactivation(theta)


def with_cost(problem: TwoLayerProblem, patterns: Array) -> Array:
    """Rows of positive cost."""
    if patterns.shape[0] == 0:
        return patterns
    cost = problem.geometry.cost(patterns)
    return np.asarray(patterns[cost > 1e-12 * max(float(cost.max()), 1e-300)])

"""How little energy a given measure can have: the other side of a refutation."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..geometry import DenseGeometry, DiagonalPlusLowRank, FactorGeometry, FreeBiasGeometry
from ..measure import Measure
from ..problem import TwoLayerProblem
from ..rounding import down, matmul_bounds, matmul_interval, square_interval, sum_lower, sum_upper, up

Array = NDArray[np.float64]


def cost_lower(problem: TwoLayerProblem, measure: Measure) -> Array:
    """Rigorous lower bounds on the atoms' costs; for a factor geometry the cost of the very neurons given, with a free bias
    that of their input weights.

    Otherwise c(h) = max_x 2 h.x - x^T K x, so that any x bounds it from below: x is K^-1 h up to rounding.
    """
    geometry, h = problem.geometry, measure.atoms
    if isinstance(geometry, FactorGeometry) and measure.neurons is not None:
        low, _ = square_interval(measure.neurons, measure.neurons)
        return np.maximum(sum_lower(low, axis=1), 0.0)
    if isinstance(geometry, FreeBiasGeometry) and measure.neurons is not None:
        low, _ = square_interval(measure.neurons[:, :-1], measure.neurons[:, :-1])
        return np.maximum(sum_lower(low, axis=1), 0.0)
    if isinstance(geometry, DiagonalPlusLowRank):
        b = geometry.coefficients(h)
        x = (h - b @ geometry.columns.T) / geometry.diagonal
        _, squares = square_interval(x, x)
        lo, hi = matmul_bounds(x, geometry.columns)
        _, low_rank = square_interval(lo, hi)
        quadratic = up(
            sum_upper(up(squares * geometry.diagonal), axis=1) + sum_upper(up(low_rank * geometry.weight), axis=1)
        )
    elif isinstance(geometry, DenseGeometry):
        theta = geometry.weights(h)
        x = np.asarray(np.linalg.solve(geometry.kernel, h.T).T if theta.size else h, dtype=np.float64)
        lo, hi = matmul_bounds(x, geometry.kernel)
        quadratic = sum_upper(np.maximum(up(x * lo), up(x * hi)), axis=1)
    else:
        return np.zeros(measure.n_atoms)
    linear = sum_lower(down(2.0 * h * x), axis=1)
    value = down(linear - quadratic)
    return np.where(value > 0, value, 0.0)


def measure_energy_lower(problem: TwoLayerProblem, measure: Measure) -> float:
    """Rigorous lower bound on the energy of this very measure, whatever its output weights.

    E[rho] = l1 int c d rho + max_Z D(Z) - int |Z phi|^2 d rho / (4 l2); any Z bounds it from below.
    """
    zero = np.zeros_like(problem.targets)
    if measure.n_atoms == 0:
        value = problem.loss.dual_lower(
            problem.loss.project_dual(-problem.loss.gradient(zero, problem.targets), problem.targets),
            problem.targets,
            1.0,
        )
        return value if not math.isnan(value) else -math.inf
    with np.errstate(all="ignore"):
        dual = problem.loss.project_dual(problem.dual_point(measure), problem.targets)
        enclosure = problem.geometry.enclose(measure.atoms, measure.neurons)
        phi_lo, phi_hi = problem.activation.bound_on(enclosure.lo, enclosure.hi)
        lo, hi = matmul_interval(dual, np.ascontiguousarray(phi_lo.T), np.ascontiguousarray(phi_hi.T))
        _, squares = square_interval(lo, hi)
        spent = sum_upper(up(measure.masses * sum_upper(squares, axis=0)))
        spent = up(spent / down(4.0 * problem.lambda2))
        cost = down(problem.lambda1 * np.maximum(sum_lower(down(measure.masses * cost_lower(problem, measure))), 0.0))
        value = float(down(down(cost - spent) + problem.loss.dual_lower(dual, problem.targets, 1.0)))
    return value if not math.isnan(value) else -math.inf

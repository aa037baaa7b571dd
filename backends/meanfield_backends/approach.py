"""Measures that come near an infimum that is not attained: their energies are its upper bounds."""

from __future__ import annotations

import numpy as np

from meanfield_opt.activation import Limit
from meanfield_opt.measure import Measure
from meanfield_opt.problem import TwoLayerProblem

#: how much longer or shorter than the limit's its neurons become: what is left is of this relative size, or its square
FAR = 1e8
NEAR = 1e-7


def along_limit(problem: TwoLayerProblem, limit: Limit, optimum: Measure) -> Measure | None:
    """The optimum of the limit on very long, or very short, neurons: there phi is nearly the limit."""
    measure = optimum.support()
    if measure.n_atoms == 0:
        return None
    size = float(np.abs(measure.atoms).max())
    factor = (FAR if limit.where == "infinity" else NEAR) / size
    moved = measure.rescaled(factor)
    if problem.width is not None and moved.total_mass > problem.width:
        return None
    return Measure(moved.atoms, moved.masses, moved.neurons)


def ever_larger(problem: TwoLayerProblem) -> Measure | None:
    """For phi of a degree k > 1: random neurons of size s and mass s^-(k+1), which cost s^(1-k) and weigh s^(k-1)."""
    degree = problem.activation.degree
    if degree is None or not degree > 1.0:
        return None
    rng = np.random.default_rng(0)
    geometry, n = problem.geometry, 2 * problem.n_samples + 2
    theta = rng.standard_normal((n, geometry.n_parameters))
    theta *= FAR / np.linalg.norm(theta, axis=1, keepdims=True)
    mass = np.full(n, FAR ** -(degree + 1.0))
    if problem.width is not None:
        mass = np.minimum(mass, problem.width / (2 * n))
    return Measure(geometry.preactivation(theta), mass, theta)


def with_constant(problem: TwoLayerProblem, measure: Measure) -> Measure:
    """The measure with much mass on a neuron of no cost, whose output weight then costs nearly nothing: a constant phi(0)."""
    theta = measure.neurons
    if theta is None or theta.shape[1] != problem.geometry.n_parameters:
        theta = problem.geometry.weights(measure.atoms)
    return Measure(
        np.vstack([measure.atoms, np.zeros((1, problem.n_samples))]),
        np.append(measure.masses, FAR),
        np.vstack([theta, np.zeros((1, theta.shape[1]))]),
    )

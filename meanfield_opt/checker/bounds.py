"""Rigorous ends of the interval around the optimum: an energy from above, a dual value from below."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..geometry import FactorGeometry, FreeBiasGeometry
from ..measure import Measure
from ..problem import TwoLayerProblem
from ..rounding import down, matmul_interval, square_interval, sum_bounds, sum_upper, up
from .invariant import invariant_dual, invariant_dual_lower, invariant_energy_upper

Array = NDArray[np.float64]


def energy_upper(problem: TwoLayerProblem, measure: Measure) -> tuple[Measure, float]:
    """The measure with an explicit readout, and a rigorous upper bound on its energy.

    Any output weights w give an upper bound, so the optimal ones are only approximated. Under a width the masses are
    shrunk until their exact sum respects it.
    """
    measure = measure.support()
    if measure.n_atoms == 0:
        measure = Measure.zero(problem.n_samples)
        return measure, network_energy_upper(problem, measure)
    if isinstance(problem.geometry, FactorGeometry | FreeBiasGeometry):
        # the neurons are what this geometry takes as exact, so they are fixed here and stored in the certificate
        theta = measure.neurons
        if theta is None or theta.shape[1] != problem.geometry.n_parameters:
            theta = problem.geometry.weights(measure.atoms)
        measure = Measure(problem.geometry.preactivation(theta), measure.masses, theta, measure.readout)
    masses = measure.masses
    if problem.width is not None:
        while sum_bounds(masses)[1] > problem.width:
            masses = np.maximum(down(masses * min(1.0, problem.width / sum_bounds(masses)[1])), 0.0)
        if masses is not measure.masses:
            measure = Measure(measure.atoms, np.asarray(masses), measure.neurons, None, measure.compact).support()
    readout = measure.readout
    if readout is None:
        readout = problem.readout(measure)
        measure = Measure(measure.atoms, measure.masses, measure.neurons, readout, measure.compact)
    # the checker sums arrays read from a file, whose layout may change the order of additions: leave it room
    value = network_energy_upper(problem, measure)
    return measure, float(up(value + abs(value) * 2.0**-44))


def network_energy_upper(problem: TwoLayerProblem, measure: Measure) -> float:
    """Rigorous upper bound on l1 sum m c + l2 sum m |w|^2 + L(sum m w phi) for the measure's own readout."""
    if measure.n_atoms == 0:
        zero = np.zeros_like(problem.targets)
        problem.geometry.enclose(measure.atoms, None)  # refuses a kernel that is not proved positive definite
        value = problem.loss.value_upper(zero, zero, problem.targets)
        return value if not math.isnan(value) else math.inf
    if measure.readout is None:
        raise InputError("a rigorous energy needs explicit output weights (measure.readout).")
    if problem.width is not None and not sum_bounds(measure.masses)[1] <= problem.width:
        raise InputError("the measure's mass exceeds the width.")
    reduced = invariant_energy_upper(problem, measure)
    if reduced is not None:
        return reduced
    with np.errstate(all="ignore"):
        enclosure = problem.geometry.enclose(measure.atoms, measure.neurons)
        phi_lo, phi_hi = problem.activation.bound_on(enclosure.lo, enclosure.hi)
        # v = fl(m w) is taken as the exact output weight; its penalty is |v|^2 / m
        v = measure.readout * measure.masses
        f_lo, f_hi = matmul_interval(v, phi_lo, phi_hi)
        _, v2 = square_interval(v, v)
        ridge = sum_upper(up(sum_upper(v2, axis=0) / measure.masses))
        cost = sum_upper(up(measure.masses * enclosure.cost))
        penalties = up(up(problem.lambda1 * cost) + up(problem.lambda2 * ridge))
        total = float(up(penalties + problem.loss.value_upper(f_lo, f_hi, problem.targets)))
    return total if not math.isnan(total) else math.inf


def tau_bounds(problem: TwoLayerProblem) -> tuple[float, float]:
    """Rigorous (lo, hi) around 4 l1 l2; lo is 0 where the product underflows."""
    product = problem.lambda1 * problem.lambda2
    low = min(max(4.0 * float(down(product)), 0.0), float(np.finfo(np.float64).max))
    return low, 4.0 * float(up(product))


def best_rigorous_scale(problem: TwoLayerProblem, dual: Array, bound: float) -> float:
    """The scale s for the bound: s <= 1/sigma for free mass (rounded down), 1 under a width."""
    if problem.width is not None:
        return 1.0
    with np.errstate(over="ignore"):
        limit = math.inf if bound == 0 else float(down(down(np.float64(1.0) / bound)))
    small = invariant_dual(problem, dual)
    dual, targets = (dual, problem.targets) if small is None else small
    scale = problem.loss.best_scale(dual, targets, limit)
    return scale if math.isfinite(scale) and scale >= 0 else 0.0


def lower_from_proof(problem: TwoLayerProblem, dual: Array, scale: float, bound: float) -> float:
    """Rigorous lower bound on inf E from a dual point, a scale and a proved supremum; -inf if it does not follow."""
    if not (math.isfinite(bound) and bound >= 0 and math.isfinite(scale) and scale >= 0):
        return -math.inf
    small = invariant_dual_lower(problem, dual, scale)
    if problem.width is None:
        # in real numbers scale * bound <= 1, so that scale Z is dual feasible
        if bound > 0 and not float(up(scale * bound)) <= 1.0:
            return -math.inf
        value = problem.loss.dual_lower(dual, problem.targets, scale) if small is None else small
    else:
        if scale != 1.0 and dual.any():  # kappa belongs to Z itself; the zero dual point is its own multiple
            return -math.inf
        value = problem.loss.dual_lower(dual, problem.targets, scale) if small is None else small
        value = float(down(value - up(problem.width * bound)))
    return value if not math.isnan(value) else -math.inf

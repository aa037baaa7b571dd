"""Readouts and masses fitted once more to the atoms that a run returns.

A run that is cut short ends between masters: its last master was only as exact as the gap then asked, or its atoms have just slid. The
energy of a measure takes the best readouts for its masses, a certificate those that the measure has, so that the two then differ.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.measure import Measure
from meanfield_opt.problem import TwoLayerProblem

from .bound import lower_estimate, relative_gap
from .masses import interior_point
from .master import masses_of, master_energy
from .reduce import shares
from .search import levels
from .smooth_energy import curved

Array = NDArray[np.float64]

#: atoms up to which masses are fitted by an interior-point method, cubic in their number; beyond, readouts and masses in turn
MOST = 2000
#: nothing is done for less than this share of the tolerance
LITTLE = 0.05


def fitted(
    problem: TwoLayerProblem, measure: Measure, tolerance: float, threads: int = 1
) -> tuple[Measure, float] | None:
    """The measure with readouts and masses fitted to each other on its atoms, and its energy; None where little is gained.

    tolerance: relative to the energy; the energy with the measure's own readouts falls by more than ``LITTLE`` of it. Atoms whose mass
    vanishes go.
    """
    if measure.n_atoms == 0 or measure.readout is None:
        return None
    features, cost = problem.features(measure.atoms), problem.atom_costs(measure)
    readouts = measure.readout * measure.masses
    energy = master_energy(problem, features, cost, readouts, measure.masses)
    gap = relative_gap(energy, _lower(problem, features, cost, readouts))
    if gap <= LITTLE * tolerance:
        return None
    found, few = None, measure.n_atoms <= MOST
    if few and curved(problem.loss, problem.targets) and problem.width is None and (cost > 0).all():
        found = _in_masses(problem, features, cost, measure.masses, energy, min(gap, 1.0), tolerance, threads)
    if found is None:
        found = _in_turn(problem, cost, measure)
    readouts, masses = found
    keep = np.argsort(-masses, kind="stable")
    keep = keep[shares(masses, readouts, features)[keep] > 1e-3 * LITTLE * tolerance / masses.size]
    readouts, masses = readouts[:, keep], masses[keep]
    reached = master_energy(problem, features[keep], cost[keep], readouts, masses)
    if not reached < energy - LITTLE * tolerance * abs(energy):
        return None
    left = measure.take(keep)
    return Measure(left.atoms, masses, left.neurons, readouts / masses), reached


def _lower(problem: TwoLayerProblem, features: Array, cost: Array, readouts: Array) -> float:
    """The dual value of the problem on these atoms alone, at the dual point of these readouts."""
    loss, targets = problem.loss, problem.targets
    dual = loss.project_dual(-loss.gradient(readouts @ features, targets), targets)
    return lower_estimate(problem, dual, float(levels(problem, dual, features, cost).max()))


def _in_masses(
    problem: TwoLayerProblem,
    features: Array,
    cost: Array,
    masses: Array,
    energy: float,
    gap: float,
    tolerance: float,
    threads: int,
) -> tuple[Array, Array] | None:
    """The best readouts V (d_Y, J) and masses; None where linear algebra breaks down."""
    none = problem.loss.value(np.zeros_like(problem.targets), problem.targets)
    size, l1, l2 = np.sqrt(cost), problem.lambda1, problem.lambda2
    unit = features / size[:, None]
    # interior_point measures by the energy of no atoms
    wanted, near = max(1e-15, 0.1 * LITTLE * tolerance * energy / none), gap * energy / none
    centre = interior_point(
        unit, problem.targets, l1, l2, masses * cost, wanted, near=near, threads=threads, loss=problem.loss
    )
    return None if centre is None else (centre.readouts / size, centre.masses / cost)


def _in_turn(problem: TwoLayerProblem, cost: Array, measure: Measure) -> tuple[Array, Array]:
    """The best readouts V (d_Y, J) for the masses, the best masses for them, and the best readouts for these."""
    masses = measure.masses
    readouts = problem.readout(measure) * masses
    masses = masses_of(problem, cost, readouts, masses)
    new = Measure(
        measure.atoms,
        masses,
        measure.neurons,
        np.divide(readouts, masses, out=np.zeros_like(readouts), where=masses > 0),
    )
    return problem.readout(new) * masses, masses

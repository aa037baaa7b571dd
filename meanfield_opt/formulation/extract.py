"""Atoms from a moment matrix: possible when the relaxation is tight, and then judged by energy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..measure import Measure
from ..problem import TwoLayerProblem
from .search import ascend, distinct, fit_masses

Array = NDArray[np.float64]

#: so many patterns of a loose relaxation are given masses
MOST_LOOSE = 40

#: how far above the relaxation's value the measure may lie, relatively, to count as its atoms
TIGHT = 1e-5


def atoms_from_patterns(
    problem: TwoLayerProblem, patterns: Array, dual: Array, value: float, *, tight: float = TIGHT
) -> tuple[Measure, str | None]:
    """(measure, reason): the best measure near the patterns that a relaxation suggests; reason None if it is optimal.

    Each suggested pattern is climbed to a maximiser of the dual response, where the atoms of an optimal measure sit;
    masses are refitted. The measure is accepted if its energy is the relaxation's value; otherwise either the
    relaxation is not tight or an atom was missed, and the reason says how far off it is.
    """
    patterns = distinct(patterns, rays=True)
    measure = Measure.zero(problem.n_samples)
    energy = problem.energy(measure)
    if patterns.shape[0]:
        climbed = distinct(ascend(problem, dual, patterns, steps=300), rays=True, tolerance=1e-6)
        ratio = problem.ratio(dual, climbed)
        tight_ones = ratio > 1.0 - 1e-2
        # where no pattern makes the dual constraint tight, the relaxation is loose or means the zero measure
        chosen = climbed[tight_ones] if tight_ones.any() else climbed[np.argsort(-ratio)[:MOST_LOOSE]]
        found = fit_masses(problem, chosen)
        reached = problem.energy(found)
        if tight_ones.any() or reached < energy:
            measure, energy = found, reached
    excess = (energy - value) / max(abs(energy), 1e-300)
    if excess <= tight:
        return measure, None
    return measure, (
        f"the measure read off the moment matrix has energy {energy:.9g}, {excess:.1e} above the relaxation's value: "
        "the relaxation is not tight here, or an atom was missed."
    )


def signed_columns(moment: Array, samples: int) -> Array:
    """Suggestions from a lifted moment matrix W (2P or P): columns E[z_i z] and leading eigenvectors, as h = a - b."""
    values, vectors = np.linalg.eigh(moment)
    lead = vectors[:, values > 1e-6 * values[-1]].T
    rows = np.vstack([moment, lead, -lead])
    if moment.shape[0] == samples:
        return np.asarray(rows)
    return np.asarray(rows[:, :samples] - rows[:, samples:])

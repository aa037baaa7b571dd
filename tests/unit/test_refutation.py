"""Where a candidate is not optimal the certificate names a neuron that lowers its energy, kinks and all."""

from __future__ import annotations

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.certificate.improve import reoptimised, violating_neurons, with_neurons, worst_first
from meanfield_opt.measure import Measure


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_small_basins_around_kinks_are_found(d: int, seed: int) -> None:
    """The optimum's patterns are zero on half the samples: no one of a million random neurons falls into the basin of a
    violation of a fraction of a per cent, and plain power iterations leap over the kinks."""
    problem = mfo.problems.hypercube(d)
    measure = problem.known.measure()
    rng = np.random.default_rng(seed)
    shaken = problem.dual_point(measure) * (1 + 3e-3 * rng.standard_normal(problem.targets.shape))
    shaken *= 1.002 / problem.ratio(shaken, measure.atoms).max()
    found = violating_neurons(problem, shaken, seed=seed)
    assert found.shape[0] > 0
    ratio = problem.ratio(shaken, problem.geometry.preactivation(found))
    assert (ratio > 1).all()
    assert ratio.max() >= 1.002 * (1 - 1e-9)


def test_every_candidate_that_stops_short_gets_a_neuron_that_lowers_its_energy() -> None:
    problem = mfo.problems.hypercube(2)
    best = problem.known.measure()
    for share in (0.0, 0.5, 0.9):
        stopped = Measure(best.atoms, best.masses * np.array([1.0, share, 1.0, share]))
        made = mfo.certify(problem, stopped)
        assert made.relative_gap > 1e-4
        assert made.neuron is not None
        assert worst_first(problem, problem.dual_point(stopped), made.neuron[None, :]).shape[0] == 1
        better = reoptimised(problem, with_neurons(problem, stopped, made.neuron, 1e-3))
        assert problem.energy(better) < problem.energy(stopped)


def test_neurons_without_a_finite_variation_are_left_out() -> None:
    problem = mfo.problems.hypercube(2)
    dual = 10.0 * problem.dual_point(problem.known.measure())
    good = violating_neurons(problem, dual)[:1]
    rows = np.vstack([np.full_like(good, np.nan), good, 1e-9 * good])
    ordered = worst_first(problem, dual, rows)
    assert np.array_equal(ordered[0], good[0])
    assert np.isfinite(ordered).all()

"""For phi of degree 1 a width excludes nothing: larger neurons of less mass have the same energy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import meanfield_opt as mfo

FREE = 0.08739560920082658


@pytest.mark.parametrize("backend", ["column_generation", "clarabel", "cvxpy"])
def test_a_narrow_relu_network_reaches_the_free_optimum_and_is_proved(backend: str, tmp_path: Path) -> None:
    """Column generation overflowed here, and the discretised backends stopped at a worse measure."""
    problem = mfo.problems.hypercube(2, width=0.3)
    solution = mfo.solve(problem, backend)
    assert solution.problem is problem
    assert solution.measure.total_mass <= 0.3
    assert solution.energy == pytest.approx(FREE, rel=1e-6)
    certificate = mfo.certify(problem, solution)
    assert certificate.verdict == "proved"
    assert certificate.lower_bound <= FREE <= certificate.upper_bound
    assert certificate.relative_gap < 1e-6
    certificate.save(tmp_path / "c.json")
    verified = mfo.verify(tmp_path / "c.json", problem)
    assert verified.lower_bound == certificate.lower_bound
    with pytest.raises(mfo.CertificateError):
        mfo.verify(tmp_path / "c.json", mfo.problems.hypercube(2, width=0.2))


def test_a_poor_narrow_measure_is_refuted_by_one_within_the_width(tmp_path: Path) -> None:
    problem = mfo.problems.hypercube(2, width=0.3)
    poor = mfo.Measure(np.ones((1, 4)), np.array([0.1]))
    certificate = mfo.certify(problem, poor)
    assert certificate.verdict == "refuted"
    assert certificate.refutation is not None
    assert certificate.refutation.better.total_mass <= 0.3
    certificate.save(tmp_path / "c.json")
    assert mfo.verify(tmp_path / "c.json", problem).verdict == "refuted"


def test_rescaling_keeps_the_energy_for_degree_one_only() -> None:
    rng = np.random.default_rng(0)
    for name, same in (("relu", True), ("leaky_relu", True), ("tanh", False)):
        problem = mfo.problems.hypercube(2, activation=name, width=9.0)
        measure = mfo.Measure(rng.standard_normal((3, 4)), rng.uniform(0.5, 1.0, 3))
        assert (problem.energy(measure.rescaled(2.0)) == pytest.approx(problem.energy(measure), rel=1e-12)) is same
        assert problem.width_binds is not same

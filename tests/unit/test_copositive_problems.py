"""Standard quadratic programs and optimal designs as problems: known answers, certificates, files, tampering."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import flint
import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.checker.document import digest
from meanfield_opt.checker.programs import positive_on, round_down, round_up

PROBLEMS: list[tuple[str, Any, str]] = [
    ("planted 8", lambda: mfo.problems.planted_quadratic_program(8, 3, 1), "copositive"),
    ("planted 10", lambda: mfo.problems.planted_quadratic_program(10, 4, 0, seed=1), "copositive"),
    ("stability", lambda: mfo.problems.stability_program("icosahedron"), "copositive"),
    ("Petersen", lambda: mfo.problems.stability_program(), "copositive"),
    *((f"D{d}", lambda d=d: mfo.problems.optimal_design(d), "design") for d in (1, 2, 4)),  # type: ignore[misc]
    *((f"A{d}", lambda d=d: mfo.problems.optimal_design(d, criterion="A"), "design") for d in (1, 2)),  # type: ignore[misc]
    ("D2 elsewhere", lambda: mfo.problems.optimal_design(2, interval=(0.0, 3.0)), "design"),
]


@pytest.mark.parametrize(("name", "build", "backend"), PROBLEMS, ids=[p[0] for p in PROBLEMS])
def test_known_answers_are_met_and_certified(name: str, build: Any, backend: str, tmp_path: Path) -> None:
    problem = build()
    assert problem.known is not None
    truth = problem.known.energy
    solution = mfo.solve(problem, backend=backend, tolerance=1e-8)
    assert solution.energy == pytest.approx(truth, rel=1e-7, abs=1e-9)
    certificate = mfo.certify(problem, solution)
    assert certificate.verdict == "proved"
    assert certificate.lower_bound <= truth + 1e-12 * max(1, abs(truth))
    assert certificate.upper_bound >= truth - 1e-12 * max(1, abs(truth))
    assert certificate.upper_bound - certificate.lower_bound < 1e-5 * max(1.0, abs(truth))
    path = tmp_path / "c.json"
    certificate.save(path)
    for given in (None, problem):
        verified = mfo.verify(path, given)
        assert (verified.lower_bound, verified.upper_bound) == (certificate.lower_bound, certificate.upper_bound)
    other = mfo.problems.optimal_design(7) if backend == "design" else mfo.problems.stability_program("C5")
    with pytest.raises(mfo.CertificateError):
        mfo.verify(path, other)
    body = json.loads(path.read_text())
    body.pop("digest")
    for key, value in (("lower", 1e-3), ("upper", -1e-3)):
        changed = json.loads(json.dumps(body))
        changed["claims"][key] = float(float.fromhex(body["claims"][key]) + value).hex()
        path.write_text(json.dumps({**changed, "digest": digest(changed)}))
        with pytest.raises(mfo.CertificateError):
            mfo.verify(path)
    if problem.known.measure is not None:
        measure = problem.known.measure()
        dual = problem.dual_point(measure)
        assert problem.energy(measure) == pytest.approx(truth, abs=1e-12)
        assert np.abs(problem.first_variation(dual, measure.atoms)).max() < 1e-7
        assert problem.dual_value(dual) <= problem.energy(measure) + 1e-9


def test_optimal_designs_without_a_table() -> None:
    for degree in (3, 5):
        problem = mfo.problems.optimal_design(degree, criterion="A")
        assert problem.known is None
        certificate = mfo.certify(problem, mfo.solve(problem, backend="design", tolerance=1e-8))
        assert certificate.relative_gap < 1e-6
    # cubic, A-optimal: support +-1, +-0.464 with weights 0.151 and 0.349 (Pukelsheim, table 9.10)
    measure = mfo.solve(mfo.problems.optimal_design(3, criterion="A"), backend="design").measure
    assert measure.atoms[2, 0] == pytest.approx(0.464, abs=1e-3)
    assert measure.masses[0] == pytest.approx(0.151, abs=1e-3)


def test_poor_designs_get_honest_bounds() -> None:
    problem = mfo.problems.optimal_design(2)
    poor = mfo.Measure(np.array([[-1.0], [0.3], [0.9]]), np.array([1.0, 2.0, 1.0]))
    certificate = mfo.certify(problem, poor)
    assert problem.known is not None
    assert certificate.lower_bound <= problem.known.energy < certificate.upper_bound
    assert certificate.relative_gap > 0.01
    with pytest.raises(mfo.InputError, match="singular"):
        mfo.certify(problem, mfo.Measure(np.array([[0.5]]), np.ones(1)))
    with pytest.raises(mfo.InputError, match="not a design"):
        mfo.certify(problem, mfo.Measure(np.array([[0.5], [2.0], [0.1]]), np.ones(3)))


def test_poor_points_of_a_quadratic_program() -> None:
    problem = mfo.problems.stability_program("C7")
    certificate = mfo.certify(problem, mfo.Measure(np.eye(7), np.ones(7)))
    assert certificate.lower_bound == pytest.approx(1 / 3, abs=1e-9)
    assert certificate.upper_bound == 1.0
    with pytest.raises(mfo.InputError, match="takes a Solution"):
        mfo.certify(problem, 3)


def test_sturm() -> None:
    x = flint.fmpq_poly([0, 1])
    cases = [
        (x * x + 1, True),
        ((x - 2) * (x - 2), True),
        (x * x, False),
        ((x * 2 - 1) * (x * 2 - 1), False),
        ((x * 2 - 1) * (x * 2 - 1) + flint.fmpq(1, 10**40), True),
        ((x * 2 - 1) ** 2 * (x - 3) ** 2, False),
        ((x - 3) ** 4 + 0, True),
        (flint.fmpq_poly([1]), True),
        (flint.fmpq_poly([0]), False),
        (x, False),
    ]
    for poly, positive in cases:
        assert positive_on(poly, Fraction(-1), Fraction(1)) == positive, poly


def test_directed_rounding() -> None:
    for value in (Fraction(1, 3), Fraction(-1, 3), Fraction(10**400), Fraction(1, 10**400), Fraction(0), Fraction(1)):
        assert round_down(value) <= value <= round_up(value)
    assert round_down(Fraction(1, 2)) == round_up(Fraction(1, 2)) == 0.5


def test_input() -> None:
    for call, words in (
        (lambda: mfo.problems.optimal_design(0), "degree"),
        (lambda: mfo.problems.optimal_design(2, criterion="E"), "criterion"),
        (lambda: mfo.problems.optimal_design(2, interval=(1, 0)), "empty"),
        (lambda: mfo.problems.optimal_design(2, interval=3), "two numbers"),
        (lambda: mfo.problems.stability_program("K99"), "no graph"),
        (lambda: mfo.problems.planted_quadratic_program(5, 5), "support"),
        (lambda: mfo.problems.standard_quadratic_program([[1, 2], [0, 1]]), "symmetric"),
        (lambda: mfo.solve(mfo.problems.hypercube(latents=2), backend="design"), "refuses"),
        (lambda: mfo.solve(mfo.problems.optimal_design(2), backend="copositive"), "refuses"),
    ):
        with pytest.raises(mfo.InputError, match=words):
            call()

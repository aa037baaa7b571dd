"""Orbit-wise column generation and the compact witnesses it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_backends.orbit import Reduced, faces, price, refusal, solve_orbits
from meanfield_opt.checker.document import digest
from meanfield_opt.checker.hypercube import hypercube_of
from meanfield_opt.checker.invariant import invariant_energy_upper
from meanfield_opt.label_patterns import LabelPatterns

CASES = [
    (1, "whitened", 0.0, 1, 0.01),
    (3, "whitened", 0.0, 1, 0.01),
    (3, "aligned", 0.5, 2, 0.01),
    (3, "aligned", 2.0, 1, 0.01),
    (3, "anisotropic", (0.0, 0.3, 0.8), 1, 0.01),
    (4, "anisotropic", (0.0, 0.5, 2.0, 3.0), 1, 0.01),
    (3, "whitened", 0.0, 1, 5.0),
    (10, "aligned", 0.5, 1, 1e-3),
]


def orbit_solution(problem: mfo.TwoLayerProblem) -> mfo.Solution:
    assert refusal(problem) is None
    solution = solve_orbits(problem, mfo.SolveOptions(), "column_generation")
    assert solution is not None
    return solution


@pytest.mark.parametrize(("latents", "geometry", "alignment", "copies", "penalty"), CASES)
def test_orbits_reach_the_known_optimum_and_are_proved(latents, geometry, alignment, copies, penalty, tmp_path) -> None:
    problem = mfo.problems.hypercube(
        latents, geometry=geometry, alignment=alignment, samples_per_class=copies, lambda1=penalty, lambda2=penalty
    )
    solution = orbit_solution(problem)
    assert problem.known is not None
    assert solution.energy == pytest.approx(problem.known.energy, rel=1e-13)
    certificate = mfo.certify(problem, solution)
    assert certificate.verdict == "proved"
    assert certificate.relative_gap < 1e-12
    path: Path = tmp_path / "c.json"
    certificate.save(path)
    assert path.stat().st_size < 10_000
    assert mfo.verify(path).relative_gap == certificate.relative_gap


def test_reduced_energy_is_the_full_energy() -> None:
    problem = mfo.problems.hypercube(4, geometry="anisotropic", alignment=(0.0, 0.5, 2.0, 3.0), samples_per_class=2)
    rng = np.random.default_rng(0)
    labels = ((0,), (2,), (1, 3), (0, 1, 2), ())
    patterns = LabelPatterns(labels, tuple(tuple(rng.standard_normal(1 << len(c)).tolist()) for c in labels))
    measure = mfo.Measure.of_labels(patterns, rng.random(5), problem.targets, rng.standard_normal((4, 5)))
    reduced = invariant_energy_upper(problem, measure)
    f = (measure.readout * measure.masses) @ problem.features(measure.atoms)
    full = problem.loss.value(f, problem.targets) + 0.01 * float(
        measure.masses @ (problem.geometry.cost(measure.atoms) + (measure.readout**2).sum(axis=0))
    )
    assert reduced == pytest.approx(full, rel=1e-12)


def test_dual_values_agree_with_the_full_ones() -> None:
    for loss in ("squared", "logistic"):
        problem = mfo.problems.hypercube(3, loss=loss, samples_per_class=3)
        measure = mfo.Measure(np.vstack([1 + problem.targets, 1 - problem.targets]) / 2, np.full(6, 0.1))
        certificate = mfo.certify(problem, measure, engine="symmetric", refute=1e6)
        assert certificate.verdict == "proved"
        value = problem.dual_value(certificate.scale * certificate.dual)
        assert certificate.lower_bound == pytest.approx(value, rel=1e-9)
        assert certificate.lower_bound <= value + 1e-12


def test_pricing_is_the_best_over_all_tables() -> None:
    rng = np.random.default_rng(1)
    problem = mfo.problems.hypercube(2, geometry="anisotropic", alignment=(0.4, 3.0))
    cube = hypercube_of(problem)
    assert cube is not None
    reduced = Reduced(cube, (0.0, 1.0), 0.01, 0.01)
    zeta = np.array([1.3, 0.7])
    ratio, table = price(reduced, zeta, (0, 1))
    patterns = LabelPatterns(((0, 1),), (tuple(table.tolist()),)).arrays(problem.targets)
    dual = zeta[:, None] * problem.targets
    assert problem.ratio(dual, patterns)[0] ** 2 == pytest.approx(ratio, rel=1e-12)
    assert (problem.ratio(dual, rng.standard_normal((20_000, 4))) ** 2 <= ratio * (1 + 1e-12)).all()
    assert len(faces(2)) == 80


def test_leaky_relu_is_solved_by_orbits() -> None:
    problem = mfo.problems.hypercube(3, activation="leaky_relu")
    solution = orbit_solution(problem)
    f = problem.outputs(solution.measure)
    np.testing.assert_allclose(2 * (problem.targets - f), solution.dual, atol=1e-9)  # optimal readout
    assert problem.ratio(solution.dual, solution.measure.atoms).max() == pytest.approx(1, abs=1e-9)


def test_refusals_have_reasons() -> None:
    assert "free mass" in str(refusal(mfo.problems.hypercube(2, activation="tanh", width=4)))
    assert "kink" in str(refusal(mfo.problems.hypercube(2, activation="tanh")))
    rng = np.random.default_rng(0)
    data = mfo.problems.dataset(rng.standard_normal((8, 2)), rng.standard_normal(8), lambda1=0.1, lambda2=0.1)
    assert "hypercube" in str(refusal(data))


@pytest.mark.parametrize("tamper", ["labels", "range", "short", "nan", "zeta", "value"])
def test_tampered_compact_witnesses_are_rejected(tmp_path: Path, tamper: str) -> None:
    problem = mfo.problems.hypercube(3)
    path = tmp_path / "c.json"
    mfo.certify(problem, orbit_solution(problem)).save(path)
    body = json.loads(path.read_text())
    body.pop("digest")
    atoms = body["primal"]["atoms"]
    if tamper == "labels":
        atoms["labels"][0] = [0.5]
    elif tamper == "range":
        atoms["labels"][0] = [3]
    elif tamper == "short":
        atoms["tables"][0] = atoms["tables"][0][:1]
    elif tamper == "nan":
        atoms["tables"][0][0] = "nan"
    elif tamper == "zeta":
        body["dual"]["zeta"] = [(float.fromhex(x) * 1.01).hex() for x in body["dual"]["zeta"]]
    else:
        atoms["tables"][0][0] = (1.001).hex()
    path.write_text(json.dumps({**body, "digest": digest(body)}))
    with pytest.raises(mfo.CertificateError):
        mfo.verify(path, problem)


def test_label_patterns_refuse_nonsense() -> None:
    for labels, tables in ((((0, 0),), ((1.0,) * 4,)), (((-1,),), ((1.0, 2.0),)), (((0,),), ((1.0,),)), (((0,),), ())):
        with pytest.raises(mfo.InputError):
            LabelPatterns(labels, tables)

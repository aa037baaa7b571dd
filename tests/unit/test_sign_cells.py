"""Sign cells, one an orbit: tight where the doubly nonnegative relaxation is not; invariance is the checker's business."""

from __future__ import annotations

import copy
import json
from fractions import Fraction

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.certificate.cells_engine import ENGINE
from meanfield_opt.certificate.close_gap import close_gap
from meanfield_opt.certificate.engine import Limits, Question
from meanfield_opt.checker import sign_cells
from meanfield_opt.symmetry.detect import detect


def _half_planes(m: int) -> np.ndarray:
    return np.array([np.where((np.arange(m) - k) % m < m // 2, 1.0, -1.0) for k in range(m // 2)])


def _circulant(values: np.ndarray) -> np.ndarray:
    m = values.size
    return values[(np.arange(m)[:, None] - np.arange(m)) % m]


def dihedral_task(m: int) -> mfo.TwoLayerProblem:
    """m inputs on a circle plus white noise, every half plane a label: rotations and reflections."""
    values = 1 + np.cos(2 * np.pi * np.minimum(np.arange(m), m - np.arange(m)) / m)
    kernel = _circulant(values) + 0.5 * np.eye(m)
    relu, squared = mfo.activation("relu"), mfo.loss("squared")
    return mfo.TwoLayerProblem(relu, squared, mfo.DenseGeometry(kernel), _half_planes(m), 0.01, 0.01)


def cyclic_task(m: int) -> mfo.TwoLayerProblem:
    """Two circles, the second smaller and turned: rotations only."""
    angle, k = 2 * np.pi * np.arange(m) / m, np.minimum(np.arange(m), m - np.arange(m))
    ring = np.cos(2 * np.pi * k / m)
    cross = _circulant(1 + 0.5 * np.cos(angle - 0.3))
    kernel = np.block([[_circulant(1 + ring), cross], [cross.T, _circulant(1 + 0.25 * ring)]]) + 0.5 * np.eye(2 * m)
    y = np.hstack([_half_planes(m), np.roll(_half_planes(m), 1, axis=1)])
    relu, squared = mfo.activation("relu"), mfo.loss("squared")
    return mfo.TwoLayerProblem(relu, squared, mfo.DenseGeometry(kernel), y, 0.01, 0.01)


@pytest.fixture(scope="module")
def proved() -> tuple[mfo.TwoLayerProblem, np.ndarray, dict, float]:
    problem = cyclic_task(4)
    solution = mfo.solve(problem, tolerance=1e-6)
    outcome = ENGINE.prove(Question(problem, np.asarray(solution.dual), movable=True), Limits(seconds=60))
    assert outcome.proof is not None
    dual = np.asarray(solution.dual) if outcome.dual is None else outcome.dual
    return problem, dual, json.loads(json.dumps(outcome.proof.artefact)), outcome.proof.bound


@pytest.mark.parametrize("task", [dihedral_task(6), cyclic_task(4)], ids=["dihedral 6", "cyclic 4"])
def test_circle_tasks_are_closed_without_being_told(task: mfo.TwoLayerProblem, tmp_path) -> None:  # type: ignore[no-untyped-def]
    solution = mfo.solve(task, tolerance=1e-6)
    certificate = mfo.certify(task, solution)
    assert certificate.verdict == "proved"
    assert certificate.relative_gap < 1e-5
    certificate.save(tmp_path / "c.json")
    assert mfo.verify(tmp_path / "c.json", task).lower_bound == certificate.lower_bound


def test_orbits_are_used_and_cover_everything(proved) -> None:  # type: ignore[no-untyped-def]
    problem, dual, artefact, bound = proved
    assert 2 * len(artefact["proofs"]) < 1 << problem.n_samples
    assert sign_cells.replay(problem, dual, bound, artefact) == bound
    group = detect(problem)
    assert group is not None
    # sampled patterns stay below the proved supremum
    rng = np.random.default_rng(0)
    inverse = np.linalg.inv(problem.geometry.apply(np.eye(problem.n_samples)))
    h = rng.standard_normal((20000, problem.n_samples))
    ratio = ((np.maximum(h, 0) @ dual.T) ** 2).sum(axis=1) / np.einsum("np,pq,nq->n", h, inverse, h)
    assert ratio.max() <= 4 * problem.lambda1 * problem.lambda2 * bound**2


def test_the_dual_point_moves_only_where_it_may() -> None:
    """A proof for an averaged dual point is none for the one that was asked about."""
    problem = dihedral_task(4)
    dual = problem.targets * (1 + 1e-4 * np.random.default_rng(0).standard_normal(problem.targets.shape))
    fixed, moved = (ENGINE.prove(Question(problem, dual, movable=free), Limits(seconds=30)) for free in (False, True))
    assert fixed.proof is not None
    assert moved.proof is not None
    assert fixed.dual is None
    assert moved.dual is not None
    assert len(moved.proof.artefact["proofs"]) < len(fixed.proof.artefact["proofs"])
    for outcome, point in ((fixed, dual), (moved, moved.dual)):
        assert outcome.proof is not None
        artefact = json.loads(json.dumps(outcome.proof.artefact))
        assert sign_cells.replay(problem, point, outcome.proof.bound, artefact) == outcome.proof.bound


def test_the_violating_neurons_are_returned_with_their_images() -> None:
    problem = dihedral_task(6)
    dual = 0.9 * problem.targets
    outcome = ENGINE.prove(Question(problem, dual, movable=True), Limits(seconds=30))
    assert outcome.proof is not None
    assert outcome.proof.bound > 1.0
    assert outcome.neuron is not None
    ratios = problem.ratio(dual, problem.geometry.preactivation(outcome.stats["neurons"]))
    assert len(ratios) >= 3
    np.testing.assert_allclose(ratios, outcome.proof.bound, rtol=1e-6)
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-12)


@pytest.mark.slow
def test_a_neuron_that_the_solver_missed_is_found_by_the_cells() -> None:
    """Eight inputs on a circle: the search by samples stops 1.4e-4 above the optimum; with the cells' witness it goes on."""
    solution, certificate = close_gap(dihedral_task(8), gap=1e-6, time_limit=120.0)
    assert certificate.relative_gap <= 1e-6
    assert solution.energy == pytest.approx(0.1709826, abs=2e-7)
    assert "sign cells: 30 of 256" in certificate.proof


def test_averages_are_exactly_invariant() -> None:
    """Orbits that carry signs are summed once: the averaged dual point is fixed to the last bit."""
    for problem in (dihedral_task(6), dihedral_task(8), cyclic_task(4)):
        group = detect(problem)
        assert group is not None
        averaged = group.average_dual(np.random.default_rng(3).standard_normal(problem.targets.shape))
        assert np.abs(averaged).max() > 0
        assert all(np.array_equal(g.act(averaged), averaged) for g in group.generators)


def test_tampered_cells_are_refused(proved) -> None:  # type: ignore[no-untyped-def]
    problem, dual, artefact, bound = proved
    cases = []
    for change in ("drop", "foreign", "level", "group", "signs", "length"):
        bad = copy.deepcopy(artefact)
        if change == "drop":
            bad["proofs"].pop(next(iter(bad["proofs"])))
        elif change == "foreign":
            bad["proofs"][str(1 << problem.n_samples)] = {"kind": "nonnegative"}
        elif change == "level":
            bad["t"] = (float.fromhex(bad["t"]) * 0.999).hex()
        elif change == "group":  # a permutation that is no symmetry
            swap = list(range(problem.n_samples))
            swap[0], swap[1] = 1, 0
            bad["generators"].append({**bad["generators"][0], "samples": swap})
        elif change == "signs":
            bad["generators"][0]["signs"] = [-s for s in bad["generators"][0]["signs"]]
        else:
            bad["generators"][0]["samples"] = [0] * problem.n_samples
        cases.append(bad)
    for bad in cases:
        with pytest.raises(mfo.CertificateError):
            sign_cells.replay(problem, dual, bound, bad)
    moved = dual.copy()
    moved[0, 0] += 1e-12
    with pytest.raises(mfo.CertificateError):
        sign_cells.replay(problem, moved, bound, artefact)


def test_matrices_of_cells_against_floats() -> None:
    """u^T M u is a positive multiple of t c(h) - |Z phi(h)|^2, for leaky relu too."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((5, 6)), rng.standard_normal((5, 2))
    factor = mfo.problems.dataset(x, y, lambda1=0.1, lambda2=0.1, activation="leaky_relu")
    dual = rng.standard_normal((2, 5))
    cells = sign_cells.Cells(factor, dual, 0.7)
    kernel = factor.geometry.apply(np.eye(5))
    for code in range(32):
        m = np.array([[float(Fraction(v)) for v in row] for row in cells.matrix(code)])
        sign = np.array([-1.0 if code >> p & 1 else 1.0 for p in range(5)])
        values = []
        for _ in range(2):
            u = rng.random(5)
            h = sign * u
            claim = 0.7 * h @ np.linalg.solve(kernel, h) - ((dual @ factor.activation(h)) ** 2).sum()
            values.append((u @ m @ u) / claim)
        assert values[0] > 0
        assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_refusals() -> None:
    big = mfo.problems.hypercube(4)
    assert ENGINE.refusal(Question(big, np.zeros((4, 16)))) is not None
    rng = np.random.default_rng(0)
    low = mfo.problems.dataset(rng.standard_normal((8, 1)), rng.standard_normal(8), lambda1=0.1, lambda2=0.1)
    assert ENGINE.refusal(Question(low, np.zeros((1, 8)))) is not None

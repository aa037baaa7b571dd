"""One chamber in place of all cones: the same bound from fewer cones, and no false symmetry is ever free."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import meanfield_opt as mfo
from meanfield_opt.certificate import ENGINES, Limits, Outcome, Question
from meanfield_opt.certificate.bnb import input_view
from meanfield_opt.checker.chamber import chamber_of, closure
from meanfield_opt.checker.codec import encode_array
from meanfield_opt.checker.replays import REPLAYS
from meanfield_opt.symmetry import SignedPermutation
from meanfield_opt.symmetry.generators import GeneratedSymmetry
from meanfield_opt.symmetry.inputs import input_group

Array = NDArray[np.float64]


def ring(m: int, shift: float = 0.0) -> Array:
    t = 2 * np.pi * np.arange(m) / m + shift
    return np.stack([np.cos(t), np.sin(t)], axis=1)


def circle(m: int, order: int = 3, *, bias: bool = True, noise: float = 0.0) -> mfo.TwoLayerProblem:
    """m points on a circle in floating point; the targets turn with them (two outputs, not a signed permutation)."""
    t = 2 * np.pi * np.arange(m) / m
    x = ring(m) + noise * np.random.default_rng(0).standard_normal((m, 2))
    y = np.stack([np.cos(order * t), np.sin(order * t)], axis=1)
    return mfo.problems.dataset(x, y, lambda1=0.01, lambda2=0.01, bias=bias)


def product() -> mfo.TwoLayerProblem:
    """A circle of six times a sign (rank 4)."""
    x = np.vstack([np.hstack([ring(6), np.full((6, 1), s)]) for s in (1.0, -1.0)])
    labels = np.where(np.arange(6) % 2 == 0, 1.0, -1.0)
    y = np.vstack([np.stack([labels, np.full(6, s)], axis=1) for s in (1.0, -1.0)])
    return mfo.problems.dataset(x, y, lambda1=0.01, lambda2=0.01)


def two_turned_circles(activation: str = "relu") -> mfo.TwoLayerProblem:
    """Rotations but no reflections, and two samples given twice."""
    x = np.vstack([ring(5), 0.5 * ring(5, 0.3)])
    y = np.concatenate([np.ones(5), -np.ones(5)])[:, None]
    x, y = np.vstack([x, x]), np.vstack([y, y])
    return mfo.problems.dataset(x, y, lambda1=0.01, lambda2=0.01, activation=activation)


def square_grid() -> mfo.TwoLayerProblem:
    """A grid of 25 points with the exclusive or as label: the group acts by signed permutations, exactly."""
    a, b = (g.ravel() for g in np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 5)))
    return mfo.problems.dataset(np.stack([a, b], axis=1), np.sign(a * b)[:, None], lambda1=0.01, lambda2=0.01)


CASES: dict[str, tuple[Any, int]] = {
    "dihedral, rank 3": (lambda: circle(16), 32),
    "dihedral, rank 2": (lambda: circle(16, 2, bias=False), 32),
    "product, rank 4": (product, 24),
    "cyclic": (two_turned_circles, 5),
    "square": (square_grid, 8),
}


def invariant_dual(problem: mfo.TwoLayerProblem, seed: int = 0) -> Array:
    group = input_group(problem)
    assert group is not None
    return group.average(problem.targets + 0.3 * np.random.default_rng(seed).standard_normal(problem.targets.shape))


def prove(problem: mfo.TwoLayerProblem, dual: Array, **options: Any) -> Outcome:
    engine = ENGINES.get("input_view")
    return engine.prove(Question(problem, dual, **options), Limits(seconds=30.0, target=1e-6))


@pytest.fixture
def without_symmetry(monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(problem: mfo.TwoLayerProblem, dual: Array) -> Outcome:
        with monkeypatch.context() as patch:
            patch.setattr(input_view, "input_group", lambda _: None)
            return prove(problem, dual)

    return run


@pytest.mark.parametrize("name", sorted(CASES))
def test_fewer_cones_and_the_same_bound(name: str, without_symmetry: Any) -> None:
    build, order = CASES[name]
    problem = build()
    group = input_group(problem)
    assert group is not None
    assert group.order == order
    dual = invariant_dual(problem)
    reduced, full = prove(problem, dual), without_symmetry(problem, dual)
    assert reduced.proof is not None
    assert full.proof is not None
    assert "symmetry" in reduced.proof.artefact
    assert f"order {order}" in reduced.proof.words
    assert reduced.proof.bound == pytest.approx(full.proof.bound, rel=3e-6)
    assert reduced.stats["cones"] * order < 6 * full.stats["cones"]
    artefact = json.loads(json.dumps(reduced.proof.artefact))
    assert REPLAYS["input_view"](problem, dual, reduced.proof.bound, artefact) <= reduced.proof.bound
    theta = np.random.default_rng(1).standard_normal((20_000, problem.geometry.n_parameters))
    assert problem.ratio(dual, problem.geometry.preactivation(theta)).max() <= reduced.proof.bound


@pytest.mark.parametrize("activation", ["leaky_relu", "absolute"])
def test_other_kinks(activation: str, without_symmetry: Any) -> None:
    problem = two_turned_circles(activation)
    dual = invariant_dual(problem, 2)
    reduced, full = prove(problem, dual), without_symmetry(problem, dual)
    assert reduced.proof is not None
    assert full.proof is not None
    assert reduced.proof.bound == pytest.approx(full.proof.bound, rel=3e-6)
    assert "symmetry" in reduced.proof.artefact


def test_solving_and_certifying_use_it_without_being_told(tmp_path: Path) -> None:
    problem = circle(24, 3)
    certificate = mfo.certify(problem, mfo.solve(problem, tolerance=1e-6))
    assert certificate.verdict == "proved"
    assert certificate.relative_gap < 1e-5
    assert certificate.proof.startswith("symmetry: ")
    certificate.save(tmp_path / "c.json")
    assert mfo.verify(tmp_path / "c.json").lower_bound == certificate.lower_bound


def test_declared_symmetries_are_used_as_far_as_they_hold() -> None:
    problem = square_grid()
    shift = np.roll(np.arange(25), 1)  # no symmetry
    quarter = np.rot90(np.arange(25).reshape(5, 5)).ravel()
    claims = [SignedPermutation(s, np.array([0]), np.array([sign])) for s, sign in ((shift, 1.0), (quarter, -1.0))]
    declared = dataclasses.replace(problem, symmetry=GeneratedSymmetry(tuple(claims), "a quarter turn and a lie"))
    group = input_group(declared)
    assert group is not None
    assert group.order == 4
    dual = invariant_dual(declared)
    outcome = prove(declared, dual)
    assert outcome.proof is not None
    assert "order 4" in outcome.proof.words
    assert REPLAYS["input_view"](declared, dual, outcome.proof.bound, outcome.proof.artefact) <= outcome.proof.bound
    liar = dataclasses.replace(problem, symmetry=GeneratedSymmetry(tuple(claims[:1]), "a lie"))
    found = input_group(liar)
    assert found is not None
    assert found.order == 8


def test_a_dual_point_without_the_symmetry_is_proved_as_it_is() -> None:
    problem = square_grid()
    dual = problem.targets + 0.1 * np.random.default_rng(0).standard_normal(problem.targets.shape)
    outcome = prove(problem, dual)
    assert outcome.proof is not None
    assert outcome.dual is None
    assert "symmetry" not in outcome.proof.artefact
    nearly = invariant_dual(problem) * (1 + 1e-6 * np.random.default_rng(0).standard_normal(problem.targets.shape))
    moved = prove(problem, nearly, movable=True)
    assert moved.proof is not None
    assert ("symmetry" in moved.proof.artefact) == (moved.dual is not None)


def test_data_moved_by_a_billionth_have_no_such_symmetry() -> None:
    assert input_group(circle(16, noise=1e-9)) is None
    rng = np.random.default_rng(0)
    plain = mfo.problems.dataset(rng.standard_normal((40, 2)), rng.standard_normal((40, 1)), lambda1=0.1, lambda2=0.1)
    assert input_group(plain) is None
    on_sphere = rng.standard_normal((60, 3))
    on_sphere /= np.linalg.norm(on_sphere, axis=1, keepdims=True)
    assert input_group(mfo.problems.dataset(on_sphere, np.sign(on_sphere[:, :1]), lambda1=0.1, lambda2=0.1)) is None


@pytest.mark.parametrize("noise", [1e-12, 1e-9, 1e-6, 1e-4])
def test_what_a_near_symmetry_lacks_is_paid_for(
    noise: float, without_symmetry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ideal circle's group, claimed for a circle that lacks it: the bound grows with the defect and stays true."""
    ideal, problem = circle(12), circle(12, noise=noise)
    dual = invariant_dual(ideal)
    dual = dual + noise * np.random.default_rng(3).standard_normal(dual.shape)
    exact = without_symmetry(problem, dual)
    group = input_group(ideal)
    assert group is not None
    with monkeypatch.context() as patch:
        patch.setattr(input_view, "input_group", lambda _: group)
        patch.setattr(input_view, "WORTH", np.inf)
        patch.setattr(input_view, "_symmetric", lambda q: (q.dual, input_view.symmetry_artefact(group)))
        claimed = prove(problem, dual)
    assert exact.proof is not None
    assert claimed.proof is not None
    assert claimed.proof.bound >= exact.proof.bound * (1 - 2e-6)
    assert claimed.proof.bound >= exact.proof.bound * (1 + 0.1 * noise)
    assert REPLAYS["input_view"](problem, dual, claimed.proof.bound, claimed.proof.artefact) <= claimed.proof.bound
    theta = np.random.default_rng(1).standard_normal((20_000, 3))
    assert problem.ratio(dual, problem.geometry.preactivation(theta)).max() <= claimed.proof.bound


def test_tampered_chambers_are_refused() -> None:
    problem = circle(12)
    dual = invariant_dual(problem)
    outcome = prove(problem, dual)
    assert outcome.proof is not None
    bound, good = outcome.proof.bound, json.loads(json.dumps(outcome.proof.artefact))
    check = REPLAYS["input_view"]
    assert check(problem, dual, bound, good) <= bound

    def refused(symmetry: Any, match: str | None = None) -> None:
        bad = copy.deepcopy(good)
        if symmetry is None:
            bad.pop("symmetry")
        else:
            bad["symmetry"] = symmetry
        with pytest.raises(mfo.CertificateError, match=match):
            check(problem, dual, bound, bad)

    symmetry = good["symmetry"]
    swap = [1, 0, *range(2, 12)]
    refused(None)  # without the symmetry most cones have no proof
    refused({**symmetry, "elements": [*symmetry["elements"], swap]})  # no symmetry of the data
    walls = len(symmetry["elements"])
    refused({**symmetry, "elements": [swap] * walls}, "at best")
    refused({**symmetry, "elements": [list(range(12))] * walls}, "at best")  # the identity: no wall at all
    refused({**symmetry, "elements": symmetry["elements"][:1]})  # one wall: too large a chamber for these cones
    refused({**symmetry, "elements": [[0] * 12]}, "permutation")
    refused({**symmetry, "elements": [[True, *range(1, 12)]]}, "list of sample numbers")
    refused({**symmetry, "elements": []}, "list of permutations")
    refused({**symmetry, "elements": "abc"}, "list of permutations")
    refused({**symmetry, "more": 1})
    zero = copy.deepcopy(symmetry)
    zero["centre"] = encode_array(np.zeros(3))
    refused(zero, "centre")
    away = copy.deepcopy(symmetry)
    away["centre"] = encode_array(np.array([0.0, 0.0, 1.0]))  # fixed by the group: no wall
    refused(away)
    moved = dual.copy()
    moved[0, 3] += 1e-4
    with pytest.raises(mfo.CertificateError):
        check(problem, moved, bound, good)


def test_groups_are_closed_and_bounded() -> None:
    shift, flip = np.roll(np.arange(6), 1), np.arange(6)[::-1].copy()
    group, product = closure(np.array([shift, flip]))
    assert group.shape == (12, 6)
    for h, element in enumerate((shift, flip)):
        for s in range(12):
            np.testing.assert_array_equal(group[product[h, s]], group[s][element])
    generic = np.random.default_rng(0).permutation(30), np.random.default_rng(1).permutation(30)
    with pytest.raises(mfo.CertificateError, match="too large"):
        closure(np.array(generic))


def test_numbers_of_the_chamber_against_floats() -> None:
    """Every residual of the docstring is at least what floating point sees, on data with a visible defect."""
    ideal, problem = circle(8), circle(8, noise=1e-3)
    group = input_group(ideal)
    assert group is not None
    rows = problem.geometry.factor  # type: ignore[attr-defined]
    dual = invariant_dual(ideal)
    centre = np.array([0.9, 0.3, 0.0])
    chamber = chamber_of(group.elements[1:], centre, rows, dual, 1.0)
    theta = np.random.default_rng(0).standard_normal((500, 3))
    f = np.linalg.norm(np.maximum(theta @ rows.T, 0) @ dual.T, axis=1)
    assert 1e-4 < chamber.residual < 1.0
    for s in group.elements:
        turn = np.linalg.pinv(rows) @ rows[s]
        u, _, v = np.linalg.svd(turn)
        image = np.linalg.norm(np.maximum(theta @ (u @ v).T @ rows.T, 0) @ dual.T, axis=1)
        lost = (f * np.sqrt(1 - chamber.omega) - image) / np.linalg.norm(theta, axis=1)
        assert lost.max() <= chamber.residual

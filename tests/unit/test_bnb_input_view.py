"""The input-view engine against an independent exact sweep, degenerate data, and tampering."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from input_view_proofs import problem_of, prove, replay
from numpy.typing import NDArray

import meanfield_opt as mfo
from meanfield_opt.certificate import ENGINES, Limits, Question
from meanfield_opt.certificate.bnb.driver import search
from meanfield_opt.certificate.bnb.input_view import InputView
from meanfield_opt.certificate.bnb.kernels import depths
from meanfield_opt.checker import cone_tree
from meanfield_opt.checker.cone_algebra import copositive_up_to
from meanfield_opt.checker.input_view import input_form, input_sigma
from meanfield_opt.checker.replays import REPLAYS

Array = NDArray[np.float64]


def ratio(problem: mfo.TwoLayerProblem, dual: Array, theta: Array) -> Array:
    h = problem.geometry.preactivation(np.atleast_2d(theta))
    q = problem.activation(h) @ dual.T
    return np.asarray(np.sqrt((q**2).sum(axis=1) / problem.tau / (np.atleast_2d(theta) ** 2).sum(axis=1)))


def sweep(problem: mfo.TwoLayerProblem, dual: Array) -> float:
    """The exact supremum for r = 2 up to rounding: on each arc between zeros of rows, |B theta| has one peak or none."""
    a = np.asarray(problem.geometry.factor)  # type: ignore[attr-defined]
    angles = np.arctan2(-a[:, 0], a[:, 1])
    cuts = np.unique(np.concatenate([angles, angles + np.pi, angles - np.pi, [0.0, 2 * np.pi]]) % (2 * np.pi))
    cuts = np.append(cuts, cuts[0] + 2 * np.pi)
    best = 0.0
    for lo, hi in itertools.pairwise(cuts):
        centre = np.array([np.cos((lo + hi) / 2), np.sin((lo + hi) / 2)])
        slope = problem.activation.derivative(a @ centre)
        b = (dual * slope) @ a
        trial = [lo, hi, (lo + hi) / 2]
        top = np.linalg.eigh(b.T @ b)[1][:, -1]
        peak = np.arctan2(top[1], top[0])
        trial += [x for k in range(-2, 5) if lo <= (x := peak + k * np.pi) <= hi]
        best = max(best, *(float(np.linalg.norm(b @ [np.cos(t), np.sin(t)])) for t in trial))
    return best / float(np.sqrt(problem.tau))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "absolute", "linear"])
@pytest.mark.parametrize("seed", range(4))
def test_two_parameters_agree_with_an_exact_sweep(activation: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((12, 2))
    # repeated, antiparallel, parallel and zero rows, rows on the axes and on the cones' first cuts
    a[1], a[2], a[3], a[4], a[5], a[6] = a[0], -a[0], 3 * a[0], 0.0, (1.0, 0.0), (1.0, -1.0)
    dual = rng.standard_normal((2, 12))
    problem = problem_of(a, dual, activation)
    outcome = prove(problem, dual)
    exact = sweep(problem, dual)
    assert outcome.complete
    assert outcome.proof is not None
    assert exact * (1 - 1e-13) <= outcome.proof.bound <= exact * (1 + 3e-7)
    assert replay(problem, dual, outcome) <= outcome.proof.bound
    assert outcome.neuron is not None
    assert ratio(problem, dual, outcome.neuron)[0] >= exact * (1 - 2e-7)


@pytest.mark.parametrize("r", [1, 3, 4, 5])
@pytest.mark.parametrize("outputs", [1, 3])
def test_no_neuron_beats_the_bound(r: int, outputs: int) -> None:
    rng = np.random.default_rng(10 * r + outputs)
    a = rng.standard_normal((9, r)).round(1)
    a[1], a[2] = a[0], -a[0]
    dual = rng.standard_normal((outputs, 9))
    problem = problem_of(a, dual)
    outcome = prove(problem, dual, target=1e-6)
    assert outcome.proof is not None
    bound = replay(problem, dual, outcome)
    theta = np.vstack([rng.standard_normal((20_000, r)), a, -a, np.eye(r), -np.eye(r)])
    theta = theta[(theta**2).sum(axis=1) > 0]
    assert ratio(problem, dual, theta).max() <= bound
    assert outcome.neuron is not None
    assert bound <= ratio(problem, dual, outcome.neuron)[0] * (1 + 2e-6)


@pytest.mark.parametrize(
    ("size_a", "size_z"), [(1e-150, 1.0), (1e150, 1e-140), (1.0, 1e100), (1e-300, 1e20), (1e-9, 1e-9)]
)
def test_huge_and_tiny_scales(size_a: float, size_z: float) -> None:
    rng = np.random.default_rng(3)
    a, dual = rng.standard_normal((8, 3)), rng.standard_normal((2, 8))
    plain = prove(problem_of(a, dual), dual).proof
    problem = problem_of(a * size_a, dual)
    outcome = prove(problem, dual * size_z)
    assert plain is not None
    assert outcome.proof is not None
    assert outcome.proof.bound == pytest.approx(plain.bound * size_a * size_z, rel=1e-6)
    assert replay(problem, dual * size_z, outcome) <= outcome.proof.bound


def test_columns_of_very_different_size() -> None:
    rng = np.random.default_rng(4)
    a, dual = rng.standard_normal((10, 3)) * [1.0, 1e-5, 1e4], rng.standard_normal((2, 10))
    problem = problem_of(a, dual)
    outcome = prove(problem, dual)
    assert outcome.proof is not None
    theta = rng.standard_normal((50_000, 3)) / [1.0, 1e-3, 1e2]
    assert ratio(problem, dual, theta).max() <= replay(problem, dual, outcome)


def test_tampered_partitions_are_refused() -> None:
    rng = np.random.default_rng(5)
    a, dual = rng.standard_normal((15, 3)), rng.standard_normal((2, 15))
    problem = problem_of(a, dual)
    outcome = prove(problem, dual, target=1e-5)
    assert outcome.proof is not None
    good, bound = outcome.proof.artefact, outcome.proof.bound
    check = REPLAYS["input_view"]
    with pytest.raises(mfo.CertificateError, match="at best"):
        check(problem, dual, bound * (1 - 1e-6), good)
    lower = {**good, "level": (float.fromhex(good["level"]) * (1 - 1e-4)).hex()}
    with pytest.raises(mfo.CertificateError, match="does not pass"):
        check(problem, dual, bound, lower)
    with pytest.raises(mfo.CertificateError):  # a dual point that responds more
        check(problem, dual * 1.001, bound, good)
    with pytest.raises(mfo.CertificateError, match=r"size|complete|belong|cut short"):
        check(problem, dual, bound, {**good, "nodes": good["nodes"] - 2})
    flat = np.frombuffer(cone_tree._unpack(good["ops"], good["nodes"]), np.uint8).copy()
    for position in range(0, flat.size, 7):
        changed = flat.copy()
        changed[position] = 0 if changed[position] else 1  # a cut undone or invented
        with pytest.raises(mfo.CertificateError):
            check(problem, dual, bound, {**good, "ops": cone_tree._pack(changed.tobytes())})
    rows = np.frombuffer(cone_tree._unpack(good["rows"], 10**6), "<u4").copy()
    rows[0] = 15
    with pytest.raises(mfo.CertificateError, match="do not exist"):
        check(problem, dual, bound, {**good, "rows": cone_tree._pack(rows.tobytes())})
    for text in ("", "!!", good["ops"][:-8], good["ops"][:40]):
        with pytest.raises(mfo.CertificateError):
            check(problem, dual, bound, {**good, "ops": text})


def test_nan_never_passes_a_leaf() -> None:
    m = np.eye(3)[None].repeat(3, axis=0)
    m[1, 0, 1] = m[1, 1, 0] = np.nan
    m[2, 2, 2] = np.nan
    assert copositive_up_to(m, 1e-12).tolist() == [True, False, False]


def test_the_zero_dual_point() -> None:
    a, dual = np.eye(3), np.zeros((2, 3))
    outcome = prove(problem_of(a, np.eye(2, 3)), dual)
    assert outcome.proof is not None
    assert 0.0 <= outcome.proof.bound < 1e-12


def test_refusals_say_why() -> None:
    engine = ENGINES.get("input_view")
    dual = np.ones((2, 4))
    for problem, word in (
        (mfo.problems.hypercube(2), "factor"),
        (problem_of(np.eye(4), np.eye(2, 4), "tanh"), "kink"),
        (problem_of(np.ones((4, 11)), np.eye(2, 4)), "too many"),
    ):
        assert word in str(engine.refusal(Question(problem, dual)))


class _TooLow(InputView):
    """A start that badly underestimates the supremum, so that the search must raise its levels as it goes."""

    def start(self) -> tuple[float, Array]:
        best, point = InputView.start(self)
        return 1e-6 * best, point


def test_levels_that_rise_during_a_stage_still_give_a_valid_bound() -> None:
    """The bound must hold for the level at which every leaf passed, whenever the incumbent was replaced."""
    rng = np.random.default_rng(8)
    a, dual = rng.standard_normal((20, 3)), rng.standard_normal((2, 20))
    problem = problem_of(a, dual)
    form = input_form(problem, dual)
    assert form is not None
    honest = prove(problem, dual, target=1e-6)
    found = search(_TooLow(form, "x"), Limits(seconds=20.0, target=1e-6))
    assert found.partition is not None
    assert honest.proof is not None
    depth = depths(found.partition.ops)
    sigma = input_sigma(problem, form, found.partition.level, int(depth.max()) + 1)
    assert sigma == pytest.approx(honest.proof.bound, rel=3e-6)
    artefact = {"level": found.partition.level.hex(), **cone_tree.encode_tree(3, found.partition.ops, depth)}
    assert REPLAYS["input_view"](problem, dual, sigma, artefact) == sigma

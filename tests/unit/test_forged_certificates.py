"""Certificates written by hand to claim what is false: each shows a hole that a line-by-line reading of the checker found."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.activations.affine import PiecewiseAffine
from meanfield_opt.certificate import ENGINES, Limits, Question, SupremumProof
from meanfield_opt.checker.bounds import lower_from_proof, network_energy_upper
from meanfield_opt.checker.compact import encode_dual
from meanfield_opt.checker.document import digest, encode_float, encode_measure
from meanfield_opt.checker.embed import problem_entry
from meanfield_opt.checker.envelope import cell_upper
from meanfield_opt.checker.exact import is_psd
from meanfield_opt.checker.replays import PROVES, REPLAYS
from meanfield_opt.checker.scalar import suprema
from meanfield_opt.errors import CertificateError, InputError
from meanfield_opt.geometry import DenseGeometry, DiagonalPlusLowRank, FactorGeometry
from meanfield_opt.measure import Measure
from meanfield_opt.plugins import activation, loss
from meanfield_opt.problem import TwoLayerProblem

Array = Any


def forge(path: Path, problem: TwoLayerProblem, dual: Array, scale: float, proof: SupremumProof) -> float:
    """Write a certificate with this proof and the zero measure; returns the lower bound that it claims."""
    zero = Measure.zero(problem.n_samples)
    lower = lower_from_proof(problem, dual, scale, proof.bound)
    upper = network_energy_upper(problem, zero)
    body = {
        "format": "meanfield-opt certificate",
        "version": 1,
        "problem": problem_entry(problem),
        "primal": encode_measure(problem, zero),
        "dual": encode_dual(problem.targets, dual),
        "scale": encode_float(scale),
        "proof": {
            "kind": proof.kind,
            "words": proof.words,
            "bound": encode_float(proof.bound),
            "artefact": proof.artefact,
        },
        "refutation": None,
        "claims": {"lower": encode_float(lower), "upper": encode_float(upper), "verdict": "proved"},
    }
    path.write_text(json.dumps({**body, "digest": digest(body)}))
    return lower


def wide(problem: TwoLayerProblem, width: float | None) -> TwoLayerProblem:
    p = problem
    return TwoLayerProblem(p.activation, p.loss, p.geometry, p.targets, p.lambda1, p.lambda2, width)


def free_problems() -> dict[str, TwoLayerProblem]:
    """For each engine of free mass a small relu problem that it takes."""
    rng = np.random.default_rng(3)
    relu, squared = activation("relu"), loss("squared")
    y = np.sign(rng.standard_normal((2, 6)))
    g = rng.standard_normal((4, 5))
    dense = DenseGeometry(np.tril(g @ g.T) + np.tril(g @ g.T, -1).T)
    factor = FactorGeometry(rng.standard_normal((6, 2)))
    low_rank = DiagonalPlusLowRank(np.ones(6), np.ones((6, 1)), np.ones(1))
    cube = mfo.problems.hypercube(latents=2, lambda1=0.1, lambda2=0.1)
    assert isinstance(cube, TwoLayerProblem)
    return {
        "norm": TwoLayerProblem(relu, squared, factor, y, 0.1, 0.1),
        "input_view": TwoLayerProblem(relu, squared, factor, y, 0.1, 0.1),
        "shor": TwoLayerProblem(relu, squared, factor, y, 0.1, 0.1),
        "output_view": TwoLayerProblem(relu, squared, low_rank, y, 0.1, 0.1),
        "exchange": TwoLayerProblem(relu, squared, low_rank, np.sign(y[:1]), 0.1, 0.1),
        "copositive": TwoLayerProblem(relu, squared, dense, y[:, :4], 0.1, 0.1),
        "symmetric": cube,
    }


@pytest.mark.parametrize("engine", sorted(free_problems()))
def test_a_ratio_is_no_excess(engine: str, tmp_path: Path) -> None:
    """Hole: a proof of sigma for free mass was taken for kappa under a width, where kappa may be infinite.

    With relu a width does not bind (a neuron may be long instead of heavy), so that the optimum is that of free mass;
    the forged files claimed nearly L(0) for a tiny width. Now such a proof is read as one of free mass.
    """
    free = free_problems()[engine]
    narrow = wide(free, 1e-6)
    dual = 2.0 * free.targets
    proof = ENGINES.get(engine).prove(Question(free, dual), Limits(seconds=10.0, target=1e-2, workers=1)).proof
    assert proof is not None
    claim = forge(tmp_path / "f.json", narrow, dual, 1.0, proof)
    optimum = mfo.solve(free, backend="column_generation", tolerance=1e-4).energy
    assert claim > 1.01 * optimum, "the forgery would be harmless"
    with pytest.raises(CertificateError, match="does not reach"):
        mfo.verify(tmp_path / "f.json", narrow)
    genuine = forge(tmp_path / "g.json", free, dual, math.nextafter(1.0 / proof.bound, 0.0) * (1 - 1e-12), proof)
    assert mfo.verify(tmp_path / "g.json", free).lower_bound == genuine


@pytest.mark.parametrize("engine", sorted(set(free_problems()) - {"symmetric"}))
def test_a_ratio_is_no_excess_where_the_width_binds(engine: str, tmp_path: Path) -> None:
    """The same proofs under a width that excludes something: phi(t) = max(t - 1, 0) is no multiple of itself, so that
    long neurons of little mass beat every bound of free mass, and no proof of a ratio is read at all.
    """
    p = free_problems()[engine]
    free = TwoLayerProblem(activation("shifted_relu"), p.loss, p.geometry, p.targets, p.lambda1, p.lambda2)
    proof = ENGINES.get(engine).prove(Question(p, 2.0 * p.targets), Limits(seconds=10.0, target=1e-2, workers=1)).proof
    assert proof is not None
    narrow = wide(free, 1e-6)
    assert narrow.width_binds
    claim = forge(tmp_path / "f.json", narrow, 2.0 * p.targets, 1.0, proof)
    optimum = mfo.solve(p, backend="column_generation", tolerance=1e-4)
    stretch = 1e4 * optimum.measure.total_mass**0.5
    long = free.geometry.weights(stretch * optimum.measure.atoms)
    shape = Measure(free.geometry.preactivation(long), optimum.measure.masses / stretch**2, long)
    assert narrow.energy(shape) < claim, "the forgery would be harmless"
    with pytest.raises(CertificateError, match="does not bound the supremum under a width"):
        mfo.verify(tmp_path / "f.json", narrow)


def test_an_excess_is_no_ratio(tmp_path: Path) -> None:
    problem = mfo.problems.hypercube(latents=2, activation="hard_sigmoid", width=4, lambda1=0.05, lambda2=0.05)
    proof = ENGINES.get("envelope").prove(Question(problem, problem.targets), Limits(seconds=5.0, target=1e-2)).proof
    assert proof is not None
    free = wide(problem, None)
    forge(tmp_path / "f.json", free, problem.targets, 0.0, proof)
    with pytest.raises(CertificateError, match="does not bound"):
        mfo.verify(tmp_path / "f.json", free)


def test_every_replay_says_which_supremum_it_bounds() -> None:
    assert PROVES.keys() == REPLAYS.keys()
    assert all(modes and modes <= {"ratio", "excess"} for modes in PROVES.values())


def test_slopes_among_the_denormal_numbers_are_enclosed() -> None:
    """Hole: such a slope is rounded by far more than a relative 2^-53, which only shows at huge arguments."""
    for slope in ("1/1" + "0" * 330, "1/3" + "0" * 310, "7/1" + "0" * 321):
        phi = PiecewiseAffine(((None, "0", "0", "0"), ("0", None, slope, "0")))
        for t in (1e308, 1e200, 3.0):
            exact = Fraction(slope) * Fraction(t)
            low, high = phi.bound_on(np.array([t]), np.array([t]))
            assert Fraction(float(low[0])) <= exact <= Fraction(float(high[0]))


@pytest.mark.parametrize("geometry", [FactorGeometry(np.zeros((1, 3))), FactorGeometry(np.zeros((2, 2)))])
def test_a_cell_of_an_envelope_without_a_bound_is_no_bound_of_zero(geometry: FactorGeometry) -> None:
    """Hole: for inputs that are all zero the cells' bounds were NaN, which compared false, and kappa = 0 was claimed."""
    y = -np.ones((3, geometry.n_samples))
    problem = TwoLayerProblem(activation("sigmoid"), loss("hinge"), geometry, y, 0.15, 0.05, 4.0)
    z = -np.ones_like(y)
    truth = float(np.sum(np.square(z.sum(axis=1) * 0.5))) / (4 * 0.05)  # phi(0) = 1/2 costs nothing
    for name in ENGINES.names():
        engine = ENGINES.get(name)
        if engine.refusal(Question(problem, z)) is None:
            proof = engine.prove(Question(problem, z), Limits(seconds=0.5, target=1e-3, workers=1)).proof
            assert proof is None or proof.bound >= truth, name
    # four neurons of cost 0 and output weight -1/2 give outputs -1: no loss, and a penalty of 0.05
    certificate = mfo.certify(problem, Measure.zero(geometry.n_samples), refute=math.inf, time_limit=0.5)
    assert certificate.lower_bound <= 3 * 4 * 0.05 * 0.25 * (1 + 1e-12)
    points = np.array([[0.0], [1.0]])
    with np.errstate(all="ignore"):
        assert cell_upper(points, np.array([0.0, math.nan]), np.ones(1)) == math.inf
        assert cell_upper(points, np.array([0.0, math.inf]), np.ones(1)) == math.inf


def test_a_parabola_that_underflowed_holds_nothing_down() -> None:
    """Hole: tau delta below the least float was used as a negative coefficient, and the peak taken for a trough."""
    r, c = np.array([1.0]), np.array([-1.0])
    for a in (-5e-324, 0.0, math.nan, -1.0):
        assert suprema(activation("hard_sigmoid"), (r, r), (c, c), a, 1e-3)[0] == math.inf


@pytest.mark.parametrize("n", [-5e-324, 0.0, 5e-324, 1e-300])
@pytest.mark.parametrize("slope", [-1.0, 0.0, 1.0])
def test_a_curvature_that_underflowed_is_taken_as_zero(n: float, slope: float) -> None:
    """Hole: the wrong end of a cell was taken for the maximum of slope x - n x^2 where n was rounded below zero."""
    points = np.array([[0.0], [1.0]])
    assert cell_upper(points, slope * points[:, 0], np.array([n])) >= max(0.0, slope)


def test_an_output_bias_of_huge_penalty_is_not_free_of_cost() -> None:
    """Hole: 4 penalty overflowed, and the quadratic term of the dual value vanished."""
    penalty, z = 1.7e308, np.full((1, 2), 1e153)
    phi = loss("output_bias", base="huber", penalty=penalty)
    base = loss("huber", delta=1e308)
    for scale in (1.0, 0.5):
        free = base.dual_lower(z, np.zeros((1, 2)), scale)
        tight = loss("output_bias", base=base, penalty=penalty).dual_lower(z, np.zeros((1, 2)), scale)
        exact = Fraction(free) - (2 * Fraction(scale) * Fraction(1e153)) ** 2 / (4 * Fraction(penalty))
        assert Fraction(tight) <= exact
    assert phi.dual_lower(z, np.zeros((1, 2)), 1.0) == -math.inf


def test_a_kernel_that_is_not_proved_definite_bounds_nothing(tmp_path: Path) -> None:
    """Hole: Cholesky accepts kernels with a slightly negative eigenvalue, under which patterns of negative cost exist."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        g = rng.standard_normal((3, 2))
        kernel = np.tril(g @ g.T) + np.tril(g @ g.T, -1).T
        try:
            geometry = DenseGeometry(kernel)
        except InputError:
            continue
        if not is_psd(kernel):
            break
    else:
        raise AssertionError("no indefinite kernel passed Cholesky")
    problem = TwoLayerProblem(activation("relu"), loss("squared"), geometry, np.ones((1, 3)), 0.1, 0.1)
    with pytest.raises(InputError, match="ill-conditioned"):
        network_energy_upper(problem, Measure.zero(3))
    with pytest.raises(InputError, match="ill-conditioned"):
        mfo.certify(problem, Measure.zero(3))

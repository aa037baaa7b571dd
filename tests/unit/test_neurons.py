"""The engine that cuts boxes of weights: bounds on boxes, whole claims on data of the plane, refusals and attacks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.certificate.engine import Limits, Question
from meanfield_opt.certificate.improve import reoptimised, violating_neurons, with_neurons
from meanfield_opt.certificate.neurons_engine import ENGINE, rescaled
from meanfield_opt.checker.boxes import NeuronForm, box_bounds, homogeneous_below
from meanfield_opt.checker.codec import encode_float
from meanfield_opt.checker.frames import Cells
from meanfield_opt.checker.neurons import examined, neuron_form, replay
from meanfield_opt.errors import CertificateError
from meanfield_opt.geometry import FactorGeometry

SMOOTH = ["tanh", "sigmoid", "erf", "softsign", "sin"]
KINKED = ["hard_tanh", "hard_sigmoid", "relu6", "step", "sign"]


def plane(activation: str = "tanh", samples: int = 12, scale: float = 1.0, outputs: int = 1) -> mfo.TwoLayerProblem:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((samples, 2))
    y = np.sign(np.column_stack([x[:, 0] * x[:, 1] + 0.1, x[:, 0] + 0.1])[:, :outputs])
    return mfo.problems.dataset(scale * x, y, activation=activation, width=6.0, lambda1=0.1, lambda2=0.1)


def g_of(form: NeuronForm, theta: np.ndarray) -> np.ndarray:
    response = form.phi(theta @ form.rows.T) @ form.dual.T
    return np.square(response).sum(axis=1) - form.tau * np.square(theta).sum(axis=1)


@pytest.mark.parametrize("name", [*SMOOTH, *KINKED, "gelu", "softplus", "cubic"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_no_neuron_of_a_box_is_above_its_bound(name: str, scale: float) -> None:
    problem = plane(name, outputs=2, scale=scale)
    rng = np.random.default_rng(1)
    for level in (1e-6, 1.0, 1e4):
        form = neuron_form(problem, level * rng.standard_normal(problem.targets.shape), 1.0)
        mid = rng.standard_normal((300, 3)) * 10.0 ** rng.uniform(-3, 2, (300, 1))
        rad = np.abs(rng.standard_normal((300, 3))) * 10.0 ** rng.uniform(-7, 1, (300, 1))
        rad[rng.random((300, 3)) < 0.1] = 0.0
        lo, hi = mid - rad, mid + rad
        with np.errstate(all="ignore"):
            bound, value = box_bounds(form, Cells(lo, hi, np.full(lo.shape[0], -1)))
        assert not np.isnan(bound).any()
        assert (value <= bound).all()
        for share in (0.0, 1.0, *rng.random(6)):
            corner = rng.random((300, 3)) < 0.5
            theta = np.clip(np.where(corner, lo + share * (hi - lo), hi - share * (hi - lo)), lo, hi)
            found = g_of(form, theta)
            size = np.square(np.abs(form.phi(theta @ form.rows.T)) @ np.abs(form.dual).T).sum(axis=1)
            assert (found <= bound + 1e-13 * (size + form.tau * np.square(theta).sum(axis=1))).all()


@pytest.mark.parametrize("name", SMOOTH)
def test_bounds_on_boxes_close_in_at_second_order(name: str) -> None:
    form = neuron_form(plane(name), np.random.default_rng(2).standard_normal((1, 12)), 1.0)
    mid = np.random.default_rng(3).standard_normal((50, 3))
    excess = []
    for rad in (1e-2, 1e-3):
        bound, value = box_bounds(form, Cells(mid - rad, mid + rad, np.full(50, -1)))
        slope = np.stack([(g_of(form, mid + 1e-6 * e) - g_of(form, mid - 1e-6 * e)) / 2e-6 for e in np.eye(3)], axis=1)
        excess.append(bound - value - rad * np.abs(slope).sum(axis=1))
    assert np.median(excess[1]) < 0.02 * np.median(excess[0])


def decent(problem: mfo.TwoLayerProblem, rounds: int = 5) -> mfo.Measure:
    """A measure that is good, not optimal: a few rounds of violating neurons and better masses."""
    measure = mfo.Measure.zero(problem.n_samples)
    for k in range(rounds):
        found = violating_neurons(problem, problem.dual_point(measure), samples=32, seed=k)
        if found.shape[0] == 0:
            break
        start = with_neurons(problem, measure, found, 0.2)
        assert problem.width is not None
        scale = min(1.0, problem.width / start.total_mass)
        measure = reoptimised(problem, mfo.Measure(start.atoms, start.masses * scale, start.neurons))
    return measure


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "hard_sigmoid"])
def test_data_of_the_plane_are_proved_and_checked(name: str, tmp_path: Path) -> None:
    problem = plane(name, samples=8)
    made = mfo.certify(problem, decent(problem), engine="neurons", time_limit=2.0, target=1e-3, refute=float("inf"))
    assert made.verdict == "proved"
    assert made.supremum is not None
    assert made.supremum.kind == "neurons"
    assert made.relative_gap > -1e-9
    # the bound on kappa is above all that a grid finds
    theta = np.stack(np.meshgrid(*[np.linspace(-6, 6, 33)] * 3), axis=-1).reshape(-1, 3)
    form = neuron_form(problem, made.dual, 1e4)
    seen = g_of(form, theta).max() / (4.0 * problem.lambda2)
    assert made.supremum.bound >= seen
    file = tmp_path / "c.json"
    made.save(file)
    assert mfo.verify(file, problem).lower_bound == made.lower_bound


@pytest.mark.slow
@pytest.mark.parametrize(("name", "gap"), [("tanh", 1e-6), ("sigmoid", 1e-4), ("gelu", 1e-4)])
def test_solved_problems_are_closed(name: str, gap: float) -> None:
    problem = plane(name, samples=20)
    solution = mfo.solve(problem, time_limit=30.0)
    assert mfo.certify(problem, solution, time_limit=60.0, target=1e-7).relative_gap < gap


@pytest.mark.parametrize("name", ["gelu", "softplus", "shifted_relu"])
def test_activations_that_grow_are_bounded_by_their_limit(name: str) -> None:
    problem = plane(name, samples=6)
    dual = 0.02 * problem.targets
    found = ENGINE.prove(Question(problem, dual), Limits(seconds=30.0, target=1e-1))
    assert found.proof is not None
    assert found.proof.artefact.keys() == {"top", "tail"}
    assert replay(problem, dual, found.proof.bound, found.proof.artefact) == found.proof.bound
    theta = np.random.default_rng(0).standard_normal((100_000, 3)) * 10.0 ** np.linspace(-2, 2, 100_000)[:, None]
    assert found.proof.bound >= g_of(neuron_form(problem, dual, 1.0), theta).max() / (4.0 * problem.lambda2)


def test_a_claim_below_what_a_neuron_attains_is_refused() -> None:
    problem = plane()
    dual = 0.5 * problem.targets
    found = ENGINE.prove(Question(problem, dual), Limits(seconds=20.0, target=1e-2))
    assert found.proof is not None
    assert found.complete
    top = found.proof.bound * 4.0 * problem.lambda2
    form = neuron_form(problem, dual, None)
    assert examined(form, top * (1.0 + 1e-9))
    assert top > 0.1
    for wrong in (0.0, 0.5 * top, 0.99 * top, -1.0, float("nan"), float("inf")):
        assert not examined(form, wrong)
        with pytest.raises(CertificateError):
            replay(problem, dual, found.proof.bound, {"top": encode_float(wrong)})


def test_what_cannot_be_bounded_is_refused() -> None:
    problem, dual = plane(), np.ones((1, 12))
    with pytest.raises(CertificateError, match="not a finite array"):
        neuron_form(problem, np.full((1, 12), np.nan), None)
    with pytest.raises(CertificateError, match="not a finite array"):
        neuron_form(problem, np.ones((1, 11)), None)
    with pytest.raises(CertificateError, match="not bounded"):
        neuron_form(plane("gelu"), dual, None)
    with pytest.raises(CertificateError, match="needs a width"):
        neuron_form(problem.with_free_mass(), dual, None)
    with pytest.raises(CertificateError, match="at most a proof"):
        replay(problem, dual, 1.0, {"top": encode_float(1.0), "boxes": []})
    reason = ENGINE.refusal(Question(problem.with_free_mass(), dual))
    assert reason is not None
    assert "width" in reason
    cubic = replace(problem, activation=mfo.activation("cubic"))
    assert "unbounded" in str(ENGINE.refusal(Question(cubic, dual)))
    many = mfo.problems.dataset(np.eye(3, 9), np.eye(3, 1), activation="tanh", width=2.0, lambda1=0.1, lambda2=0.1)
    assert "weights a neuron" in str(ENGINE.refusal(Question(many, np.ones((1, 3)))))


def test_inputs_that_are_all_zero_and_a_dual_point_that_is() -> None:
    zeros = replace(plane(samples=3), geometry=FactorGeometry(np.zeros((3, 2))))
    found = ENGINE.prove(Question(zeros, np.ones((1, 3))), Limits(seconds=5.0))
    assert found.proof is not None
    assert 0.0 <= found.proof.bound < 1e-5
    problem = plane()
    still = ENGINE.prove(Question(problem, np.zeros((1, 12))), Limits(seconds=5.0))
    assert still.proof is None or still.proof.bound < 1e-5


def test_the_file_holds_one_number(tmp_path: Path) -> None:
    problem = plane("sigmoid", samples=6)
    made = mfo.certify(problem, mfo.Measure.zero(6), engine="neurons", time_limit=1.0, refute=float("inf"))
    made.save(tmp_path / "c.json")
    body = json.loads((tmp_path / "c.json").read_text())
    assert body["proof"]["artefact"].keys() == {"top"}


@pytest.mark.parametrize(
    ("name", "size"), [("hard_sigmoid", 1.0), ("relu6", 6.0), ("hard_tanh", 1.0), ("shifted_relu", 0.5)]
)
def test_pieces_through_zero_are_homogeneous_up_to_the_first_kink(name: str, size: float) -> None:
    phi = mfo.activation(name)
    below = homogeneous_below(phi)
    assert 0.999 * size < below < size
    t = np.linspace(-below, below, 101)
    assert np.allclose(phi(0.3 * t), 0.3 * phi(t), rtol=1e-14, atol=0.0)


def test_no_homogeneity_is_claimed_elsewhere() -> None:
    for name in ("relu", "tanh", "sigmoid", "step", "gelu"):
        assert homogeneous_below(mfo.activation(name)) == 0.0
    offset = mfo.activation_from(pieces=[(None, 0, 0, 1), (0, None, 1, 1)])
    assert homogeneous_below(offset) == 0.0


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "hard_tanh", "hard_sigmoid", "gelu", "shifted_relu"])
def test_cells_cover_all_neurons_that_matter(name: str) -> None:
    """Of each neuron of the ball, or its opposite where phi is odd, a cell holds it, or a larger multiple of it."""
    problem = plane(name)
    form = neuron_form(problem, problem.targets, 50.0)
    cells = form.first
    inner = float(cells.lo[0, cells.face[0] // 2]) if homogeneous_below(form.phi) else 0.0
    for _ in range(6):
        cut = cells.halves(form.rows)
        assert cut is not None
        cells = cut
    rng = np.random.default_rng(0)
    theta = rng.standard_normal((200, 3))
    theta *= (form.radius * rng.random((200, 1)) ** 2) / np.linalg.norm(theta, axis=1, keepdims=True)
    tiny = 1e-12
    for x in theta:
        held = False
        for sign in (1.0, -1.0) if form.phi.odd else (1.0,):
            y = sign * x
            plain = cells.face < 0
            held |= bool((plain & (cells.lo <= y + tiny).all(axis=1) & (cells.hi >= y - tiny).all(axis=1)).any())
            length = float(np.abs(y).max())
            i = int(np.abs(y).argmax())
            omega = y / length
            omega[i] = max(length, inner)
            on = cells.face == 2 * i + int(y[i] < 0)
            held |= bool((on & (cells.lo <= omega + tiny).all(axis=1) & (cells.hi >= omega - tiny).all(axis=1)).any())
        assert held, x


def test_a_dual_point_that_is_too_long_is_shortened() -> None:
    problem = plane("tanh")
    neurons = np.random.default_rng(0).standard_normal((20, 3))
    long = 3.0 * problem.targets
    moved = rescaled(problem, long, neurons)
    share = float(np.linalg.norm(moved) / np.linalg.norm(long))
    assert 0.0 < share < 1.0
    assert np.allclose(moved, share * long)
    assert rescaled(problem, moved, neurons) is moved
    assert rescaled(problem, long, neurons[:0]) is long

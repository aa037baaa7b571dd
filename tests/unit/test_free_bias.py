"""An unpenalised hidden bias together with a free output bias: solved, certified, verified, and attacked."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt import free_bias
from meanfield_opt.certificate.close_gap import close_gap
from meanfield_opt.checker.codec import encode_float
from meanfield_opt.checker.document import digest
from meanfield_opt.checker.free_bias import free_bias_sigma
from meanfield_opt.checker.input_view import column_powers
from meanfield_opt.checker.replays import PROVES, supremum
from meanfield_opt.errors import CertificateError
from meanfield_opt.geometry import FreeBiasGeometry

RNG = np.random.default_rng(5)
X = RNG.standard_normal((14, 2)) + np.array([3.0, 0.0])
Y = np.stack([np.sign(X[:, 0] * X[:, 1] - 0.1), np.sin(2.0 * X[:, 0])], axis=1)


def problem(activation: str = "relu", **options: Any) -> mfo.TwoLayerProblem:
    return mfo.problems.dataset(
        X, Y, activation=activation, lambda1=1.0, lambda2=1.0, **{"bias_penalty": 0.0, "output_bias": 0.0, **options}
    )


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "absolute"])
def test_it_is_solved_and_certified(activation: str, tmp_path: Path) -> None:
    p = problem(activation)
    solution, certificate = close_gap(p, gap=1e-5, time_limit=20)
    assert certificate.verdict == "proved"
    assert certificate.relative_gap < 1e-4
    certificate.save(tmp_path / "c.json")
    assert mfo.verify(tmp_path / "c.json", p).lower_bound == certificate.lower_bound
    assert mfo.verify(tmp_path / "c.json").proof.startswith("free bias")
    # any penalty on the bias can only cost more, and a small one little
    dear, cheap = (mfo.solve(problem(activation, bias_penalty=mu), tolerance=1e-5).energy for mu in (1.0, 1e-4))
    assert certificate.lower_bound <= cheap * (1 + 1e-4)
    assert cheap <= dear * (1 + 1e-4)
    assert solution.energy == pytest.approx(cheap, rel=2e-3)


def test_the_linear_optimum_is_the_singular_value_threshold() -> None:
    x = np.linalg.qr(np.hstack([np.ones((14, 1)), X]))[0][:, 1:]  # orthonormal, centred
    p = mfo.problems.dataset(
        x + 7.0, Y, activation="linear", lambda1=0.5, lambda2=0.5, bias_penalty=0.0, output_bias=0.0
    )
    centred = Y - Y.mean(axis=0)
    spectrum = np.linalg.svd(centred.T @ x, compute_uv=False)
    optimum = float((centred**2).sum() - (np.maximum(spectrum - 0.5, 0.0) ** 2).sum())
    certificate = mfo.certify(p, mfo.solve(p))
    assert certificate.lower_bound <= optimum * (1 + 1e-12)
    assert optimum <= certificate.upper_bound * (1 + 1e-12)
    assert certificate.relative_gap < 1e-5


def test_the_bound_holds_for_all_neurons() -> None:
    p = problem()
    z = p.loss.project_dual(RNG.standard_normal(p.targets.shape), p.targets)
    small = free_bias.surrogate(p)
    from meanfield_opt.certificate.bnb.input_view import ENGINE
    from meanfield_opt.certificate.engine import Limits, Question

    proof = ENGINE.prove(Question(small, z), Limits(10.0, 1e-6)).proof
    assert proof is not None
    bound = free_bias_sigma(p, z, *free_bias.shift_and_column(p), proof.bound)
    w = RNG.standard_normal((4000, 2)) * 10.0 ** RNG.uniform(-6, 3, (4000, 1))
    edge = -(w[:, None, :] * X[RNG.integers(14, size=4000)][:, None, :]).sum(axis=2)
    for b in (edge, 0.0 * edge, RNG.standard_normal((4000, 1)) * 10.0 ** RNG.uniform(-6, 6, (4000, 1))):
        h = w @ X.T + b
        size = np.linalg.norm(z @ np.maximum(h, 0.0).T, axis=0) / math.sqrt(p.tau) / np.linalg.norm(w, axis=1)
        rounding = 1e-13 * np.abs(b[:, 0]) * np.abs(z).sum() / np.linalg.norm(w, axis=1)
        assert (size <= bound + rounding).all()
    assert size.max() > 0.5 * bound


def test_without_exactly_balanced_rows_nothing_follows() -> None:
    p = problem()
    centre, column = free_bias.shift_and_column(p)
    z = p.loss.project_dual(RNG.standard_normal(p.targets.shape), p.targets)
    assert math.isfinite(free_bias_sigma(p, z, centre, column, 1.0))
    z[0, 0] = np.nextafter(z[0, 0], np.inf)
    assert free_bias_sigma(p, z, centre, column, 1.0) == math.inf
    assert free_bias_sigma(p, 0.0 * z + math.nan, centre, column, 1.0) == math.inf
    assert free_bias_sigma(p, 0.0 * z, centre, column, math.nan) == math.inf
    assert free_bias_sigma(p, 0.0 * z, centre, 0.0, 1.0) == math.inf


def test_the_bound_grows_as_the_column_shrinks() -> None:
    p = problem()
    centre, column = free_bias.shift_and_column(p)
    z = p.loss.project_dual(RNG.standard_normal(p.targets.shape), p.targets)
    values = [free_bias_sigma(p, z, centre, column / 2.0**k, 1.0) for k in range(12)]
    assert values == sorted(values)
    assert values[0] < 1 + 1e-6
    assert values[-1] > 1.1


def test_forged_proofs_are_rejected(tmp_path: Path) -> None:
    p = problem("linear")
    certificate = mfo.certify(p, mfo.solve(p))
    path = tmp_path / "c.json"
    certificate.save(path)
    genuine = json.loads(path.read_text())
    inner = genuine["proof"]["artefact"]["proof"]
    assert inner["kind"] != "free_bias"
    forgeries: list[dict[str, Any]] = [
        {"proof": {**genuine["proof"], **inner}},  # the surrogate's proof for the problem itself
        {"proof": {**genuine["proof"], "kind": "norm", "artefact": {}}},
        {"proof": {**genuine["proof"], "artefact": {**genuine["proof"]["artefact"], "column": (4.0).hex()}}},
        {"proof": {**genuine["proof"], "artefact": {**genuine["proof"]["artefact"], "proof": genuine["proof"]}}},
        {"proof": {**genuine["proof"], "bound": (0.5).hex()}},
    ]
    for change in forgeries:
        body = {key: value for key, value in {**genuine, **change}.items() if key != "digest"}
        path.write_text(json.dumps({**body, "digest": digest(body)}))
        with pytest.raises(mfo.CertificateError):
            mfo.verify(path)


def test_a_width_excludes_nothing_and_networks_keep_the_bias_free() -> None:
    p, free = problem("linear", width=0.25), problem("linear")
    found = mfo.solve(p)
    assert found.measure.total_mass <= 0.25
    assert found.energy == pytest.approx(mfo.solve(free).energy, rel=1e-9)
    assert mfo.certify(p, found).relative_gap < 1e-5
    network = mfo.integer_width(free, mfo.solve(free), neurons=4)
    assert network.upper_bound == pytest.approx(found.energy, rel=1e-6)


def test_the_torch_objective_leaves_the_bias_unpenalised() -> None:
    torch = pytest.importorskip("torch")
    from meanfield_opt.validation.objective import TwoLayerObjective

    p = problem()
    theta, readout = RNG.standard_normal((3, 3)), RNG.standard_normal((2, 3))
    objective = TwoLayerObjective(p, 3)
    x = torch.as_tensor(np.concatenate([theta.ravel(), readout.ravel()]))
    h = p.geometry.preactivation(theta)
    expected = p.loss.value(readout @ np.maximum(h, 0.0), p.targets) + (theta[:, :2] ** 2).sum() + (readout**2).sum()
    assert float(objective.energies(x[None, :], None, None)[0]) == pytest.approx(expected, rel=1e-10)


def test_where_it_is_not_attained_or_not_bounded_it_is_refused() -> None:
    with pytest.raises(mfo.InputError, match="free output bias"):
        problem(output_bias=None)
    with pytest.raises(mfo.InputError, match="free output bias"):
        problem(output_bias=0.1)
    with pytest.raises(mfo.InputError, match="degree 1"):
        problem("tanh", width=4.0)
    with pytest.raises(mfo.InputError, match="no hidden bias"):
        problem(bias=False)
    flat = mfo.problems.dataset(0.0 * X + 1.0, Y, bias_penalty=0.0, output_bias=0.0)
    with pytest.raises(mfo.InputError, match="tell them apart"):
        mfo.solve(flat)
    tanh = mfo.problems.dataset(X, Y, activation="tanh", width=2.0, output_bias=0.0)
    with pytest.raises(mfo.InputError, match="unpenalised hidden bias"):
        replace(tanh, geometry=FreeBiasGeometry(X))


def test_geometry_laws() -> None:
    g = FreeBiasGeometry(X)
    theta = RNG.standard_normal((5, 3))
    h = g.preactivation(theta)
    assert np.allclose(g.weights(h), theta)
    assert np.allclose(g.cost(h), (theta[:, :2] ** 2).sum(axis=1))
    assert np.allclose(g.cost(h + 17.0), g.cost(h))
    assert g.norm_bound() == math.inf
    slopes = RNG.standard_normal((5, 14))
    assert np.allclose((slopes * h).sum(axis=1), (g.pullback(slopes) * theta).sum(axis=1))
    box = g.enclose(h, theta)
    assert ((box.lo <= h) & (h <= box.hi)).all()
    assert (box.cost >= (theta[:, :2] ** 2).sum(axis=1)).all()
    assert np.allclose(g.precision(h) @ np.ones(14), 0.0)
    assert np.allclose(g.apply(g.precision(h)), h - h.mean(axis=1)[:, None])


def test_uneven_columns_are_put_on_one_scale() -> None:
    powers, top = column_powers(np.array([[1.0, 1024.0, 3.0, 0.0], [0.5, 1024.0, -1.0, 0.0]]))
    assert powers.tolist() == [0, 2, 0, 0]  # 256 times the least is even enough, and every power of two costs accuracy
    assert top == 9
    powers, top = column_powers(np.array([[1.0, 100.0]]))
    assert powers.tolist() == [0, 0]
    assert top == 7
    assert column_powers(np.zeros((2, 2)))[1] == 0


@pytest.mark.parametrize(
    "kind", sorted(kind for kind, modes in PROVES.items() if "ratio" in modes and kind != "free_bias")
)
def test_no_other_proof_is_taken_for_one_under_a_free_bias(kind: str) -> None:
    proof = {"kind": kind, "words": "", "bound": encode_float(1e300), "artefact": {}}
    with pytest.raises(CertificateError, match="unpenalised hidden bias"):
        supremum(problem(), np.zeros((2, 14)), proof)


@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("kept", [0, 1, "all"])
def test_a_candidate_is_refuted_by_a_better_measure(activation: str, kept: int | str, tmp_path: Path) -> None:
    p = problem(activation)
    best = mfo.solve(p).measure
    assert best.neurons is not None
    count, factor = (best.n_atoms, 1.3) if kept == "all" else (int(kept), 1.0)
    candidate = mfo.Measure(best.atoms[:count], factor * best.masses[:count], best.neurons[:count])
    certificate = mfo.certify(p, candidate, time_limit=5.0)
    assert certificate.verdict == "refuted"
    found = certificate.refutation
    assert found is not None
    assert found.candidate_lower <= p.energy(candidate) * (1 + 1e-12)
    assert p.energy(found.better) <= found.upper * (1 + 1e-9)
    assert found.upper < found.candidate_lower
    assert certificate.lower_bound <= found.upper
    # the neuron lowers the energy: its first variation at the candidate is negative, whatever its bias costs nothing
    assert certificate.neuron is not None
    theta = certificate.neuron[None, :]
    response = p.dual_point(candidate) @ p.features(p.geometry.preactivation(theta)).T
    gain = float(np.square(response).sum()) / (4.0 * p.lambda2) - p.lambda1 * float(np.square(theta[:, :-1]).sum())
    assert kept == "all" or gain > 0
    certificate.save(tmp_path / "c.json")
    assert mfo.verify(tmp_path / "c.json", p).lower_bound == certificate.lower_bound


def test_an_optimum_is_not_refuted() -> None:
    p = problem()
    certificate = mfo.certify(p, mfo.solve(p).measure, time_limit=5.0)
    assert certificate.verdict == "proved"
    assert certificate.refutation is None


def test_the_candidate_has_at_least_the_energy_said() -> None:
    """Neurons of large weights, large biases, and none."""
    from meanfield_opt.checker.refute import measure_energy_lower

    p = problem("leaky_relu")
    for size in (1e-3, 1.0, 1e3):
        theta = size * RNG.standard_normal((4, 3)) * np.array([1.0, 1.0, 50.0])
        m = mfo.Measure(p.geometry.preactivation(theta), np.full(4, 0.7 / size), theta)
        least, energy = measure_energy_lower(p, m), p.energy(m)
        cost = 0.7 / size * p.lambda1 * float(np.square(theta[:, :-1]).sum())
        assert cost * (1 - 1e-12) <= least <= energy * (1 + 1e-12)
        assert least >= energy * (1 - 1e-6)

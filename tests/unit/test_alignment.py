"""Alignments and power laws with known answers, hooks that leave no trace, neural collapse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.errors import UndefinedMetricError
from meanfield_opt.validation.alignment import (
    DEFINITIONS,
    alignments,
    as_sequential,
    layer_moments,
    matrix_alignment,
    power_law,
)
from meanfield_opt.validation.collapse import neural_collapse


def test_matrix_alignment() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((5, 5))
    a = a @ a.T
    assert matrix_alignment(a, 3.0 * a + 1.0) == pytest.approx(1.0)
    b = rng.standard_normal((5, 5))
    assert matrix_alignment(a, b) == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1])
    with pytest.raises(UndefinedMetricError):
        matrix_alignment(np.ones((2, 2)), np.eye(2))


@pytest.mark.parametrize("slope", [-1.0, 0.5, 2.0])
def test_power_laws_are_recovered(slope: float) -> None:
    rng = np.random.default_rng(1)
    q, _ = np.linalg.qr(rng.standard_normal((12, 12)))
    values = np.logspace(0, -3, 12)
    clean = power_law((q * values**slope) @ q.T, (q * values) @ q.T)
    assert clean.slope == pytest.approx(slope, abs=1e-8)
    assert abs(clean.correlation) == pytest.approx(1.0)
    noisy = power_law((q * values**slope * np.exp(0.3 * rng.standard_normal(12))) @ q.T, (q * values) @ q.T)
    assert 0 < noisy.error < 0.2
    assert abs(noisy.slope - slope) < 4 * noisy.error
    assert abs(noisy.random_mean) < 0.3  # a random basis knows nothing of the eigenvalues
    with pytest.raises(UndefinedMetricError, match="three"):
        power_law(np.eye(2), np.eye(2))


def test_neural_collapse() -> None:
    y = np.repeat(np.array([[1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0]]), 5, axis=1)
    simplex = np.eye(4) - 0.25
    order = np.array([tuple(c) for c in np.unique(y.T, axis=0)])
    place = np.array([np.flatnonzero((order == c).all(axis=1))[0] for c in y.T])
    perfect = neural_collapse(simplex[place], y, readout=2.0 * simplex)
    assert perfect.variability == pytest.approx(0.0, abs=1e-12)
    assert perfect.norms == pytest.approx(0.0, abs=1e-12)
    assert perfect.angles == pytest.approx(0.0, abs=1e-12)
    assert perfect.duality == pytest.approx(0.0, abs=1e-12)
    assert perfect.nearest == 1.0
    rng = np.random.default_rng(0)
    loose = neural_collapse(simplex[place] + rng.standard_normal((20, 4)), y)
    assert loose.variability > 0.1
    assert loose.duality is None
    with pytest.raises(UndefinedMetricError):
        neural_collapse(np.ones((4, 2)), np.ones((1, 4)))


@pytest.mark.torch
@pytest.mark.parametrize("definition", DEFINITIONS)
def test_moments_by_hooks_are_the_formulas(definition: str) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)).double()
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((7, 4)), rng.standard_normal((7, 3))

    def loss(out: Any) -> Any:
        return (out - torch.from_numpy(y)).square().sum()

    first, last = layer_moments(model, x, loss, definition=definition)
    w1, b1, w2, b2 = (p.detach().numpy() for p in model.parameters())
    h = x @ w1.T + b1
    out = np.tanh(h) @ w2.T + b2
    g2 = 2 * (out - y)
    g1 = (g2 @ w2) * (1 - np.tanh(h) ** 2)

    def moment(rows: Any) -> Any:
        if definition == "covariance":
            rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
            return np.cov(rows.T, bias=True)
        return rows.T @ rows / 7

    for held, wanted in (
        (first.a, (x, g1 @ w1, w1.T @ w1)),
        (first.b, (h, g1, w1 @ w1.T)),
        (last.a, (np.tanh(h), g2 @ w2, w2.T @ w2)),
        (last.b, (out, g2, w2 @ w2.T)),
    ):
        np.testing.assert_allclose(held["H"], moment(wanted[0]), atol=1e-12)
        np.testing.assert_allclose(held["G"], moment(wanted[1]), atol=1e-12)
        np.testing.assert_allclose(held["Z"], wanted[2], atol=1e-12)
    assert not any(m._forward_hooks for m in model.modules())
    found = alignments([first, last], draws=5)
    assert len(found) == 12
    assert {(a.relation, a.side) for a in found} == {(r, s) for r in ("RGA", "GWA", "RWA") for s in "ab"}
    with pytest.raises(mfo.InputError, match="has no torch"):
        layer_moments(torch.nn.Tanh(), x, loss)


@pytest.mark.torch
def test_certified_optima_are_aligned() -> None:
    """At the hypercube optimum gradients, features and weights of the read-out are proportional."""
    torch = pytest.importorskip("torch")
    problem = mfo.problems.hypercube(3)
    assert problem.known is not None
    assert problem.known.measure is not None
    measure = problem.known.measure()
    solution = mfo.Solution(problem, measure, problem.dual_point(measure), mfo.Status.SOLVED, "known")
    model = as_sequential(solution.to_torch())
    from meanfield_opt.validation.inputs import network_inputs

    rows = network_inputs(problem.geometry).rows
    targets = torch.from_numpy(np.array(problem.targets.T))
    layers = layer_moments(model, rows, lambda out: (out - targets).square().sum())
    values = {(a.layer, a.relation, a.side): a.value for a in alignments(layers, draws=0)}
    last = layers[-1].name
    for relation in ("RGA", "GWA", "RWA"):
        assert values[last, relation, "b"] == pytest.approx(1.0, abs=1e-9)

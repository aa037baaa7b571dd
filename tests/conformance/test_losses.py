"""Laws that every registered loss keeps; bounds are compared with ball arithmetic (python-flint)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import meanfield_opt as mfo
from meanfield_opt.fit import inner_problem
from meanfield_opt.loss import SummedLoss
from meanfield_opt.plugins import LOSSES

arb = flint.arb
Array = Any
settings.register_profile("laws", derandomize=True, deadline=None, max_examples=10)
settings.load_profile("laws")

W3 = (0.3, 1.0, 2.5, 7.0, 0.01)
ALL = [mfo.loss(name) for name in LOSSES.names() if LOSSES.builtin(name)] + [
    mfo.loss("huber", delta=0.3),
    mfo.loss("weighted", base="logistic", sample_weights=W3, output_weights=(2.0, 0.7)),
    mfo.loss("weighted", base="squared", sample_weights=W3),
    mfo.loss("weighted", base="hinge", output_weights=(3.0, 0.1)),
    mfo.loss("weighted", base="softmax", sample_weights=W3),
    mfo.loss("weighted", base={"name": "huber", "parameters": {"delta": 0.5}}, sample_weights=W3),
    mfo.loss("residual", above=0.2, below=0.8),
    mfo.loss("residual", above=0.5, below=3.0, quadratic=True),
    mfo.loss("residual", above=None, below=0.0, quadratic=True),
    mfo.loss("residual", above=1.5, below=0.25, quadratic=True, margin=True),
    mfo.loss("residual", above=1.0, below=0.0, margin=True),
    mfo.loss("weighted", base=mfo.loss("residual", above=0.3, below=0.7), sample_weights=W3),
    mfo.loss("output_bias", base=mfo.loss("residual", above=0.2, below=0.8), penalty=0.1),
    mfo.loss("output_bias", base="squared", penalty=0.3),
    mfo.loss("output_bias", base="logistic", penalty=0.0),
    mfo.loss("output_bias", base="hinge", penalty=0.05),
    mfo.loss("output_bias", base="softmax", penalty=0.2),
    mfo.loss("output_bias", base=mfo.loss("weighted", base="squared_hinge", sample_weights=W3), penalty=0.1),
]


SIGNED = ("softmax", "hinge", "squared_hinge", "logistic")


def identity(ell: mfo.Loss) -> str:
    base = getattr(ell, "base", None)
    return ell.name if base is None else f"{ell.name}({identity(base)})"


IDS = [f"{i}-{identity(ell)}" for i, ell in enumerate(ALL)]
each = pytest.mark.parametrize("ell", ALL, ids=IDS)


def targets_of(ell: mfo.Loss) -> Array:
    signs = np.array([[1.0, -1.0, 1.0, 1.0, -1.0], [-1.0, 1.0, -1.0, -1.0, 1.0]])
    while hasattr(ell, "base"):
        ell = ell.base
    return signs if ell.name in SIGNED or getattr(ell, "margin", False) else signs * 0.7


arrays = st.lists(st.floats(-6, 6), min_size=10, max_size=10).map(lambda x: np.array(x).reshape(2, 5))


def log1pexp(t: Any) -> Any:
    return (1 + t.exp()).log()


def exact_term(ell: mfo.Loss, f: list[Any], y: list[float], k: int) -> Any:
    """One term of an unweighted, bias-free loss in ball arithmetic."""
    t = arb(y[k])
    zero = arb(0)
    if ell.name == "softmax":
        c = y.index(1.0)
        return sum(((g - f[c]).exp() for g in f), zero).log()
    if ell.name == "logistic":
        return log1pexp(-t * f[k])
    slack = 1 - t * f[k]
    if ell.name == "hinge":
        return slack if slack > 0 else zero
    if ell.name == "squared_hinge":
        return slack * slack if slack > 0 else zero
    if ell.name == "residual":
        above, below = ell.prices  # type: ignore[attr-defined]
        m = slack if ell.parameters["margin"] else f[k] - t
        size, price = (m, above) if m > 0 else (-m, below)
        if not ell.parameters["quadratic"]:
            return arb(price) * size
        return size * size if price == math.inf or size <= arb(price) / 2 else arb(price) * size - arb(price) ** 2 / 4
    r = abs(f[k] - t)
    if ell.name == "huber":
        d = arb(ell.parameters["delta"])
        return r * r if r <= d else 2 * d * r - d * d
    assert ell.name == "squared"
    return r * r


def exact_value(ell: mfo.Loss, outputs: Array, targets: Array) -> Any:
    """L(F; Y) as a ball; with an output bias, an upper bound of the minimum (a good bias is inserted)."""
    flint.ctx.prec = 200
    rows, cols = outputs.shape
    if ell.name == "output_bias":
        b = ell.bias(outputs, targets)  # type: ignore[attr-defined]
        shifted = [[arb(float(outputs[k, p])) + arb(float(b[k])) for p in range(cols)] for k in range(rows)]
        cost = sum((arb(float(x)) ** 2 for x in b), arb(0)) * arb(ell.parameters["penalty"])
        return _sum(ell.base, shifted, targets) + cost  # type: ignore[attr-defined]
    return _sum(ell, [[arb(float(x)) for x in row] for row in outputs], targets)


def _sum(ell: mfo.Loss, f: list[list[Any]], targets: Array) -> Any:
    weights = ell.weights(targets) if ell.name == "weighted" else None  # type: ignore[attr-defined]
    base = ell.base if ell.name == "weighted" else ell  # type: ignore[attr-defined]
    total = arb(0)
    for k in range(1 if base.name == "softmax" else targets.shape[0]):
        for p in range(targets.shape[1]):
            term = exact_term(base, [row[p] for row in f], [float(v) for v in targets[:, p]], k)
            total += term if weights is None else arb(float(weights[k, p])) * term
    return total


@each
@given(f=arrays, g=arrays)
def test_fenchel_young(ell: mfo.Loss, f: Array, g: Array) -> None:
    y = targets_of(ell)
    slope = ell.gradient(f, y)
    size = 1.0 + abs(ell.value(f, y)) + abs(ell.value(g, y))
    equality = ell.value(f, y) + ell.conjugate(slope, y) - float(np.vdot(f, slope))
    # slopes of a nonsmooth loss under an output bias come from an envelope of step 1e-8
    assert abs(equality) <= (1e-9 if math.isfinite(ell.curvature()) else 1e-6) * size
    for s in (slope, -ell.project_dual(g, y), -0.3 * ell.project_dual(f, y)):
        assert ell.value(g, y) + ell.conjugate(s, y) >= float(np.vdot(g, s)) - 1e-9 * size


@each
@given(f=arrays, g=arrays, w=st.floats(0.01, 0.99))
def test_dual_is_concave_and_value_convex(ell: mfo.Loss, f: Array, g: Array, w: float) -> None:
    y = targets_of(ell)
    a, b = ell.project_dual(f, y), ell.project_dual(g, y)
    mean = w * a + (1 - w) * b
    inside = ell.project_dual(mean, y)  # rounding may put the mean one unit outside of the domain
    np.testing.assert_allclose(inside, mean, rtol=1e-12, atol=1e-12)
    mixed = ell.dual_value(inside, y)
    ends = w * ell.dual_value(a, y) + (1 - w) * ell.dual_value(b, y)
    assert mixed >= ends - 1e-9 * (1 + abs(ends))
    chord = w * ell.value(f, y) + (1 - w) * ell.value(g, y)
    assert ell.value(w * f + (1 - w) * g, y) <= chord + 1e-9 * (1 + chord)


@each
@given(f=arrays)
def test_gradient_matches_differences(ell: mfo.Loss, f: Array) -> None:
    if not math.isfinite(ell.curvature()):
        return
    y = targets_of(ell)
    direction = np.cos(np.arange(f.size)).reshape(f.shape)
    h = 1e-5
    numeric = (ell.value(f + h * direction, y) - ell.value(f - h * direction, y)) / (2 * h)
    assert float(np.vdot(ell.gradient(f, y), direction)) == pytest.approx(numeric, abs=2e-4 * (1 + ell.curvature()))


@each
@given(f=arrays, g=arrays)
def test_curvature_bounds_the_gradient(ell: mfo.Loss, f: Array, g: Array) -> None:
    if math.isfinite(ell.curvature()):
        y = targets_of(ell)
        change = float(np.linalg.norm(ell.gradient(f, y) - ell.gradient(g, y)))
        assert change <= ell.curvature() * float(np.linalg.norm(f - g)) + 1e-7


@each
@given(f=arrays, scale=st.sampled_from([1.0, 1e-3, 30.0, 1e4]), width=st.sampled_from([0.0, 1e-12, 0.1]))
def test_value_upper_is_rigorous_and_sharp(ell: mfo.Loss, f: Array, scale: float, width: float) -> None:
    y = targets_of(ell)
    f = f * scale
    lo, hi = f - width, f + width
    upper = ell.value_upper(lo, hi, y)
    for point in (lo, hi, f, np.where(y > 0, lo, hi)):
        value = exact_value(ell, point, y)
        if ell.name == "output_bias":  # the ball is an upper bound of the minimum: only nearly below
            assert upper >= float(value.lower()) * (1 - 1e-9) - 1e-12
        else:
            assert not (value > arb(upper))
    if width == 0.0:
        exact = float(exact_value(ell, f, y))
        assert upper <= exact + 1e-11 * (1 + abs(exact))


@each
@given(f=arrays, g=arrays, shrink=st.sampled_from([1.0, 0.999, 0.3, 1e-9, 5e-324, 0.0]))
def test_dual_lower_is_rigorous_and_sharp(ell: mfo.Loss, f: Array, g: Array, shrink: float) -> None:
    """-L*(-sZ) <= L(F) + s <Z, F> at every F, exactly, and close to the floating-point value of D."""
    y = targets_of(ell)
    for z in (ell.project_dual(-ell.gradient(f, y), y), ell.project_dual(g, y)):
        lower = ell.dual_lower(z, y, shrink)
        assert not math.isnan(lower)
        assert lower >= ell.dual_value(shrink * z, y) - 1e-11 * (1 + abs(lower))
        for point in (f, g):
            inner = sum((arb(float(a)) * arb(float(b)) for a, b in zip(z.ravel(), point.ravel())), arb(0))
            assert not (exact_value(ell, point, y) + arb(shrink) * inner < arb(lower))


@each
def test_dual_lower_refuses_points_outside_the_domain(ell: mfo.Loss) -> None:
    y = targets_of(ell)
    far = 50.0 * np.array([[1.0, 2.0, 3.0, 4.0, 5.0], [1.0, -2.0, 3.0, -4.0, 5.0]])
    if ell.dual_value(far, y) == -math.inf:
        assert ell.dual_lower(far, y, 1.0) == -math.inf
    assert ell.dual_lower(np.full_like(y, math.nan), y, 1.0) in (-math.inf,) or math.isnan(
        ell.dual_lower(np.full_like(y, math.nan), y, 1.0)
    )
    for scale in (math.nan, math.inf, -1.0):
        assert ell.dual_lower(np.zeros_like(y), y, scale) == -math.inf


@each
@given(g=arrays, limit=st.sampled_from([0.0, 1e-3, 0.7, 1.0, math.inf]))
def test_best_scale_beats_a_grid(ell: mfo.Loss, g: Array, limit: float) -> None:
    y = targets_of(ell)
    for z in (ell.project_dual(-ell.gradient(0.1 * g, y), y), ell.project_dual(g, y)):
        s = ell.best_scale(z, y, limit)
        assert 0 <= s <= limit
        best = ell.dual_lower(z, y, s)
        assert math.isfinite(best)
        for other in np.linspace(0, min(limit, 1.0) if limit < math.inf else 1.0, 9):
            assert best >= ell.dual_value(other * z, y) * (1 - 1e-9) - 1e-8


@each
@given(g=arrays)
def test_project_dual_lands_in_the_domain_and_keeps_good_points(ell: mfo.Loss, g: Array) -> None:
    y = targets_of(ell)
    z = ell.project_dual(g, y)
    assert math.isfinite(ell.dual_lower(z, y, 1.0))
    np.testing.assert_allclose(ell.project_dual(z, y), z, atol=1e-10)
    smooth = ell.project_dual(-ell.gradient(g, y), y)
    if math.isfinite(ell.curvature()):
        np.testing.assert_allclose(smooth, -ell.gradient(g, y), atol=1e-7 * (1 + np.abs(g).max()))


@each
@given(f=arrays)
def test_zero_is_dual_feasible_and_bounds_the_loss(ell: mfo.Loss, f: Array) -> None:
    y = targets_of(ell)
    assert ell.value(f, y) >= ell.dual_lower(np.zeros_like(y), y, 0.0) >= -1e-12


@each
def test_cvxpy_expression(ell: mfo.Loss) -> None:
    import cvxpy

    y = targets_of(ell)
    f = np.random.default_rng(3).standard_normal(y.shape)
    variable = cvxpy.Variable(y.shape)
    problem = cvxpy.Problem(cvxpy.Minimize(ell.expression(variable, y)), [variable == f])
    problem.solve(solver="CLARABEL")
    assert problem.value == pytest.approx(ell.value(f, y), rel=1e-6, abs=1e-7)


@each
@pytest.mark.torch
def test_torch_twin(ell: mfo.Loss) -> None:
    torch = pytest.importorskip("torch")
    y = targets_of(ell)
    f = np.random.default_rng(5).standard_normal((3, *y.shape)) * 3
    outputs = torch.tensor(f, requires_grad=True)
    values = ell.torch_twin()(outputs, torch.tensor(y))
    np.testing.assert_allclose(values.detach().numpy(), [ell.value(x, y) for x in f], rtol=1e-9)
    values.sum().backward()
    if math.isfinite(ell.curvature()):
        np.testing.assert_allclose(outputs.grad.numpy(), [ell.gradient(x, y) for x in f], atol=1e-7)


@each
def test_inner_problem_closes_its_own_gap(ell: mfo.Loss) -> None:
    y = targets_of(ell)
    rng = np.random.default_rng(11)
    for features, ridge in ((rng.standard_normal((3, 5)), 0.1), (rng.standard_normal((9, 5)), 1e-3)):
        v, z = inner_problem(ell, features, y, ridge)
        z = ell.project_dual(z, y)
        primal = ell.value(v @ features, y) + ridge * float(np.vdot(v, v))
        dual = ell.dual_value(z, y) - float(np.sum(np.square(z @ features.T))) / (4 * ridge)
        assert dual <= primal + 1e-9
        assert primal - dual <= 1e-6 * (1e-3 + abs(primal))


@each
def test_rebuilt_from_json_parameters(ell: mfo.Loss) -> None:
    import json

    assert mfo.loss(ell.name, **json.loads(json.dumps(ell.parameters))) == ell


def test_all_summed_losses_name_their_terms() -> None:
    make: Callable[[mfo.Loss], bool] = lambda ell: isinstance(ell, SummedLoss)  # noqa: E731
    assert sum(map(make, ALL)) >= 8

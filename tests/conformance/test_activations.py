"""Laws that every registered activation keeps; ranges are compared with ball arithmetic at 200 bits (python-flint)."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import meanfield_opt as mfo
from meanfield_opt.plugins import ACTIVATIONS

arb = flint.arb


def _sigmoid(t: Any) -> Any:
    return 1 / (1 + (-t).exp())


def _softplus(t: Any) -> Any:
    return (1 + t.exp()).log() if t < 100 else t + (1 + (-t).exp()).log()


def _clip(t: Any, lo: Any, hi: Any) -> Any:
    return arb(lo) if t < lo else (arb(hi) if t > hi else t)


#: the defining formula in ball arithmetic, written independently of the library
EXACT: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "relu": lambda t, p: t if t > 0 else arb(0),
    "leaky_relu": lambda t, p: t if t > 0 else arb(p["slope"]) * t,
    "absolute": lambda t, p: abs(t),
    "linear": lambda t, p: t,
    "hard_tanh": lambda t, p: _clip(t, -1, 1),
    "hard_sigmoid": lambda t, p: _clip(t, 0, 1),
    "relu6": lambda t, p: _clip(t, 0, 6),
    "shifted_relu": lambda t, p: t - arb(p["shift"]) if t > arb(p["shift"]) else arb(0),
    "step": lambda t, p: arb(1) if t >= arb(p["threshold"]) else arb(0),
    "sign": lambda t, p: arb(0) if abs(t) < arb(p["threshold"]) or t == 0 else (arb(1) if t > 0 else arb(-1)),
    "tanh": lambda t, p: t.tanh(),
    "erf": lambda t, p: t.erf(),
    "softsign": lambda t, p: t / (1 + abs(t)),
    "sin": lambda t, p: t.sin(),
    "sigmoid": lambda t, p: _sigmoid(t),
    "softplus": lambda t, p: _softplus(t),
    "gelu": lambda t, p: t * (-t / arb(2).sqrt()).erfc() / 2,
    "silu": lambda t, p: t * _sigmoid(t),
    "squared_relu": lambda t, p: t * t if t > 0 else arb(0),
    "cubic": lambda t, p: t * t * t,
}

#: made by users: their definitions are arguments; some examples stand for them
GENERIC = {"symbolic", "piecewise_affine", "numpy_function"}
EXACT["symbolic"] = lambda t, p: (
    t * _softplus(t).tanh() if p["negative"] is None else (1 - (-t).exp() if t >= 0 else arb(0))
)
EXACT["piecewise_affine"] = lambda t, p: t / 3 if t < 0 else (t if t < 2 else 4 - t)
VARIANTS = [
    mfo.activation("sign", threshold=0.5),
    mfo.activation("leaky_relu", slope=-0.3),
    mfo.activation_from(expression="t*tanh(log(1+exp(t)))"),
    mfo.activation_from(expression="1-exp(-t)", threshold=True),
    mfo.activation_from(pieces=[(None, 0, "1/3", 0), (0, 2, 1, 0), (2, None, -1, 4)]),
]
BUILT_IN = [n for n in ACTIVATIONS.names() if ACTIVATIONS.builtin(n) and n not in GENERIC]


def _guests() -> dict[str, Callable[[Any, dict[str, Any]], Any]]:
    """Installed plug-ins whose module offers a formula of its own (``FORMULAS``): they meet the same laws."""
    found = {}
    for name in ACTIVATIONS.names():
        if not ACTIVATIONS.builtin(name):
            formulas = getattr(sys.modules[ACTIVATIONS.get(name).__module__], "FORMULAS", {})
            found.update({name: formulas[name]} if name in formulas else {})
    return found


GUESTS = _guests()
EXACT.update(GUESTS)
ALL = [mfo.activation(name) for name in [*BUILT_IN, *GUESTS]] + VARIANTS
EDGES = [0.0, -0.0, 5e-324, -5e-324, 2.3e-308, 0.5, -0.5, 1.0, -1.0, 6.0, math.nextafter(6.0, 7.0), 19.0, -19.0, 38.0]
EDGES += [-37.6, 355.9, 360.0, -360.0, 709.0, -709.0, -745.2, 800.0, -800.0, 1e5, 1e150, -1e150, 1e300, -1e300]
EDGES += [math.nextafter(1.0, 0), math.nextafter(1.0, 2), -0.7517915246935645, -1.2784645427610738, math.sqrt(2), 2.4]
points = st.one_of(
    st.sampled_from(EDGES), st.floats(-8, 8), st.floats(-60, 60), st.floats(-1e300, 1e300), st.floats(-1e-300, 1e-300)
)
settings.register_profile("laws", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("laws")


def exact(phi: mfo.Activation, t: float) -> tuple[float, float, Any]:
    """Floats below and above phi(t), and the ball."""
    flint.ctx.prec = 200 if abs(t) < 1e30 else 2300
    ball = EXACT[phi.name](arb(t), phi.parameters)
    return float(ball.lower()), float(ball.upper()), ball


def contains(lo: float, ball: Any, hi: float) -> bool:
    """lo <= every point of the ball <= hi, compared exactly."""
    below = lo == -math.inf or not (arb(lo) > ball)
    above = hi == math.inf or not (arb(hi) < ball)
    return bool(below and above)


def identity(phi: mfo.Activation) -> str:
    return "-".join([phi.name, *map(str, phi.parameters.values())])[:40]


def bound(phi: mfo.Activation, lo: float, hi: float, *, slope: bool = False) -> tuple[float, float]:
    low, high = (phi.slope_bound_on if slope else phi.bound_on)(np.array([lo]), np.array([hi]))
    assert not np.isnan(low).any()
    assert not np.isnan(high).any()
    return float(low[0]), float(high[0])


def test_every_registered_activation_has_a_formula_here() -> None:
    assert set(BUILT_IN) == set(EXACT) - GENERIC - set(GUESTS)


@pytest.mark.parametrize("phi", ALL, ids=identity)
@given(a=points, b=points, w=st.floats(0, 1))
def test_range_encloses_the_exact_values(phi: mfo.Activation, a: float, b: float, w: float) -> None:
    lo, hi = min(a, b), max(a, b)
    low, high = bound(phi, lo, hi)
    inside = min(max(lo + w * (hi - lo) if math.isfinite(hi - lo) else lo, lo), hi)
    for t in (lo, hi, inside, *(e for e in EDGES if lo <= e <= hi)):
        assert contains(low, exact(phi, t)[2], high), (t, low, high)
    point_lo, point_hi = bound(phi, a, a)
    assert contains(point_lo, exact(phi, a)[2], point_hi)


@pytest.mark.parametrize("phi", ALL, ids=identity)
def test_range_at_a_point_is_sharp(phi: mfo.Activation) -> None:
    t = np.array([-3.25, -0.7, -1e-3, 0.0, 1e-3, 0.3, 0.9, 2.5, 5.0])
    low, high = phi.bound_on(t, t)
    assert (high - low <= 1e-13 * (1.0 + np.abs(phi(t)))).all()


@pytest.mark.parametrize("phi", ALL, ids=identity)
def test_infinite_and_nan_arguments(phi: mfo.Activation) -> None:
    t = np.linspace(-50, 50, 2001)
    for lo, hi in ((-math.inf, math.inf), (-math.inf, -1.5), (0.75, math.inf), (-math.inf, 1e300), (-1e300, math.inf)):
        low, high = bound(phi, lo, hi)
        inside = phi(t[(t >= lo) & (t <= hi)])
        assert low <= inside.min()
        assert high >= inside.max()
    low, high = phi.bound_on(np.array([math.nan, 0.0]), np.array([1.0, math.nan]))
    # NaN must not look like a bound: either it is answered by everything, or it stays NaN
    assert all(not (math.isfinite(x)) or abs(x) == 1.0 for x in (*low, *high))


@pytest.mark.parametrize("phi", ALL, ids=identity)
@given(a=points, b=points, c=points, d=points)
def test_slope_range_encloses_difference_quotients(phi: mfo.Activation, a: float, b: float, c: float, d: float) -> None:
    lo, s, t, hi = sorted((a, b, c, d))
    if s == t:
        return
    low, high = bound(phi, lo, hi, slope=True)
    flint.ctx.prec = 2300
    quotient = (EXACT[phi.name](arb(t), phi.parameters) - EXACT[phi.name](arb(s), phi.parameters)) / (arb(t) - arb(s))
    assert contains(low, quotient, high), (s, t, low, high)


@pytest.mark.parametrize("phi", ALL, ids=identity)
@given(a=points)
def test_slope_range_at_a_point_encloses_the_derivative(phi: mfo.Activation, a: float) -> None:
    """A quotient over a relative 2^-120 neighbourhood must lie in the range over the neighbouring floats."""
    lo, hi = math.nextafter(a, -math.inf), math.nextafter(a, math.inf)
    low, high = bound(phi, lo, hi, slope=True)
    flint.ctx.prec = 6000
    step = arb(hi) - arb(lo)
    s, t = arb(a) - step / 2**20, arb(a) + step / 2**20
    quotient = (EXACT[phi.name](t, phi.parameters) - EXACT[phi.name](s, phi.parameters)) / (t - s)
    flint.ctx.prec = 200
    assert contains(low, quotient, high), (a, low, high, quotient)


@pytest.mark.parametrize("phi", ALL, ids=identity)
def test_derivative_matches_differences(phi: mfo.Activation) -> None:
    t = np.array([-4.3, -2.1, -0.77, -0.31, 0.013, 0.29, 0.71, 1.3, 2.7, 5.1])
    h = 1e-6
    np.testing.assert_allclose(phi.derivative(t), (phi(t + h) - phi(t - h)) / (2 * h), atol=2e-8, rtol=1e-7)


@pytest.mark.parametrize("phi", ALL, ids=identity)
@given(t=st.floats(-40, 40), c=st.floats(2.0**-10, 2.0**10))
def test_degree_and_oddness(phi: mfo.Activation, t: float, c: float) -> None:
    flint.ctx.prec = 300
    value = EXACT[phi.name](arb(t), phi.parameters)
    if phi.degree is not None:
        scaled = EXACT[phi.name](arb(t) * arb(c), phi.parameters)
        assert scaled.overlaps(value * arb(c) ** int(phi.degree))
    if phi.odd:
        assert (EXACT[phi.name](arb(-t), phi.parameters) + value).contains(0)


@pytest.mark.parametrize("phi", ALL, ids=identity)
def test_undeclared_degree_and_oddness_are_truly_absent(phi: mfo.Activation) -> None:
    t = np.array([-2.7, -1.3, -0.4, 0.3, 0.8, 1.9, 7.0])
    if not phi.odd:
        assert not np.allclose(phi(-t), -phi(t))
    if phi.degree is None:
        assert not any(np.allclose(phi(3.0 * t), 3.0**k * phi(t)) for k in (0, 1, 2, 3))


@pytest.mark.parametrize("phi", ALL, ids=identity)
def test_pieces_are_the_function(phi: mfo.Activation) -> None:
    if phi.pieces is None:
        return
    pieces = phi.pieces
    assert pieces[0].left is None
    assert pieces[-1].right is None
    for a, b in itertools.pairwise(pieces):
        assert a.right == b.left
        assert a.right is not None
        assert a.slope * a.right + a.intercept == b.slope * a.right + b.intercept  # continuous
        assert (a.slope, a.intercept) != (b.slope, b.intercept)
    kinks = [p.right for p in pieces[:-1] if p.right is not None]
    for t in [
        *(k + e for k in kinks for e in (0, Fraction(1, 2**40), -Fraction(1, 2**40))),
        Fraction(7, 2),
        -Fraction(9, 4),
    ]:
        flint.ctx.prec = 300
        piece = next(p for p in pieces if (p.left is None or p.left <= t) and (p.right is None or t <= p.right))
        value = piece.slope * t + piece.intercept
        ball = EXACT[phi.name](arb(flint.fmpq(t.numerator, t.denominator)), phi.parameters)
        assert ball.overlaps(arb(flint.fmpq(value.numerator, value.denominator)))


@pytest.mark.parametrize("phi", ALL, ids=identity)
@given(t=points)
def test_ratio_bound(phi: mfo.Activation, t: float) -> None:
    top = phi.ratio_bound()
    if t != 0 and math.isfinite(top):
        flint.ctx.prec = 2300
        assert not (abs(EXACT[phi.name](arb(t), phi.parameters)) > arb(top) * abs(arb(t)))


@pytest.mark.parametrize("phi", ALL, ids=identity)
def test_ratio_bound_is_sharp_or_infinite_for_a_reason(phi: mfo.Activation) -> None:
    t = np.concatenate([np.geomspace(1e-8, 1e8, 20001), -np.geomspace(1e-8, 1e8, 20001), [1.0, -1.0, 0.5]])
    seen = float(np.max(np.abs(phi(t) / t)))
    if phi.name == "symbolic":  # bounds by ranges: not sharp
        assert seen <= phi.ratio_bound()
        return
    assert seen > 1e6 if phi.ratio_bound() == math.inf else seen >= 0.999 * phi.ratio_bound()


@pytest.mark.parametrize("phi", ALL, ids=identity)
def test_declared_escapes_are_limits(phi: mfo.Activation) -> None:
    """(phi(s t) - offset) / s tends to the declared slopes."""
    for limit in phi.escapes:
        s = 1e-7 if limit.where == "zero" else 1e7
        for t, slope in ((-1.0, limit.left), (1.0, limit.right)):
            got = (float(phi(np.array([s * t]))[0]) - limit.offset) / (s * t)
            assert got > 1e5 if slope == math.inf else got == pytest.approx(slope, abs=1e-6)
    if phi.ratio_bound() == math.inf and phi.name not in GENERIC:
        assert phi.escapes


@pytest.mark.parametrize("phi", ALL, ids=identity)
@given(t=points)
def test_declared_asymptotes_are_near(phi: mfo.Activation, t: float) -> None:
    if phi.asymptote is None:
        return
    flint.ctx.prec = 2300
    limit = arb(phi.asymptote.left if t < 0 else phi.asymptote.right) * arb(t)
    assert not (abs(EXACT[phi.name](arb(t), phi.parameters) - limit) > arb(phi.asymptote.distance))


@pytest.mark.parametrize("phi", [p for p in ALL if p.asymptote is not None], ids=identity)
def test_asymptotes_are_sharp(phi: mfo.Activation) -> None:
    asymptote, t = phi.asymptote, np.linspace(-9.0, 9.0, 20001)
    assert asymptote is not None
    away = np.abs(phi(t) - np.where(t < 0, asymptote.left, asymptote.right) * t).max()
    assert 0.999 * asymptote.distance <= away <= asymptote.distance * (1 + 1e-12)


@pytest.mark.torch
@pytest.mark.parametrize("phi", ALL, ids=identity)
def test_torch_twin(phi: mfo.Activation) -> None:
    torch = pytest.importorskip("torch")
    t = np.concatenate([np.linspace(-9, 9, 721), [-60.0, 25.0, 60.0, 1e-9, -1e-9]])
    got = phi.torch_twin()(torch.tensor(t, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(got, phi(t), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("phi", ALL, ids=identity)
def test_rebuilt_from_its_parameters(phi: mfo.Activation) -> None:
    assert mfo.activation(phi.name, **phi.parameters) == phi

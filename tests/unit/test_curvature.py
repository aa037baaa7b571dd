"""Ranges of second derivatives against ball arithmetic."""

from __future__ import annotations

from typing import Any

import flint
import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.activations.curvature import curvature_bound_on

arb, series = flint.arb, flint.arb_series


def second(name: str, t: float) -> Any:
    """phi''(t) as a ball, by the Taylor series of a formula of this file's own."""
    flint.ctx.prec, flint.ctx.cap = 200, 4
    x = series([arb(t), arb(1)])
    if name == "tanh":
        e = (2 * x).exp()
        value = (e - 1) / (e + 1)
    elif name == "erf":
        value = x.erf()
    elif name == "softsign":
        value = x / (1 + (x if t > 0 else -x))
    elif name == "sigmoid":
        value = 1 / (1 + (-x).exp())
    elif name == "sin":
        value = x.sin()
    elif name == "softplus":
        value = (1 + x.exp()).log()
    elif name == "silu":
        value = x / (1 + (-x).exp())
    else:
        value = x * (-x / arb(2).sqrt()).erfc() / 2
    return 2 * value[2]


@pytest.mark.parametrize("name", ["tanh", "erf", "softsign", "sigmoid", "sin", "softplus", "silu", "gelu"])
def test_second_derivatives_lie_in_their_ranges(name: str) -> None:
    phi = mfo.activation(name)
    rng = np.random.default_rng(0)
    t = np.concatenate([rng.uniform(-4, 4, 400), 10.0 ** rng.uniform(-8, 1.4, 200) * rng.choice([-1.0, 1.0], 200)])
    t = np.append(t, [0.6584789484624084, 0.7071067811865475, 1.3169578969248167, 2.0, 3.4358409935351107, 1e-300])
    wide = 10.0 ** rng.uniform(-16, 1, t.size)
    with np.errstate(all="ignore"):
        found = curvature_bound_on(phi, t, t)
        around = curvature_bound_on(phi, t - wide * rng.random(t.size), t + wide * rng.random(t.size))
    assert found is not None
    assert around is not None
    assert not np.isnan(np.array([*found, *around])).any()
    for low, high in (found, around):
        for x, a, b in zip(t, low, high):
            value = second(name, float(x))
            assert not value < arb(float(a)), x
            assert not value > arb(float(b)), x
    assert (found[1] - found[0] <= 1e-11).all()


@pytest.mark.parametrize("name", ["tanh", "erf", "softsign", "sigmoid", "sin", "softplus", "silu", "gelu"])
def test_ranges_hold_all_that_points_in_them_have(name: str) -> None:
    phi = mfo.activation(name)
    rng = np.random.default_rng(1)
    lo = rng.uniform(-6, 6, 300)
    hi = lo + 10.0 ** rng.uniform(-3, 1, 300)
    whole = curvature_bound_on(phi, lo, hi)
    assert whole is not None
    for share in np.linspace(0.0, 1.0, 101):
        t = np.clip(lo + share * (hi - lo), lo, hi)
        part = curvature_bound_on(phi, t, t)
        assert part is not None
        assert (whole[0] <= part[1]).all()
        assert (whole[1] >= part[0]).all()
    infinite = curvature_bound_on(phi, np.array([-np.inf]), np.array([np.inf]))
    assert infinite is not None
    assert np.isfinite(infinite).all()
    with np.errstate(all="ignore"):
        unknown = curvature_bound_on(phi, np.array([np.nan]), np.array([0.0]))
    assert unknown is not None
    assert unknown[1][0] >= 0.9 or np.isinf(unknown[1][0]) or name in ("sigmoid", "softplus", "silu", "gelu")


def test_none_is_known_of_kinks() -> None:
    for name in ("relu", "hard_tanh", "step"):
        assert curvature_bound_on(mfo.activation(name), np.zeros(1), np.ones(1)) is None

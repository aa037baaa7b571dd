"""Second derivatives of the smooth activations: rigorous ranges, for bounds of third order.

Valid in the sense that a proof needs: phi' is absolutely continuous, and phi'' lies in the range almost everywhere on the
interval (softsign's jumps at 0), so that phi(t + s) = phi(t) + phi'(t) s + c s^2 / 2 with c in the range.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special

from ..activation import Activation, Array
from .gated import GELU, ROOT_TWO_PI, SiLU, Softplus
from .smooth import Erf, Sigmoid, Sin, Softsign, Tanh, Turn, monotone_range, widen

Enclosure = tuple[Array, Array]
Near = Callable[[Array], Enclosure]


def _tanh(t: Array) -> Enclosure:
    return widen(-2.0 * np.tanh(t) * Tanh().derivative(t), 64.0)


def _erf(t: Array) -> Enclosure:
    s = np.clip(t, -40.0, 40.0)  # beyond, all underflows
    return widen(-2.0 * s * Erf().derivative(s), np.minimum(np.square(s), 900.0) + 32.0)


def _softsign(t: Array) -> Enclosure:
    with np.errstate(over="ignore", under="ignore"):
        return widen(-2.0 * np.sign(t) / (1.0 + np.abs(t)) ** 3, 8.0)


def _sigmoid(t: Array) -> Enclosure:
    return widen(-special.expit(t) * special.expit(-t) * np.tanh(0.5 * t), 64.0)


def _difference(front: Array, a: Array, b: Array, ulps: Array | float) -> Enclosure:
    """front (a - b), whose terms may cancel."""
    lo, hi = widen(front * (a - b))
    slack = (ulps + 64.0) * 2.0**-52 * np.abs(front) * (np.abs(a) + np.abs(b)) * (1.0 + 2.0**-40)
    return lo - slack, hi + slack


def _gelu(t: Array) -> Enclosure:
    s = np.clip(t, -60.0, 60.0)
    with np.errstate(under="ignore"):
        front = np.exp(-0.5 * np.square(s)) / ROOT_TWO_PI
    return _difference(front, np.full(s.shape, 2.0), np.square(s), np.square(s))


def _silu(t: Array) -> Enclosure:
    s = np.clip(t, -800.0, 800.0)
    with np.errstate(under="ignore"):
        front = special.expit(s) * special.expit(-s)
    return _difference(front, np.full(s.shape, 2.0), s * np.tanh(0.5 * s), 0.0)


def _pair(at: float, value: float) -> tuple[Turn, Turn]:
    """Extrema of an odd function."""
    return Turn(-at, -value), Turn(at, value)


#: enclosures at points, and the extrema between which phi'' is monotone (computed to 25 digits)
TABLE: dict[type[Activation], tuple[Near, tuple[Turn, ...]]] = {
    Tanh: (_tanh, _pair(0.6584789484624084, -0.7698003589195010)),
    Erf: (_erf, _pair(0.7071067811865475, -0.9678828980765734)),
    Softsign: (_softsign, (Turn(0.0, 2.0), Turn(0.0, -2.0))),  # it jumps
    Sigmoid: (_sigmoid, _pair(1.3169578969248167, -0.09622504486493763)),
    GELU: (_gelu, (Turn(0.0, 0.7978845608028654), *(Turn(t, -0.10798193302637610) for t in (-2.0, 2.0)))),
    SiLU: (_silu, (Turn(0.0, 0.5), *(Turn(s * 3.4358409935351107, -0.03691437319989319) for s in (-1.0, 1.0)))),
}


def curvature_bound_on(phi: Activation, lo: Array, hi: Array) -> Enclosure | None:
    """Range of phi'' on each [lo, hi], or None for activations that none is known of."""
    kind = type(phi)
    if kind is Sin:
        low, high = phi.bound_on(lo, hi)
        return -high, -low
    if kind is Softplus:
        return Sigmoid().slope_bound_on(lo, hi)
    if kind not in TABLE:
        return None
    near, turns = TABLE[kind]
    return monotone_range(near, turns, (-np.inf, np.inf), lo, hi)

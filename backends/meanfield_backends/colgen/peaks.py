"""Pricing for any activation: local maxima over theta of the level, from many starts, by batched Newton ascent.

    level(theta) = |Z phi(A theta)|^2 / (4 l2 (l1 |theta|^2 + kappa))

A column violates its constraint in the master where the level exceeds 1 (kappa = 0 for free mass). Unlike the excess, the level stays
bounded for activations that grow. Its logarithm is maximised: second derivatives are exact up to differences of phi', kinks are
rounded less and less, and a step changes the preactivations of no start by much more than they are (saturated neurons are flat).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.geometry import Geometry
from meanfield_opt.losses.output_bias import OutputBias
from meanfield_opt.problem import TwoLayerProblem

from .pieces import SmoothActivation

Array = NDArray[np.float64]

#: roundings of kinks, beside a typical preactivation of about 1
EPSILONS = (0.3, 3e-2, 3e-3, 1e-4, 1e-6, 1e-9)
#: entries of all arrays of one batch together, about
BATCH = 2_000_000


@dataclass(frozen=True)
class Pricing:
    """What the level is made of at one dual point; ``rows`` is A (P, r)."""

    problem: TwoLayerProblem
    rows: Array
    dual: Array
    kappa: float

    @cached_property
    def offset(self) -> float:
        """A constant taken off phi, which changes nothing where Z 1 = 0: phi(0), so that small neurons do not respond to rounding."""
        loss = self.problem.loss
        free = isinstance(loss, OutputBias) and loss.penalty == 0.0
        return float(self.problem.activation(np.zeros(1))[0]) if free else 0.0

    def parts(self, theta: Array) -> tuple[Array, Array]:
        """|Z phi|^2 and |theta|^2 for theta (N, r)."""
        q = (self.problem.features(theta @ self.rows.T) - self.offset) @ self.dual.T
        return np.einsum("nk,nk->n", q, q), np.einsum("nr,nr->n", theta, theta)

    def level(self, theta: Array) -> Array:
        """The level, (N,); 0 where phi vanishes on all samples."""
        top, cost = self.parts(theta)
        low = 4.0 * self.problem.lambda2 * (self.problem.lambda1 * cost + self.kappa)
        with np.errstate(over="ignore"):
            return np.asarray(np.divide(top, low, out=np.zeros_like(top), where=low > 0))


def rows_of(geometry: Geometry) -> Array:
    """A (P, r)."""
    return np.ascontiguousarray(geometry.preactivation(np.eye(geometry.n_parameters)).T)


def climb(
    pricing: Pricing,
    theta: Array,
    epsilons: tuple[float, ...],
    steps: int,
    watch: Callable[[], bool],
) -> Array:
    """Where Newton ascent leads from the rows of theta (N, r), in batches; rows whose batch came too late are left as they are."""
    n, r = theta.shape
    size = max(8, BATCH // (pricing.rows.shape[0] * (4 + r)))
    out = theta.copy()
    for begin in range(0, n, size):
        if begin and watch():
            break
        out[begin : begin + size] = _climb(pricing, theta[begin : begin + size], epsilons, steps)
    return out


def _climb(pricing: Pricing, theta: Array, epsilons: tuple[float, ...], steps: int) -> Array:
    problem, rows = pricing.problem, pricing.rows
    kinked = problem.activation.pieces is not None
    homogeneous = problem.activation.degree == 1.0 and pricing.kappa == 0.0
    theta = theta.copy()
    for eps in epsilons if kinked else epsilons[-1:]:
        smooth = SmoothActivation(problem.activation, eps)
        active = np.arange(theta.shape[0])
        for _ in range(steps if kinked else 2 * steps):
            t = theta[active]
            if homogeneous:
                t = t / np.maximum(np.sqrt(np.mean(np.square(t @ rows.T), axis=1)), 1e-300)[:, None]
            value, gradient, hessian = _expand(pricing, smooth, t)
            step = _ascent(hessian, gradient)
            h, dh = t @ rows.T, step @ rows.T
            longest = np.sqrt(np.mean(np.square(dh), axis=1))
            typical = np.sqrt(np.mean(np.square(h), axis=1))
            length = np.minimum(1.0, (0.5 + 0.5 * typical) / np.maximum(longest, 1e-300))
            gain = np.zeros(active.size)
            left = np.arange(active.size)
            for _backtrack in range(6):
                trial = t[left] + length[left, None] * step[left]
                new = _value(pricing, smooth, trial)
                good = new > value[left]
                t[left[good]], gain[left[good]] = trial[good], (new - value[left])[good]
                left = left[~good]
                if left.size == 0:
                    break
                length[left] *= 0.25
            theta[active] = t
            active = active[gain > 1e-13]
            if active.size == 0:
                break
    return theta


def _value(pricing: Pricing, smooth: SmoothActivation, theta: Array) -> Array:
    """log level up to a constant; -inf where there is no response."""
    q = (smooth.both(theta @ pricing.rows.T)[0] - pricing.offset) @ pricing.dual.T
    cost = pricing.problem.lambda1 * np.einsum("nr,nr->n", theta, theta) + pricing.kappa
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.log(np.einsum("nk,nk->n", q, q)) - np.log(cost)
    return np.where(np.isnan(value), -np.inf, value)


def _expand(pricing: Pricing, smooth: SmoothActivation, theta: Array) -> tuple[Array, Array, Array]:
    """Value (N,), gradient (N, r) and Hessian (N, r, r) of the logarithm of the level."""
    rows, dual, l1 = pricing.rows, pricing.dual, pricing.problem.lambda1
    n, r = theta.shape
    h = theta @ rows.T
    phi, slope, bend = _three(smooth, h)
    q = (phi - pricing.offset) @ dual.T
    top = np.maximum(np.einsum("nk,nk->n", q, q), 1e-300)
    cost = np.maximum(l1 * np.einsum("nr,nr->n", theta, theta) + pricing.kappa, 1e-300)
    pull = q @ dual
    up = ((slope * pull) @ rows) * (2.0 / top)[:, None]
    down = theta * (2.0 * l1 / cost)[:, None]
    pairs = (rows[:, :, None] * rows[:, None, :]).reshape(-1, r * r)
    lifted = (dual.T[:, :, None] * rows[:, None, :]).reshape(rows.shape[0], -1)  # (P, d r)
    jacobian = (slope @ lifted).reshape(n, dual.shape[0], r)
    hessian = ((bend * pull) @ pairs).reshape(n, r, r) + np.einsum("nki,nkj->nij", jacobian, jacobian)
    hessian *= (2.0 / top)[:, None, None]
    hessian -= up[:, :, None] * up[:, None, :]
    hessian += down[:, :, None] * down[:, None, :]
    hessian[:, np.arange(r), np.arange(r)] -= (2.0 * l1 / cost)[:, None]
    return np.log(top) - np.log(cost), up - down, hessian


def _three(smooth: SmoothActivation, h: Array) -> tuple[Array, Array, Array]:
    """Value, first and second derivative: by differences of phi' where phi is not piecewise linear."""
    if smooth.activation.pieces is not None:
        return smooth.three(h)
    value, slope = smooth.both(h)
    step = 1e-4
    ahead, behind = smooth.activation.derivative(h + step), smooth.activation.derivative(h - step)
    return value, slope, np.asarray((ahead - behind) / (2.0 * step))


def _ascent(hessian: Array, gradient: Array) -> Array:
    """|H|^-1 gradient, eigenvalues raised to a millionth of the largest: Newton's step near a maximum, ascent everywhere."""
    total = hessian.sum(axis=(1, 2)) + gradient.sum(axis=1)
    finite = np.isfinite(total)
    hessian = np.where(finite[:, None, None], hessian, np.eye(hessian.shape[1]))
    gradient = np.where(finite[:, None], gradient, 0.0)
    w, u = np.linalg.eigh(hessian)
    size = np.abs(w)
    size = np.maximum(size, 1e-6 * size.max(axis=1, keepdims=True) + 1e-300)
    return np.asarray(np.einsum("nij,nj->ni", u, np.einsum("nij,ni->nj", u, gradient) / size))


def apart(pricing: Pricing, theta: Array, level: Array, limit: int, distance: float) -> NDArray[np.intp]:
    """Indices of up to ``limit`` rows, highest level first, no two with features and costs within ``distance`` (relative)."""
    order = np.argsort(-level, kind="stable")[: 20 * limit]
    features = pricing.problem.features(theta[order] @ pricing.rows.T)
    length: Array = np.maximum(np.linalg.norm(features, axis=1), 1e-300)
    price: Array = pricing.problem.lambda1 * np.einsum("nr,nr->n", theta[order], theta[order]) + pricing.kappa
    unit = features / length[:, None]
    most = 1.0 - max(1e-13, 0.5 * distance * distance)
    chosen: list[int] = []
    left = np.ones(order.size, dtype=bool)
    homogeneous = pricing.problem.activation.degree == 1.0
    for i in range(order.size):
        if not left[i]:
            continue
        chosen.append(i)
        if len(chosen) == limit:
            break
        near = np.flatnonzero(unit @ unit[i] > most)
        if not homogeneous:
            same = np.abs(price[near] - price[i]) <= distance * price[i] + 1e-300
            near = near[same & (np.abs(length[near] - length[i]) <= distance * length[i])]
        left[near] = False
    return np.asarray(order[chosen], dtype=np.intp)

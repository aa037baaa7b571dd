"""Second-order sliding: a damped Newton method on all atoms and readouts, with the kinks rounded less and less.

For smooth losses that are sums over entries, degree-1 activations and weights theta as coordinates. With relu_eps(t) = (t + sqrt(t^2 + eps^2)) / 2 the path
eps -> 0 is that of an interior point method: at kinks where a neuron rests, relu_eps' tends to the multiplier of that kink. Dense
linear algebra in J (r + d_Y) unknowns.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from meanfield_opt.loss import SecondOrder
from meanfield_opt.losses.squared import Squared
from meanfield_opt.problem import TwoLayerProblem

from .carrier import Carrier, ThetaCarrier
from .pieces import SmoothActivation
from .slide import Particles, balanced
from .smooth_energy import curved

Array = NDArray[np.float64]

LOGGER = logging.getLogger(__name__)

MOST_UNKNOWNS = 900


def applies(problem: TwoLayerProblem, carrier: Carrier, atoms: int) -> bool:
    """Whether this method is for the problem, and dense linear algebra for this many atoms bearable."""
    return (
        isinstance(problem.loss, SecondOrder)  # which one with an output bias is not
        and curved(problem.loss, problem.targets)
        and isinstance(carrier, ThetaCarrier)
        and problem.activation.degree == 1.0
        and problem.activation.pieces is not None
        and problem.width is None
        and 0 < atoms * (carrier.dimension + problem.n_outputs) <= MOST_UNKNOWNS
    )


@dataclass(frozen=True)
class Point:
    """The smoothed energy at (x, v), with what derivatives need."""

    x: Array
    v: Array
    value: float
    features: Array
    slope: Array
    bend: Array
    fit: Array


def evaluate(problem: TwoLayerProblem, carrier: Carrier, x: Array, v: Array, eps: float) -> Point:
    """L(v^T phi_eps) + l1 |x|^2 + l2 |v|^2 at x (J, n), v (J, d)."""
    smooth = SmoothActivation(problem.activation, eps)
    h = carrier.patterns(x)
    features, slope, bend = smooth.three(h)
    fit = v.T @ features
    value = (
        problem.loss.value(fit, problem.targets)
        + problem.lambda1 * float(np.vdot(x, x))
        + problem.lambda2 * float(np.vdot(v, v))
    )
    return Point(x, v, value, features, slope, bend, fit)


def gradient(problem: TwoLayerProblem, carrier: Carrier, at: Point) -> tuple[Array, Array]:
    """In x and in v."""
    dual = -problem.loss.gradient(at.fit, problem.targets)
    pull = at.v @ dual
    gx = 2.0 * problem.lambda1 * at.x - carrier.pull(at.slope * pull)
    gv = 2.0 * problem.lambda2 * at.v - at.features @ dual.T
    return gx, gv


def hessian(problem: TwoLayerProblem, rows: Array, at: Point) -> Array:
    """The exact Hessian, unknowns ordered (x_1, .., x_J, v_1, .., v_J); ``rows`` is A (P, n)."""
    j, n = at.x.shape
    d = at.v.shape[1]
    dual = -problem.loss.gradient(at.fit, problem.targets)
    lift = (at.slope[:, None, :] * rows.T[None, :, :]).reshape(j * n, -1)  # d h-features / d x_j
    a = j * n
    out = np.zeros((j * (n + d), j * (n + d)))
    xx, vv, xv = out[:a, :a], out[a:, a:].reshape(j, d, j, d), np.empty((j, n, j, d))
    if isinstance(problem.loss, Squared):  # one curvature for all: products of all outputs at once
        np.matmul(lift, lift.T, out=xx)
        xx.reshape(j, n, j, n)[...] *= (2.0 * (at.v @ at.v.T))[:, None, :, None]
        xv[...] = np.einsum("inj,ik->injk", (lift @ at.features.T).reshape(j, n, j), 2.0 * at.v)
        vv[...] = (2.0 * (at.features @ at.features.T))[:, None, :, None] * np.eye(d)[None, :, None, :]
    else:
        _curve(problem, at, lift, xx.reshape(j, n, j, n), xv, vv)
    weight = at.bend * (at.v @ dual)
    cross = (lift @ dual.T).reshape(j, n, d)
    for i in range(j):
        block = slice(i * n, (i + 1) * n)
        xx[block, block] -= (rows.T * weight[i]) @ rows
        xv[i, :, i, :] -= cross[i]
    out[:a, a:] = xv.reshape(a, j * d)
    out[a:, :a] = out[:a, a:].T
    diagonal = out.reshape(-1)[:: out.shape[0] + 1]
    diagonal[:a] += 2.0 * problem.lambda1
    diagonal[a:] += 2.0 * problem.lambda2
    return out


def _curve(problem: TwoLayerProblem, at: Point, lift: Array, xx: Array, xv: Array, vv: Array) -> None:
    """The loss's own curvature, into xx (J, n, J, n), xv (J, n, J, d) and vv (J, d, J, d), which are zero."""
    assert isinstance(problem.loss, SecondOrder)
    roots = problem.loss.curvature_roots(at.fit, problem.targets)
    assert roots is not None
    j, n, d = xv.shape[0], xv.shape[1], xv.shape[3]
    for k in range(d):
        # row k of every sample's Hessian; of a sum over entries only the diagonal
        row = np.einsum("bp,lbp->lp", roots[k], roots) if roots.ndim == 3 else np.square(roots[k])[None]
        others = np.arange(d) if roots.ndim == 3 else np.array([k])
        pull = lift * np.repeat(at.v[:, others] @ row, n, axis=0)
        xx += (pull @ lift.T).reshape(j, n, j, n) * at.v[None, None, :, k, None]
        xv[..., k] = (pull @ at.features.T).reshape(j, n, j)
        for l, curvature in zip(others, row, strict=True):
            vv[:, k, :, l] = (at.features * curvature) @ at.features.T


def polish(
    problem: TwoLayerProblem,
    carrier: Carrier,
    particles: Particles,
    *,
    first: float,
    last: float,
    steps: int = 60,
    watch: Callable[[], bool] | None = None,
    enough: float = -math.inf,
) -> Particles:
    """Follow the smoothed minimiser from eps = ``first`` to ``last`` (relative to the typical preactivation), until its energy is ``enough``."""
    particles = balanced(carrier, problem, particles)
    x, v = particles.x, particles.readouts.T.copy()
    if x.shape[0] == 0:
        return particles
    rows = carrier.patterns(np.eye(carrier.dimension)).T
    typical = math.sqrt(float(np.mean(np.square(carrier.patterns(x)))))
    eps = first
    damping = 1e-6
    at = evaluate(problem, carrier, x, v, eps * typical)
    scale = problem.loss.value(np.zeros_like(problem.targets), problem.targets)
    for step in range(steps):
        if at.value <= enough or (watch is not None and watch()):
            break
        gx, gv = gradient(problem, carrier, at)
        g = np.concatenate([gx.ravel(), gv.ravel()])
        matrix = hessian(problem, rows, at)
        mean = float(np.mean(np.diag(matrix)))
        delta, damping = _solve(matrix, g, damping, mean)
        t, decrease = 1.0, -float(g @ delta)
        accepted = False
        for _ in range(12):
            dx, dv = delta[: x.size].reshape(x.shape), delta[x.size :].reshape(v.shape)
            trial = evaluate(problem, carrier, at.x + t * dx, at.v + t * dv, eps * typical)
            if trial.value <= at.value - 1e-4 * t * decrease + 1e-15 * scale:
                accepted = True
                break
            t *= 0.4
        if accepted:
            at = trial
            damping = max(damping * (0.2 if t == 1.0 else 2.0), 1e-12)
        else:
            damping = max(damping, 1e-10) * 30.0
        LOGGER.debug(
            "newton %d eps %.1e value %.12g decrease %.1e t %.2f damping %.0e",
            step,
            eps,
            at.value,
            decrease,
            t,
            damping,
        )
        if decrease <= 0.3 * eps * abs(at.value) * 1e-1 or damping > 1e3:
            if eps <= last and (decrease <= 1e-14 * abs(at.value) or damping > 1e3):
                break
            if eps > last:
                eps = max(eps * 0.3, last)
                at = evaluate(problem, carrier, at.x, at.v, eps * typical)
                damping = min(damping, 1e-4)
    return Particles(at.x, at.v.T.copy(), np.ones(at.x.shape[0]))


def _solve(matrix: Array, g: Array, damping: float, mean: float) -> tuple[Array, float]:
    """-(H + damping mean I)^{-1} g, the damping raised until the matrix is positive definite; no step where none helps."""
    diagonal = matrix.reshape(-1)[:: matrix.shape[0] + 1]
    base = diagonal.copy()
    while damping < 1e12:
        diagonal[:] = base + damping * mean
        try:
            factor = linalg.cho_factor(matrix, lower=True, check_finite=False)
        except linalg.LinAlgError:
            damping = max(10.0 * damping, 1e-10)
            continue
        step = -np.asarray(linalg.cho_solve(factor, g, check_finite=False))
        if np.isfinite(step).all():
            return step, damping
        damping = max(10.0 * damping, 1e-10)
    return np.zeros_like(g), damping

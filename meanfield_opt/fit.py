"""The inner problem: best output weights for fixed features, with the dual point that proves them best."""

from __future__ import annotations

import logging
import math

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

from .box_program import solve_inner
from .errors import RefusalError
from .loss import ConicTerms, Loss, Proximal
from .losses.output_bias import OutputBias
from .losses.squared import Squared
from .losses.weighted import Weighted

Array = NDArray[np.float64]
log = logging.getLogger(__name__)


def best_readout(loss: Loss, features: Array, targets: Array, ridge: float, start: Array | None = None) -> Array:
    """argmin_V L(V Phi; Y) + ridge |V|^2 with Phi (J, P) and V (d_Y, J)."""
    return inner_problem(loss, features, targets, ridge, start)[0]


def inner_problem(
    loss: Loss, features: Array, targets: Array, ridge: float, start: Array | None = None
) -> tuple[Array, Array]:
    """(V, Z): the minimiser of L(V Phi; Y) + ridge |V|^2 and the optimal dual point Z = -dL, V = Z Phi^T / (2 ridge).

    Squared losses: linear systems. Smooth losses: L-BFGS in the metric of their curvature bound. Piecewise linear losses:
    their dual, a quadratic program over a box, by an interior point method. Other nonsmooth losses: the
    method of multipliers on F = V Phi, for which the loss must have a proximal operator (RefusalError otherwise): a
    subgradient at the optimum alone would not be a dual point.
    """
    if isinstance(loss, OutputBias):
        rows = np.vstack([features, np.ones((1, features.shape[1]))])
        ridges = np.append(np.full(features.shape[0], ridge), loss.penalty)
        first = None if start is None else np.hstack([start, np.zeros((start.shape[0], 1))])
        v, z = _solve(loss.base, rows, targets, ridges, first)
        return v[:, :-1], z
    return _solve(loss, features, targets, np.full(features.shape[0], ridge), start)


def _solve(loss: Loss, phi: Array, targets: Array, ridge: Array, start: Array | None) -> tuple[Array, Array]:
    if isinstance(loss, Squared):
        v = _least_squares(phi, targets, ridge)
    elif isinstance(loss, Weighted) and isinstance(loss.base, Squared):
        w = loss.weights(targets)
        v = np.vstack(
            [
                _least_squares(phi * root, (y * root)[None, :], ridge)
                for y, root in zip(targets, np.sqrt(w), strict=True)
            ]
        )
    elif math.isfinite(loss.curvature()):
        v = _smooth(loss, phi, targets, ridge, start)
    else:
        return _nonsmooth(loss, phi, targets, ridge, start)
    return v, -loss.gradient(v @ phi, targets)


def _least_squares(phi: Array, targets: Array, ridge: Array) -> Array:
    """Ridge regression in whichever of J and P is smaller."""
    j, p = phi.shape
    if j <= p or not (ridge > 0).all():
        gram = phi @ phi.T
        gram[np.diag_indices(j)] += ridge
        return np.asarray(_solve_positive(gram, phi @ targets.T).T)
    scaled = phi / ridge[:, None]
    gram = phi.T @ scaled
    gram[np.diag_indices(p)] += 1.0
    return np.asarray(_solve_positive(gram, targets.T).T @ scaled.T)


def _solve_positive(matrix: Array, right: Array) -> Array:
    """M^{-1} B for M positive semidefinite up to rounding; the least-norm solution where it is singular."""
    try:
        return np.asarray(linalg.cho_solve(linalg.cho_factor(matrix), right))
    except linalg.LinAlgError:
        return np.asarray(np.linalg.lstsq(matrix, right, rcond=1e-14)[0])


def _root(phi: Array, ridge: Array, curvature: float) -> Array:
    """The lower Cholesky factor of curvature Phi Phi^T + 2 diag(ridge), which bounds the Hessian from above."""
    hessian = curvature * (phi @ phi.T)
    size = float(np.trace(hessian)) / hessian.shape[0] + 2.0 * float(ridge.max())
    hessian[np.diag_indices_from(hessian)] += 2.0 * ridge + 1e-14 * size + 1e-300
    return np.asarray(np.linalg.cholesky(hessian))


def _smooth(loss: Loss, phi: Array, targets: Array, ridge: Array, start: Array | None) -> Array:
    root = _root(phi, ridge, loss.curvature())
    shape = (targets.shape[0], phi.shape[0])

    def weights(flat: Array) -> Array:
        return np.asarray(linalg.solve_triangular(root, flat.reshape(shape).T, trans="T", lower=True).T)

    def objective(flat: Array) -> tuple[float, Array]:
        v = weights(flat)
        f = v @ phi
        slope = loss.gradient(f, targets) @ phi.T + 2.0 * ridge * v
        value = loss.value(f, targets) + float(np.sum(ridge * np.square(v)))
        return value, np.asarray(linalg.solve_triangular(root, slope.T, lower=True).T).ravel()

    first = np.zeros(shape) if start is None else start @ root
    return weights(_minimise(objective, first.ravel(), 1e-12))


def _minimise(objective: object, first: Array, gtol: float) -> Array:
    options = {"maxiter": 3000, "maxfun": 6000, "ftol": 1e-16, "gtol": gtol, "maxcor": 20}
    return np.asarray(optimize.minimize(objective, first, jac=True, method="L-BFGS-B", options=options).x)


def _nonsmooth(loss: Loss, phi: Array, targets: Array, ridge: Array, start: Array | None) -> tuple[Array, Array]:
    """Multipliers: Z+ = Z + s (F - V Phi) with F the proximal point, V minimising the augmented Lagrangian."""
    form = loss.residual_form(targets) if isinstance(loss, ConicTerms) else None
    if form is not None and not form.quadratic:
        v, z = solve_inner(form, phi, ridge)
        gap, primal = _inner_gap(loss, phi, targets, ridge, v, z)
        if gap <= 1e-8 * (1e-300 + abs(primal)):
            return v, z
        log.debug("the box program of the inner problem ends at a gap of %.1e; multipliers go on", gap)
    if not isinstance(loss, Proximal):
        raise RefusalError(
            f"the {loss.name} loss is neither smooth nor has it a proximal operator, so its output weights cannot be found."
        )
    prox: Proximal = loss
    shape = (targets.shape[0], phi.shape[0])
    v = np.zeros(shape) if start is None else start
    z = np.zeros_like(targets)
    sigma = 1.0
    best: tuple[float, Array, Array] | None = None

    for _ in range(60):
        root = _root(phi, ridge, sigma)

        def step(
            flat: Array, z: Array = z, sigma: float = sigma, root: Array = root
        ) -> tuple[float, Array, Array, Array]:
            w = np.asarray(linalg.solve_triangular(root, flat.reshape(shape).T, trans="T", lower=True).T)
            f = w @ phi
            point = prox.proximal(f - z / sigma, targets, 1.0 / sigma)
            moved = z + sigma * (point - f)
            value = loss.value(point, targets) + float(np.vdot(moved, moved) - np.vdot(z, z)) / (2.0 * sigma)
            slope = 2.0 * ridge * w - moved @ phi.T
            out = linalg.solve_triangular(root, slope.T, lower=True).T
            return value + float(np.sum(ridge * np.square(w))), np.asarray(out), w, moved

        flat = _minimise(lambda x, step=step: (lambda r: (r[0], r[1].ravel()))(step(x)), (v @ root).ravel(), 1e-13)
        _, _, v, z = step(flat)
        dual = loss.project_dual(z, targets)
        gap, primal = _inner_gap(loss, phi, targets, ridge, v, dual)
        if best is None or gap < best[0]:
            best = (gap, v, dual)
        if gap <= 1e-11 * (1e-300 + abs(primal)):
            break
        sigma = min(sigma * 2.0, 1e6)
    assert best is not None
    return best[1], best[2]


def _inner_gap(loss: Loss, phi: Array, targets: Array, ridge: Array, v: Array, dual: Array) -> tuple[float, float]:
    """(duality gap, primal value) of the inner problem."""
    bound = loss.dual_value(dual, targets) - _quadratic(dual @ phi.T, ridge)
    primal = loss.value(v @ phi, targets) + float(np.sum(ridge * np.square(v)))
    return primal - bound, primal


def _quadratic(response: Array, ridge: Array) -> float:
    """sup_V <Z Phi^T, V> - ridge |V|^2, where unpenalised features count as fitted."""
    used = ridge > 0
    return float(np.sum(np.square(response[:, used]) / (4.0 * ridge[used])))

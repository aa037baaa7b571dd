"""Exact local maxima of the ratio in few dimensions: batched Newton ascent along less and less rounded kinks.

For degree 1 the maxima over theta of  |Z phi(A theta)| - |theta|^2 / 2  are those of |Z phi(A theta)| / |theta|. A maximum
usually lies on kinks a_p . theta = 0, where gradient ascent zigzags; with phi_eps, eps -> 0, Newton's method runs into it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.problem import TwoLayerProblem

from .pieces import SmoothActivation

Array = NDArray[np.float64]


def sharpen(problem: TwoLayerProblem, rows: Array, dual: Array, theta: Array, epsilons: tuple[float, ...]) -> Array:
    """Local maxima (at most N, n), of unit length, near the starts ``theta`` (N, n); ``rows`` is A (P, n).

    epsilons: roundings relative to the typical preactivation, four Newton steps each. Starts that are clearly on the way to a
    maximum below the feasible level are dropped.
    """
    n = rows.shape[1]
    pairs = (rows[:, :, None] * rows[:, None, :]).reshape(-1, n * n)
    lifted = (dual.T[:, :, None] * rows[:, None, :]).reshape(rows.shape[0], -1)  # (P, d n)
    theta = theta / np.maximum(np.linalg.norm(theta, axis=1, keepdims=True), 1e-300)
    typical = float(np.sqrt(np.mean(np.square(theta @ rows.T))))

    def value(t: Array, eps: float) -> Array:
        q = SmoothActivation(problem.activation, eps).both(t @ rows.T)[0] @ dual.T
        return np.asarray(np.sqrt(np.einsum("nk,nk->n", q, q)) - 0.5 * np.einsum("ni,ni->n", t, t))

    # at a maximum |theta| is the value of the ratio there
    size = value(theta, 0.0) + 0.5
    alive = size > 1e-8 * size.max(initial=0.0)  # not where phi vanishes on all samples
    theta, size = theta[alive] * size[alive, None], size[alive]
    for relative in epsilons:
        if theta.shape[0] == 0:
            break
        eps = relative * typical * float(np.median(size))
        smooth = SmoothActivation(problem.activation, eps)
        for _ in range(4):
            phi, slope, bend = smooth.three(theta @ rows.T)
            q = phi @ dual.T
            norm = np.maximum(np.linalg.norm(q, axis=1), 1e-300)
            unit = q / norm[:, None]
            pull = unit @ dual
            gradient = (slope * pull) @ rows - theta
            jacobian = (slope @ lifted).reshape(-1, dual.shape[0], n)
            along = np.einsum("nk,nki->ni", unit, jacobian)
            across = np.einsum("nki,nkj->nij", jacobian, jacobian) - along[:, :, None] * along[:, None, :]
            hessian = ((bend * pull) @ pairs).reshape(-1, n, n) + across / norm[:, None, None] - np.eye(n)
            step = _upward(hessian, gradient)
            length = np.linalg.norm(step, axis=1)
            t = np.minimum(1.0, 0.3 * size / np.maximum(length, 1e-300))
            old = norm - 0.5 * np.einsum("ni,ni->n", theta, theta)
            left = np.arange(theta.shape[0])
            for _backtrack in range(4):
                trial = theta[left] + t[left, None] * step[left]
                good = value(trial, eps) >= old[left] - 1e-15 * np.abs(old[left])
                theta[left[good]] = trial[good]
                left = left[~good]
                if left.size == 0:
                    break
                t[left] *= 0.25
        length = np.linalg.norm(theta, axis=1)
        level = np.square((value(theta, 0.0) + 0.5 * length**2) / np.maximum(length, 1e-300)) / problem.tau
        near = level >= 1.0 - 3.0 * relative**0.5
        theta, size = theta[near], size[near]
    return np.asarray(theta / np.maximum(np.linalg.norm(theta, axis=1, keepdims=True), 1e-300))


def _upward(hessian: Array, gradient: Array) -> Array:
    """Newton's steps (N, n) where they go up; elsewhere those of |H|, whose eigenvalues are at least 0.1."""
    try:
        step = -np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError:
        step = np.zeros_like(gradient)
    size = np.linalg.norm(gradient, axis=1)
    rise = np.einsum("ni,ni->n", step, gradient)
    bad = ~((rise > 0.0) & (np.linalg.norm(step, axis=1) <= 10.0 * size))
    if bad.any():
        w, u = np.linalg.eigh(hessian[bad])
        scaled = np.einsum("nij,ni->nj", u, gradient[bad]) / np.maximum(np.abs(w), 0.1)
        step[bad] = np.einsum("nij,nj->ni", u, scaled)
    return np.asarray(step)

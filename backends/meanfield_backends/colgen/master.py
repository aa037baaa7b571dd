"""The master problem: best readouts on fixed atoms, a group lasso (theory section 1).

    min_V  L(V Phi; Y) + sum_j weight_j |V_j|_2 ,   V (d_Y, J), Phi (J, P)

with weight_j = 2 sqrt(l2 (l1 c_j + kappa)); kappa = 0 for free mass, otherwise the multiplier of the mass constraint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from meanfield_opt.loss import Loss
from meanfield_opt.losses.squared import Squared
from meanfield_opt.problem import TwoLayerProblem

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Master:
    """Readouts V (d_Y, J) = m_j w_j, masses (J,), the mass multiplier kappa (0 for free mass), and the energy."""

    readouts: Array
    masses: Array
    kappa: float
    energy: float


def shrink(v: Array, threshold: Array) -> Array:
    """The proximal map of sum_j threshold_j |v_j|, columns j."""
    norms = np.sqrt(np.einsum("kj,kj->j", v, v))
    factor = np.maximum(0.0, 1.0 - np.divide(threshold, norms, out=np.full_like(norms, np.inf), where=norms > 0))
    return np.asarray(v * factor)


def group_lasso(loss: Loss, features: Array, targets: Array, weights: Array, start: Array, tolerance: float) -> Array:
    """Accelerated proximal gradient with restarts, then Newton on the support for the squared loss.

    tolerance: on the proximal-gradient residual, relative to the largest feature response to the targets.
    """
    d, j = start.shape
    if j == 0:
        return start
    scale = np.sqrt(np.einsum("jp,jp->j", features, features))
    scale[scale == 0] = 1.0
    phi = features / scale[:, None]
    weight = weights / scale
    v = start * scale
    if isinstance(loss, Squared):
        gram = phi @ phi.T
        cross = targets @ phi.T

        def gradient(x: Array) -> Array:
            return np.asarray(2.0 * (x @ gram - cross))

        top = 2.0 * float(linalg.eigvalsh(gram, subset_by_index=(j - 1, j - 1))[0])
    else:
        gram = phi @ phi.T

        def gradient(x: Array) -> Array:
            return np.asarray(loss.gradient(x @ phi, targets) @ phi.T)

        top = loss.curvature() * float(linalg.eigvalsh(gram, subset_by_index=(j - 1, j - 1))[0])
    step = 1.0 / (top * (1 + 1e-12) + 1e-300)
    reference = max(float(np.abs(gradient(np.zeros((d, j)))).max()), 1e-300)
    y, t = v, 1.0
    for _ in range(1000):
        new = shrink(y - step * gradient(y), step * weight)
        move = new - v
        # gradient restart (O'Donoghue and Candes 2015): momentum that points uphill is dropped
        if float(np.vdot(y - new, move)) > 0:
            t = 1.0
        t_next = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * t * t))
        y, v, t = new + ((t - 1.0) / t_next) * move, new, t_next
        converged = float(np.abs(move).max()) <= tolerance * step * reference
        if converged:
            break
    if isinstance(loss, Squared):
        better = newton_on_support(gram, cross, weight, v)
        v = v if better is None else better
    return np.asarray(v / scale)


def newton_on_support(gram: Array, cross: Array, weight: Array, start: Array) -> Array | None:
    """Newton's method on the nonzero columns; None unless it converges and the zero columns satisfy their condition."""
    d = start.shape[0]
    norms = np.sqrt(np.einsum("kj,kj->j", start, start))
    on = np.flatnonzero(norms > 0)
    n = on.size * d
    if on.size == 0 or n > 3000:
        return None
    g, c, w, v = gram[np.ix_(on, on)], cross[:, on], weight[on], start[:, on]
    scale = float(np.abs(c).max()) + 1e-300
    last = math.inf
    for _ in range(8):
        norm = np.sqrt(np.einsum("kj,kj->j", v, v))
        if not (norm > 0).all():
            return None
        unit = v / norm
        residual = 2.0 * (v @ g - c) + w * unit
        size = float(np.abs(residual).max())
        if size <= 1e-14 * scale or (size <= 1e-12 * scale and size >= 0.5 * last):
            break
        if size > 10.0 * last:
            return None
        last = size
        # Hessian of |v|: (I - u u^T) / |v|; unknowns ordered (j, k)
        hessian = np.kron(2.0 * g, np.eye(d))
        for i in range(on.size):
            block = (np.eye(d) - np.outer(unit[:, i], unit[:, i])) * (w[i] / norm[i])
            hessian[i * d : (i + 1) * d, i * d : (i + 1) * d] += block
        hessian[np.diag_indices(n)] += 1e-14 * float(np.trace(hessian))
        try:
            factor = linalg.cho_factor(hessian, overwrite_a=True, check_finite=False)
        except linalg.LinAlgError:
            return None
        delta = linalg.cho_solve(factor, residual.T.ravel(), check_finite=False).reshape(-1, d).T
        longest = float((np.sqrt(np.einsum("kj,kj->j", delta, delta)) / norm).max())
        v = v - min(1.0, 0.9 / max(longest, 1e-300)) * delta
    out = np.zeros_like(start)
    if not last <= 1e-10 * scale:
        return None
    out[:, on] = v
    off = norms == 0
    if off.any():
        gradient = 2.0 * (out @ gram[:, off] - cross[:, off])
        if (np.sqrt(np.einsum("kj,kj->j", gradient, gradient)) > weight[off] * (1 + 1e-9)).any():
            return None
    return out


def solve_master(
    problem: TwoLayerProblem, features: Array, cost: Array, start: Array, tolerance: float, kappa: float = 0.0
) -> Master:
    """Best readouts and masses on fixed atoms; under a width the multiplier kappa is found by a safeguarded secant."""

    def at(k: float, first: Array) -> tuple[Array, Array]:
        level = problem.lambda1 * cost + k
        v = group_lasso(
            problem.loss, features, problem.targets, 2.0 * np.sqrt(problem.lambda2 * level), first, tolerance
        )
        norm = np.sqrt(np.einsum("kj,kj->j", v, v))
        ratio = np.divide(problem.lambda2, level, out=np.zeros_like(level), where=level > 0)
        return v, np.sqrt(ratio) * norm

    v, masses = at(0.0, start)
    found = 0.0
    if problem.width is not None and masses.sum() > problem.width:
        v, masses, found = _multiplier(at, v, float(masses.sum()), problem.width, kappa, 0.1 * tolerance)
    return Master(v, masses, found, master_energy(problem, features, cost, v, masses))


def masses_of(problem: TwoLayerProblem, cost: Array, readouts: Array, masses: Array) -> Array:
    """The best masses (J,) for readouts V (d_Y, J); those given where an atom costs nothing, so that more is always better."""
    norm = np.sqrt(np.einsum("kj,kj->j", readouts, readouts))

    def at(kappa: float, v: Array) -> tuple[Array, Array]:
        level = problem.lambda1 * cost + kappa
        best = np.sqrt(np.divide(problem.lambda2, level, out=np.zeros_like(level), where=level > 0)) * norm
        return v, np.where(level > 0, best, masses)

    new = at(0.0, readouts)[1]
    if problem.width is not None and new.sum() > problem.width:
        new = _multiplier(at, readouts, float(new.sum()), problem.width, 0.0, 0.0)[1]
    return new


def _multiplier(
    at: object, v: Array, total: float, width: float, guess: float, accuracy: float
) -> tuple[Array, Array, float]:
    """Readouts, masses and the kappa at which these fill the width, to within ``accuracy`` of it: how exact ``at`` is."""
    assert callable(at)
    lo, hi = 0.0, math.inf
    kappa = guess if guess > 0 else 1e-3
    masses = np.zeros(v.shape[1])
    for _ in range(80):
        v, masses = at(kappa, v)
        total = float(masses.sum())
        if abs(total - width) <= max(1e-13, accuracy) * width:
            break
        if total > width:
            lo = kappa
        else:
            hi = kappa
        # masses fall like a power of kappa: a multiplicative step, kept inside the bracket
        trial = kappa * (total / width) ** 2 if total > 0 else 0.5 * (lo + hi)
        if not lo < trial < hi or (
            math.isfinite(hi) and hi - lo < 0.3 * lo and not abs(trial - kappa) < 0.3 * (hi - lo)
        ):
            trial = 0.5 * (lo + hi) if math.isfinite(hi) else 4.0 * kappa
        if trial == kappa:
            break
        kappa = trial
    if total > width:  # exactly feasible, at a cost of rounding size
        factor = width / total
        masses = masses * factor
    return v, masses, kappa


def master_energy(problem: TwoLayerProblem, features: Array, cost: Array, v: Array, masses: Array) -> float:
    """L(V Phi) + sum_j (l1 m_j c_j + l2 |V_j|^2 / m_j)."""
    square = np.einsum("kj,kj->j", v, v)
    ridge = np.divide(square, masses, out=np.zeros_like(square), where=masses > 0)
    value = problem.loss.value(v @ features, problem.targets)
    return float(value + problem.lambda1 * float(masses @ cost) + problem.lambda2 * float(ridge.sum()))

"""The master in the masses alone, by an interior-point method: accurate duals on thousands of samples and near-parallel atoms.

For the squared loss the readouts can be eliminated (theory section 1). On atoms of cost 1 with features Phi (J, P)

    E(m) = l1 sum_j m_j + tr Y K(m)^-1 Y^T ,   K(m) = I + Phi^T diag(m) Phi / l2 ,   m >= 0

is smooth and convex. With R = Y K^-1, q_j = R phi_j and N = Phi K^-1 Phi^T its gradient is l1 - |q_j|^2 / l2, its Hessian
(2 / l2^2) <q_i, q_j> N_ij, and the readouts are V_j = m_j q_j / l2. Dense linear algebra in J unknowns, whatever d_Y.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Centre:
    """Masses m (J,), readouts V (d_Y, J), slacks s (J,) ~ gradient of E, and the energy."""

    masses: Array
    readouts: Array
    slacks: Array
    energy: float


@dataclass(frozen=True)
class _Point:
    value: float
    responses: Array  # q (d, J)
    resolvent: Array  # N (J, J)


def _evaluate(gram: Array, cross: Array, square: float, m: Array, l1: float, l2: float) -> _Point:
    root = np.sqrt(m / l2)
    inner = gram * root[:, None] * root
    inner.reshape(-1)[:: m.size + 1] += 1.0
    factor = linalg.cholesky(inner, lower=True, overwrite_a=True, check_finite=False)
    both = np.hstack([gram, cross.T]) * root[:, None]
    w = linalg.solve_triangular(factor, both, lower=True, overwrite_b=True, check_finite=False)
    left, right = w[:, : m.size], w[:, m.size :]
    value = l1 * float(m.sum()) + square - float(np.vdot(right, right))
    return _Point(value, cross - right.T @ left, gram - left.T @ left)


def interior_point(
    features: Array, targets: Array, l1: float, l2: float, start: Array, tolerance: float, steps: int = 80
) -> Centre | None:
    """Minimise E over m >= 0 from ``start`` (J,) to a duality gap of about ``tolerance`` times the energy at m = 0.

    features: (J, P), of atoms of cost 1. None where linear algebra breaks down.
    """
    gram, cross, square = features @ features.T, targets @ features.T, float(np.vdot(targets, targets))
    count = start.size
    if count == 0 or square == 0.0:
        return None
    # a cold start from large masses, where the gradient is positive; a warm one from slightly interior masses
    total = float(start.sum())
    m = np.maximum(start, 0.1 * total / count) if total > 0 else np.full(count, square / (l1 * count))
    try:
        at = _evaluate(gram, cross, square, m, l1, l2)
        s = np.maximum(l1 - np.einsum("kj,kj->j", at.responses, at.responses) / l2, 0.1 * l1)
        for _ in range(steps):
            gradient = l1 - np.einsum("kj,kj->j", at.responses, at.responses) / l2
            gap, mismatch = float(m @ s), float(np.abs(gradient - s).max())
            if gap <= tolerance * square and mismatch <= tolerance * l1 * 10.0:
                break
            mu = 0.15 * gap / count
            hessian = (at.responses.T @ at.responses) * at.resolvent
            hessian *= 2.0 / l2**2
            hessian.reshape(-1)[:: count + 1] += s / m
            slope = gradient - mu / m
            factor = linalg.cho_factor(hessian, lower=True, overwrite_a=True, check_finite=False)
            dm = -linalg.cho_solve(factor, slope, check_finite=False)
            ds = mu / m - s - (s / m) * dm
            t = 1.0 / max(1.0, float((-dm / m).max()) / 0.99)
            u = 1.0 / max(1.0, float((-ds / s).max()) / 0.99)
            before, decrease = at.value - mu * float(np.log(m).sum()), float(slope @ dm)
            for _backtrack in range(20):
                new = m + t * dm
                trial = _evaluate(gram, cross, square, new, l1, l2)
                after = trial.value - mu * float(np.log(new).sum())
                if after <= before + 1e-4 * t * decrease + 1e-13 * square:
                    break
                t *= 0.5
            m, at = new, trial
            s = s + u * ds
    except linalg.LinAlgError:
        return None
    return Centre(m, at.responses * (m / l2), s, at.value)

"""Keeping atoms few: pruning, and merging of near-parallel atoms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.problem import TwoLayerProblem

from .carrier import Carrier
from .slide import Particles

Array = NDArray[np.float64]

#: relative change of the outputs that a step of ``caratheodory`` may make
CHANGED = 1e-4
#: eigenvalues of its Gram matrix, relative to the largest, below which rounding decides
NOISE = 1e-13
#: entries times atoms up to which singular values are then computed; beyond, all atoms stay
MOST_SINGULAR = 1e10


def prune(carrier: Carrier, particles: Particles, relative: float = 1e-12) -> Particles:
    """Drop atoms whose share of the penalty sum_j sqrt(c_j) |V_j| is negligible."""
    share = np.sqrt(
        np.maximum(carrier.cost(particles.x), 0.0) * np.einsum("kj,kj->j", particles.readouts, particles.readouts)
    )
    return particles.take(share > relative * max(float(share.sum()), 1e-300))


def shares(masses: Array, readouts: Array, features: Array) -> Array:
    """Each atom's share (J,) of the mass or of what all add to the outputs, whichever is larger: long neurons of little mass may matter."""
    effect = np.linalg.norm(readouts, axis=0) * np.linalg.norm(features, axis=1)
    return np.asarray(np.maximum(masses / max(float(masses.sum()), 1e-300), effect / max(float(effect.sum()), 1e-300)))


def merge(problem: TwoLayerProblem, carrier: Carrier, particles: Particles, angle: float) -> Particles:
    """Replace groups of atoms within ``angle`` (distance relative to size) by one atom each at their weighted mean.

    For degree 1 directions are compared and rescaled; otherwise the coordinates themselves.
    """
    if particles.count < 2:
        return particles
    x = particles.x
    norm = np.sqrt(np.maximum(carrier.cost(x), 1e-300))
    weight = norm * np.sqrt(np.einsum("kj,kj->j", particles.readouts, particles.readouts))
    homogeneous = problem.activation.degree == 1.0
    unit = x / norm[:, None] if homogeneous else x
    gram = unit @ carrier.metric(unit).T
    size = np.diag(gram)
    distance2 = size[:, None] + size[None, :] - 2.0 * gram
    near = distance2 <= angle * angle * np.minimum(size[:, None], size[None, :])
    left = np.ones(particles.count, dtype=bool)
    rows, readouts, masses = [], [], []
    for j in np.argsort(-weight, kind="stable"):
        if not left[j]:
            continue
        group = np.flatnonzero(near[j] & left)
        group = np.union1d(group, [j])
        left[group] = False
        share = weight[group] / max(float(weight[group].sum()), 1e-300)
        if homogeneous:
            # V phi(x) adds up: carry the sizes over to the readouts, then average the directions
            v = (particles.readouts[:, group] * norm[group]).sum(axis=1)
            rows.append(share @ unit[group])
        else:
            v = particles.readouts[:, group].sum(axis=1)
            rows.append(share @ x[group])
        readouts.append(v)
        masses.append(float(particles.masses[group].sum()))
    return Particles(np.array(rows), np.array(readouts).T, np.array(masses))


def caratheodory(features: Array, cost: Array, readouts: Array, tolerance: float = 1e-11) -> Array:
    """Factors a_j >= 0 (J,), few of them nonzero, so that readouts a_j V_j keep outputs and penalty.

    The outputs sum_j a_j V_j phi_j^T and the penalty sum_j a_j sqrt(c_j) |V_j| are P d + 1 linear conditions on a, fulfilled by
    a = 1: moving along the null space until a factor vanishes leaves at most as many atoms as the conditions have rank
    (Caratheodory). tolerance: singular values below this fraction of the largest count as zero.
    """
    count = cost.size
    if count == 0:
        return np.zeros(0)
    outputs = np.einsum("kj,jp->kpj", readouts, features).reshape(-1, count)
    penalty = np.sqrt(np.maximum(cost, 0.0) * np.einsum("kj,kj->j", readouts, readouts))
    scale = np.maximum(penalty, 1e-300)
    # in units of the atoms' penalties, so that small atoms are not taken for dependent ones
    system = np.vstack([outputs / scale, (penalty / scale) * np.linalg.norm(outputs / scale, axis=0).max(initial=0.0)])
    gram = system.T @ system
    w, u = np.linalg.eigh(gram)
    # on uneven inputs a small part of the largest is not little: what moves may change the outputs by ``CHANGED`` of themselves
    little = CHANGED * float(np.linalg.norm(outputs.sum(axis=1))) / max(float(np.linalg.norm(penalty)), 1e-300)
    if little**2 >= NOISE * w[-1]:
        null = u[:, w <= min(tolerance * w[-1], little**2)]
    elif system.size * count > MOST_SINGULAR:
        return np.ones(count)
    else:
        _, size, rows = np.linalg.svd(system, full_matrices=system.shape[0] < count)
        null = rows[np.append(size, np.zeros(rows.shape[0] - size.size)) <= little].T
    a, left, alive = penalty.copy(), penalty.copy(), np.arange(count)
    while null.shape[1]:
        direction = null[:, 0]
        if not (direction > 1e-12).any():
            direction = -direction
        ratio = np.divide(left, direction, out=np.full(left.size, np.inf), where=direction > 1e-12)
        first = int(np.argmin(ratio))
        if not np.isfinite(ratio[first]):
            null = null[:, 1:]
            continue
        left = np.delete(np.maximum(left - ratio[first] * direction, 0.0), first)
        # the rest of the null space, made zero at the atom that went
        null = np.delete(null[:, 1:] - np.outer(null[:, 0], null[first, 1:] / null[first, 0]), first, axis=0)
        null /= np.maximum(np.abs(null).max(axis=0, initial=0.0), 1e-300)
        a[alive[first]] = 0.0
        alive = np.delete(alive, first)
    a[alive] = left
    return np.asarray(a / scale)

"""Keeping atoms few: pruning, and merging of near-parallel atoms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.problem import TwoLayerProblem

from .carrier import Carrier
from .slide import Particles

Array = NDArray[np.float64]


def prune(carrier: Carrier, particles: Particles, relative: float = 1e-12) -> Particles:
    """Drop atoms whose share of the penalty sum_j sqrt(c_j) |V_j| is negligible."""
    share = np.sqrt(
        np.maximum(carrier.cost(particles.x), 0.0) * np.einsum("kj,kj->j", particles.readouts, particles.readouts)
    )
    return particles.take(share > relative * max(float(share.sum()), 1e-300))


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

"""The interior-point master on thousands of columns of which few carry mass: on a working set, the others checked and added where violated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .masses import Centre, interior_point

Array = NDArray[np.float64]

#: share of the total mass below which a column leaves the working set
LIGHT = 1e-6
#: columns that enter at once: at least (if their levels are near 1), and at most
ENTERING, MOST_ENTERING = 200, 500
#: systems of columns solved at most; fewer where the gap is large: what is left out comes back with the next search
PASSES, FAR_PASSES, FAR = 4, 2, 0.05


def working_master(
    features: Array,
    targets: Array,
    l1: float,
    l2: float,
    start: Array,
    dual: Array,
    accuracy: float,
    gap: float,
    near: float,
    threads: int = 1,
) -> Centre | None:
    """Minimise E (see ``masses``) over the masses of all columns, from ``start`` (J,).

    features: (J, P), of atoms of cost 1. dual: (d, P), near the optimal one: it orders the columns without mass. accuracy: the duality gap on
    the working set, as a fraction of the energy at m = 0. gap: the present relative gap; violations of a twentieth of it are left. near: see
    ``interior_point``. None where linear algebra breaks down.
    """
    tau = 4.0 * l1 * l2
    masses, centre = np.array(start), None
    for _ in range(PASSES if gap <= FAR else FAR_PASSES):
        level = _levels(features, dual, tau)
        share = masses / max(float(masses.sum()), 1e-300)
        heavy = (share > LIGHT) & (level > np.where(share > 1e-3 / share.size, 0.0, 0.99))
        waiting = np.flatnonzero(~heavy & (level > (1.0 + 0.05 * gap if centre is not None else 0.98)))
        if centre is not None and waiting.size == 0:
            break
        violated = int((level[waiting] > 1.0 + 0.05 * gap).sum())
        entering = waiting[
            np.argsort(-level[waiting], kind="stable")[: int(np.clip(violated, ENTERING, MOST_ENTERING))]
        ]
        work = np.sort(np.concatenate([np.flatnonzero(heavy), entering]))
        if work.size == 0:
            work = np.argsort(-level, kind="stable")[:MOST_ENTERING]
        part = interior_point(features[work], targets, l1, l2, masses[work], accuracy, near=near, threads=threads)
        if part is None:
            return None
        masses, readouts = np.zeros_like(masses), np.zeros((targets.shape[0], masses.size))
        masses[work], readouts[:, work] = part.masses, part.readouts
        dual = 2.0 * (targets - part.readouts @ features[work])
        centre = Centre(masses, readouts, np.zeros_like(masses), part.energy)
    if centre is None:
        return None
    slacks = l1 * np.maximum(1.0 - _levels(features, dual, tau), 0.0)
    return Centre(centre.masses, centre.readouts, slacks, centre.energy)


def _levels(features: Array, dual: Array, tau: float) -> Array:
    q = features @ dual.T
    return np.asarray(np.einsum("jk,jk->j", q, q) / tau)

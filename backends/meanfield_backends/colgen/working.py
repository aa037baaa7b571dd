"""The interior-point master on thousands of columns of which few carry mass: on a working set, the others checked and added where violated."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.loss import Loss
from meanfield_opt.losses.squared import Squared

from .columns import Inner, chosen, outputs, responses
from .energies import MassEnergy
from .masses import SQUARED, Centre, energy_of, minimise
from .squared_energy import SquaredEnergy

Array = NDArray[np.float64]

#: relative gap above which fewer passes are made
FAR = 0.05


def _massive(masses: Array, level: Array) -> NDArray[np.bool_]:
    """Columns with mass, the lighter ones only while they are nearly violated."""
    share = masses / max(float(masses.sum()), 1e-300)
    return np.asarray((share > 1e-6) & (level > np.where(share > 1e-3 / share.size, 0.0, 0.99)))


def _heaviest(masses: Array, level: Array) -> NDArray[np.bool_]:
    """All columns but the lightest, which together have a hundredth of the mass."""
    order = np.argsort(masses, kind="stable")
    out = np.empty(masses.size, dtype=bool)
    out[order] = np.cumsum(masses[order]) > 1e-2 * float(masses.sum())
    return out


@dataclass(frozen=True)
class Working:
    """Who is in a working set.

    heavy: columns that are in for their masses, given masses and levels. first: level above which others enter the first set. left: violations
    that are left, relative to the present gap. stays: level above which a column that has entered stays without mass. least, most: columns
    that enter at once. passes, far: systems of columns solved at most; and where the gap is large: what is left out comes back with the next search.
    """

    heavy: Callable[[Array, Array], NDArray[np.bool_]]
    first: float
    left: float
    stays: float
    least: int
    most: int
    passes: int
    far: int


#: in many dimensions; and in few, where kinks make many columns of nearly the same level, which would leave and enter for ever
MANY = Working(_massive, 0.98, 0.05, math.inf, 200, 500, 4, 2)
FEW = Working(_heaviest, 0.995, 0.1, 0.98, 80, 2000, 6, 6)


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
    working: Working = MANY,
    threads: int = 1,
    loss: Loss = SQUARED,
) -> Centre | None:
    """Minimise E (see ``energies``) over the masses of all columns, from ``start`` (J,).

    features: (J, P), of atoms of cost 1. dual: (d, P), near the optimal one: it orders the columns without mass. accuracy: the duality gap on
    the working set, as a fraction of the energy at m = 0. gap: the present relative gap; only violations beyond a share of it count. near: see
    ``interior_point``. None where linear algebra breaks down.
    """
    tau = 4.0 * l1 * l2
    masses, centre, inner = np.array(start), None, None
    # from Gram matrices of few columns on many samples, most of which the next pass needs again
    quadratic = isinstance(loss, Squared)
    wanted = np.vstack([dual, targets]) if quadratic else dual
    q, cross = np.hsplit(responses(features, wanted, threads), [dual.shape[0]])
    square, none = float(np.vdot(targets, targets)), np.zeros((0, 0))
    inside = np.zeros(masses.size, dtype=bool)
    for _ in range(working.passes if gap <= FAR else working.far):
        level = np.einsum("jk,jk->j", q, q) / tau
        inside = working.heavy(masses, level) | (inside & (level > working.stays))
        violated = 1.0 + working.left * gap
        waiting = np.flatnonzero(~inside & (level > (violated if centre is not None else working.first)))
        if centre is not None and waiting.size == 0:
            break
        count = int(np.clip((level[waiting] > violated).sum(), working.least, working.most))
        inside[waiting[np.argsort(-level[waiting], kind="stable")[:count]]] = True
        work = np.flatnonzero(inside)
        if work.size == 0:
            work = np.argsort(-level, kind="stable")[: working.least]
        energy: MassEnergy
        if work.size > targets.shape[1] or not quadratic:
            energy = energy_of(loss, chosen(features, work, threads), targets, l1, l2, threads)
        else:
            inner = Inner.of(features, work, threads) if inner is None else inner.moved(features, work, threads)
            energy = SquaredEnergy(none, targets, inner.matrix, cross[work].T, square, l1, l2, threads)
        part = minimise(energy, masses[work], accuracy, near=near)
        if part is None:
            return None
        masses, readouts = np.zeros_like(masses), np.zeros((targets.shape[0], masses.size))
        masses[work], readouts[:, work] = part.masses, part.readouts
        q = responses(features, -loss.gradient(outputs(readouts, features, threads), targets), threads)
        centre = Centre(masses, readouts, np.zeros_like(masses), part.energy)
    if centre is None:
        return None
    slacks = l1 * np.maximum(1.0 - np.einsum("jk,jk->j", q, q) / tau, 0.0)
    return Centre(centre.masses, centre.readouts, slacks, centre.energy)

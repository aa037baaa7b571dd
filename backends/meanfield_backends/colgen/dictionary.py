"""The master on very many fixed atoms: an interior-point master on a working set, with the duality gap over all atoms.

    min_V  |Y - V Phi|^2 + 2 sqrt(l1 l2) sum_j sqrt(c_j) |v_j|          (theory section 1, squared loss, free mass)

The working set grows by the atoms whose constraint |Z phi_j| <= 2 sqrt(l1 l2 c_j) is violated most. Atoms that the gap-safe ball rules
out (Ndiaye et al. 2017; the dual is strongly concave: |Z - Z*|^2 <= 4 gap) are never looked at again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.errors import InputError, SolveError

from .masses import interior_point

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """Readouts V (d_Y, J), masses (J,), a feasible dual point Z (d_Y, P), energy, dual value, rounds and atoms ruled out."""

    readouts: Array
    masses: Array
    dual: Array
    energy: float
    lower: float
    rounds: int
    screened: int

    @property
    def gap(self) -> float:
        """(energy - lower) / energy."""
        return (self.energy - self.lower) / max(abs(self.energy), 1e-300)


def solve_dictionary(
    features: Array,
    targets: Array,
    cost: Array,
    l1: float,
    l2: float,
    tolerance: float = 1e-9,
    *,
    first: int = 400,
    most: int = 60,
) -> Fit:
    """The best readouts on all atoms, to a relative duality gap of ``tolerance``.

    features: (J, P). cost: (J,), positive. first: the size of the first working set. Raises InputError for costs that are not positive,
    SolveError where the gap is not reached in ``most`` rounds.
    """
    count = cost.size
    if not (cost > 0).all() or not np.isfinite(cost).all():
        raise InputError("the costs of the atoms must be positive and finite; drop atoms of no or infinite cost first.")
    size = np.sqrt(cost)
    phi = features / size[:, None]
    length = np.sqrt(np.einsum("jp,jp->j", phi, phi))
    square, limit = float(np.vdot(targets, targets)), 2.0 * math.sqrt(l1 * l2)
    readouts, masses, z = np.zeros((targets.shape[0], count)), np.zeros(count), 2.0 * targets
    response = _responses(phi, z)
    left = np.arange(count)
    energy, lower, best = square, 0.0, 0.0 * z
    gap, screened = 1.0, 0
    working = np.argsort(-response, kind="stable")[:first]
    for step in range(1, most + 1):
        top = float(response.max(initial=0.0))
        scale = min(
            1.0 if top <= 0 else limit / top, 2.0 * float(np.vdot(z, targets)) / max(float(np.vdot(z, z)), 1e-300)
        )
        value = scale * float(np.vdot(z, targets)) - 0.25 * scale**2 * float(np.vdot(z, z))
        if value > lower:
            lower, best = value, scale * z
        gap = (energy - lower) / max(energy, 1e-300)
        if gap <= tolerance:
            if left.size == count:
                return Fit(readouts / size, masses / cost, best, energy, lower, step, screened)
            # the bound must hold over all atoms, whatever rounding did to the screening
            screened, left, response = count - left.size, np.arange(count), _responses(phi, z)
            lower, best = 0.0, 0.0 * z
            continue
        radius = 2.0 * math.sqrt(max(energy - lower, 0.0))
        # |best phi| <= |scale Z phi| + |best - scale Z| |phi|
        near = response * scale + (radius + float(np.linalg.norm(best - scale * z))) * length[left]
        stay = near >= limit * (1.0 - 1e-12)
        if screened == 0:
            left, response = left[stay], response[stay]
        # the working set: what has mass, what is nearly tight, and the worst violators
        order = left[np.argsort(-response, kind="stable")]
        worst = order[: int(np.count_nonzero(response > limit * (1.0 + 1e-13)))]
        kept = working[np.isin(working, left)]
        new = np.setdiff1d(worst[: max(first, 2 * kept.size)], kept, assume_unique=True)
        working = np.concatenate([kept, new])
        if working.size == 0:
            working = order[:1] if order.size else np.array([int(np.argmax(length))])
        accuracy = max(1e-16, min(1e-2 * gap, max(0.2 * tolerance, 1e-3 * gap)) * energy / square)
        near_by = gap * energy / square
        centre = interior_point(phi[working], targets, l1, l2, masses[working], accuracy, near=near_by)
        if centre is None:
            break
        masses, readouts = np.zeros(count), np.zeros_like(readouts)
        masses[working], readouts[:, working] = centre.masses, centre.readouts
        outputs = centre.readouts @ phi[working]
        residual = targets - outputs
        norms = np.sqrt(np.einsum("kj,kj->j", centre.readouts, centre.readouts))
        energy = float(np.vdot(residual, residual)) + limit * float(norms.sum())
        z = 2.0 * residual
        response = _responses(phi[left], z)
        slack = centre.slacks / l1
        working = working[(slack < 0.3) | (centre.masses > 1e-8 * centre.masses.sum())]
    raise SolveError(
        f"the master stopped at a relative gap of {gap:.1e} instead of {tolerance:.1e} after {step} rounds."
    )


def _responses(phi: Array, z: Array) -> Array:
    q = phi @ z.T
    return np.asarray(np.sqrt(np.einsum("jk,jk->j", q, q)))

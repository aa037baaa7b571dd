"""The master in the masses alone, by an interior-point method: accurate duals on thousands of samples and near-parallel atoms.

It minimises E(m) (``energies``) over m >= 0: J unknowns whatever d_Y, in closed form for the squared loss (``squared_energy``), with the fit found
by Newton's method for other smooth losses (``smooth_energy``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from meanfield_opt.loss import Loss
from meanfield_opt.losses.squared import Squared

from .energies import MassEnergy
from .smooth_energy import smooth_energy
from .squared_energy import squared_energy

Array = NDArray[np.float64]

SQUARED = Squared()


@dataclass(frozen=True)
class Centre:
    """Masses m (J,), readouts V (d_Y, J), slacks s (J,) ~ gradient of E, and the energy."""

    masses: Array
    readouts: Array
    slacks: Array
    energy: float


def energy_of(loss: Loss, features: Array, targets: Array, l1: float, l2: float, threads: int = 1) -> MassEnergy:
    """E on atoms of cost 1 and these features (J, P); for losses that ``curved`` knows."""
    if isinstance(loss, Squared):
        return squared_energy(features, targets, l1, l2, threads)
    return smooth_energy(loss, features, targets, l1, l2, threads)


def _longest(x: Array, dx: Array, part: float) -> float:
    """The longest step up to 1 that leaves x + t dx positive."""
    return 1.0 / max(1.0, float((-dx / x).max()) / part)


def interior_point(
    features: Array,
    targets: Array,
    l1: float,
    l2: float,
    start: Array,
    tolerance: float,
    steps: int = 80,
    near: float = 1.0,
    threads: int = 1,
    loss: Loss = SQUARED,
) -> Centre | None:
    """Minimise E on these atoms over m >= 0, see ``minimise``.

    features: (J, P), of atoms of cost 1.
    """
    return minimise(energy_of(loss, features, targets, l1, l2, threads), start, tolerance, steps, near)


def minimise(energy: MassEnergy, start: Array, tolerance: float, steps: int = 80, near: float = 1.0) -> Centre | None:
    """Minimise E over m >= 0 from ``start`` (J,) to a duality gap of about ``tolerance`` times the energy at m = 0.

    near: about how far the energy of ``start`` is from the optimum, as a fraction of the energy at m = 0. None where linear algebra
    breaks down.
    """
    none, l1, l2 = energy.none, energy.l1, energy.l2
    count = start.size
    if count == 0 or none == 0.0:
        return None
    # a cold start from large masses, where the gradient is positive; a warm one from slightly interior masses
    total = float(start.sum())
    central = near * none / count
    m = np.maximum(start, min(0.1 * total / count, central / l1)) if total > 0 else np.full(count, none / (l1 * count))
    try:
        at = energy.point(m)
        s = np.maximum(l1 - np.einsum("kj,kj->j", at.responses, at.responses) / l2, np.minimum(0.1 * l1, central / m))
        for step in range(steps):
            gradient = l1 - np.einsum("kj,kj->j", at.responses, at.responses) / l2
            gap, mismatch = float(m @ s), float(np.abs(gradient - s).max())
            # a mismatch raises the level of columns, and so the gap relative to the energy, by its share of l1
            if gap <= tolerance * none and mismatch <= tolerance * l1 * max(10.0, none / at.value):
                break
            direction = energy.system(at, s / m)
            mu, dm, ds, t, u = _direction(direction, m, s, gradient, gap, step == 0)
            before = at.value - mu * float(np.log(m).sum())
            new = m + t * dm
            trial = energy.value(new)
            after = trial.value - mu * float(np.log(new).sum())
            if after > before + 1e-13 * none:  # the corrections are too bold: a plain step, searched along
                mu = 0.15 * gap / count
                slope = gradient - mu / m
                dm = direction(slope)
                ds = mu / m - s - (s / m) * dm
                t, u = _longest(m, dm, 0.99), _longest(s, ds, 0.99)
                before, decrease = at.value - mu * float(np.log(m).sum()), float(slope @ dm)
                for _backtrack in range(20):
                    new = m + t * dm
                    trial = energy.value(new)
                    after = trial.value - mu * float(np.log(new).sum())
                    if after <= before + 1e-4 * t * decrease + 1e-13 * none:
                        break
                    t *= 0.5
            m, at = new, energy.point(new, trial)
            s = s + u * ds
    except linalg.LinAlgError:
        return None
    return Centre(m, at.responses * (m / l2), s, at.value)


def _direction(
    solve: Callable[[Array], Array], m: Array, s: Array, gradient: Array, gap: float, first: bool
) -> tuple[float, Array, Array, float, float]:
    """mu, the directions of masses and slacks, and their longest steps: predictor, corrector (Mehrotra 1992), and centring (Gondzio 1996).

    A system costs far more than solving with it again.
    """
    mean = gap / m.size
    dm = solve(gradient)
    ds = -s - (s / m) * dm
    ahead = float((m + _longest(m, dm, 1.0) * dm) @ (s + _longest(s, ds, 1.0) * ds))
    mu = mean * min(0.5, max((ahead / gap) ** 3, 0.15 if first else 1e-4))
    aim = mu - np.clip(dm * ds, -5.0 * mean, 5.0 * mean)
    dm = solve(gradient - aim / m)
    ds = aim / m - s - (s / m) * dm
    t, u = _longest(m, dm, 0.99), _longest(s, ds, 0.99)
    for _ in range(2):
        if min(t, u) > 0.95:
            break
        product = (m + min(1.0, 1.1 * t + 0.2) * dm) * (s + min(1.0, 1.1 * u + 0.2) * ds)
        other = aim + np.maximum(np.clip(product, 0.1 * mu, 10.0 * mu) - product, -10.0 * mu)
        dm2 = solve(gradient - other / m)
        ds2 = other / m - s - (s / m) * dm2
        t2, u2 = _longest(m, dm2, 0.99), _longest(s, ds2, 0.99)
        if t2 + u2 <= 1.02 * (t + u):
            break
        aim, dm, ds, t, u = other, dm2, ds2, t2, u2
    return mu, dm, ds, t, u

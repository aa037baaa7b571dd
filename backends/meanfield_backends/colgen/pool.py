"""Few dimensions: exact pricing and an accurate master on all local maxima kept so far, instead of sliding.

Near the optimum many atoms lie in neighbouring cells, resting on kinks, where first-order sliding crawls. Columns at exact
local maxima (``ascent``) and an interior-point master (``masses``) close the gap as a cutting-plane method does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.geometry import FactorGeometry
from meanfield_opt.losses.squared import Squared
from meanfield_opt.problem import TwoLayerProblem

from .ascent import sharpen
from .carrier import Carrier, ThetaCarrier
from .masses import interior_point
from .search import Found, levels
from .slide import Particles

Array = NDArray[np.float64]

MOST_DIMENSIONS, MOST_SAMPLES = 16, 20_000
#: columns kept beside those in use
MOST_COLUMNS = 500
EPSILONS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8)


def applies(problem: TwoLayerProblem, carrier: Carrier) -> bool:
    """Whether pools are for the problem: squared loss, degree 1 with kinks, free mass, few dimensions."""
    pieces = problem.activation.pieces
    return (
        isinstance(problem.loss, Squared)
        and isinstance(carrier, ThetaCarrier)
        and isinstance(problem.geometry, FactorGeometry)
        and problem.activation.degree == 1.0
        and pieces is not None
        and len(pieces) > 1
        and problem.width is None
        and carrier.dimension <= MOST_DIMENSIONS
        and problem.n_samples <= MOST_SAMPLES
    )


def unit_rows(x: Array) -> Array:
    """Rows scaled to length 1."""
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300))


def sharpened(
    problem: TwoLayerProblem,
    carrier: Carrier,
    dual: Array,
    found: Found,
    known: Array,
    rng: np.random.Generator,
    count: int,
) -> Found:
    """``found`` with the exact local maxima reached from its best ``count`` and from ``count`` near neighbours of known atoms."""
    starts = [different(found.x[: 8 * count], 2 * count, 1e-3)]
    if known.shape[0]:
        base = unit_rows(known[rng.integers(known.shape[0], size=count)])
        noise = unit_rows(rng.standard_normal(base.shape))
        starts += [base + noise * 10.0 ** rng.uniform(-4.0, 0.0, (count, 1))]
    rows = carrier.patterns(np.eye(carrier.dimension)).T
    sharp = sharpen(problem, rows, dual, np.vstack(starts), EPSILONS)
    level = levels(problem, dual, problem.features(carrier.patterns(sharp)), np.ones(sharp.shape[0]))
    x, both = np.vstack([sharp, found.x]), np.concatenate([level, found.level])
    order = np.argsort(-both, kind="stable")
    return Found(x[order], both[order], found.images)


def different(x: Array, limit: int, angle: float) -> Array:
    """Up to ``limit`` of the directions x (N, n), the first ones, no two within ``angle`` (at least 5e-6)."""
    unit = unit_rows(x)
    near = unit @ unit.T > 1.0 - max(1e-11, 0.5 * angle * angle)
    left, chosen = np.ones(x.shape[0], dtype=bool), []
    for i in range(x.shape[0]):
        if left[i]:
            chosen.append(i)
            left &= ~near[i]
            if len(chosen) == limit:
                break
    return np.asarray(unit[chosen])


def solve_pool(
    problem: TwoLayerProblem, carrier: Carrier, pool: Array, old: Particles, new: Array, tolerance: float
) -> tuple[Particles, Array, Array] | None:
    """The master on pool, atoms in use and new columns: (atoms with readouts and masses, outputs F, next pool)."""
    size = np.sqrt(carrier.cost(old.x))
    length = np.sqrt(problem.lambda2 / problem.lambda1) * np.sqrt(np.einsum("kj,kj->j", old.readouts, old.readouts))
    x = np.vstack([old.x / size[:, None], pool, new])
    start = np.concatenate([length * size, np.zeros(pool.shape[0] + new.shape[0])])
    features = problem.features(carrier.patterns(x))
    centre = interior_point(features, problem.targets, problem.lambda1, problem.lambda2, start, tolerance)
    if centre is None:
        return None
    share = centre.masses / float(centre.masses.sum())
    used = share > np.maximum(1e-9, 1e-3 * centre.slacks / problem.lambda1)
    spare = np.flatnonzero(~used)
    spare = spare[np.argsort(centre.slacks[spare])][:MOST_COLUMNS]
    spare = spare[centre.slacks[spare] < 0.1 * problem.lambda1]
    atoms = Particles(x[used], centre.readouts[:, used], centre.masses[used])
    return atoms, centre.readouts @ features, x[spare]

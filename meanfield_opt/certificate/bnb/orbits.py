"""One chamber of the inputs' symmetry group for the input view: which centre and walls, and the orthants cut along them."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...checker.chamber import MOST_WALLS, Chamber
from ...checker.codec import encode_array
from ...checker.cones import dot_in_order
from ...symmetry.inputs import InputGroup
from .forest import orthants

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
log = logging.getLogger(__name__)

CENTRES, DIRECTIONS, MOST_ROOTS = 400, 600, 20_000
#: values at generators within this of a wall (of norm about 1) count as on it
ON_WALL = 2.0**-40


def symmetry_artefact(group: InputGroup) -> dict[str, Any] | None:
    """{"centre", "elements"}: a point deep inside its chamber and the elements behind the chamber's walls, or None.

    The chamber of c is its Voronoi cell among its images; rays from c find its walls. A wall that no ray finds is left
    away: that makes the chamber larger, not the proof wrong.
    """
    rng = np.random.default_rng(0)
    r = group.turns.shape[1]
    trials = rng.standard_normal((CENTRES, r))
    trials -= trials @ group.turns.mean(axis=0).T  # what the group fixes tells nothing apart
    trials /= np.maximum(np.linalg.norm(trials, axis=1, keepdims=True), 1e-300)
    nearest = np.array([np.linalg.norm(c @ group.turns[1:] - c, axis=1).min() for c in trials])
    centre = trials[int(nearest.argmax())]
    walls = centre @ group.turns - centre  # R^T c - c
    depth = -walls @ centre
    if not depth[1:].min() > 1e-9:
        return None
    speed = rng.standard_normal((DIRECTIONS, r)) @ walls[1:].T
    with np.errstate(divide="ignore"):
        hit = np.where(speed > 0, depth[1:] / speed, np.inf).argmin(axis=1)
    elements, times = np.unique(hit, return_counts=True)
    kept = 1 + elements[np.argsort(-times)][:MOST_WALLS]
    return {"centre": encode_array(centre), "elements": group.elements[np.sort(kept)].tolist()}


def roots_in_chamber(chamber: Chamber, rows: int) -> tuple[NDArray[np.int32], Array]:
    """The orthants of R^r cut along the walls: (preorder forest, leaves). Walls follow the ``rows`` in the numbers of cuts."""
    r = chamber.walls.shape[1]
    ops: list[int] = []
    leaves: list[Array] = []
    for orthant in orthants(r):
        stack = [orthant]
        while stack:
            cone = stack.pop()
            found = None if len(leaves) + len(stack) > MOST_ROOTS else _wall_across(chamber, cone)
            if found is None:
                ops.append(0)
                leaves.append(cone)
                continue
            h, low, high = found
            ops.append(1 + low * r - low * (low + 1) // 2 + (high - low - 1) + r * (r - 1) // 2 * (rows + h + 1))
            values = dot_in_order(chamber.walls[h], cone[[low, high]])
            alpha = values[0] / (values[0] - values[1])
            middle = (1.0 - alpha) * cone[low] + alpha * cone[high]
            first, second = cone.copy(), cone.copy()
            first[low], second[high] = middle, middle
            stack += [second, first]
    return np.array(ops, dtype=np.int32), np.array(leaves)


def _wall_across(chamber: Chamber, cone: Array) -> tuple[int, int, int] | None:
    """The wall that cuts a cone most evenly and the edge to cut; None for a cone outside, or inside all walls."""
    if chamber.outside(cone[None])[0]:
        return None
    values = cone @ chamber.walls.T
    across = np.minimum(values.max(axis=0), -values.min(axis=0))
    h = int(across.argmax())
    if not across[h] > ON_WALL:
        return None
    i, j = int(values[:, h].argmax()), int(values[:, h].argmin())
    return h, min(i, j), max(i, j)

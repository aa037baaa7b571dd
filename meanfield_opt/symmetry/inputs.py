"""Symmetries of inputs of low rank: orthogonal maps R of R^r and O of the outputs that permute the samples.

A[s] = A R and Y = O Y[:, s] for a permutation s of the samples, up to rounding: points on a circle in floating point have
the rotations of the circle only so nearly. Whoever uses what is found here bounds the residual (``checker.chamber``).
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checker.chamber import MOST_ENTRIES, closure, orthogonal
from ..errors import CertificateError
from ..geometry import FactorGeometry
from ..problem import TwoLayerProblem

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
log = logging.getLogger(__name__)

#: relative distance up to which a sample counts as the image of another
TOLERANCE = 1e-12
MOST_SAMPLES, MOST_PARTIAL, MOST_FAILURES = 4096, 6000, 50
#: elements of the group times samples that are worth their price, by the rank r (cones are fewer where r is small);
#: larger groups give way to subgroups
ENOUGH = {1: 2**10, 2: 2**12, 3: 2**14}
ENOUGH_BEYOND = 2**16


@dataclass(frozen=True, eq=False)
class InputGroup:
    """A group: permutations of the samples (n, P), the identity first, with R (n, r, r) and O (n, d, d)."""

    elements: Ints
    turns: Array
    outputs: Array

    @property
    def order(self) -> int:
        """n."""
        return int(self.elements.shape[0])

    def average(self, dual: Array) -> Array:
        """The mean of O Z[:, s] over the group, for a dual point (d, P)."""
        total = np.zeros_like(dual)
        for element, turn in zip(self.elements, self.outputs):
            total += turn @ dual[:, element]
        return total / self.order


_FOUND: weakref.WeakKeyDictionary[TwoLayerProblem, InputGroup | None] = weakref.WeakKeyDictionary()


def input_group(problem: TwoLayerProblem) -> InputGroup | None:
    """The symmetry of a factored K_X = A A^T with the targets; None where there is none, or A has dependent columns.

    A declared symmetry is tried first; otherwise the orthogonal maps are found from the images of r samples.
    """
    if problem not in _FOUND:
        _FOUND[problem] = _find(problem)
    return _FOUND[problem]


def _find(problem: TwoLayerProblem) -> InputGroup | None:
    if not isinstance(problem.geometry, FactorGeometry) or problem.n_samples > MOST_SAMPLES:
        return None
    rows, targets = problem.geometry.factor, problem.targets
    singular = np.linalg.svd(rows, compute_uv=False)
    if singular.size < rows.shape[1] or not singular[-1] > 1e-6 * singular[0]:
        return None
    search = _Search(rows / singular[0], targets / max(float(np.abs(targets).max()), 1e-300))
    group = _declared(problem, search)
    if group is None:
        generators = search.generators()
        if not generators:
            return None
        group, _ = closure(np.array([search.on_samples(g) for g in generators]))
    turns = orthogonal(np.array([search.inverse @ search.rows[s] for s in group]))
    back = np.linalg.pinv(search.targets)
    outputs = orthogonal(np.array([search.targets @ back[s] for s in group]))
    log.info("inputs of rank %d with a symmetry group of order %d", rows.shape[1], group.shape[0])
    return InputGroup(group, turns, outputs)


def _declared(problem: TwoLayerProblem, search: _Search) -> Ints | None:
    """The group of the declared permutations of samples that move the inputs by orthogonal maps; None if that is none,
    or more than is worth its price."""
    if problem.symmetry is None:
        return None
    kept = []
    for generator in problem.symmetry.generators:
        s = generator.samples
        if s.size != search.rows.shape[0] or np.array_equal(search.rows[s], search.rows):
            continue  # of other data, or an exchange of equal inputs
        turn = orthogonal((search.inverse @ search.rows[s])[None])[0]
        if np.abs(search.rows @ turn - search.rows[s]).max() <= 8 * TOLERANCE * np.abs(search.rows).max():
            kept.append(s)
    try:
        return closure(np.array(kept), most=search.most)[0] if kept else None
    except CertificateError:
        return None


class _Search:
    """Samples with equal inputs are one place, with equal inputs and targets one point; both carry their number of samples."""

    def __init__(self, rows: Array, targets: Array) -> None:
        from scipy.spatial import cKDTree

        self.rows, self.targets = rows, targets
        self.most = max(8, ENOUGH.get(rows.shape[1], ENOUGH_BEYOND) // rows.shape[0])
        self.inverse = np.linalg.pinv(rows)
        r = rows.shape[1]
        joint = np.hstack([rows, targets.T]) + 0.0
        self.points, self.point_of, self.counts = np.unique(joint, axis=0, return_inverse=True, return_counts=True)
        self.point_of = self.point_of.ravel()
        self.places, place_of = np.unique(self.points[:, :r], axis=0, return_inverse=True)
        self.place_of = place_of.ravel()
        self.weight = np.bincount(self.place_of, weights=self.counts)
        summed = np.zeros((self.places.shape[0], targets.shape[0]))
        np.add.at(summed, self.place_of, self.counts[:, None] * self.points[:, r:])
        self.means = summed / self.weight[:, None]
        self.members = [np.flatnonzero(self.point_of == k) for k in range(self.points.shape[0])]
        self.place_tree, self.point_tree = cKDTree(self.places), cKDTree(self.points)

    def on_samples(self, element: Ints) -> Ints:
        """The permutation of the samples that belongs to one of the points; equal samples keep their order."""
        out = np.empty(self.rows.shape[0], dtype=np.int64)
        for here, there in zip(self.members, element):
            out[here] = self.members[there]
        return out

    def generators(self) -> list[Ints]:
        """Permutations of the points that generate a group which is small enough to be worth its price."""
        anchors = self._anchors()
        first = np.array([int(np.flatnonzero(self.place_of == a)[0]) for a in anchors])
        found: list[Ints] = []
        known = {tuple(anchors)}
        failures, order = 0, 1
        for images in self._tuples(anchors):
            if images in known:
                continue
            element = self._extended(anchors, images)
            if element is not None:
                element = _small_enough(found, element, order, self.most)
            if element is None:
                failures += 1
                if failures > MOST_FAILURES:
                    break
                continue
            found.append(element)
            group, _ = closure(np.array(found))
            order = group.shape[0]
            if 2 * order > self.most:
                break
            known = {tuple(t) for t in self.place_of[group[:, first]].tolist()}
        return found

    def _anchors(self) -> list[int]:
        """r independent places, well conditioned, of kinds that are rare."""
        kinds = self._kinds()
        size = np.bincount(kinds)[kinds]
        left, chosen = self.places.copy(), []
        for _ in range(self.places.shape[1]):
            length = np.linalg.norm(left, axis=1)
            good = np.flatnonzero(length >= 0.3 * length.max())
            pick = int(good[np.argmin(size[good])])
            chosen.append(pick)
            unit = left[pick] / length[pick]
            left -= np.outer(left @ unit, unit)
        return chosen

    def _kinds(self) -> Ints:
        """Numbers of the places by what every symmetry keeps: lengths of inputs and mean targets, number of samples."""
        kinds = np.zeros(self.places.shape[0], dtype=np.int64)
        lengths = [np.linalg.norm(self.places, axis=1), np.linalg.norm(self.means, axis=1), self.weight]
        for values in lengths:
            order = np.argsort(values)
            jumps = np.diff(values[order]) > 4 * TOLERANCE * max(float(values.max()), 1e-300)
            number = np.empty(values.size, dtype=np.int64)
            number[order] = np.concatenate([[0], np.cumsum(jumps)])
            kinds = kinds * (int(number.max()) + 1) + number
        return np.unique(kinds, return_inverse=True)[1].astype(np.int64).ravel()

    def _tuples(self, anchors: list[int]) -> Iterator[tuple[int, ...]]:
        """Places that the anchors may go to: of the same kinds, with the same inner products of inputs and mean targets.

        Depth first, each anchor's own place first: what fixes the first anchors comes before what moves them.
        """
        kinds = self._kinds()
        near = 8 * TOLERANCE * float((self.places**2).sum(axis=1).max())
        near_means = 8 * TOLERANCE * max(float((self.means**2).sum(axis=1).max()), 1e-300)
        alike = []
        for anchor in anchors:
            same = np.flatnonzero(kinds == kinds[anchor])
            alike.append(np.concatenate([[anchor], same[same != anchor]]))
        stack: list[tuple[int, ...]] = [()]
        for _ in range(MOST_PARTIAL):
            if not stack:
                return
            images = stack.pop()
            k = len(images)
            if k == len(anchors):
                yield images
                continue
            fits = np.ones(alike[k].size, dtype=bool)
            for image, other in zip(images, anchors):
                wanted, means = self.places[anchors[k]] @ self.places[other], self.means[anchors[k]] @ self.means[other]
                fits &= np.abs(self.places[alike[k]] @ self.places[image] - wanted) <= near
                fits &= np.abs(self.means[alike[k]] @ self.means[image] - means) <= near_means
            stack += [(*images, int(j)) for j in alike[k][fits][::-1]]

    def _extended(self, anchors: list[int], images: tuple[int, ...]) -> Ints | None:
        """The permutation of the points under the orthogonal map that carries the anchors to their images, if it is one."""
        turn = np.linalg.solve(self.places[anchors], self.places[list(images)])
        if not np.abs(turn.T @ turn - np.eye(turn.shape[0])).max() <= 1e-9:
            return None
        places = _matched(self.place_tree, self.places @ turn, self.places)
        if places is None:
            return None
        outputs = orthogonal((self.weight[:, None] * self.means).T @ self.means[places])
        r = turn.shape[0]
        moved = np.hstack([self.points[:, :r] @ turn, self.points[:, r:] @ outputs])
        points = _matched(self.point_tree, moved, self.points)
        if points is None or not np.array_equal(self.counts[points], self.counts):
            return None
        return points


def _small_enough(found: list[Ints], element: Ints, order: int, most: int) -> Ints | None:
    """The element or its least power that makes the group of ``found``, of that order, larger, but of at most ``most``."""
    own = _order(element)
    for k in (k for k in range(1, own) if own % k == 0 and own // k <= most):
        power = np.arange(element.size)
        for _ in range(k):
            power = power[element]
        try:
            group, _ = closure(np.array([*found, power]), most=most)
        except CertificateError:
            continue
        return power if group.shape[0] > order else None
    return None


def _order(element: Ints) -> int:
    """The least k > 0 whose power is the identity."""
    identity = np.arange(element.size)
    power, k = element, 1
    while not np.array_equal(power, identity):
        power, k = power[element], k + 1
        if k > MOST_ENTRIES // element.size:
            return 1  # not worth its price: no proper power is tried
    return k


def _matched(tree: Any, moved: Array, there: Array) -> Ints | None:
    """For each moved row the row that it meets; None unless that is a permutation."""
    reach = 4 * TOLERANCE * float(np.abs(there).max()) * np.sqrt(there.shape[1])
    distance, image = tree.query(moved)
    if not (distance <= reach).all() or not np.array_equal(np.sort(image), np.arange(image.size)):
        return None
    return np.asarray(image, dtype=np.int64)

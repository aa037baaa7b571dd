"""Pricing for activations with finitely many values: the cheapest neurons of all cells lie at corners, which can be listed.

A step has no slopes to climb on. But in the cell of a feature pattern the cheapest neuron rests on k <= r thresholds,
theta = argmin |theta| subject to a_p . theta = t_p for these p, and next to it each of the k samples can be on either side. So the supremum of
the level is the largest over all such theta and all 2^k sides: exact where they can be listed, a random search with swaps beyond.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.activation import Activation

from .peaks import Pricing

Array = NDArray[np.float64]

#: entries of the table of features, and of its choices of sides, up to which all corners are listed
MOST_ENTRIES, MOST_CHOICES = 40_000_000, 8_000_000
#: how far (relatively) a neuron stays away from the thresholds it rests on
MARGIN = 1e-9
#: how near (relatively) to a threshold a sample counts as on it
TIE = 1e-10
CHUNK = 50_000


@dataclass(frozen=True)
class Corners:
    """theta (N, r) at corners, level indices of all samples (N, P), the samples rested on (N, k) and the sides: the lower level's index there.

    complete: all corners are listed. One object for each k.
    """

    theta: Array
    index: NDArray[np.int8]
    samples: NDArray[np.intp]
    lower: NDArray[np.int8]
    push: Array
    complete: bool


def thresholds(activation: Activation) -> Array | None:
    """The finite, nonzero ends of the levels, or None where there are none."""
    if activation.levels is None:
        return None
    ends = sorted({end for left, right, _ in activation.levels for end in (left, right) if math.isfinite(end)})
    return np.array(ends) if ends and 0.0 not in ends else None


def count(samples: int, parameters: int, ends: int) -> tuple[int, int]:
    """How many corners there are, and how many choices of sides."""
    sizes = range(1, min(parameters, samples) + 1)
    each = [math.comb(samples, k) * ends**k for k in sizes]
    return sum(each), sum(n * 2**k for n, k in zip(each, sizes, strict=True))


def listed(rows: Array, activation: Activation, rng: np.random.Generator) -> list[Corners]:
    """The corners for A (P, r), one object for each number of samples rested on; random ones of a number where all are too many."""
    ends = thresholds(activation)
    assert ends is not None
    samples, r = rows.shape
    out = []
    for k in range(1, min(r, samples) + 1):
        total = math.comb(samples, k) * ends.size**k
        most = min(MOST_ENTRIES // samples, MOST_CHOICES // 2**k) // 2
        if total <= most:
            subsets = np.array(list(itertools.combinations(range(samples), k)), dtype=np.intp)
            chosen = np.array(list(itertools.product(range(ends.size), repeat=k)))
            subsets, chosen = np.repeat(subsets, len(chosen), axis=0), np.tile(chosen, (len(subsets), 1))
        else:
            subsets = np.sort(rng.integers(samples, size=(most, k)), axis=1)
            subsets = np.unique(subsets[(np.diff(subsets, axis=1) > 0).all(axis=1)], axis=0)
            chosen = rng.integers(ends.size, size=subsets.shape)
        out += corners(rows, activation, subsets, chosen, total <= most)
    return out


def corners(
    rows: Array, activation: Activation, subsets: NDArray[np.intp], chosen: NDArray[np.intp], complete: bool
) -> list[Corners]:
    """The corners at given samples (N, k) and thresholds (N, k, indices); dependent ones are left out.

    Where still further samples lie on thresholds (a neuron that is all bias treats all samples alike) the sides of one are not free of
    those of the others: there the neurons on each side stand for themselves, with k = 0.
    """
    ends, levels = thresholds(activation), activation.levels
    assert ends is not None
    assert levels is not None
    square = rows[subsets]  # (N, k, r)
    gram = square @ square.transpose(0, 2, 1)
    k = subsets.shape[1]
    size = np.trace(gram, axis1=1, axis2=2) / k
    good = np.linalg.det(gram) > 1e-10 * size**k
    if not good.any():
        return []
    square, gram, subsets, chosen = square[good], gram[good], subsets[good], chosen[good]
    push = square.transpose(0, 2, 1) @ np.linalg.inv(gram)  # (N, r, k): moves the samples rested on by one unit each
    theta = np.einsum("nrk,nk->nr", push, ends[chosen])
    inner = np.array([right for _, right, _ in levels][:-1])
    index, tied = _index(theta, rows, inner, ends, subsets)
    lower = np.searchsorted(inner, ends[chosen], side="left").astype(np.int8)
    np.put_along_axis(index, subsets, lower, axis=1)
    free = ~tied
    out = [Corners(theta[free], index[free], subsets[free], lower[free], push[free], complete)] if free.any() else []
    if tied.any():
        sides = 2.0 * np.array(list(itertools.product((0, 1), repeat=k))) - 1.0
        far = MARGIN * np.abs(theta[tied] @ rows.T).max(axis=1, initial=0.0)
        moved = theta[tied][:, None, :] + far[:, None, None] * np.einsum("nrk,sk->nsr", push[tied], sides)
        moved = moved.reshape(-1, rows.shape[1])
        none = np.zeros((moved.shape[0], 0), dtype=np.intp)
        index, _ = _index(moved, rows, inner, ends, none)
        key = index @ np.random.default_rng(0).standard_normal(rows.shape[0])
        _, first = np.unique(np.round(key, 9), return_index=True)
        size = first.size
        empty = np.zeros((size, rows.shape[1], 0))
        out.append(Corners(moved[first], index[first], none[:size], none[:size].astype(np.int8), empty, complete))
    return out


def _index(
    theta: Array, rows: Array, inner: Array, ends: Array, rested: NDArray[np.intp]
) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    """The level indices (N, P) of all samples, and whether any sample but those ``rested`` on lies on a threshold."""
    index = np.empty((theta.shape[0], rows.shape[0]), dtype=np.int8)
    tied = np.zeros(theta.shape[0], dtype=np.bool_)
    for begin in range(0, theta.shape[0], CHUNK):
        part = slice(begin, begin + CHUNK)
        h = theta[part] @ rows.T
        index[part] = np.searchsorted(inner, h, side="right")
        near = np.zeros(h.shape, dtype=np.bool_)
        for end in ends:
            near |= np.abs(h - end) <= TIE * abs(end)
        np.put_along_axis(near, rested[part], False, axis=1)
        tied[part] = near.any(axis=1)
    return index, tied


def price(pricing: Pricing, groups: list[Corners], most: int) -> tuple[Array, Array]:
    """The neurons (N, r) of highest level, up to ``most`` a group, and the levels they are said to have (in the limit of no margin)."""
    levels = pricing.problem.activation.levels
    assert levels is not None
    values = np.array([value for _, _, value in levels])
    l1, l2 = pricing.problem.lambda1, pricing.problem.lambda2
    found, reached = [], []
    for group in groups:
        k = group.samples.shape[1]
        sides = np.array(list(itertools.product((0, 1), repeat=k)))
        for begin in range(0, group.theta.shape[0], CHUNK):
            part = slice(begin, begin + CHUNK)
            theta, samples, lower = group.theta[part], group.samples[part], group.lower[part]
            q = values[group.index[part]] @ pricing.dual.T
            jump = (values[lower + 1] - values[lower])[:, :, None] * pricing.dual.T[samples]  # (N, k, d)
            cost = 4.0 * l2 * (l1 * np.einsum("nr,nr->n", theta, theta) + pricing.kappa)
            best, which = np.full(theta.shape[0], -1.0), np.zeros(theta.shape[0], dtype=np.intp)
            for i, side in enumerate(sides):
                moved = q + np.einsum("nkd,k->nd", jump, side.astype(np.float64))
                level = np.einsum("nd,nd->n", moved, moved) / cost
                better = level > best
                best, which = np.where(better, level, best), np.where(better, i, which)
            top = np.argsort(-best, kind="stable")[:most]
            sign = 2.0 * sides[which[top]] - 1.0
            size = np.abs(theta[top] @ pricing.rows.T).max(axis=1, initial=0.0)[:, None]
            found.append(theta[top] + MARGIN * np.einsum("nrk,nk->nr", group.push[part][top], sign * size))
            reached.append(best[top])
    if not found:
        return np.zeros((0, pricing.rows.shape[1])), np.zeros(0)
    return np.vstack(found), np.concatenate(reached)


def swapped(pricing: Pricing, near: Array, rng: np.random.Generator) -> list[Corners]:
    """Corners that differ in one sample or threshold from those next to the neurons ``near`` (N, r): a search beyond the list."""
    activation = pricing.problem.activation
    ends = thresholds(activation)
    assert ends is not None
    samples, r = pricing.rows.shape
    k = min(r, samples)
    h = near @ pricing.rows.T
    away = np.abs(h[:, :, None] - ends).min(axis=2)
    closest = np.argsort(away, axis=1)[:, :k]
    end = np.abs(np.take_along_axis(h, closest, axis=1)[:, :, None] - ends).argmin(axis=2)
    subsets, chosen = [closest], [end]
    for place in range(k):
        for _ in range(min(samples, 64)):
            other, at = closest.copy(), end.copy()
            other[:, place] = rng.integers(samples, size=near.shape[0])
            at[:, place] = rng.integers(ends.size, size=near.shape[0])
            subsets.append(other)
            chosen.append(at)
    both, ends_at = np.vstack(subsets), np.vstack(chosen)
    order = np.argsort(both, axis=1)
    both, ends_at = np.take_along_axis(both, order, axis=1), np.take_along_axis(ends_at, order, axis=1)
    keep = (np.diff(both, axis=1) > 0).all(axis=1)
    return corners(pricing.rows, activation, both[keep], ends_at[keep], False) if keep.any() else []

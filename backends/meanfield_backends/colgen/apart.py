"""Compiled: which rows keep a distance from each other, or from others.

Rows that are close are close in every coordinate. By the one that varies most rows go into buckets at least as wide as the distance; each is
compared with those in its own bucket and the two beside it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Whole = NDArray[np.int64]


@njit(cache=True, nogil=True, error_model="numpy")
def _apart(unit, bucket, others, places, growing, most, limit, chosen, first, following):  # type: ignore[no-untyped-def]
    # a bucket is a chain of rows: its first one, and for each row the following one. Bucket b is at b + 1, between its neighbours
    if not growing:
        for j in range(others.shape[0]):
            following[j] = first[places[j] + 1]
            first[places[j] + 1] = j
    taken = 0
    for i in range(unit.shape[0]):
        free = True
        for b in range(bucket[i], bucket[i] + 3):
            j = first[b]
            while free and j >= 0:
                s = 0.0
                for c in range(unit.shape[1]):
                    s += unit[i, c] * others[j, c]
                free = s <= most
                j = following[j]
        if free:
            chosen[i] = True
            if growing:
                following[i] = first[bucket[i] + 1]
                first[bucket[i] + 1] = i
            taken += 1
            if taken == limit:
                break


def apart(unit: Array, most: float, limit: int) -> NDArray[np.bool_]:
    """Which rows of ``unit`` (N, n), of length 1, are chosen: the first ones, no two with a scalar product above ``most``; at most ``limit``."""
    # room is made here: each allocation would cost a tenth of a second of compilation
    count, chosen = unit.shape[0], np.zeros(unit.shape[0], np.bool_)
    if count:
        unit = _finite(unit)
        bucket, first = _buckets(unit[:, _key(unit)], most)
        _apart(unit, bucket, unit, bucket, True, most, limit, chosen, first, np.empty(count, np.int64))
    return chosen


def away(unit: Array, others: Array, most: float) -> NDArray[np.bool_]:
    """Which rows of ``unit`` (N, n), of length 1, have a scalar product above ``most`` with none of ``others`` (M, n), of length 1 too."""
    count, chosen = unit.shape[0], np.zeros(unit.shape[0], np.bool_)
    if count and others.shape[0]:
        unit, others = _finite(unit), _finite(others)
        key = _key(others)
        bucket, first = _buckets(np.concatenate([unit[:, key], others[:, key]]), most)
        room = np.empty(others.shape[0], np.int64)
        _apart(unit, bucket[:count], others, bucket[count:], False, most, count, chosen, first, room)
        return chosen
    return ~chosen


def _finite(unit: Array) -> Array:
    # a row that is no number would have no bucket
    return np.nan_to_num(unit, posinf=0.0, neginf=0.0)


def _key(unit: Array) -> int:
    return int(np.argmax(unit.std(axis=0)))


def _buckets(key: Array, most: float) -> tuple[Whole, Whole]:
    """Each row's bucket, from 0, and room for all buckets and an empty one on either side, none of which holds a row (-1) yet."""
    low, high = float(key.min()), float(key.max())
    near = float(np.sqrt(max(0.0, 2.0 * (1.0 - most)))) + 1e-12
    width = max(near, (high - low) / (4.0 * key.size))
    bucket = ((key - low) / width).astype(np.int64)
    return bucket, np.full(int(bucket.max()) + 3, -1, np.int64)

"""Compiled choice of rows that keep a distance, first come first served."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def apart(unit, order, key, most, near, limit):  # type: ignore[no-untyped-def]
    """Which rows of ``unit`` (N, n), of length 1, are chosen: the first ones, no two with a scalar product above ``most``; at most ``limit``.

    key (N,): a coordinate by which to sort, ``order`` its argsort; rows whose keys differ by more than ``near`` are not close.
    """
    count, n = unit.shape
    chosen = np.zeros(count, np.bool_)
    place = np.empty(count, np.int64)
    for k in range(count):
        place[order[k]] = k
    taken = 0
    for i in range(count):
        free = True
        for way in (-1, 1):
            k = place[i] + way
            while free and 0 <= k < count and abs(key[order[k]] - key[i]) <= near:
                j = order[k]
                if chosen[j]:
                    s = 0.0
                    for c in range(n):
                        s += unit[i, c] * unit[j, c]
                    free = s <= most
                k += way
        if free:
            chosen[i] = True
            taken += 1
            if taken == limit:
                break
    return chosen

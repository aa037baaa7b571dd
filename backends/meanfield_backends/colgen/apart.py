"""Compiled choice of rows that keep a distance, first come first served."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True, error_model="numpy")
def _apart(unit, order, key, most, near, limit, chosen, place):  # type: ignore[no-untyped-def]
    count, n = unit.shape
    taken = 0
    for k in range(count):
        place[order[k]] = k
    for i in range(count):
        free = True
        for way in range(-1, 2, 2):
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


def apart(
    unit: NDArray[np.float64], order: NDArray[Any], key: NDArray[np.float64], most: float, near: float, limit: int
) -> NDArray[np.bool_]:
    """Which rows of ``unit`` (N, n), of length 1, are chosen: the first ones, no two with a scalar product above ``most``; at most ``limit``.

    key (N,): a coordinate by which to sort, ``order`` its argsort; rows whose keys differ by more than ``near`` are not close.
    """
    # room is made here: each allocation would cost a tenth of a second of compilation
    chosen = np.zeros(unit.shape[0], np.bool_)
    _apart(unit, order, key, most, near, limit, chosen, np.empty(unit.shape[0], np.int64))
    return chosen

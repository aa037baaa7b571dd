"""Generators of the symmetry group of a hypercube task, with its samples in any order."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .signed import SignedPermutation

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


def hypercube_generators(targets: Array, groups: Sequence[Sequence[int]]) -> tuple[SignedPermutation, ...]:
    """Translations of the cube, transpositions of labels within ``groups``, and of equal samples.

    targets: Y (d, P), every sign vector the same number of times, in any order.
    """
    d, p = targets.shape
    n = p >> d
    code = np.zeros(p, dtype=np.int64)
    for i, row in enumerate(targets):
        code |= (row < 0).astype(np.int64) << i
    place = np.argsort(code, kind="stable").reshape(1 << d, n)  # place[x, c]: the c-th sample of class x
    generators: list[SignedPermutation] = []
    plain, positive = np.arange(d), np.ones(d)

    def add(classes: Labels, outputs: Labels, signs: Array) -> None:
        samples = np.empty(p, dtype=np.int64)
        samples[place.ravel()] = place[classes].ravel()
        generators.append(SignedPermutation(samples, outputs, signs))

    every = np.arange(1 << d)
    for i in range(d):
        signs = positive.copy()
        signs[i] = -1.0
        add(every ^ (1 << i), plain, signs)
    for group in groups:
        for i, j in itertools.pairwise(group):
            swap = plain.copy()
            swap[[i, j]] = j, i
            differ = ((every >> i) ^ (every >> j)) & 1
            add(every ^ (differ << i) ^ (differ << j), swap, positive)
    for c in range(n - 1):
        samples = np.arange(p)
        samples[place[0, c]], samples[place[0, c + 1]] = place[0, c + 1], place[0, c]
        generators.append(SignedPermutation(samples, plain, positive))
    return tuple(generators)

"""Fingerprints of large arrays: one bit an entry where two values are all there is, and never two arrays alike."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from meanfield_opt.hashing import LARGE, feed_entries


def digest(array: np.ndarray) -> str:
    hasher = hashlib.sha256()
    feed_entries(hasher, array)
    return hasher.hexdigest()


def test_small_arrays_are_hashed_as_they_are() -> None:
    array = np.random.default_rng(0).choice([-1.0, 1.0], 1000)
    assert digest(array) == hashlib.sha256(array.tobytes()).hexdigest()


@pytest.mark.parametrize("size", [LARGE, LARGE + 5])
def test_any_change_is_another_fingerprint(size: int) -> None:
    rng = np.random.default_rng(1)
    signs = rng.choice([-1.0, 1.0], size)
    flipped, moved, swapped = signs.copy(), signs.copy(), signs.copy()
    flipped[-1] *= -1
    moved[-1] += 1e-15
    swapped[[0, np.flatnonzero(signs != signs[0])[0]]] *= -1
    constant = np.ones(size)
    late = constant.copy()
    late[-1] = 2.0
    negative_zero = np.zeros(size)
    negative_zero[7] = -0.0
    arrays = [
        signs, -signs, 2 * signs, flipped, moved, swapped, constant, -constant, late, np.zeros(size), negative_zero,
        np.where(signs > 0, 1.0, 0.0), np.where(signs > 0, 1.0, -0.0), rng.standard_normal(size),
    ]  # fmt: skip
    assert len({digest(a) for a in arrays}) == len(arrays)
    assert digest(signs) == digest(signs.copy())
    assert digest(np.asfortranarray(signs.reshape(-1, 1))) == digest(signs)

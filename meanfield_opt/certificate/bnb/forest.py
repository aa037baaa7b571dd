"""Preorder forests of cuts: where they begin, and how parts of them are refined."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int32]

T = TypeVar("T", bound=np.generic)


def orthants(dimension: int) -> Array:
    """The 2^n cones spanned by the signed unit vectors, in binary order (bit i set: -e_i)."""
    signs = np.array([[1.0 - 2.0 * ((code >> i) & 1) for i in range(dimension)] for code in range(2**dimension)])
    return np.asarray(signs[:, None, :] * np.eye(dimension))


def whole_space(dimension: int) -> tuple[Ints, Array]:
    """The forest of the 2^n orthants, none of them cut, and its leaves."""
    leaves = orthants(dimension)
    return np.zeros(leaves.shape[0], np.int32), leaves


def splice(old: NDArray[T], at: NDArray[np.intp], counts: NDArray[np.int64], new: NDArray[T]) -> NDArray[T]:
    """``old`` with entry at[k] replaced by counts[k] entries of ``new``, in order."""
    repeats = np.ones(old.shape[0], np.int64)
    repeats[at] = counts
    replaced = np.zeros(old.shape[0], np.bool_)
    replaced[at] = True
    out = np.repeat(old, repeats, axis=0)
    out[np.repeat(replaced, repeats)] = new
    return out

"""One symmetry of the data: a permutation of the samples with a signed permutation of the outputs, never P x P arrays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..geometry import DenseGeometry, DiagonalPlusLowRank, FactorGeometry

if TYPE_CHECKING:
    from ..problem import TwoLayerProblem

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SignedPermutation:
    """Sample p is replaced by sample ``samples[p]``, output k by ``signs[k]`` times output ``outputs[k]``.

    It is a symmetry of (K_X, Y) if K_X[s, s] = K_X and signs * Y[outputs][:, s] = Y, for s = ``samples``.
    """

    samples: Indices
    outputs: Indices
    signs: Array

    def __post_init__(self) -> None:
        for name in ("samples", "outputs"):
            index = np.asarray(getattr(self, name), dtype=np.int64)
            if index.ndim != 1 or not np.array_equal(np.sort(index), np.arange(index.size)):
                raise InputError(f"{name} of a symmetry must be a permutation of 0 .. n-1.")
            object.__setattr__(self, name, index)
        signs = np.asarray(self.signs, dtype=np.float64)
        if signs.shape != self.outputs.shape or not np.isin(signs, (-1.0, 1.0)).all():
            raise InputError("signs of a symmetry must be +1 or -1, one an output.")
        object.__setattr__(self, "signs", signs)

    def act(self, dual: Array) -> Array:
        """The transformed array (d_Y, P): of targets, outputs or dual points."""
        return np.asarray(self.signs[:, None] * dual[self.outputs][:, self.samples])

    def preserves(self, problem: TwoLayerProblem) -> bool:
        """Whether K_X and Y are left fixed, entry by entry, exactly. (May miss a symmetry of a factored K_X whose
        columns it mixes; never accepts a false one.)"""
        y = problem.targets
        if (self.outputs.size, self.samples.size) != y.shape or not np.array_equal(self.act(y), y):
            return False
        space, s = problem.geometry, self.samples
        if isinstance(space, DenseGeometry):
            return np.array_equal(space.kernel[np.ix_(s, s)], space.kernel)
        if isinstance(space, FactorGeometry):
            return _columns_permuted(space.factor, np.ones(space.factor.shape[1]), s)
        if isinstance(space, DiagonalPlusLowRank):
            return np.array_equal(space.diagonal[s], space.diagonal) and _columns_permuted(
                space.columns, space.weight, s
            )
        return False


def _columns_permuted(columns: Array, weight: Array, samples: Indices) -> bool:
    """Whether permuting the rows of B only permutes its columns of equal weight, up to sign: then B W B^T is fixed."""

    def canonical(column: Array) -> bytes:
        nonzero = np.flatnonzero(column)
        flipped = nonzero.size > 0 and column[nonzero[0]] < 0
        return np.ascontiguousarray((-column if flipped else column) + 0.0).tobytes()  # + 0.0: no negative zeros

    left = sorted((float(w), canonical(c)) for w, c in zip(weight, columns.T))
    right = sorted((float(w), canonical(c)) for w, c in zip(weight, columns[samples].T))
    return left == right


def average(generators: Iterable[SignedPermutation], dual: Array) -> Array:
    """The mean of a dual point (d_Y, P) over the group that is generated, exactly invariant: over each orbit of entries
    (k, p), with signs; 0 where an entry meets its negative."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    d, p = dual.shape
    size = d * p
    entry = np.arange(size).reshape(d, p)
    heads, tails = [], []
    for generator in generators:
        image = entry[generator.outputs][:, generator.samples]
        sign = np.broadcast_to(generator.signs[:, None] < 0, (d, p))
        for flipped in (False, True):  # nodes: entries with sign +, then with sign -
            heads.append((entry + size * flipped).ravel())
            tails.append((image + size * (sign ^ flipped)).ravel())
    if not heads:
        return dual
    rows, columns = np.concatenate(heads), np.concatenate(tails)
    graph = coo_array((np.ones(rows.size, dtype=np.int8), (rows, columns)), shape=(2 * size, 2 * size))
    _, orbit = connected_components(graph, directed=False)
    signed = np.concatenate([dual.ravel(), -dual.ravel()])
    mean = np.bincount(orbit, weights=signed) / np.bincount(orbit)
    # an orbit and its negative are summed in different orders: one of them decides, so that the result is invariant
    mirror = np.empty(mean.size, dtype=np.int64)
    mirror[orbit] = orbit[np.arange(2 * size) - size]
    mean = np.where(np.arange(mean.size) <= mirror, mean, -mean[mirror])[orbit]
    # an orbit that meets its own negative has mean zero up to rounding: make it exact
    mean[:size][orbit[:size] == orbit[size:]] = 0.0
    return np.asarray(mean[:size].reshape(d, p))

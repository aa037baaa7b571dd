"""Features of many columns on many samples: made, read and multiplied by blocks shared among threads.

At 20,000 samples the features of 4000 columns are 600 MB: making them at once, copying them or reading them once more each takes about as
long as a step of the master. Blocks do not depend on the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.problem import TwoLayerProblem
from meanfield_opt.threads import share

from .blocked import gram, whole
from .carrier import Carrier

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

#: entries of the features in one piece of work
ENTRIES = 1_000_000


def features_of(problem: TwoLayerProblem, carrier: Carrier, x: Array, threads: int = 1) -> Array:
    """phi of the atoms with coordinates x (J, n): (J, P)."""
    if x.shape[0] * problem.n_samples <= ENTRIES:
        return problem.features(carrier.patterns(x))
    out = np.empty((x.shape[0], problem.n_samples))

    def work(part: slice) -> None:
        out[part] = problem.features(carrier.patterns(x[part]))

    share(work, x.shape[0], _rows(out), threads)
    return out


def responses(features: Array, dual: Array, threads: int = 1) -> Array:
    """<Z_k, phi_j> for the rows of Z (k, P): (J, k)."""
    out = np.empty((features.shape[0], dual.shape[0]))

    def work(part: slice) -> None:
        np.matmul(features[part], dual.T, out=out[part])

    share(work, features.shape[0], _rows(features), threads)
    return out


def lengths(features: Array, threads: int = 1) -> Array:
    """|phi_j|, shape (J,)."""
    out = np.empty(features.shape[0])

    def work(part: slice) -> None:
        out[part] = np.sqrt(np.einsum("jp,jp->j", features[part], features[part]))

    share(work, features.shape[0], _rows(features), threads)
    return out


def outputs(readouts: Array, features: Array, threads: int = 1) -> Array:
    """V Phi (d, P), of the columns whose readouts are not zero."""
    used = np.flatnonzero(readouts.any(axis=0))
    out, few = np.empty((readouts.shape[0], features.shape[1])), readouts[:, used]

    def work(part: slice) -> None:
        np.matmul(few, features[used, part], out=out[:, part])

    share(work, features.shape[1], max(64, ENTRIES // max(used.size, 1)), threads)
    return out


def chosen(features: Array, which: Indices, threads: int = 1) -> Array:
    """The features of these columns, a copy."""
    out = np.empty((which.size, features.shape[1]))

    def work(part: slice) -> None:
        out[part] = features[which[part]]

    share(work, which.size, _rows(features), threads)
    return out


@dataclass(frozen=True)
class Inner:
    """The Gram matrix (j, j) of some columns: ``which``, ascending."""

    which: Indices
    matrix: Array

    @classmethod
    def of(cls, features: Array, which: Indices, threads: int = 1) -> Inner:
        """Of these rows of the features (J, P)."""
        return cls(which, whole(gram(chosen(features, which, threads), threads)))

    def moved(self, features: Array, which: Indices, threads: int = 1) -> Inner:
        """That of other columns: only products with columns that are not in this one are made."""
        old = np.isin(which, self.which, assume_unique=True)
        at = np.searchsorted(self.which, which[old])
        new = np.flatnonzero(~old)
        if 2 * new.size > which.size:
            return Inner.of(features, which, threads)
        matrix = np.empty((which.size, which.size))
        matrix[np.ix_(old, old)] = self.matrix[np.ix_(at, at)]
        if new.size:
            fresh, rows = chosen(features, which[new], threads), np.empty((new.size, which.size))

            def work(part: slice) -> None:
                np.matmul(fresh, features[which[part]].T, out=rows[:, part])

            share(work, which.size, _rows(features), threads)
            rows[:, new] = 0.5 * (rows[:, new] + rows[:, new].T)
            matrix[new], matrix[:, new] = rows, rows.T
        return Inner(which, matrix)


def _rows(features: Array) -> int:
    return max(16, ENTRIES // max(int(features.shape[1]), 1))

"""Conditions: the distinct label vectors of an experiment, and averages over the samples that share one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError
from .validate import real_array

Array = NDArray[np.float64]


def label_matrix(labels: ArrayLike, samples: int) -> Array:
    """Y as (d_Y, P) signs. Takes (d_Y, P) as in ``problem.targets``, (P, d_Y) as in scikit-learn, or (P,).

    A square Y is read as (d_Y, P). Raises InputError unless all entries are -1 or +1.
    """
    y = real_array(labels, "Y", ndim=(1, 2))
    y = y[None, :] if y.ndim == 1 else y
    if y.shape[1] != samples:
        if y.shape[0] != samples:
            raise InputError(f"Y of shape {y.shape} does not match {samples} samples; give (d_Y, P) or (P, d_Y).")
        y = np.ascontiguousarray(y.T)
    if not np.isin(y, (-1.0, 1.0)).all():
        raise InputError("labels must be -1 or +1; take their signs first if that is what is meant.")
    return y


@dataclass(frozen=True, eq=False)
class Conditions:
    """signs (C, d_Y): the distinct columns of Y; index (P,): the condition of each sample; counts (C,)."""

    signs: NDArray[np.int64]
    index: NDArray[np.intp]
    counts: NDArray[np.intp]

    @property
    def n_conditions(self) -> int:
        """C."""
        return int(self.signs.shape[0])

    @property
    def n_labels(self) -> int:
        """d_Y."""
        return int(self.signs.shape[1])

    def mean_rows(self, activations: Array) -> Array:
        """Means (C, N) of rows (P, N) over the samples of each condition."""
        total = np.zeros((self.n_conditions, activations.shape[1]))
        np.add.at(total, self.index, activations)
        return np.asarray(total / self.counts[:, None])

    def mean_kernel(self, kernel: Array) -> Array:
        """The kernel (C, C) of the condition means, from the kernel (P, P) of the samples."""
        return self.mean_rows(self.mean_rows(kernel).T).T

    def flips(self, label: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Conditions (on, off), paired, that differ in ``label`` alone; one pair a context."""
        lookup = {tuple(row): i for i, row in enumerate(self.signs.tolist())}
        on, off = [], []
        for row, i in lookup.items():
            if row[label] > 0:
                other = lookup.get((*row[:label], -row[label], *row[label + 1 :]))
                if other is not None:
                    on.append(i)
                    off.append(other)
        return np.array(on, dtype=np.intp), np.array(off, dtype=np.intp)


def find_conditions(labels: Array) -> Conditions:
    """The conditions of Y (d_Y, P)."""
    signs, index, counts = np.unique(labels.T.astype(np.int64), axis=0, return_inverse=True, return_counts=True)
    return Conditions(signs, np.asarray(index).reshape(-1), counts)

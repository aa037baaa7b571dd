"""Conditions: the distinct label vectors of an experiment, and averages over the samples that share one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError
from .validate import real_array

Array = NDArray[np.float64]

MOST_BITS = 62  # labels whose signs fit into one integer


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
        total = [np.bincount(self.index, weights=unit, minlength=self.n_conditions) for unit in activations.T]
        return np.asarray(np.stack(total, axis=1) / self.counts[:, None])

    def mean_kernel(self, kernel: Array) -> Array:
        """The kernel (C, C) of the condition means, from the kernel (P, P) of the samples."""
        return self.mean_rows(self.mean_rows(kernel).T).T

    def flips(self, label: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Conditions (on, off), paired, that differ in ``label`` alone; one pair a context."""
        on = np.flatnonzero(self.signs[:, label] > 0)
        if self.n_labels <= MOST_BITS:  # the numbers ascend with the rows
            wanted = self._row_numbers[on] - (np.int64(1) << (self.n_labels - 1 - label))
            off = np.minimum(np.searchsorted(self._row_numbers, wanted), self.n_conditions - 1)
            there = self._row_numbers[off] == wanted
            return on[there], off[there]
        context = _numbers(np.delete(self.signs, label, axis=1))
        off = np.flatnonzero(self.signs[:, label] < 0)
        _, first, second = np.intersect1d(context[on], context[off], assume_unique=True, return_indices=True)
        order = np.argsort(first)
        return on[first[order]], off[second[order]]

    @cached_property
    def _row_numbers(self) -> NDArray[np.int64]:
        return _numbers(self.signs)


def _numbers(signs: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number a row of signs (C, d), in lexicographic order: its bits, or where they are too many its rank."""
    if signs.shape[1] > MOST_BITS:
        return np.asarray(np.unique(signs, axis=0, return_inverse=True)[1]).reshape(-1).astype(np.int64)
    places = np.int64(1) << np.arange(signs.shape[1] - 1, -1, -1, dtype=np.int64)
    return np.asarray((signs > 0) @ places, dtype=np.int64)


def find_conditions(labels: Array) -> Conditions:
    """The conditions of Y (d_Y, P), signs, in lexicographic order."""
    signs = np.ascontiguousarray(labels.T.astype(np.int64))
    numbers = _numbers(signs)
    _, first, index, counts = np.unique(numbers, return_index=True, return_inverse=True, return_counts=True)
    return Conditions(signs[first], np.asarray(index).reshape(-1), counts)

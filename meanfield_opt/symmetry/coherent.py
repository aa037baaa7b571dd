"""Coherent configurations: the finest combinatorial symmetry that colour refinement sees in exact matrices.

The closure of matrices M_1, .., M_k of order n partitions the n^2 index pairs into classes whose 0/1 matrices span an
algebra with unit, closed under transposition, that contains every M_i (integer Weisfeiler-Leman, dimension 2). It is at
least as fine as needed and at least as coarse as the orbitals of the automorphism group, so invariant semidefinite
programs may be restricted to it. Entries are compared exactly: a matrix moved in one entry by 1e-9 is another matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

LARGEST_ORDER = 2000


@dataclass(frozen=True, eq=False)
class Configuration:
    """Classes 0 .. rank-1 of index pairs, ``classes`` (n, n)."""

    classes: Labels

    @property
    def order(self) -> int:
        """n."""
        return int(self.classes.shape[0])

    @cached_property
    def rank(self) -> int:
        """The number of classes."""
        return int(self.classes.max()) + 1

    @cached_property
    def transposes(self) -> Labels:
        """For each class the class of the reversed pairs."""
        out = np.empty(self.rank, dtype=np.int64)
        out[self.classes.ravel()] = self.classes.T.ravel()
        return out

    @cached_property
    def sizes(self) -> Labels:
        """The number of pairs in each class."""
        return np.bincount(self.classes.ravel(), minlength=self.rank)

    @cached_property
    def fibres(self) -> Labels:
        """For each index the number of its fibre (its orbit, as far as colour refinement can tell)."""
        return np.unique(np.diag(self.classes), return_inverse=True)[1].astype(np.int64)

    @cached_property
    def diagonal(self) -> Labels:
        """The classes that lie on the diagonal."""
        return np.unique(np.diag(self.classes))

    def values(self, matrix: Array) -> Array:
        """Class means of a matrix (n, n): its orthogonal projection on the algebra, which keeps PSD and >= 0."""
        return np.bincount(self.classes.ravel(), weights=np.ravel(matrix), minlength=self.rank) / self.sizes

    def contains(self, matrix: Array) -> bool:
        """Whether a matrix is exactly constant on classes."""
        value = np.empty(self.rank)
        value[self.classes.ravel()] = np.ravel(matrix)
        return bool((value[self.classes] == matrix).all())

    def images(self, vector: Array) -> Array:
        """A_k v for all classes k, as columns (n, rank)."""
        n, r = self.order, self.rank
        place = np.arange(n)[:, None] * r + self.classes
        weights = np.broadcast_to(vector, (n, n)).ravel()
        return np.asarray(np.bincount(place.ravel(), weights=weights, minlength=n * r), dtype=np.float64).reshape(n, r)

    def is_coherent(self) -> bool:
        """Exact test of the axioms: transposition permutes classes, and A_i A_j is constant on every class (slow)."""
        if (self.transposes[self.classes] != self.classes.T).any():
            return False
        if np.intersect1d(np.diag(self.classes), self.classes[~np.eye(self.order, dtype=bool)]).size:
            return False
        matrices = [(self.classes == k).astype(np.float64) for k in range(self.rank)]
        return all(self.contains(a @ b) for a in matrices for b in matrices)  # small integers: exact


def coherent_closure(
    matrices: Sequence[ArrayLike], *, most_classes: int | None = None, symmetric: bool = False
) -> Configuration | None:
    """The coherent closure of matrices of one order n <= 2000; None if it has more than ``most_classes`` classes.

    symmetric: of symmetric matrices, the coarsest partition into symmetric classes that is closed under
    A_i A_j + A_j A_i (a Jordan algebra; the symmetrised coherent closure where that commutes).

    Refinement compares multisets of paths by random integer hashes, summed exactly; it stops when two rounds with
    fresh hashes split nothing.
    """
    arrays = [np.asarray(m) for m in matrices]
    n = arrays[0].shape[0] if arrays and arrays[0].ndim == 2 else 0
    if n == 0 or any(a.shape != (n, n) for a in arrays):
        raise InputError("the coherent closure needs square matrices of one order.")
    if n > LARGEST_ORDER:
        raise InputError(f"the coherent closure is for orders up to {LARGEST_ORDER}, not {n}.")
    classes = np.eye(n, dtype=np.int64)
    for a in arrays:
        classes = _merge(_merge(classes, a), a.T)
    rng = np.random.default_rng(0)
    calm = 0
    while calm < 2:
        rank = int(classes.max()) + 1
        if most_classes is not None and rank > most_classes:
            return None
        # exact in floating point: n 2^40 < 2^52
        weight = rng.integers(1, 1 << 20, (2, rank)).astype(np.float64)
        paths = weight[0][classes] @ weight[1][classes]
        classes = _merge(classes, paths + paths.T) if symmetric else _merge(_merge(classes, paths), paths.T)
        calm = calm + 1 if int(classes.max()) + 1 == rank else 0
    return Configuration(classes)


def _merge(classes: Labels, values: ArrayLike) -> Labels:
    """The common refinement of a partition of the pairs with equality of values."""
    number = np.unique(np.ravel(values), return_inverse=True)[1].astype(np.int64)
    joint = np.ravel(classes) * (int(number.max()) + 1) + number
    return np.asarray(np.unique(joint, return_inverse=True)[1].reshape(classes.shape), dtype=np.int64)


def discrete(order: int) -> Configuration:
    """The finest configuration, every pair its own class: no symmetry."""
    return Configuration(np.arange(order * order, dtype=np.int64).reshape(order, order))

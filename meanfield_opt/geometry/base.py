"""What an input geometry is: K_X^+ as an operator, the cost c(h) = h^T K_X^+ h, and the weights that realise h.

Patterns are rows: an array H of shape (J, P) holds J preactivation patterns over P samples. No geometry forms a
P x P array except ``DenseGeometry``, which is given one.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ..hashing import feed_entries

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Enclosure:
    """Patterns known to lie in [lo, hi] (J, P), each of cost at most ``cost`` (J,): all rigorous."""

    lo: Array
    hi: Array
    cost: Array


class Geometry(ABC):
    """K_X (P x P, positive semidefinite) given by structure. theta in R^r parametrises patterns h = preactivation(theta)
    with c(h) = min |theta|^2."""

    #: how many of the last entries of theta cost nothing (an unpenalised bias: K_X is infinite along 1)
    free_parameters: int = 0

    @property
    @abstractmethod
    def n_samples(self) -> int:
        """P."""

    @property
    @abstractmethod
    def n_parameters(self) -> int:
        """r, the dimension of theta."""

    @abstractmethod
    def preactivation(self, theta: Array) -> Array:
        """Patterns (J, P) of weight vectors (J, r)."""

    @abstractmethod
    def pullback(self, slopes: Array) -> Array:
        """The transpose of ``preactivation``: (J, P) -> (J, r), for gradients in theta."""

    @abstractmethod
    def weights(self, patterns: Array) -> Array:
        """Minimum-norm theta (J, r) of the projections of ``patterns`` (J, P) on range K_X."""

    @abstractmethod
    def apply(self, patterns: Array) -> Array:
        """Rows K_X h, shape (J, P)."""

    @abstractmethod
    def precision(self, patterns: Array) -> Array:
        """Rows K_X^+ h, shape (J, P): half the gradient of the cost."""

    @abstractmethod
    def enclose(self, patterns: Array, theta: Array | None) -> Enclosure:
        """Rigorous patterns and costs near ``patterns``: exact realisable patterns, enclosed, with upper costs.

        ``theta`` (J, r), where known, saves recomputing the weights. The enclosed patterns may differ from
        ``patterns`` by rounding; what is promised is that patterns in [lo, hi] of cost <= cost exist.
        """

    @abstractmethod
    def norm_bound(self) -> float:
        """Rigorous upper bound on the largest eigenvalue of K_X."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Kind and sizes, as JSON values, for reports."""

    @abstractmethod
    def _hash(self, hasher: Any) -> None:
        """Feed the defining data to a hashlib object."""

    @final
    def cost(self, patterns: Array) -> Array:
        """c(h) = h^T K_X^+ h for each row (of its projection on range K_X)."""
        return self.neuron_cost(self.weights(np.atleast_2d(patterns)))

    @final
    def neuron_cost(self, theta: Array) -> Array:
        """|theta|^2 of each row of (J, r), without the entries that cost nothing."""
        paid = theta[:, : theta.shape[1] - self.free_parameters]
        return np.asarray(np.einsum("jr,jr->j", paid, paid))

    @final
    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the defining data."""
        hasher = hashlib.sha256(type(self).__name__.encode())
        self._hash(hasher)
        return hasher.hexdigest()


def feed(hasher: Any, array: Array) -> None:
    """Feed shape and bytes of an array to a hashlib object."""
    hasher.update(repr(array.shape).encode())
    feed_entries(hasher, array)

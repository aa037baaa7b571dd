"""Coordinates of atoms. A carrier says what array x (J, n) stands for J patterns, and what their cost is.

``ThetaCarrier``: x = theta, h = preactivation(theta), cost |theta|^2 (any geometry; n = r).
``BoxCarrier``: x = h itself, cost h^T K_X^+ h (K_X of full rank; n = P). There the cells of a piecewise linear activation are boxes,
so that a bound-constrained smooth solver sees no kinks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.activation import Activation
from meanfield_opt.geometry import FactorGeometry, Geometry

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Cells:
    """One box per atom, all (J, n): bounds, and phi(x) = slope x + intercept inside (one-sided at its faces)."""

    lower: Array
    upper: Array
    slope: Array
    intercept: Array


class Carrier(ABC):
    """Coordinates x (J, n) of J atoms in a geometry."""

    @property
    @abstractmethod
    def geometry(self) -> Geometry:
        """The geometry the atoms live in."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """n, the number of coordinates of one atom."""

    @abstractmethod
    def patterns(self, x: Array) -> Array:
        """Preactivations (J, P)."""

    @abstractmethod
    def pull(self, slopes: Array) -> Array:
        """Transpose of ``patterns``: (J, P) -> (J, n)."""

    @abstractmethod
    def metric(self, x: Array) -> Array:
        """Half the gradient of the cost; cost = <x, metric(x)>."""

    @abstractmethod
    def from_patterns(self, patterns: Array) -> Array:
        """Coordinates of realisable patterns (J, P)."""

    @abstractmethod
    def from_neurons(self, theta: Array) -> Array:
        """Coordinates of weight vectors (J, r)."""

    @abstractmethod
    def neurons(self, x: Array) -> Array:
        """Weight vectors theta (J, r) of the atoms, |theta|^2 = cost."""

    @abstractmethod
    def cells(self, x: Array, activation: Activation) -> Cells | None:
        """The activation's affine cell around each atom, where cells are boxes; else None."""

    @final
    def cost(self, x: Array) -> Array:
        """c(h_j), shape (J,)."""
        return np.asarray(np.einsum("jn,jn->j", x, self.metric(x)))


@dataclass(frozen=True)
class ThetaCarrier(Carrier):
    """x = theta."""

    space: Geometry

    @property
    def geometry(self) -> Geometry:
        return self.space

    @property
    def dimension(self) -> int:
        return self.space.n_parameters

    def patterns(self, x: Array) -> Array:
        return self.space.preactivation(x)

    def pull(self, slopes: Array) -> Array:
        return self.space.pullback(slopes)

    def metric(self, x: Array) -> Array:
        return x

    def from_patterns(self, patterns: Array) -> Array:
        return self.space.weights(patterns)

    def from_neurons(self, theta: Array) -> Array:
        return np.array(theta, dtype=np.float64)

    def neurons(self, x: Array) -> Array:
        return x

    def cells(self, x: Array, activation: Activation) -> Cells | None:
        return None


@dataclass(frozen=True)
class BoxCarrier(Carrier):
    """x = h, for K_X of full rank."""

    space: Geometry

    @property
    def geometry(self) -> Geometry:
        return self.space

    @property
    def dimension(self) -> int:
        return self.space.n_samples

    def patterns(self, x: Array) -> Array:
        return x

    def pull(self, slopes: Array) -> Array:
        return slopes

    def metric(self, x: Array) -> Array:
        return self.space.precision(x)

    def from_patterns(self, patterns: Array) -> Array:
        return np.array(patterns, dtype=np.float64)

    def from_neurons(self, theta: Array) -> Array:
        return self.space.preactivation(theta)

    def neurons(self, x: Array) -> Array:
        return self.space.weights(x)

    def cells(self, x: Array, activation: Activation) -> Cells | None:
        lo, hi = np.full(x.shape, -np.inf), np.full(x.shape, np.inf)
        slope, intercept = np.zeros(x.shape), np.zeros(x.shape)
        for piece in activation.pieces or ():
            left = -np.inf if piece.left is None else float(piece.left)
            right = np.inf if piece.right is None else float(piece.right)
            inside = (x >= left) & (x <= right)  # at a kink the piece on the right wins
            lo[inside], hi[inside] = left, right
            slope[inside], intercept[inside] = float(piece.slope), float(piece.intercept)
        return Cells(lo, hi, slope, intercept)


def choose_carrier(geometry: Geometry, activation: Activation) -> Carrier:
    """Boxes where the kernel has full rank and the activation has kinks; weights otherwise."""
    kinked = activation.pieces is not None and len(activation.pieces) > 1
    if kinked and not isinstance(geometry, FactorGeometry):
        return BoxCarrier(geometry)
    return ThetaCarrier(geometry)

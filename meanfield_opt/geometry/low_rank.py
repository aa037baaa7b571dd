"""Inputs whose kernel is a diagonal plus a few columns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..rounding import down, gram_norm_upper, matmul_bounds, square_interval, sum_upper, up
from ..validate import real_array
from .base import Enclosure, Geometry, feed

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DiagonalPlusLowRank(Geometry):
    """K_X = diag(diagonal) + B diag(weight) B^T, diagonal > 0, B (P, k), weight (k,) > 0. Full rank.

    theta = (u, beta), h = sqrt(diagonal) u + B sqrt(weight) beta; r = P + k.
    """

    diagonal: Array
    columns: Array
    weight: Array

    def __post_init__(self) -> None:
        diagonal = real_array(self.diagonal, "the diagonal", ndim=1)
        columns = real_array(self.columns, "the columns B", ndim=2)
        weight = real_array(self.weight, "the column weights", ndim=1)
        if columns.shape != (diagonal.size, weight.size):
            raise InputError(f"B must be (P, k) = ({diagonal.size}, {weight.size}); its shape is {columns.shape}.")
        if not ((diagonal > 0).all() and (weight > 0).all()):
            raise InputError("the diagonal and the column weights of K_X must be positive.")
        for name, array in (("diagonal", diagonal), ("columns", columns), ("weight", weight)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def n_samples(self) -> int:
        return int(self.diagonal.size)

    @property
    def n_parameters(self) -> int:
        return int(self.diagonal.size + self.weight.size)

    @cached_property
    def _capacitance(self) -> Array:
        """(W^-1 + B^T Lambda^-1 B)^-1, k x k."""
        inner = (self.columns / self.diagonal[:, None]).T @ self.columns
        return np.asarray(np.linalg.inv(np.diag(1.0 / self.weight) + inner))

    def coefficients(self, patterns: Array) -> Array:
        """The b (J, k) of the cheapest split h = u' + B b, cost = |u'|^2_{Lambda^-1} + |b|^2_{W^-1}."""
        return np.asarray((patterns / self.diagonal) @ self.columns @ self._capacitance)

    def preactivation(self, theta: Array) -> Array:
        p = self.n_samples
        out = np.sqrt(self.diagonal) * theta[:, :p]
        out += (theta[:, p:] * np.sqrt(self.weight)) @ self.columns.T
        return np.asarray(out)

    def pullback(self, slopes: Array) -> Array:
        return np.hstack([slopes * np.sqrt(self.diagonal), (slopes @ self.columns) * np.sqrt(self.weight)])

    def weights(self, patterns: Array) -> Array:
        b = self.coefficients(patterns)
        u = (patterns - b @ self.columns.T) / np.sqrt(self.diagonal)
        return np.hstack([u, b / np.sqrt(self.weight)])

    def apply(self, patterns: Array) -> Array:
        return np.asarray(patterns * self.diagonal + ((patterns @ self.columns) * self.weight) @ self.columns.T)

    def precision(self, patterns: Array) -> Array:
        return np.asarray((patterns - self.coefficients(patterns) @ self.columns.T) / self.diagonal)

    def enclose(self, patterns: Array, theta: Array | None) -> Enclosure:
        # any b gives an upper cost of the very patterns given, so they are enclosed exactly
        b = self.coefficients(patterns)
        lo, hi = matmul_bounds(b, self.columns.T)
        _, rest = square_interval(down(patterns - hi), up(patterns - lo))
        _, low = square_interval(b, b)
        cost = up(sum_upper(up(rest / self.diagonal), axis=1) + sum_upper(up(low / self.weight), axis=1))
        return Enclosure(patterns, patterns, cost)

    def norm_bound(self) -> float:
        low = gram_norm_upper(self.columns) if self.weight.size else 0.0
        return float(up(float(self.diagonal.max()) + up(low * float(self.weight.max(initial=0.0)))))

    def describe(self) -> dict[str, Any]:
        return {"kind": "diagonal + low rank", "samples": self.n_samples, "columns": int(self.weight.size)}

    def _hash(self, hasher: Any) -> None:
        for array in (self.diagonal, self.columns, self.weight):
            feed(hasher, array)

"""Inputs given by a factor: K_X = A A^T."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..rounding import gram_norm_upper, matmul_bounds, square_interval, sum_upper
from ..validate import flag, real_array
from .base import Enclosure, Geometry, feed

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FactorGeometry(Geometry):
    """K_X = A A^T with A (P, r): rows are samples (with a column of ones for the bias). h = A theta exactly."""

    factor: Array

    def __post_init__(self) -> None:
        array = real_array(self.factor, "the factor A", ndim=2)
        array.setflags(write=False)
        object.__setattr__(self, "factor", array)

    @property
    def n_samples(self) -> int:
        return int(self.factor.shape[0])

    @property
    def n_parameters(self) -> int:
        return int(self.factor.shape[1])

    @cached_property
    def _pseudo_inverse(self) -> Array:
        return np.asarray(np.linalg.pinv(self.factor, rcond=1e-12))

    def preactivation(self, theta: Array) -> Array:
        return np.asarray(theta @ self.factor.T)

    def pullback(self, slopes: Array) -> Array:
        return np.asarray(slopes @ self.factor)

    def weights(self, patterns: Array) -> Array:
        return np.asarray(patterns @ self._pseudo_inverse.T)

    def apply(self, patterns: Array) -> Array:
        return np.asarray((patterns @ self.factor) @ self.factor.T)

    def precision(self, patterns: Array) -> Array:
        return np.asarray((patterns @ self._pseudo_inverse.T) @ self._pseudo_inverse)

    def enclose(self, patterns: Array, theta: Array | None) -> Enclosure:
        theta = self.weights(patterns) if theta is None else theta
        lo, hi = matmul_bounds(theta, self.factor.T)
        _, squares = square_interval(theta, theta)
        return Enclosure(lo, hi, sum_upper(squares, axis=1))

    def norm_bound(self) -> float:
        p, r = self.factor.shape
        return gram_norm_upper(self.factor if r <= p else self.factor.T)

    def describe(self) -> dict[str, Any]:
        return {"kind": "factor", "samples": self.n_samples, "rank": self.n_parameters}

    def _hash(self, hasher: Any) -> None:
        feed(hasher, self.factor)


def features_with_bias(inputs: ArrayLike, *, bias: bool = True) -> Array:
    """A = [X, 1] (P, d_X + 1) of samples in rows, or X itself without a bias."""
    x = real_array(inputs, "X", ndim=(1, 2))
    x = x[:, None] if x.ndim == 1 else x
    return np.hstack([x, np.ones((x.shape[0], 1))]) if flag(bias, "bias") else x

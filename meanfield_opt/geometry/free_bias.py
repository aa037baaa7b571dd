"""Inputs with a hidden bias that costs nothing: h = X w + b 1, c(h) = min |w|^2."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..rounding import down, matmul_bounds, square_interval, sum_upper, up
from ..validate import real_array
from .base import Enclosure, Geometry, feed

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FreeBiasGeometry(Geometry):
    """theta = (w, b) with rows of ``inputs`` X (P, d_X): the cost is a semidefinite form, zero along 1.

    K_X is infinite along 1. What the interface says of K_X (``apply``, ``precision``) is meant on the rest: with the
    inputs centred. ``meanfield_opt.free_bias`` says which problems take it, and how they are solved and certified.
    """

    inputs: Array
    free_parameters = 1

    def __post_init__(self) -> None:
        array = real_array(self.inputs, "the inputs X", ndim=2)
        array.setflags(write=False)
        object.__setattr__(self, "inputs", array)

    @property
    def n_samples(self) -> int:
        return int(self.inputs.shape[0])

    @property
    def n_parameters(self) -> int:
        return int(self.inputs.shape[1]) + 1

    @cached_property
    def centred(self) -> Array:
        """X with its column means taken off, in floating point."""
        return np.asarray(self.inputs - self.inputs.mean(axis=0))

    @cached_property
    def _pseudo_inverse(self) -> Array:
        return np.asarray(np.linalg.pinv(self.centred, rcond=1e-12))

    def preactivation(self, theta: Array) -> Array:
        return np.asarray(theta[:, :-1] @ self.inputs.T + theta[:, -1:])

    def pullback(self, slopes: Array) -> Array:
        return np.hstack([slopes @ self.inputs, slopes.sum(axis=1, keepdims=True)])

    def weights(self, patterns: Array) -> Array:
        mean = patterns.mean(axis=1, keepdims=True)
        w = (patterns - mean) @ self._pseudo_inverse.T
        return np.hstack([w, mean - w @ self.inputs.mean(axis=0)[:, None]])

    def apply(self, patterns: Array) -> Array:
        return np.asarray((patterns @ self.centred) @ self.centred.T)

    def precision(self, patterns: Array) -> Array:
        moved = patterns - patterns.mean(axis=1, keepdims=True)
        return np.asarray((moved @ self._pseudo_inverse.T) @ self._pseudo_inverse)

    def enclose(self, patterns: Array, theta: Array | None) -> Enclosure:
        theta = self.weights(patterns) if theta is None else theta
        w, b = theta[:, :-1], theta[:, -1:]
        lo, hi = matmul_bounds(w, self.inputs.T)
        _, squares = square_interval(w, w)
        return Enclosure(down(lo + b), up(hi + b), sum_upper(squares, axis=1))

    def norm_bound(self) -> float:
        return math.inf

    def describe(self) -> dict[str, Any]:
        return {"kind": "free bias", "samples": self.n_samples, "rank": self.n_parameters}

    def _hash(self, hasher: Any) -> None:
        feed(hasher, self.inputs)

"""Inputs given by a dense kernel."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checker.definite import least_eigenvalue
from ..errors import InputError
from ..rounding import down, matmul_bounds, square_interval, sum_upper, up
from ..validate import real_array
from .base import Enclosure, Geometry, feed

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DenseGeometry(Geometry):
    """K_X given as a symmetric positive definite matrix (P, P). For a singular kernel give a factor instead."""

    kernel: Array
    _factor: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        kernel = real_array(self.kernel, "the kernel K_X", ndim=2)
        if kernel.shape[0] != kernel.shape[1]:
            raise InputError(f"the kernel K_X must be square; its shape is {kernel.shape}.")
        if not np.array_equal(kernel, kernel.T):
            raise InputError("the kernel K_X must be exactly symmetric; pass (K + K.T) / 2 if that is what is meant.")
        try:
            factor = np.linalg.cholesky(kernel)
        except np.linalg.LinAlgError as error:
            raise InputError(
                "the kernel K_X is not positive definite; give a factor A with K_X = A A^T instead."
            ) from error
        for name, array in (("kernel", kernel), ("_factor", factor)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def n_samples(self) -> int:
        return int(self.kernel.shape[0])

    @property
    def n_parameters(self) -> int:
        return int(self.kernel.shape[0])

    @cached_property
    def _inverse_factor(self) -> Array:
        return np.asarray(np.linalg.inv(self._factor))

    @cached_property
    def least_eigenvalue(self) -> float:
        """A rigorous lower bound on the least eigenvalue (0 if none positive is proved)."""
        return max(0.0, least_eigenvalue(self.kernel))

    def preactivation(self, theta: Array) -> Array:
        return np.asarray(theta @ self._factor.T)

    def pullback(self, slopes: Array) -> Array:
        return np.asarray(slopes @ self._factor)

    def weights(self, patterns: Array) -> Array:
        return np.asarray(patterns @ self._inverse_factor.T)

    def apply(self, patterns: Array) -> Array:
        return np.asarray(patterns @ self.kernel)

    def precision(self, patterns: Array) -> Array:
        return np.asarray((patterns @ self._inverse_factor.T) @ self._inverse_factor)

    def enclose(self, patterns: Array, theta: Array | None) -> Enclosure:
        least = self.least_eigenvalue
        if least == 0.0:
            raise InputError("the kernel K_X is too ill-conditioned for a rigorous cost; give a factor A instead.")
        # h^T K^-1 h = 2 h.x - x^T K x + r^T K^-1 r with r = h - K x, for any x
        x = self.weights(patterns) @ self._inverse_factor
        lo, hi = matmul_bounds(x, self.kernel)
        _, r2 = square_interval(down(patterns - hi), up(patterns - lo))
        kx_mid = 0.5 * (lo + hi)
        rad = up(np.maximum(hi - kx_mid, kx_mid - lo))
        products = x * (2.0 * patterns - kx_mid)
        slack = up(np.abs(x) * rad) + 8 * 2.0**-53 * np.abs(x) * (2 * np.abs(patterns) + np.abs(kx_mid)) + 2.0**-1060
        cost = up(sum_upper(up(products + slack), axis=1) + up(sum_upper(r2, axis=1) / least))
        return Enclosure(patterns, patterns, cost)

    def norm_bound(self) -> float:
        return float(np.max(sum_upper(np.abs(self.kernel), axis=1)))

    def describe(self) -> dict[str, Any]:
        return {"kind": "dense", "samples": self.n_samples}

    def _hash(self, hasher: Any) -> None:
        feed(hasher, self.kernel)

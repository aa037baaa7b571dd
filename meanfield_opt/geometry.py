"""The input geometry: K_X^+ as an operator, the cost c(h) = h^T K_X^+ h, and the weights theta that realise h.

Patterns are rows: an array H of shape (J, P) holds J preactivation patterns over P samples. No geometry forms a
P x P array except ``DenseGeometry``, which is given one.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .checker.definite import least_eigenvalue
from .errors import InputError
from .rounding import down, gram_norm_upper, matmul_bounds, square_interval, sum_upper, up
from .validate import real_array

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
        theta = self.weights(np.atleast_2d(patterns))
        return np.asarray(np.einsum("jr,jr->j", theta, theta))

    @final
    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the defining data."""
        hasher = hashlib.sha256(type(self).__name__.encode())
        self._hash(hasher)
        return hasher.hexdigest()


def _feed(hasher: Any, array: Array) -> None:
    hasher.update(repr(array.shape).encode())
    hasher.update(np.ascontiguousarray(array, dtype="<f8"))


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
        _feed(hasher, self.factor)


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
            _feed(hasher, array)


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
        _feed(hasher, self.kernel)


def features_with_bias(inputs: ArrayLike, *, bias: bool = True) -> Array:
    """A = [X, 1] (P, d_X + 1) of samples in rows, or X itself without a bias."""
    x = real_array(inputs, "X", ndim=(1, 2))
    x = x[:, None] if x.ndim == 1 else x
    return np.hstack([x, np.ones((x.shape[0], 1))]) if bias else x

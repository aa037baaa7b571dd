"""The energy of atoms as a function of their masses alone, readouts eliminated: what every loss owes the interior-point method (``masses``).

    E(m) = l1 sum_j m_j + min over V of L(V Phi) + l2 sum_j |V_j|^2 / m_j ,   m >= 0

on atoms of cost 1 with features Phi (J, P) is smooth and convex (theory section 1). With Z = -grad L at the best fit and q_j = Z phi_j / 2 its
gradient is l1 - |q_j|^2 / l2, and the best readouts are V_j = m_j q_j / l2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from .blocked import cholesky, gram, solve

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """E at some masses, with the factor and the right-hand side or fit that a ``Point`` is made of: each energy's own."""

    value: float
    factor: Array
    fit: Array


@dataclass(frozen=True)
class Point:
    """E at m with the responses q (d, J), which are <Z, phi_j> / 2, and what the Hessian is made of: each energy's own."""

    value: float
    responses: Array
    half: Array


class MassEnergy(ABC):
    """E on fixed atoms. none: E(0), the loss of no atoms."""

    none: float
    l1: float
    l2: float

    @abstractmethod
    def value(self, m: Array) -> Trial:
        """E at m (J,)."""

    @abstractmethod
    def point(self, m: Array, known: Trial | None = None) -> Point:
        """E at m with its responses. known: what ``value`` said of m."""

    @abstractmethod
    def system(self, at: Point, diagonal: Array) -> Callable[[Array], Array]:
        """slope -> -(Hessian + diagonal)^-1 slope, factored once."""


def dense(hessian: Array, diagonal: Array, threads: int) -> Callable[[Array], Array]:
    """slope -> -(H + diagonal)^-1 slope for H (J, J), which is overwritten and of which the lower triangle is read."""
    hessian.reshape(-1)[:: diagonal.size + 1] += diagonal
    factor = factored(hessian, threads)
    return lambda slope: -solve(factor, slope)


def outer(u: Array, diagonal: Array, threads: int) -> Callable[[Array], Array]:
    """slope -> -(u^T u + diagonal)^-1 slope for u (n, J) with n smaller than J, which is overwritten."""
    scale = 1.0 / np.sqrt(diagonal)
    u *= scale
    inner = gram(u, threads)
    inner.reshape(-1)[:: u.shape[0] + 1] += 1.0
    factor = factored(inner, threads)

    def direction(slope: Array) -> Array:
        g = slope * scale
        return np.asarray((u.T @ solve(factor, u @ g) - g) * scale)

    return direction


def factored(matrix: Array, threads: int = 1) -> Array:
    """Cholesky's factor; where rounding leaves the matrix indefinite, of one with a slightly larger diagonal: any such step descends."""
    diagonal = matrix.reshape(-1)[:: matrix.shape[0] + 1]
    add = 1e-15 * float(diagonal.max())
    for _ in range(4):
        try:
            return cholesky(matrix, threads)
        except linalg.LinAlgError:
            diagonal += add
            add *= 100.0
    return cholesky(matrix, threads)

"""Strictness of a singular semidefinite M: a kernel vector x >= 0 is a zero, M y > 0 shows that there is none (Gordan)."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checker.psd import Rows

Array = NDArray[np.float64]
Settled = tuple[dict[str, Any], bool | None, tuple[Fraction, ...] | None]


def singular_psd(matrix: Rows, floats: Array) -> Settled:
    """The "psd" proof with a zero, or with a direction that shows strictness, or with neither (strictness None).

    floats: M with unit diagonal (rows of zeros are allowed), shape (n, n).
    """
    from scipy.optimize import linprog

    n = len(matrix)
    # max t: F y >= t, |y| <= 1; its dual asks for the kernel vector
    rows = np.hstack([-floats, np.ones((n, 1))])
    result = linprog(np.append(np.zeros(n), -1.0), A_ub=rows, b_ub=np.zeros(n), bounds=[(-1, 1)] * n + [(None, 1)])
    if result.x is None:
        return {"kind": "psd"}, None, None
    if result.x[-1] > 1e-9:
        direction = _direction(matrix, result.x[:n])
        if direction is not None:
            proof = {"kind": "psd", "direction": [[v.numerator, v.denominator] for v in direction]}
            return proof, True, None
    zero = _kernel_vector(matrix, -np.asarray(result.ineqlin.marginals))
    return {"kind": "psd"}, False if zero is not None else None, zero


def _roots(matrix: Rows) -> list[Fraction]:
    """Approximations of m_ii^1/2 (1 where m_ii = 0)."""
    out = []
    for i in range(len(matrix)):
        v = matrix[i][i] or 1
        half = (v.bit_length() - 1) // 2
        out.append(
            Fraction(float(np.sqrt(float(Fraction(v, 1 << (2 * half)))))).limit_denominator(1 << 20) * (1 << half)
        )
    return out


def _direction(matrix: Rows, scaled: Array) -> list[Fraction] | None:
    roots = _roots(matrix)
    for limit in (10, 1000, 10**6, 10**12):
        y = [Fraction(float(v)).limit_denominator(limit) / r for v, r in zip(scaled, roots)]
        if all(sum(m * v for m, v in zip(row, y)) > 0 for row in matrix):
            return y
    return None


def _kernel_vector(matrix: Rows, weights: Array) -> tuple[Fraction, ...] | None:
    """The exact kernel vector on the support of the multipliers (a basic solution: it is unique there)."""
    from flint import fmpz_mat

    support = [int(i) for i in np.flatnonzero(weights > 1e-7 * max(1e-300, float(weights.max(initial=0.0))))]
    if not support:
        return None
    basis, nullity = fmpz_mat([[row[j] for j in support] for row in matrix]).nullspace()
    if int(nullity) != 1:
        return None
    values = [int(basis[k, 0]) for k in range(len(support))]
    if all(v <= 0 for v in values):
        values = [-v for v in values]
    if min(values) < 0:
        return None
    divisor = math.gcd(*values)
    x = [Fraction(0)] * len(matrix)
    for j, v in zip(support, values):
        x[j] = Fraction(v // divisor)
    return tuple(x)

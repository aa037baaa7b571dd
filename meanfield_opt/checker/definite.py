"""Proofs of definiteness and copositivity in floating point: True only if proved, whatever the entries are.

All tests accept by residual: some R is computed in any way whatever, and |A - c - R^T R| is then bounded rigorously.
R^T R is positive semidefinite exactly, so A is, as soon as the shift c dominates the residual's row sums (Gershgorin).
This asks nothing of the Cholesky routine (blocking, FMA, reciprocals), only the rounding bound of a matrix product
(Higham, section 3.5); compare Rump, "Verification of positive definiteness", BIT 2006.
NaN, infinity and overflow make every comparison fail, hence every test False.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..rounding import TINY, UNIT, down, gamma, matmul_bounds, up

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


def equilibrate(matrix: Array) -> tuple[Array, NDArray[np.int_]] | None:
    """(D A D, e) with D = diag(2^e) bringing the diagonal into [1/2, 2]; None unless scaling was exact."""
    diagonal = np.diagonal(matrix)
    if not (np.isfinite(matrix).all() and (diagonal > 0).all()):
        return None
    exponents = -np.floor_divide(np.frexp(diagonal)[1], 2)
    with np.errstate(over="ignore", under="ignore"):
        scaled = np.ldexp(matrix, exponents[:, None] + exponents[None, :])
        back = np.ldexp(scaled, -(exponents[:, None] + exponents[None, :]))
    return (scaled, exponents) if np.array_equal(back, matrix) else None


def proved_psd(matrix: Array, radius: Array | None = None) -> bool:
    """True only if every symmetric matrix within ``radius`` (entrywise, >= 0) of ``matrix`` is proved PSD.

    ``matrix`` is dense (n, n); only its being exactly symmetric is trusted after a check. The price is a shift of about
    2 n^1.5 u times the diagonal, so singular matrices are not proved: give slack, or use ``exact.is_psd``.
    """
    a = np.asarray(matrix, dtype=np.float64)
    n = a.shape[0]
    if n == 0:
        return True
    if a.shape != (n, n) or not np.array_equal(a, a.T):
        return False
    scaled, rad = a, None if radius is None else np.asarray(radius, dtype=np.float64)
    if rad is not None and not ((rad >= 0).all() and np.isfinite(rad).all()):
        return False
    balanced = equilibrate(a)
    if balanced is not None:
        scaled = balanced[0]
        if rad is not None:
            with np.errstate(over="ignore", under="ignore"):
                rad = up(np.ldexp(rad, balanced[1][:, None] + balanced[1][None, :]))
    spread = np.zeros(n) if rad is None else _row_sums(np.maximum(rad, rad.T))
    with np.errstate(all="ignore"):
        diagonal = np.abs(np.diagonal(scaled))
        shift = spread * (1 + 1e-8) + 2 * (n + 8) ** 1.5 * UNIT * diagonal + 2.0**-1000
        for growth in (1.0, 1.0, 4.0, 64.0):
            margin, needed = _residual(scaled, shift)
            if bool((margin >= up(needed + spread)).all()):
                return True
            # the rounding of the factor itself eats as much of the shift as its off-diagonal error bounds show
            shift = spread * (1 + 1e-8) + growth * 1.2 * (needed + np.maximum(shift - margin, 0.0))
            if not np.isfinite(shift).all():
                return False
    return False


def _residual(matrix: Array, shift: Array) -> tuple[Array, Array]:
    """With R R^T ~ matrix - diag(shift): lower bounds on the residual's diagonal, upper bounds on its other row sums."""
    n = matrix.shape[0]
    diagonal = np.diag_indices(n)
    reduced = np.array(matrix)
    reduced[diagonal] = np.diagonal(matrix) - shift
    try:
        factor: Array = np.asarray(np.linalg.cholesky(reduced), dtype=np.float64)
    except np.linalg.LinAlgError:
        return np.full(n, -np.inf), np.full(n, np.inf)
    lo, hi = matmul_bounds(factor, factor.T)
    residual = np.maximum(np.abs(down(matrix - hi)), np.abs(up(matrix - lo)))
    residual[diagonal] = 0.0
    margin = down(np.diagonal(matrix) - np.diagonal(hi))
    return margin, _row_sums(residual)


def _row_sums(x: Array) -> Array:
    """Rigorous upper bounds on the row sums of a nonnegative matrix."""
    g = gamma(x.shape[-1] + 2)
    return np.asarray(up(np.sum(x, axis=-1) * (1.0 + 4.0 * g)))


def least_eigenvalue(matrix: Array, radius: Array | None = None) -> float:
    """A rigorous lower bound on the least eigenvalue of every symmetric matrix within ``radius``; -inf if none found."""
    a = np.asarray(matrix, dtype=np.float64)
    n = a.shape[0]
    if n == 0:
        return math.inf
    if not np.isfinite(a).all() or not np.array_equal(a, a.T):
        return -math.inf
    rad = np.zeros_like(a) if radius is None else np.asarray(radius, dtype=np.float64)
    try:
        values = np.linalg.eigvalsh(a)
    except np.linalg.LinAlgError:
        return -math.inf
    size = float(np.max(np.abs(values))) + float(np.max(np.sum(rad, axis=1)))
    step = 8 * (n + 8) ** 1.5 * UNIT * size
    for _ in range(12):
        trial: float = float(values[0]) - float(np.max(np.sum(rad, axis=1))) - step
        shifted = np.array(a)
        with np.errstate(over="ignore", invalid="ignore"):
            shifted[np.diag_indices(n)] -= trial
            extra = np.array(rad)
            extra[np.diag_indices(n)] = up(rad.diagonal() + UNIT * np.abs(shifted.diagonal()) + TINY)
        if proved_psd(shifted, extra):
            return trial
        step *= 4
    return -math.inf


def proved_psd_batch(matrices: Array) -> Flags:
    """``proved_psd`` for a stack (B, n, n) of small matrices (n <= 8), all at once; unproved ones are False."""
    a = np.asarray(matrices, dtype=np.float64)
    n = a.shape[-1]
    with np.errstate(all="ignore"):
        fine = np.isfinite(a).all(axis=(-2, -1)) & (a == np.swapaxes(a, -1, -2)).all(axis=(-2, -1))
        # powers of two bring the diagonal into [1/2, 2]; matrices for which that is not exact stay as they are
        diagonal = np.diagonal(a, axis1=-2, axis2=-1)
        fine &= (diagonal >= 0).all(axis=-1)
        e = -np.floor_divide(np.frexp(np.where(np.isfinite(diagonal), diagonal, 0.0))[1], 2)
        both = e[..., :, None] + e[..., None, :]
        scaled = np.ldexp(a, both)
        exact = (np.ldexp(scaled, -both) == a).all(axis=(-2, -1))
        a = np.where(exact[..., None, None], scaled, a)
        diagonal = np.diagonal(a, axis1=-2, axis2=-1)
        shift = 40.0 * n * n * UNIT * diagonal + 2.0**-1000
        factor = np.zeros_like(a)  # lower triangular, column by column
        for j in range(n):
            rest = a[..., j, j] - shift[..., j] - np.sum(factor[..., j, :j] ** 2, axis=-1)
            root = np.sqrt(np.maximum(rest, 0.0))
            factor[..., j, j] = root
            for i in range(j + 1, n):
                inner = a[..., i, j] - np.sum(factor[..., i, :j] * factor[..., j, :j], axis=-1)
                factor[..., i, j] = np.where(root > 0, inner / np.where(root > 0, root, 1.0), 0.0)
        residual = np.zeros_like(a)
        margin = np.zeros(a.shape[:-1])
        g = gamma(n + 4)
        for i in range(n):
            for j in range(i + 1):
                products = factor[..., i, : j + 1] * factor[..., j, : j + 1]
                mid, size = np.sum(products, axis=-1), np.sum(np.abs(products), axis=-1)
                error = 2.0 * g * (size + np.abs(a[..., i, j])) + 4.0 * n * TINY
                if i == j:
                    margin[..., i] = down(a[..., i, i] - mid - error)
                else:
                    residual[..., i, j] = residual[..., j, i] = up(np.abs(a[..., i, j] - mid) + error)
        proved = (margin >= _row_sums(residual)).all(axis=-1)
    return np.asarray(fine & proved & np.isfinite(margin).all(axis=-1))


def proved_copositive_batch(matrices: Array) -> Flags:
    """True where the symmetric matrix (B, n, n), n <= 8, is proved copositive as PSD + entrywise nonnegative.

    Copositivity is monotone in the entries, so for an interval matrix pass its lower ends. Only reductions of positive
    off-diagonal entries are tried: the split is A = S + N with S <= A entry by entry (an exact comparison) and S PSD.
    Orders 1 to 3 are decided up to rounding; at order 4 a few sweeps of coordinate ascent on det S find the split.
    """
    a = np.asarray(matrices, dtype=np.float64)
    n = a.shape[-1]
    with np.errstate(all="ignore"):
        a = np.minimum(a, np.swapaxes(a, -1, -2))
        fine = np.isfinite(a).all(axis=(-2, -1))
        done = np.array(fine & (a >= 0).all(axis=(-2, -1)))
        if n == 1:
            return np.asarray(done)
        for split in (a, _zeroed(a), _completed(a)):
            todo = fine & ~done
            if not todo.any():
                break
            done[todo] |= proved_psd_batch(split[todo])
    return np.asarray(done)


def _zeroed(a: Array) -> Array:
    """Positive off-diagonal entries replaced by zero."""
    eye = np.eye(a.shape[-1], dtype=bool)
    return np.where(eye, a, np.minimum(a, 0.0))


def _completed(a: Array) -> Array:
    """Positive off-diagonal entries lowered to (near) the maximum-determinant completion below A."""
    n = a.shape[-1]
    s = _zeroed(a)
    diagonal = np.maximum(np.diagonal(a, axis1=-2, axis2=-1), 1e-300)
    # order 3: min(z, x y / a_kk) is exactly optimal; larger orders start from the strongest path
    start = np.array(s)
    for i in range(n):
        for j in range(i):
            through = np.zeros(a.shape[:-2])
            for k in range(n):
                if k not in (i, j):
                    through = np.maximum(through, s[..., i, k] * s[..., k, j] / diagonal[..., k])
            value = np.where(a[..., i, j] > 0, np.minimum(a[..., i, j], through), a[..., i, j])
            start[..., i, j] = start[..., j, i] = value
    if n != 4:
        return start
    s = start
    for _ in range(6):
        for i in range(n):
            for j in range(i):
                k, l = (m for m in range(n) if m not in (i, j))
                det = s[..., k, k] * s[..., l, l] - s[..., k, l] ** 2
                top = s[..., i, k] * (s[..., l, l] * s[..., k, j] - s[..., k, l] * s[..., l, j]) + s[..., i, l] * (
                    s[..., k, k] * s[..., l, j] - s[..., k, l] * s[..., k, j]
                )
                centre = np.where(det > 0, top / np.where(det > 0, det, 1.0), s[..., i, j])
                value = np.where(a[..., i, j] > 0, np.minimum(a[..., i, j], centre), a[..., i, j])
                s[..., i, j] = s[..., j, i] = value
    return s

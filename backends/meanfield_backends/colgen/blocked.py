"""Cholesky's factorisation, triangular solves and Gram matrices by blocks shared among threads.

SciPy's factorisations and triangular solves hold the interpreter's lock, so that threads wait for each other; matrix products do not. Nearly
all the work is done in products of blocks whose sizes do not depend on the number of threads: not even rounding does. Small matrices go to
SciPy. Diagonal blocks are inverted once: products with the inverse of a triangular matrix have residuals about as small as substitution
(Higham 2002, chapter 14).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from meanfield_opt.threads import share

Array = NDArray[np.float64]

#: rows of a diagonal block; and rows of a panel, or columns of right-hand sides, of one piece of work
BLOCK, STRIP = 128, 256
#: unknowns up to which SciPy does the work: on one thread it takes half the time at 600, two thirds at 900, three quarters at 1500
SMALL = 1000
#: multiplications of a Gram matrix up to which it is one product
FEW_PRODUCTS = 5e7


def cholesky(matrix: Array, threads: int = 1) -> Array:
    """The lower factor L (n, n) of a positive definite matrix L L^T, of which the lower triangle is read.

    Raises LinAlgError where the matrix is not positive definite.
    """
    count = matrix.shape[0]
    if count <= SMALL:
        return _corner(matrix)
    out = np.zeros((count, count))
    for begin in range(0, count, BLOCK):
        end = min(begin + BLOCK, count)
        done = out[begin:end, :begin]
        corner = _corner(matrix[begin:end, begin:end] - done @ done.T)
        out[begin:end, begin:end] = corner

        inverse = _inverse(corner).T

        def panel(
            part: slice, begin: int = begin, end: int = end, done: Array = done, inverse: Array = inverse
        ) -> None:
            below = slice(end + part.start, end + part.stop)
            np.matmul(matrix[below, begin:end] - out[below, :begin] @ done.T, inverse, out=out[below, begin:end])

        share(panel, count - end, STRIP, threads)
    return out


def lower_solver(factor: Array) -> Callable[[Array], Array]:
    """right (n, k) -> L^-1 right for a lower factor L; of very many columns each thread takes a STRIP."""
    count = factor.shape[0]
    if count <= SMALL:
        return lambda right: np.asarray(linalg.solve_triangular(factor, right, lower=True, check_finite=False))
    begins = range(0, count, BLOCK)
    inverses = [_inverse(factor[begin : begin + BLOCK, begin : begin + BLOCK]) for begin in begins]

    def solve(right: Array) -> Array:
        out = np.empty(right.shape)
        for begin, inverse in zip(begins, inverses, strict=True):
            end = begin + inverse.shape[0]
            np.matmul(inverse, right[begin:end] - factor[begin:end, :begin] @ out[:begin], out=out[begin:end])
        return out

    return solve


def solve(factor: Array, right: Array) -> Array:
    """(L L^T)^-1 right, for a few columns."""
    # LAPACK reads matrices by columns: the transpose of one that is stored by rows costs no copy
    pair = (factor.T, False) if factor.flags.c_contiguous else (factor, True)
    return np.asarray(linalg.cho_solve(pair, right, check_finite=False))


def gram(u: Array, threads: int = 1) -> Array:
    """u u^T, at least its lower triangle, by rows shared among threads."""
    count = u.shape[0]
    if u.size * count < FEW_PRODUCTS:
        return np.asarray(u @ u.T)
    out = np.zeros((count, count))

    def work(part: slice) -> None:
        np.matmul(u[part], u[: part.stop].T, out=out[part, : part.stop])

    share(work, count, max(64, -(-count // 16)), threads)
    return out


def whole(lower: Array) -> Array:
    """The symmetric matrix of this lower triangle."""
    return np.asarray(np.tril(lower) + np.tril(lower, -1).T)


def _corner(matrix: Array) -> Array:
    factor = np.asarray(linalg.cholesky(matrix, lower=True, check_finite=False))
    if not np.isfinite(factor).all():
        raise linalg.LinAlgError("the matrix has entries that are not finite.")
    return factor


def _inverse(lower: Array) -> Array:
    inverse, fault = linalg.lapack.dtrtri(lower, lower=1)
    if fault:
        raise linalg.LinAlgError("a factor has a zero on its diagonal.")
    return np.asarray(np.tril(inverse))

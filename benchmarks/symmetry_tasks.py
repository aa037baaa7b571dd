"""Tasks with symmetry for ``symmetry.py``: circles, products and grids, with white noise or of low rank; the full relaxation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

import meanfield_opt as mfo
from meanfield_opt.symmetry.relaxation import data_matrices

Array = NDArray[np.float64]


def half_planes(m: int) -> Array:
    """Labels of m points on a circle: every half plane."""
    i = np.arange(m)
    return np.array([np.where((i - k) % m < m // 2, 1.0, -1.0) for k in range(m // 2)])


def by_distance(values: Array) -> Array:
    """The symmetric circulant matrix of a function on the circle."""
    m = values.size
    even = np.array([values[min(k, m - k)] for k in range(m)])
    return np.asarray(even[(np.arange(m)[:, None] - np.arange(m)) % m])


def _dense(kernel: Array, targets: Array) -> mfo.TwoLayerProblem:
    return mfo.TwoLayerProblem(
        mfo.activation("relu"), mfo.loss("squared"), mfo.DenseGeometry(kernel), targets, 0.01, 0.01
    )


def dihedral_task(m: int) -> mfo.TwoLayerProblem:
    """m inputs on a circle plus white noise, every half plane a label."""
    return _dense(by_distance(1 + np.cos(2 * np.pi * np.arange(m) / m)) + 0.5 * np.eye(m), half_planes(m))


def cyclic_task(m: int) -> mfo.TwoLayerProblem:
    """Two circles, the second smaller and turned: rotations are symmetries, reflections are not."""
    t = 2 * np.pi * np.arange(m) / m
    cross = (1 + 0.5 * np.cos(t - 0.3))[(np.arange(m)[:, None] - np.arange(m)) % m]
    kernel = np.block([[by_distance(1 + np.cos(t)), cross], [cross.T, by_distance(1 + 0.25 * np.cos(t))]])
    return _dense(kernel + 0.5 * np.eye(2 * m), np.hstack([half_planes(m), np.roll(half_planes(m), 1, axis=1)]))


def product_task(m: int) -> mfo.TwoLayerProblem:
    """A circle times one sign."""
    ring = dihedral_task(m)
    kernel = np.kron(1 + 0.5 * np.eye(2), data_matrices(ring)[0])
    y = np.vstack([np.hstack([ring.targets, ring.targets]), np.repeat([[1.0, -1.0]], m, axis=1).reshape(1, -1)])
    return _dense(kernel, y)


#: the tasks of the issue on which full and reduced relaxation must agree
RELAXED: dict[str, Callable[[], mfo.TwoLayerProblem]] = {
    "hypercube 2, whitened": lambda: mfo.problems.hypercube(2),
    "hypercube 3, aligned 0.5": lambda: mfo.problems.hypercube(3, geometry="aligned", alignment=0.5),
    "hypercube 3, aligned 2": lambda: mfo.problems.hypercube(3, geometry="aligned", alignment=2.0),
    "hypercube 4, whitened": lambda: mfo.problems.hypercube(4),
    "dihedral 6": lambda: dihedral_task(6),
    "dihedral 8": lambda: dihedral_task(8),
    "cyclic 4": lambda: cyclic_task(4),
    "cyclic 6": lambda: cyclic_task(6),
    "product 6 x 2": lambda: product_task(6),
}


def full_relaxation(problem: mfo.TwoLayerProblem) -> float:
    """The order-2P doubly nonnegative relaxation written out in cvxpy."""
    import cvxpy

    p, q, y = problem.n_samples, np.linalg.inv(data_matrices(problem)[0]), problem.targets
    w = cvxpy.Variable((2 * p, 2 * p), PSD=True)
    fit = cvxpy.Variable((y.shape[0], y.shape[0]), symmetric=True)
    schur = cvxpy.bmat([[fit, y], [y.T, problem.lambda2 * np.eye(p) + w[:p, :p]]])
    cost = problem.lambda1 * cvxpy.trace(np.block([[q, -q], [-q, q]]) @ w) + problem.lambda2 * cvxpy.trace(fit)
    program = cvxpy.Problem(cvxpy.Minimize(cost), [w >= 0, cvxpy.diag(w[:p, p:]) == 0, schur >> 0])
    program.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return float(program.value)


def ring(m: int) -> Array:
    """m points on the unit circle, (m, 2), in floating point."""
    t = 2 * np.pi * np.arange(m) / m
    return np.stack([np.cos(t), np.sin(t)], axis=1)


def circle(m: int, order: int, *, bias: bool, penalty: float) -> mfo.TwoLayerProblem:
    """The harmonic of that order on m points of a circle, two outputs that turn with them (rank 2, with a bias 3)."""
    t = 2 * np.pi * np.arange(m) / m
    y = np.stack([np.cos(order * t), np.sin(order * t)], axis=1)
    return mfo.problems.dataset(ring(m), y, lambda1=penalty, lambda2=penalty, bias=bias)


def grid(n: int, penalty: float) -> mfo.TwoLayerProblem:
    """Exclusive or on an n x n grid (rank 3)."""
    a, b = (g.ravel() for g in np.meshgrid(np.linspace(-1, 1, n), np.linspace(-1, 1, n)))
    return mfo.problems.dataset(np.stack([a, b], axis=1), np.sign(a * b)[:, None], lambda1=penalty, lambda2=penalty)


def circle_times_sign(m: int, penalty: float) -> mfo.TwoLayerProblem:
    """A circle times a sign (rank 4): quadrants in turn, and the sign."""
    x = np.vstack([np.hstack([ring(m), np.full((m, 1), s)]) for s in (1.0, -1.0)])
    quadrant = np.where(4 * np.arange(m) // m % 2 == 0, 1.0, -1.0)
    y = np.vstack([np.stack([quadrant, np.full(m, s)], axis=1) for s in (1.0, -1.0)])
    return mfo.problems.dataset(x, y, lambda1=penalty, lambda2=penalty)


def torus(m: int, penalty: float, *, bias: bool) -> mfo.TwoLayerProblem:
    """A circle times a circle (rank 4, with a bias 5)."""
    a, b = (g.ravel() for g in np.meshgrid(np.arange(m), np.arange(m), indexing="ij"))
    s, t = 2 * np.pi * a / m, 2 * np.pi * b / m
    y = np.stack([np.cos(2 * s) * np.cos(t), np.cos(2 * t)], axis=1)
    return mfo.problems.dataset(np.hstack([ring(m)[a], ring(m)[b]]), y, lambda1=penalty, lambda2=penalty, bias=bias)


#: tasks of low rank for the input view, in one chamber and in all
LOW_RANK: dict[str, Callable[[], mfo.TwoLayerProblem]] = {
    "circle of 200, rank 2": lambda: circle(200, 4, bias=False, penalty=0.05),
    "circle of 1000, rank 2": lambda: circle(1000, 4, bias=False, penalty=0.25),
    "circle of 40, rank 3": lambda: circle(40, 3, bias=True, penalty=0.02),
    "circle of 200, rank 3": lambda: circle(200, 5, bias=True, penalty=0.1),
    "circle of 1000, rank 3": lambda: circle(1000, 5, bias=True, penalty=0.5),
    "grid 20 x 20, rank 3": lambda: grid(20, 0.2),
    "circle of 24 times a sign, rank 4": lambda: circle_times_sign(24, 0.05),
    "circle of 100 times a sign, rank 4": lambda: circle_times_sign(100, 0.2),
    "torus 8 x 8, rank 4": lambda: torus(8, 0.05, bias=False),
    "torus 6 x 6, rank 5": lambda: torus(6, 0.05, bias=True),
}

#: tasks for the arrangement program
ARRANGED: dict[str, Callable[[], mfo.TwoLayerProblem]] = {
    "circle of 7, rank 3": lambda: circle(7, 2, bias=True, penalty=0.05),
    "circle of 10, rank 3": lambda: circle(10, 3, bias=True, penalty=0.05),
    "circle of 13, rank 3": lambda: circle(13, 3, bias=True, penalty=0.05),
}

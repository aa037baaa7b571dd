"""Problems chosen to break bounds, and exact values of their patterns."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from meanfield_opt.geometry import DenseGeometry, DiagonalPlusLowRank, FactorGeometry, Geometry
from meanfield_opt.plugins import activation, loss
from meanfield_opt.problem import TwoLayerProblem

Rng = np.random.Generator
Array = np.ndarray
Result = tuple[int, int, list[str]]


# data chosen to break things ------------------------------------------------------------------------------------------
def nasty_rows(rng: Rng, p: int, r: int) -> Array:
    """Rows: plain, small integers, nearly parallel, repeated / antiparallel / zero, mixed scales, denormal entries."""
    style = int(rng.integers(7))
    a = rng.standard_normal((p, r))
    if style == 1:
        a = rng.integers(-2, 3, (p, r)).astype(float)
    elif style == 2:
        a = a[:1] * rng.choice([-1.0, 1.0], (p, 1)) + 10.0 ** -rng.integers(3, 17) * rng.standard_normal((p, r))
    elif style == 3:
        a = a[rng.integers(0, p, p)] * rng.choice([-1.0, 0.0, 1.0], (p, 1))
    elif style == 4:
        a = a * 10.0 ** rng.integers(-60, 61, (p, 1))
    elif style == 5:
        a = np.where(rng.random((p, r)) < 0.4, 5e-324 * rng.integers(-3, 4, (p, r)), a)
    elif style == 6:
        a = a * 10.0 ** float(rng.choice([-120, -30, 30, 120]))
    return np.asarray(a)


def nasty_geometry(rng: Rng, p: int) -> Geometry:
    kind = int(rng.integers(4))
    if kind <= 1:
        return FactorGeometry(nasty_rows(rng, p, int(rng.integers(1, 4))))
    if kind == 2:
        k = int(rng.integers(1, 3))
        columns = np.ones((p, 1)) if k == 1 else rng.standard_normal((p, k))
        diagonal = 10.0 ** rng.uniform(-3, 3, p) if rng.random() < 0.5 else np.ones(p)
        return DiagonalPlusLowRank(diagonal, columns, 10.0 ** rng.uniform(-2, 2, k))
    g = rng.standard_normal((p, p + 1)) * 10.0 ** float(rng.choice([0, 0, -8, 8, -100]))
    return DenseGeometry(np.tril(g @ g.T) + np.tril(g @ g.T, -1).T)


def nasty_problem(rng: Rng, phi: str = "relu", loss_name: str = "squared") -> TwoLayerProblem:
    p, d = int(rng.integers(1, 6)), int(rng.integers(1, 3))
    y = np.sign(rng.standard_normal((d, p)))
    if loss_name == "squared":
        y = y * 10.0 ** float(rng.choice([0, 0, 0, -40, 40]))
    l1, l2 = (float(x) for x in 10.0 ** rng.choice([-9.0, -2.0, -0.3, 0.7, 6.0], 2))
    return TwoLayerProblem(activation(phi), loss(loss_name), nasty_geometry(rng, p), y, l1, l2)


# exact values ---------------------------------------------------------------------------------------------------------
def exact_rows(array: Array) -> list[list[Fraction]]:
    return [[Fraction(float(x)) for x in row] for row in array]


def exact_kernel(geometry: Geometry) -> list[list[Fraction]]:
    """K_X in rationals."""
    if isinstance(geometry, DenseGeometry):
        return exact_rows(geometry.kernel)
    assert isinstance(geometry, DiagonalPlusLowRank)
    b, w = exact_rows(geometry.columns), [Fraction(float(x)) for x in geometry.weight]
    n = geometry.n_samples
    return [
        [
            sum((b[i][k] * w[k] * b[j][k] for k in range(len(w))), Fraction(0))
            + (Fraction(float(geometry.diagonal[i])) if i == j else 0)
            for j in range(n)
        ]
        for i in range(n)
    ]


def dot(x: list[Fraction], y: list[Fraction]) -> Fraction:
    return sum((a * b for a, b in zip(x, y, strict=True)), Fraction(0))


def exact_pattern(problem: TwoLayerProblem, coordinates: Array) -> tuple[list[Fraction], Fraction]:
    """(h, cost) exactly: h = A theta of cost |theta|^2, or h = K x of cost x^T K x."""
    v = [Fraction(float(x)) for x in coordinates]
    if isinstance(problem.geometry, FactorGeometry):
        return [dot(row, v) for row in exact_rows(problem.geometry.factor)], dot(v, v)
    h = [dot(row, v) for row in exact_kernel(problem.geometry)]
    return h, dot(v, h)


def exact_phi(problem: TwoLayerProblem, t: Fraction) -> Fraction:
    pieces = problem.activation.pieces
    assert pieces is not None
    piece = next(q for q in pieces if q.right is None or t <= q.right)
    return piece.slope * t + piece.intercept


def exact_ratio(problem: TwoLayerProblem, dual: Array, coordinates: Array) -> Fraction | None:
    """|Z phi(h)|^2 / (4 l1 l2 c(h)) of one pattern, exactly; None for a pattern of no cost."""
    h, cost = exact_pattern(problem, coordinates)
    if cost == 0:
        return None
    phi = [exact_phi(problem, t) for t in h]
    top = sum((dot(row, phi) ** 2 for row in exact_rows(dual)), Fraction(0))
    return top / (4 * Fraction(problem.lambda1) * Fraction(problem.lambda2) * cost)

"""The stability number's bound theta' (Schrijver; Lovasz's theta with entries >= 0), reduced by symmetry and proved.

theta'(G) = max <J, X> over X PSD, X >= 0, trace 1, X_ij = 0 on edges. Its dual: the least t with S = t I - J + Z - N PSD,
Z free on edges and N >= 0 on the other pairs; any such S proves alpha(G) <= theta'(G) <= t.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checker.definite import proved_psd
from ..errors import InputError, SolveError
from .blocks import block_diagonalise
from .coherent import Configuration, coherent_closure, discrete
from .propose import propose

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ThetaPrime:
    """``value``: the solver's theta'. ``upper``: a proved upper bound of theta' and of the stability number, by the dual
    matrix ``slack`` = S (n, n) with t = upper, whose semidefiniteness is proved (floating Cholesky, rounding bounded).
    ``classes`` of the coherent closure and ``blocks``, the orders of the reduced program's semidefinite blocks."""

    value: float
    upper: float
    slack: Array
    classes: int
    blocks: tuple[int, ...]


def adjacency_matrix(graph: Any) -> Array:
    """0/1 adjacency matrix of a networkx graph or of a symmetric 0/1 array without loops; InputError otherwise."""
    if hasattr(graph, "adjacency") and hasattr(graph, "nodes"):
        import networkx

        graph = networkx.to_numpy_array(graph, weight=None)
    a = np.asarray(graph, dtype=np.float64)
    if a.ndim != 2 or a.shape[0] != a.shape[1] or a.shape[0] == 0:
        raise InputError(f"an adjacency matrix must be square; its shape is {a.shape}.")
    if not (np.isin(a, (0.0, 1.0)).all() and (a == a.T).all() and not np.diag(a).any()):
        raise InputError("an adjacency matrix must be symmetric, with entries 0 and 1 and a zero diagonal.")
    return a


def theta_prime(graph: Any, *, symmetry: bool = True) -> ThetaPrime:
    """theta' of a graph (networkx, or an adjacency matrix), through its coherent closure unless ``symmetry`` is False."""
    a = adjacency_matrix(graph)
    n = a.shape[0]
    configuration = coherent_closure([a]) if symmetry else discrete(n)
    assert configuration is not None
    value, dual, orders = _solve(configuration, a)
    slack, upper = _prove(configuration, a, dual)
    return ThetaPrime(value, upper, slack, configuration.rank, orders)


def _solve(configuration: Configuration, a: Array) -> tuple[float, Array, tuple[int, ...]]:
    """The reduced dual program: (t, values of S on classes, block orders)."""
    import cvxpy

    blocks = block_diagonalise(configuration)
    first = np.unique(configuration.classes, return_index=True)[1]
    edge = a.ravel()[first] > 0
    on_diagonal = np.isin(np.arange(configuration.rank), configuration.diagonal)
    t, s = cvxpy.Variable(), cvxpy.Variable(configuration.rank)
    constraints = [s == s[configuration.transposes]]
    constraints.append(s[np.flatnonzero(on_diagonal)] == t - 1)
    other = np.flatnonzero(~on_diagonal & ~edge)
    if other.size:
        constraints.append(s[other] <= -1)
    for block in blocks:
        size = block.basis.shape[1]
        symmetric = 0.5 * (block.classes + block.classes.transpose(0, 2, 1)).reshape(configuration.rank, size * size)
        matrix = cvxpy.reshape(symmetric.T @ s, (size, size), order="C")
        constraints.append(matrix >= 0 if size == 1 else matrix >> 0)
    propose(cvxpy.Problem(cvxpy.Minimize(t), constraints), "theta'")
    return float(t.value), np.asarray(s.value), tuple(block.basis.shape[1] for block in blocks)


def _prove(configuration: Configuration, a: Array, dual: Array) -> tuple[Array, float]:
    """A proved dual matrix near the solver's: entries off the edges pushed to <= -1, the diagonal raised until PSD."""
    dual = 0.5 * (dual + dual[configuration.transposes])
    slack = dual[configuration.classes]
    n = a.shape[0]
    off = (a == 0) & ~np.eye(n, dtype=bool)
    slack[off] = np.minimum(slack[off], -1.0)
    top = float(np.diag(slack).max())
    least = float(np.linalg.eigvalsh(slack - np.diag(np.diag(slack)) + top * np.eye(n))[0])
    step = max(1e-13 * n * max(1.0, abs(top)), -2.0 * least)
    for _ in range(60):
        level = top + step
        np.fill_diagonal(slack, level)
        if proved_psd(slack):
            upper = Fraction(level) + 1  # t - 1 = level
            t = float(upper)
            return slack, t if Fraction(t) >= upper else math.nextafter(t, math.inf)
        step *= 2
    raise SolveError("no dual matrix near the solver's could be proved positive semidefinite.")


def polarity_graph(q: int) -> Array:
    """Adjacency of the Erdos-Renyi polarity graph ER(q), q prime: points of PG(2, q), adjacent if orthogonal."""
    if q < 2 or any(q % k == 0 for k in range(2, q)):
        raise InputError(f"ER(q) is built here for primes q, not {q}.")
    points = [(1, x, y) for x in range(q) for y in range(q)] + [(0, 1, x) for x in range(q)] + [(0, 0, 1)]
    v = np.array(points)
    a: Array = np.asarray((v @ v.T) % q == 0, dtype=np.float64)
    np.fill_diagonal(a, 0.0)
    return a


def circulant_graph(order: int, offsets: ArrayLike) -> Array:
    """Adjacency of the circulant graph with the given offsets (vertex-transitive)."""
    a = np.zeros((order, order))
    for offset in np.atleast_1d(np.asarray(offsets, dtype=np.int64)):
        i = np.arange(order)
        a[i, (i + offset) % order] = a[(i + offset) % order, i] = 1.0
    np.fill_diagonal(a, 0.0)
    return a

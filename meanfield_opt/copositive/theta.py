"""Clique bounds by theta': t (J - A) - J is PSD + N for some t below the next integer, found through the graph's symmetry.

Nothing has to be closed at the boundary: if alpha <= t is shown for one rational t, alpha <= floor(t) follows.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MeanFieldError
from ..threads import blas_threads
from .coherent import prove_by_classes
from .spn import accept

log = logging.getLogger(__name__)

MOST_CLASSES = 60  # of the coherent closure
MOST_VERTICES = 600
GRID = 30  # bits after the point of the rounded semidefinite matrix


def form_at(neighbours: Sequence[int], t: Fraction) -> list[list[int]]:
    """The primitive integer multiple of t (J - A) - J, A the adjacency matrix of the neighbour bit sets."""
    n = len(neighbours)
    p, q = t.numerator, t.denominator
    return [[-q if neighbours[i] >> j & 1 else p - q for j in range(n)] for i in range(n)]


@blas_threads(0)
def theta_bound(neighbours: Sequence[int], known: int) -> tuple[Fraction, dict[str, Any]] | None:
    """(t, exact proof that t (J - A) - J is PSD + N): t < known + 1 if theta' allows it and the graph has symmetry, else
    the best t with one weight on all edges; None if that fails too."""
    if len(neighbours) > MOST_VERTICES:
        return None
    t = Fraction(known) + Fraction(9, 10)
    proof = prove_by_classes(form_at(neighbours, t))
    if proof is not None:
        return t, proof
    return _by_blocks(neighbours, known) or _by_one_weight(neighbours)


def _by_one_weight(neighbours: Sequence[int]) -> tuple[Fraction, dict[str, Any]] | None:
    """t (J - A) - J = (t I - J + w S) + (t - w) S for the matrix S of the pairs that are not adjacent; t = max
    eigenvalue of J - w S at the best w (Hoffman's bound where the graph is regular; Lovasz 1979, theorem 9)."""
    from scipy.optimize import minimize_scalar

    stable = _not_adjacent(neighbours)

    def largest(w: float) -> float:
        return float(np.linalg.eigvalsh(1.0 - w * stable)[-1])

    n = len(neighbours)
    found = minimize_scalar(largest, bounds=(0.0, float(n)), method="bounded", options={"maxiter": 40, "xatol": 1e-3})
    w = Fraction(round(float(found.x) * 64), 64)
    t = Fraction(math.ceil((largest(float(w)) + 1e-6) * 1024), 1024)
    t = max(t, min(Fraction(math.floor(t)) + Fraction(63, 64), t + Fraction(1, 64)))  # room below the same integer
    if not 0 <= w <= t:
        return None
    q = w.denominator
    amount = int((t - w) * t.denominator * q)
    entries = {f"{i},{j}": amount for i, j in zip(*map(np.ndarray.tolist, np.nonzero(np.triu(stable)))) if amount}
    proof = accept(form_at(neighbours, t), q, entries)
    return None if proof is None else (t, proof)


def _not_adjacent(neighbours: Sequence[int]) -> NDArray[np.float64]:
    """(n, n): 1 for the pairs of different vertices that are not adjacent."""
    n = len(neighbours)
    return np.array([[float(i != j and not neighbours[i] >> j & 1) for j in range(n)] for i in range(n)])


def _by_blocks(neighbours: Sequence[int], known: int) -> tuple[Fraction, dict[str, Any]] | None:
    """The reduced semidefinite program of ``symmetry.theta``; its dual matrix is rounded and accepted exactly."""
    from ..symmetry.coherent import coherent_closure
    from ..symmetry.theta import theta_prime

    n = len(neighbours)
    stable = _not_adjacent(neighbours)
    closure = coherent_closure([stable])
    if closure is None or closure.rank > MOST_CLASSES:
        return None
    try:
        found = theta_prime(stable)
    except MeanFieldError as error:
        log.debug("theta' of %d vertices: %s", n, error)
        return None
    # a little above the proved bound: the room is what the rounding needs
    t = Fraction(found.upper).limit_denominator(1000) + Fraction(1, 500)
    if found.upper < known + 0.999:
        t = (Fraction(found.upper) + known + 1) / 2
        t = Fraction(round(t * 4096), 4096)
    slack = found.slack + (float(t) - found.upper) * np.eye(n)
    q = t.denominator << GRID
    form = form_at(neighbours, t)  # t.denominator times the rational matrix
    entries = {}
    for i in range(n):
        for j in range(i + 1, n):
            amount = (form[i][j] << GRID) - round(float(slack[i, j]) * q)
            if amount > 0:
                entries[f"{i},{j}"] = amount
    proof = accept(form, 1 << GRID, entries)
    return None if proof is None else (t, proof)

"""Completely positive factorisation K = sum_k w_k b_k b_k^T (w, b >= 0), exact where it can be; or a proof that none exists."""

from __future__ import annotations

import itertools
import logging
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checker.psd import psd_rank, scaled_floats
from ..threads import blas_threads
from ..validate import integer, positive
from .answer import Copositive, NotCopositive, ProofTree
from .catalogue import horn
from .check import check
from .cp_answer import FactorAnswer, Factorization, NoFactorization, NotCompletelyPositive, inner_product, residual_of
from .matrix import ExactMatrix, exact_matrix

Array = NDArray[np.float64]
log = logging.getLogger(__name__)

HORN_FIRST = 7  # order up to which Horn matrices on five indices are tried before a factorisation
CUT_ORDER = 10  # order up to which separators are sought in Parrilo's cone of level 1


@blas_threads(0)
def cp_factorization(K: Any, *, tolerance: float = 1e-8, seed: int = 0, starts: int = 6) -> FactorAnswer:
    """B >= 0 with K = B B^T: an exact proof for K inside the cone, a rigorous residual (<= tolerance max K) on its boundary.

    Failure says whether K is proved not completely positive (a copositive separator: a negative entry, a negative
    direction, a scaled Horn matrix on five indices, or for orders 5-10 a matrix of Parrilo's cone) or merely not factorised.
    """
    positive(tolerance, "tolerance")
    integer(seed, "seed", least=0)
    integer(starts, "starts", least=1)
    a = exact_matrix(K)
    refuted = _refute(a)
    if refuted is not None:
        return refuted
    dominant = _diagonally_dominant([[Fraction(v, a.denominator) for v in row] for row in a.entries])
    if dominant is not None:
        return Factorization(a, *dominant, Fraction(0))
    size = max(max(row) for row in a.rational)
    k = np.array([[float(v / size) for v in row] for row in a.rational])
    n = a.order
    d = np.sqrt(np.maximum(k.diagonal(), 1e-300))
    least = float(np.linalg.eigvalsh(k / np.outer(d, d))[0])
    rng = np.random.default_rng(seed)
    best = np.inf
    fallback: Array | None = None
    for attempt in range(starts):
        for margin in (1e-2, 1e-4, 0.0):
            if margin > 0 and least < margin * 0.5:  # the shifted matrix is not semidefinite, or hardly
                continue
            b = _local(k - margin * _core(k), rng, attempt)
            error = float(np.abs(b @ b.T - (k - margin * _core(k))).max())
            if margin > 0 and error < margin * 0.05 / len(k):
                exact = _absorb(a, b, size)
                if exact is not None:
                    return exact
            if margin == 0 and error < best:
                best, fallback = error, b
        if best < min(1e-12, 0.1 * tolerance) or (attempt > 0 and best < 0.1 * tolerance):
            break
        if attempt == 0 and best > 0.1 * tolerance:
            refuted = _level_one_cut(a) or (_horn_cut(a) if n > HORN_FIRST else None)
            if refuted is not None:
                return refuted
    if fallback is not None and best <= tolerance:
        vectors = [tuple(Fraction(float(v)) for v in col) for col in fallback.T]
        weights = [size] * len(vectors)
        residual = residual_of(a, vectors, weights)
        if residual <= Fraction(tolerance) * size:
            return Factorization(a, tuple(vectors), tuple(weights), residual)
    reason = f"no factorisation below the tolerance {tolerance:g} was found, and no separator"
    return NoFactorization(a, reason, best * float(min(size, Fraction(1e300))))


def _refute(a: ExactMatrix) -> NotCompletelyPositive | None:
    n = a.order
    for i, j in itertools.combinations_with_replacement(range(n), 2):
        if a.entries[i][j] < 0:
            c = [[Fraction(int({p, q} == {i, j})) for q in range(n)] for p in range(n)]
            return _separated(a, c, f"entry ({i},{j}) is negative", {"kind": "nonnegative"})
    if psd_rank(a.entries) is None:
        v = _negative_direction(a)
        if v is not None:
            return _separated(a, [[x * y for y in v] for x in v], "K is not positive semidefinite", {"kind": "psd"})
    return _horn_cut(a) if n <= HORN_FIRST else None


def _level_one_cut(a: ExactMatrix) -> NotCompletelyPositive | None:
    """min <C, K> over C in Parrilo's K^1 with trace 1 (K scaled to unit diagonal); C is rounded inside and proved copositive."""
    n = a.order
    if not 5 <= n <= CUT_ORDER or any(a.entries[i][i] <= 0 for i in range(n)):
        return None
    import cvxpy

    from .constraints import constraint

    k = scaled_floats(a.entries)
    c = cvxpy.Variable((n, n), symmetric=True)
    program = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum(cvxpy.multiply(k, c))), [*constraint(c, 1), cvxpy.trace(c) == 1])
    try:
        program.solve(solver=cvxpy.CLARABEL)
    except cvxpy.error.SolverError as error:
        log.debug("order %d: no separator: %s", n, error)
        return None
    if c.value is None or not np.isfinite(c.value).all():
        return None
    value = float((k * c.value).sum())
    if not value < -1e-7:
        return None
    push = -value / (8 * n)  # (I + J) push raises <C, K> by at most |value| / 4: k has unit diagonal, entries <= 1
    push /= max(1.0, float(k.sum()) / n)
    inner = np.asarray(c.value) + push * (np.eye(n) + np.ones((n, n)))
    bits = max(12, int(np.ceil(-np.log2(push))) + 6)
    root = [Fraction(float(v)).limit_denominator(1 << 20) for v in _inverse_roots(a)]
    separator = [
        [
            Fraction(round(float(inner[i, j] + inner[j, i]) * 2.0 ** (bits - 1)), 1 << bits) * root[i] * root[j]
            for j in range(n)
        ]
        for i in range(n)
    ]
    if not inner_product(a, separator) < 0:
        return None
    answer = check(separator, time_limit=20.0)
    if not isinstance(answer, Copositive):
        return None
    return _separated(a, separator, "a copositive matrix of Parrilo's level 1 separates it", answer.proof.artefact)


def _inverse_roots(a: ExactMatrix) -> Array:
    """k_ii^-1/2 relative to the largest diagonal entry."""
    top = max(a.entries[i][i] for i in range(a.order))
    return np.array([float(Fraction(top, a.entries[i][i])) ** 0.5 for i in range(a.order)])


def _negative_direction(a: ExactMatrix) -> list[Fraction] | None:
    from ..checker.exact import ldlt

    return ldlt(a.rational).negative


def _horn_cut(a: ExactMatrix) -> NotCompletelyPositive | None:
    """<D P^T H P D, K> = d^T (P^T H P o K_S) d: a witness d against copositivity of that Hadamard product separates."""
    n = a.order
    if n < 5 or n > 12:
        return None
    h = horn()
    for subset in itertools.combinations(range(n), 5):
        for order in itertools.permutations(subset[1:]):
            if order[0] > order[-1]:
                continue
            cycle = (subset[0], *order)
            product = [[h[p][q] * a.entries[cycle[p]][cycle[q]] for q in range(5)] for p in range(5)]
            answer = check(product)
            if isinstance(answer, NotCopositive):
                c = [[Fraction(0)] * n for _ in range(n)]
                for p, q in itertools.product(range(5), repeat=2):
                    c[cycle[p]][cycle[q]] = h[p][q] * answer.witness[p] * answer.witness[q]
                proof = check(c)
                if isinstance(proof, Copositive):
                    return _separated(a, c, "a scaled Horn matrix separates it", proof.proof.artefact)
    return None


def _separated(a: ExactMatrix, c: list[list[Fraction]], reason: str, proof: dict[str, Any]) -> NotCompletelyPositive:
    answer = NotCompletelyPositive(a, reason, tuple(tuple(row) for row in c), ProofTree(proof), inner_product(a, c))
    answer.replay()
    return answer


Terms = tuple[tuple[tuple[Fraction, ...], ...], tuple[Fraction, ...]]


def _diagonally_dominant(k: list[list[Fraction]]) -> Terms | None:
    """K >= 0 with k_ii >= sum_j k_ij: sum k_ij (e_i + e_j)(e_i + e_j)^T + diag (Kaykobad 1987)."""
    n = len(k)
    vectors, weights = [], []
    for i in range(n):
        rest = k[i][i] - sum((k[i][j] for j in range(n) if j != i), Fraction(0))
        if rest < 0:
            return None
        if rest > 0:
            vectors.append(tuple(Fraction(int(p == i)) for p in range(n)))
            weights.append(rest)
        for j in range(i):
            if k[i][j] < 0:
                return None
            if k[i][j] > 0:
                vectors.append(tuple(Fraction(int(p in (i, j))) for p in range(n)))
                weights.append(k[i][j])
    return tuple(vectors), tuple(weights)


def _core(k: Array) -> Array:
    """A strictly diagonally dominant positive matrix of the scale of K (0 in rows where K is)."""
    n = len(k)
    d = np.sqrt(np.maximum(k.diagonal(), 0))
    return np.asarray(np.outer(d, d) * (np.ones((n, n)) / n + np.eye(n)))


def _absorb(a: ExactMatrix, b: Array, size: Fraction) -> Factorization | None:
    """K = B B^T + (the rest), where the rest, computed exactly, is diagonally dominant after scaling by diag(K)^1/2."""
    n = a.order
    vectors = [tuple(Fraction(float(v)) for v in col) for col in b.T]
    weights = [size] * len(vectors)
    rest = [list(row) for row in a.rational]
    for v, w in zip(vectors, weights):
        support = [i for i in range(n) if v[i]]
        for i, j in itertools.product(support, repeat=2):
            rest[i][j] -= w * v[i] * v[j]
    s = [
        Fraction(float(max(v, Fraction(1, 10**12))) ** 0.5).limit_denominator(10**6) or Fraction(1)
        for v in (a.rational[i][i] / size for i in range(n))
    ]
    terms = _diagonally_dominant([[rest[i][j] / (s[i] * s[j]) for j in range(n)] for i in range(n)])
    if terms is None:
        return None
    more = [tuple(x * y for x, y in zip(v, s)) for v in terms[0]]
    return Factorization(a, (*vectors, *more), (*weights, *terms[1]), Fraction(0))


def _local(k: Array, rng: np.random.Generator, attempt: int) -> Array:
    """Nonnegative factor by bounded quasi-Newton on |K - B B^T|^2, started from a rotated square root."""
    from scipy.optimize import minimize

    n = len(k)
    columns = n * (1 + attempt // 2) + 1
    values, basis = np.linalg.eigh(k)
    root = basis * np.sqrt(np.maximum(values, 0.0))
    rotation = np.linalg.qr(rng.standard_normal((columns, columns)))[0][:n]
    start = np.maximum(root @ rotation, 0.0) + 1e-3

    def objective(x: Array) -> tuple[float, Array]:
        b = x.reshape(n, columns)
        r = b @ b.T - k
        return float((r * r).sum()), np.asarray(4 * r @ b).ravel()

    result = minimize(
        objective, start.ravel(), jac=True, method="L-BFGS-B", bounds=[(0, None)] * (n * columns),
        options={"maxiter": 3000, "ftol": 1e-30, "gtol": 1e-14, "maxfun": 4000},
    )  # fmt: skip
    return np.asarray(result.x.reshape(n, columns))

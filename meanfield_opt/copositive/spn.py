"""PSD + nonnegative: a semidefinite program proposes a split or a separator, exact arithmetic accepts it.

    max lambda  s.t.  M^ - N - lambda I >= 0 (PSD),  N >= 0,  zero diagonal        (M^ = M with unit diagonal)
    its dual:  min <M^, X>,  tr X = 1,  X doubly nonnegative.

lambda > 0: a neighbourhood of (N, M - N) works, so rounding is harmless. lambda = 0: M is on the boundary, and every zero
x of M forces N_ij = 0 on its support and N x = M x; N is rounded inside that affine space. lambda < 0: X separates.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checker.psd import Rows, psd_rank, scaled_floats
from .conic import solve_cones
from .repair import repair

Array = NDArray[np.float64]
log = logging.getLogger(__name__)

LARGEST = 48  # order up to which the semidefinite program is solved


@dataclass(frozen=True, eq=False)
class Split:
    """What the solver proposes: margin lambda, N (n, n) and the dual X (n, n), all for the unit-diagonal matrix."""

    margin: float
    nonnegative: Array
    dual: Array


def solve_split(
    a: Array, forced: NDArray[np.bool_] | None = None, basis: Array | None = None, zeros: Array | None = None
) -> Split | None:
    """Solve the program above for a float matrix with unit diagonal; None if the solver ends without numbers.

    forced: pairs where N must vanish. basis: (n, k) orthonormal columns; semidefiniteness is asked on their span only.
    zeros: (z, n) rows u; N u = M^ u is asked wherever N may differ from 0 there.
    """
    import clarabel
    from scipy import sparse

    n = len(a)
    rows, cols = np.triu_indices(n, 1)
    if forced is not None:
        keep = ~forced[rows, cols]
        rows, cols = rows[keep], cols[keep]
    m = len(rows)
    v = np.eye(n) if basis is None else basis
    k = v.shape[1]
    r, c = _svec_index(k)
    weight = np.where(r == c, 1.0, np.sqrt(2.0))
    if basis is None:
        position = {(i, j): t for t, (i, j) in enumerate(zip(r.tolist(), c.tolist()))}
        index = [position[i, j] for i, j in zip(rows.tolist(), cols.tolist())]
        psd = sparse.csc_matrix((np.full(m, np.sqrt(2.0)), (index, range(m))), shape=(len(r), m))
    else:
        block = (v[rows][:, r] * v[cols][:, c] + v[cols][:, r] * v[rows][:, c]) * weight
        psd = sparse.csc_matrix(block.T)
    reduced = v.T @ a @ v
    identity = sparse.csc_matrix((r == c).astype(float)[:, None])
    kernel, slopes = _kernel_equations(a, zeros, rows, cols)
    constraint = sparse.vstack(
        [
            sparse.hstack([kernel, sparse.csc_matrix((len(slopes), 1))]),
            sparse.hstack([-sparse.identity(m), sparse.csc_matrix((m, 1))]),
            sparse.hstack([psd, identity]),
        ],
        format="csc",
    )
    right = np.concatenate([slopes, np.zeros(m), reduced[r, c] * weight])
    cones = [clarabel.ZeroConeT(len(slopes))] if len(slopes) else []
    cones += [clarabel.NonnegativeConeT(m)] if m else []
    objective = np.zeros(m + 1)
    objective[-1] = -1.0
    solved = solve_cones(objective, constraint, right, [*cones, clarabel.PSDTriangleConeT(k)])
    if solved is None:
        return None
    x, z = solved
    split = np.zeros((n, n))
    split[rows, cols] = split[cols, rows] = np.maximum(x[:m], 0.0)
    dual = np.zeros((k, k))
    dual[r, c] = dual[c, r] = z[len(slopes) + m :] / weight
    return Split(float(x[m]), split, v @ dual @ v.T)


def _kernel_equations(a: Array, zeros: Array | None, rows: Any, cols: Any) -> tuple[Any, Array]:
    """Rows of N u = M^ u over the free pairs; equations without a free pair are left out."""
    from scipy import sparse

    m, n = len(rows), len(a)
    if zeros is None or m == 0:
        return sparse.csc_matrix((0, m)), np.zeros(0)
    pair = np.arange(m)
    blocks = []
    for u in zeros:
        at = (np.concatenate([rows, cols]), np.concatenate([pair, pair]))
        blocks.append(sparse.csc_matrix((np.concatenate([u[cols], u[rows]]), at), shape=(n, m)))
    whole = sparse.vstack(blocks, format="csr")
    used = np.diff(whole.indptr) > 0
    used &= np.asarray(abs(whole).sum(axis=1)).ravel() > 0
    return whole[used], np.asarray(zeros @ a).ravel()[used]


def _svec_index(k: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row and column of each entry of the upper triangle, column by column."""
    c, r = np.tril_indices(k)
    return r, c


def prove_split(matrix: Rows, zeros: list[dict[int, int]] | None = None) -> tuple[dict[str, Any] | None, Split | None]:
    """An exact "spn" proof for the integer matrix, or None; and what the solver proposed.

    zeros: exact zeros of M, if M is on the boundary of the copositive cone.
    """
    n = len(matrix)
    if n > LARGEST or any(matrix[i][i] <= 0 for i in range(n)):
        return None, None
    a = scaled_floats(matrix)
    if not np.isfinite(a).all():
        return None, None
    if zeros:
        return _on_the_face(matrix, a, zeros)
    split = solve_split(a)
    if split is None or split.margin < -1e-7:
        return None, split
    if split.margin > 1e-9:
        return _round_inside(matrix, split), split
    return _round_guess(matrix, split), split


def _diagonal_roots(matrix: Rows) -> list[Fraction]:
    """Close rational approximations of sqrt(m_ii)."""
    out = []
    for i in range(len(matrix)):
        v = matrix[i][i]
        half = max(0, (v.bit_length() - 60) // 2)
        out.append(Fraction(float(np.sqrt(float(v >> (2 * half))))) * (1 << half))
    return out


def _round_inside(matrix: Rows, split: Split) -> dict[str, Any] | None:
    """N rounded down to a grid much finer than the margin."""
    n = len(matrix)
    roots = _diagonal_roots(matrix)
    least = min(roots)
    bits = int(np.ceil(np.log2(8 * n / split.margin)))
    q = max(1, int(Fraction(1 << bits) / (least * least)) + 1)
    q = 1 << (q - 1).bit_length()
    entries = {}
    for i in range(n):
        for j in range(i + 1, n):
            amount = int(Fraction(float(split.nonnegative[i, j])) * roots[i] * roots[j] * q)
            if amount:
                entries[f"{i},{j}"] = amount
    return accept(matrix, q, entries)


def _round_guess(matrix: Rows, split: Split) -> dict[str, Any] | None:
    """Boundary without known zeros: N with small denominators."""
    n = len(matrix)
    roots = _diagonal_roots(matrix)
    for limit in (1, 2, 12, 120):
        q = 1
        values = {}
        for i in range(n):
            for j in range(i + 1, n):
                guess = Fraction(float(split.nonnegative[i, j])) * roots[i] * roots[j]  # may exceed every float
                amount = guess.limit_denominator(limit)
                if amount > 0:
                    values[i, j] = amount
                    q = int(np.lcm(q, amount.denominator)) if q < 10**6 else q
        if q >= 10**6:
            continue
        proof = accept(matrix, q, {f"{i},{j}": int(v * q) for (i, j), v in values.items()})
        if proof is not None:
            return proof
    return None


def accept(matrix: Rows, q: int, entries: dict[str, int]) -> dict[str, Any] | None:
    """The proof, if q M - N is exactly positive semidefinite."""
    rest = [[q * v for v in row] for row in matrix]
    for key, amount in entries.items():
        i, j = map(int, key.split(","))
        rest[i][j] -= amount
        rest[j][i] -= amount
    floats = scaled_floats(rest)
    if not np.isfinite(floats).all() or np.linalg.eigvalsh(floats)[0] < -1e-8 or psd_rank(rest) is None:
        return None
    return {"kind": "spn", "multiplier": q, "nonnegative": entries}


def _on_the_face(matrix: Rows, a: Array, zeros: list[dict[int, int]]) -> tuple[dict[str, Any] | None, Split | None]:
    n = len(matrix)
    forced = np.eye(n, dtype=bool)
    equations: list[tuple[dict[int, int], int, int]] = []  # zero u, row i, (M u)_i > 0
    for u in zeros:
        support = list(u)
        forced[np.ix_(support, support)] = True
        for i in range(n):
            if i in u:
                continue
            slope = sum(matrix[i][j] * v for j, v in u.items())
            if slope == 0:
                forced[i, support] = forced[support, i] = True
            else:
                equations.append((u, i, slope))
    roots = _diagonal_roots(matrix)
    scale = np.array([float(r) for r in roots])
    dense = np.array([[float(u.get(i, 0) / max(u.values())) for i in range(n)] for u in zeros]) * scale
    _, singular, right = np.linalg.svd(dense)
    rank = int((singular > 1e-9 * singular[0]).sum())
    basis = right[rank:].T
    if basis.shape[1] == 0:
        return None, None
    split = solve_split(a, forced, basis, dense / np.abs(dense).max(axis=1, keepdims=True))
    if split is None or split.margin < -1e-7:
        return None, split
    return _solve_exactly(matrix, split, forced, equations, roots), split


def _solve_exactly(
    matrix: Rows,
    split: Split,
    forced: NDArray[np.bool_],
    equations: list[tuple[dict[int, int], int, int]],
    roots: list[Fraction],
) -> dict[str, Any] | None:
    """Round N and repair the equations N u = M u exactly (largest entries absorb the repair)."""
    n = len(matrix)
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n) if not forced[i, j]]
    value = {}
    grid = 1 << 30
    for i, j in pairs:
        size = roots[i] * roots[j]
        step = Fraction(max(1, int(size * grid)), grid * grid) if size < 1 else Fraction(max(1, int(size)), grid)
        value[i, j] = int(Fraction(float(split.nonnegative[i, j])) * size / step) * step
    pairs.sort(key=lambda p: -float(split.nonnegative[p]))
    rows = [({(min(i, j), max(i, j)): v for j, v in u.items()}, Fraction(slope)) for u, i, slope in equations]
    if not repair(value, rows, pairs):
        return None
    if any(v < 0 for v in value.values()):
        return None
    q = math.lcm(*(v.denominator for v in value.values()))
    return accept(matrix, q, {f"{i},{j}": int(v * q) for (i, j), v in value.items() if v})

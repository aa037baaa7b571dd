"""The semidefinite program behind the copositive lift, in floating point: it proposes, nothing here is believed.

min t over D free and N >= 0 with t base + D - fixed - N positive semidefinite; see ``copositive_engine``.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
log = logging.getLogger(__name__)

#: largest order for the interior-point solver
INTERIOR_ORDER = 72


def polished(
    base: Array, fixed: Array, point: tuple[float, Array, Array], *, fixed_t: bool = False
) -> tuple[float, Array, Array]:
    """The nearest (t, D, N), N on its support, whose matrix vanishes on the near-kernel V of the solver's.

    Interior-point solutions are off by about 1e-9 in every direction; where the optimal matrix is singular (on the
    optimal patterns) that costs as much slack, and making S V = 0 exactly removes it. Least squares, twice.
    """
    t, diagonal, slack = point
    order, free = base.shape[0], diagonal.size
    index = np.arange(free)
    i, j = np.nonzero(np.triu(slack > 1e-6 * np.max(slack, initial=0.0), 1))
    kept = np.zeros_like(slack)
    kept[i, j] = kept[j, i] = slack[i, j]
    for _ in range(3):
        matrix = t * base - fixed - kept
        matrix[index, free + index] += diagonal
        matrix[free + index, index] += diagonal
        values, vectors = np.linalg.eigh(matrix)
        v = vectors[:, values < 1e-5 * values[-1]]
        if v.shape[1] == 0 or v.shape[1] * order * (1 + free + i.size) > 60_000_000:
            return point
        k = v.shape[1]
        # columns: the derivative of (matrix @ v).ravel() in t, D and N
        jacobian = np.zeros((order, k, 1 + free + i.size))
        if not fixed_t:
            jacobian[:, :, 0] = base @ v
        jacobian[index, :, 1 + index] = v[free + index]
        jacobian[free + index, :, 1 + index] = v[index]
        at = 1 + free + np.arange(i.size)
        jacobian[i, :, at] -= v[j]
        jacobian[j, :, at] -= v[i]
        step = np.linalg.lstsq(jacobian.reshape(order * k, -1), -(matrix @ v).ravel(), rcond=1e-11)[0]
        t, diagonal = t + float(step[0]), diagonal + step[1 : 1 + free]
        kept[i, j] = kept[j, i] = np.maximum(kept[i, j] + step[1 + free :], 0.0)
    return t, diagonal, kept


def solve_split(base: Array, fixed: Array, free: int, seconds: float) -> tuple[float, Array, Array] | None:
    """min t: t base + D - fixed - N PSD, N >= 0 off the diagonal. D couples i with free + i for i < free."""
    from scipy import sparse

    order = base.shape[0]
    interior = order <= INTERIOR_ORDER
    if interior:  # clarabel: upper triangle, column by column
        col, row = np.tril_indices(order)
    else:  # scs: lower triangle, column by column
        col, row = np.triu_indices(order)
    weight = np.where(row == col, 1.0, math.sqrt(2.0))
    position = np.zeros((order, order), dtype=np.intp)
    position[row, col] = position[col, row] = np.arange(row.size)
    coupled = np.zeros((order, order), dtype=bool)
    index = np.arange(free)
    coupled[index, free + index] = coupled[free + index, index] = True
    pair_i, pair_j = np.triu_indices(order, 1)
    keep = ~coupled[pair_i, pair_j]
    pair_i, pair_j = pair_i[keep], pair_j[keep]
    pairs, m = pair_i.size, row.size
    variables = 1 + free + pairs
    diagonal_at = position[index, free + index]
    pairs_at = position[pair_i, pair_j]
    root = math.sqrt(2.0)
    a = sparse.csc_matrix(
        (
            np.concatenate([-weight * base[row, col], np.full(free, -root), np.full(pairs, root), -np.ones(pairs)]),
            (
                np.concatenate([np.arange(m), diagonal_at, pairs_at, m + np.arange(pairs)]),
                np.concatenate(
                    [
                        np.zeros(m, dtype=np.intp),
                        1 + index,
                        1 + free + np.arange(pairs),
                        1 + free + np.arange(pairs),
                    ]
                ),
            ),
        ),
        shape=(m + pairs, variables),
    )
    b = np.concatenate([-weight * fixed[row, col], np.zeros(pairs)])
    cost = np.zeros(variables)
    cost[0] = 1.0
    x = solve_cone(a, b, cost, order, m, pairs, seconds) if interior else _scs(a, b, cost, order, m, pairs, seconds)
    if x is None or not np.isfinite(x).all():
        return None
    slack = np.zeros((order, order))
    slack[pair_i, pair_j] = slack[pair_j, pair_i] = x[1 + free :]
    return float(x[0]), x[1 : 1 + free], slack


def solve_cone(a: Any, b: Array, cost: Array, order: int, m: int, pairs: int, seconds: float) -> Array | None:
    """min cost . x with b - A x in (PSD triangle of ``order``) x (nonnegative ``pairs``), by an interior-point method."""
    import clarabel
    from scipy import sparse

    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.time_limit = max(seconds, 1.0)
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-12
    settings.max_iter = 200
    cones = [clarabel.PSDTriangleConeT(order), clarabel.NonnegativeConeT(pairs)]
    solver = clarabel.DefaultSolver(sparse.csc_matrix((cost.size, cost.size)), cost, a, b, cones, settings)
    solution = solver.solve()
    log.info("clarabel on order %d: %s after %d iterations", order, solution.status, solution.iterations)
    return np.asarray(solution.x, dtype=np.float64)


def _scs(a: Any, b: Array, cost: Array, order: int, m: int, pairs: int, seconds: float) -> Array | None:
    import scs
    from scipy import sparse

    # scs wants its nonnegative cone before the semidefinite one
    swap = np.concatenate([m + np.arange(pairs), np.arange(m)])
    data = {"A": sparse.csc_matrix(a[swap]), "b": b[swap], "c": cost}
    solver = scs.SCS(
        data,
        {"l": pairs, "s": [order]},
        eps_abs=1e-9,
        eps_rel=1e-9,
        max_iters=20000,
        time_limit_secs=max(seconds, 1.0),
        verbose=False,
    )
    solution = solver.solve()
    if solution["info"]["status_val"] == -5:  # scs takes Ctrl-C for itself
        raise KeyboardInterrupt
    log.info("scs on order %d: %s", order, solution["info"]["status"])
    return np.asarray(solution["x"], dtype=np.float64)

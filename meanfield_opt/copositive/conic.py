"""One quiet call of Clarabel: minimise c.x with b - A x in a product of cones. What comes back proves nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def solve_cones(objective: Array, matrix: Any, right: Array, cones: Sequence[Any]) -> tuple[Array, Array] | None:
    """(x, z), primal and dual; None if the solver ends without finite numbers. One thread.

    objective: c (m,). matrix: A (k, m), sparse. right: b (k,). cones: Clarabel cones of k rows in all.
    """
    import clarabel
    from scipy import sparse

    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    size = len(objective)
    empty = sparse.csc_matrix((size, size))
    solver = clarabel.DefaultSolver(empty, objective, sparse.csc_matrix(matrix), right, list(cones), settings)
    solution = solver.solve()
    x, z = np.asarray(solution.x), np.asarray(solution.z)
    if x.shape != (size,) or not (np.isfinite(x).all() and np.isfinite(z).all()):
        return None
    return x, z

"""Truth tests of forms: matrices proved semidefinite or copositive, against exact determinants."""

from __future__ import annotations

from itertools import combinations

import flint
import numpy as np
from truth_data import Array, Result, Rng

from meanfield_opt.checker.definite import proved_copositive_batch, proved_psd, proved_psd_batch
from meanfield_opt.checker.exact import is_psd


def hadeler(matrix: Array) -> bool:
    """Exact copositivity of a small matrix (Hadeler's criterion on all principal submatrices)."""
    n = matrix.shape[0]
    entries = [[flint.fmpq(*float(x).as_integer_ratio()) for x in row] for row in matrix]
    for size in range(1, n + 1):
        for chosen in combinations(range(n), size):
            b = flint.fmpq_mat(size, size, [entries[i][j] for i in chosen for j in chosen])
            det = b.det()
            if size == 1:
                if det < 0:
                    return False
            elif det < 0:
                inverse = b.inv()
                if all(inverse[i, j] <= 0 for i in range(size) for j in range(size)):
                    return False
    return True


def near_boundary(rng: Rng, n: int) -> Array:
    """A form at distance 1e-6 .. 1e-30 (or 0) from the boundary of the PSD or copositive cone, at any scale."""
    g = rng.integers(-2, 3, (int(rng.integers(1, n + 1)), n)).astype(float)
    m = g.T @ g
    if rng.random() < 0.5:  # copositive but indefinite before the push
        m = m + np.triu(rng.integers(0, 3, (n, n)), 1) + np.triu(rng.integers(0, 3, (n, n)), 1).T
        m = np.minimum(m, m.T)
    push = float(rng.choice([0.0, 1.0, -1.0])) * 10.0 ** -float(rng.integers(6, 31))
    m = m + push * np.eye(n) * max(1.0, float(np.trace(m)))
    if rng.random() < 0.3:
        i, j = rng.integers(0, n, 2)
        m[i, j] = m[j, i] = np.nextafter(m[i, j], -np.inf)
    if rng.random() < 0.5:
        d = np.exp2(rng.integers(-40, 41, n))
        m = m * d[:, None] * d[None, :]
    if rng.random() < 0.2:
        m = m * float(rng.choice([1e-300, 1e-310, 1e280, 5e-324]))
    return np.asarray(np.tril(m) + np.tril(m, -1).T)


def forms(count: int, rng: Rng) -> Result:
    """PSD and copositivity tests of small forms."""
    claims, false = 0, []
    made = 0
    while made < count:
        n = int(rng.integers(2, 5))
        stack = np.stack([near_boundary(rng, n) for _ in range(50)])
        psd, cop = proved_psd_batch(stack), proved_copositive_batch(stack)
        for m, one, two in zip(stack, psd, cop, strict=True):
            single = proved_psd(m)
            made += 3
            claims += int(one) + int(two) + int(single)
            if (one or single) and not is_psd(m):
                false.append(f"psd {m!r}")
            if two and not hadeler(m):
                false.append(f"copositive {m!r}")
    return made, claims, false

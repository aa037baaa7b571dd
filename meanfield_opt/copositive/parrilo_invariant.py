"""Level-1 proofs of matrices with symmetry: one form a vertex orbit, one unknown an orbit of (i; {j, k}).

By convexity the forms may be taken invariant, P_g(i) = g P_i g^T for every permutation g that fixes M. The unknowns are the
orbits of the entries (i; {j,k}), the inequalities those of the products x_i x_j x_k, and one semidefinite matrix a
vertex orbit is left. The proof that comes out is written in full: the checker is told nothing of the group.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checker.psd import Rows, scaled_floats
from ..errors import MissingDependencyError
from .conic import solve_cones
from .parrilo import accepted, matrix_weights, rounded_forms
from .parrilo_program import INSIDE, Proposal

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
log = logging.getLogger(__name__)

MOST_VERTICES = 64
MOST_UNKNOWNS = 2000


def automorphisms_of(matrix: Rows) -> list[Ints]:
    """Generators of the permutations that fix the integer matrix (each compared exactly); empty if there are none."""
    from ..symmetry.coherent import coherent_closure
    from ..symmetry.detect import automorphisms

    n = len(matrix)
    number = {v: float(k) for k, v in enumerate(sorted({v for row in matrix for v in row}))}
    closure = coherent_closure([np.array([[number[v] for v in row] for row in matrix])])
    if closure is None or int(closure.fibres.max()) + 1 == n:
        return []
    try:
        found, _ = automorphisms(closure)
    except MissingDependencyError as error:
        log.debug("order %d: no reduction by symmetry: %s", n, error)
        return []
    generators = [np.asarray(g, dtype=np.int64) for g in found]
    return [g for g in generators if all(matrix[g[i]][g[j]] == matrix[i][j] for i in range(n) for j in range(i + 1))]


def _orbits(codes: Ints, images: list[Ints]) -> Ints:
    """Orbit numbers of sorted ``codes`` under maps given by the codes of the images."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = len(codes)
    rows = np.tile(np.arange(size), len(images))
    columns = np.searchsorted(codes, np.concatenate(images))
    graph = coo_array((np.ones(rows.size, dtype=np.int8), (rows, columns)), shape=(size, size))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def prove_parrilo_invariant(matrix: Rows, generators: list[Ints] | None = None) -> dict[str, Any] | None:
    """An exact "parrilo" proof of level 1 with invariant forms for M inside the cone, or None (boundary included)."""
    n = len(matrix)
    if n > MOST_VERTICES or any(matrix[i][i] <= 0 for i in range(n)):
        return None
    a = scaled_floats(matrix)
    if not np.isfinite(a).all():
        return None
    generators = automorphisms_of(matrix) if generators is None else generators
    if not generators:
        return None
    j, k = np.triu_indices(n)
    i = np.repeat(np.arange(n), len(j))
    j, k = np.tile(j, n), np.tile(k, n)
    entry = (i * n + j) * n + k  # ascending

    def entry_code(g: Ints) -> Ints:
        low, high = np.minimum(g[j], g[k]), np.maximum(g[j], g[k])
        return np.asarray((g[i] * n + low) * n + high)

    def product_code(g: Ints) -> Ints:
        triple = np.sort(np.stack([g[i], g[j], g[k]]), axis=0)
        return np.asarray((triple[0] * n + triple[1]) * n + triple[2])

    orbit = _orbits(entry, [entry_code(g) for g in generators])
    unknowns = int(orbit.max()) + 1
    if unknowns > MOST_UNKNOWNS:
        return None
    here = product_code(np.arange(n))
    products, first = np.unique(here, return_index=True)
    kind = _orbits(products, [product_code(g)[first] for g in generators])
    vertex = _orbits(np.arange(n), generators)
    representative = np.unique(kind, return_index=True)[1]  # one product an orbit
    log.debug("order %d: %d unknowns, %d products, %d forms", n, unknowns, representative.size, vertex.max() + 1)
    proposal = _solve(a, (i, j, k), orbit, products[representative], here, np.unique(vertex, return_index=True)[1])
    if proposal is None or proposal.margin < INSIDE:
        return None
    return accepted(matrix, rounded_forms(matrix, matrix_weights(matrix), 1, proposal))


def _solve(
    a: Array, entries: tuple[Ints, Ints, Ints], orbit: Ints, products: Ints, here: Ints, vertices: Ints
) -> Proposal | None:
    """max lambda: coefficients of the chosen ``products`` >= 0, P_i >= lambda I for the chosen ``vertices``."""
    import clarabel
    from scipy import sparse

    i, j, k = entries
    n, unknowns = len(a), int(orbit.max()) + 1
    place = np.searchsorted(products, here)
    place = np.minimum(place, len(products) - 1)
    inside = products[place] == here
    twice = np.where(j == k, 1.0, 2.0)
    rows = sparse.coo_array((twice[inside], (place[inside], orbit[inside])), shape=(len(products), unknowns)).tocsc()
    target = np.bincount(place[inside], weights=(twice * a[j, k])[inside], minlength=len(products))
    c, r = np.tril_indices(n)
    weight = np.where(r == c, 1.0, np.sqrt(2.0))
    size = len(r)
    cell = np.zeros((n, n, n), dtype=np.int64)
    cell[i, j, k] = cell[i, k, j] = orbit
    parts = [sparse.hstack([rows, sparse.csc_array((len(products), 1))])]
    identity = sparse.csc_array((r == c).astype(float)[:, None])
    for v in vertices:
        block = sparse.coo_array((-weight, (np.arange(size), cell[v][r, c])), shape=(size, unknowns))
        parts.append(sparse.hstack([block, identity]))
    parts.append(sparse.csc_array(([1.0], ([0], [unknowns])), shape=(1, unknowns + 1)))
    right = np.concatenate([target, np.zeros(size * len(vertices)), np.ones(1)])
    cones = [clarabel.NonnegativeConeT(len(products)), *(clarabel.PSDTriangleConeT(n) for _ in vertices)]
    objective = np.zeros(unknowns + 1)
    objective[-1] = -1.0
    solved = solve_cones(objective, sparse.vstack(parts), right, [*cones, clarabel.NonnegativeConeT(1)])
    if solved is None:
        return None
    x = solved[0]
    values = x[:-1][cell]
    return Proposal(float(x[-1]), {(v,): values[v] for v in range(n)}, {})

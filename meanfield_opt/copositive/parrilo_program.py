"""The semidefinite program behind Parrilo-type proofs, in floating point; what it proposes is made exact elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..checker.parrilo import Monomial, monomials
from .conic import solve_cones

Array = NDArray[np.float64]

INSIDE = 1e-9  # margin from which rounding is trusted to stay inside


@dataclass(frozen=True, eq=False)
class Program:
    """Forms on float bases (n, k_a) for the unit-diagonal matrix; tight: products whose coefficient must vanish."""

    matrix: Array
    level: int
    bases: dict[Monomial, Array]
    tight: frozenset[Monomial]


@dataclass(frozen=True, eq=False)
class Proposal:
    """What a solver proposes for the unit-diagonal matrix: the least eigenvalue of all forms, and the forms."""

    margin: float
    forms: dict[Monomial, Array]  # in the coordinates of the bases
    slack: dict[Monomial, float]


def solve_program(program: Program, *, slack: bool = False) -> Proposal | None:
    """max lambda (see ``parrilo``); with ``slack`` the coefficients that are not tight keep lambda too."""
    import clarabel
    from scipy import sparse

    a, level = program.matrix, program.level
    n = len(a)
    place = {m: t for t, m in enumerate(monomials(n, level + 2))}
    target = np.zeros(len(place))
    upper_i, upper_j = np.triu_indices(n)
    twice = np.where(upper_i == upper_j, 1.0, 2.0)
    blocks, cone_rows, sizes, begin = [], [], [], 0
    for product in monomials(n, level):
        index = [place[tuple(sorted((*product, int(i), int(j))))] for i, j in zip(upper_i, upper_j)]
        many = math.factorial(level) / math.prod(math.factorial(product.count(i)) for i in set(product))
        np.add.at(target, index, many * twice * a[upper_i, upper_j])
        basis = program.bases.get(product)
        if basis is None:
            continue
        k = basis.shape[1]
        c, r = np.tril_indices(k)  # the upper triangle column by column: r <= c
        entries = basis[upper_i][:, r] * basis[upper_j][:, c] + basis[upper_i][:, c] * basis[upper_j][:, r]
        entries *= np.where(r == c, 0.5, 1.0) * twice[:, None]
        picked = sparse.csc_matrix((np.ones(len(index)), (index, range(len(index)))), shape=(len(place), len(index)))
        blocks.append((picked @ sparse.csc_matrix(entries)).tocsc())
        weight = np.where(r == c, 1.0, np.sqrt(2.0))
        size = len(r)
        cone_rows.append((begin, size, weight, (r == c).astype(float)))
        sizes.append(k)
        begin += size
    if not blocks:
        return None
    coefficients = sparse.hstack(blocks, format="csr")
    equal = np.array([m in program.tight for m in place], dtype=bool)
    lam = sparse.csc_matrix(np.full((int((~equal).sum()), 1), 1.0 if slack else 0.0))
    zero = sparse.csc_matrix((int(equal.sum()), 1))
    parts = [
        sparse.hstack([coefficients[equal], zero]),
        sparse.hstack([coefficients[~equal], lam]),
    ]
    right = [target[equal], target[~equal]]
    diagonal = sparse.diags(-np.concatenate([w for _, _, w, _ in cone_rows]))
    identity = sparse.csc_matrix(np.concatenate([d for _, _, _, d in cone_rows])[:, None])
    parts += [
        sparse.hstack([diagonal, identity]),
        sparse.csc_matrix(([1.0], ([0], [begin])), shape=(1, begin + 1)),
    ]
    right += [np.zeros(begin), np.ones(1)]  # lambda <= 1 keeps the program bounded
    cones = [clarabel.ZeroConeT(int(equal.sum())), clarabel.NonnegativeConeT(int((~equal).sum()))]
    cones = [c for c, m in zip(cones, (equal.sum(), (~equal).sum())) if m]
    cones += [clarabel.PSDTriangleConeT(k) for k in sizes] + [clarabel.NonnegativeConeT(1)]
    objective = np.zeros(begin + 1)
    objective[-1] = -1.0
    solved = solve_cones(objective, sparse.vstack(parts), np.concatenate(right), cones)
    if solved is None:
        return None
    x = solved[0]
    forms = {}
    for (start, size, _, _), k, product in zip(cone_rows, sizes, program.bases):
        c, r = np.tril_indices(k)
        form = np.zeros((k, k))
        form[r, c] = form[c, r] = x[start : start + size]
        forms[product] = form
    gap = target - coefficients @ x[:-1]
    return Proposal(float(x[-1]), forms, {m: float(gap[t]) for m, t in place.items() if not equal[t]})

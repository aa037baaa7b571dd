"""Parrilo-type proofs of a matrix on the boundary of the cone: the forms live on a face, its equations are repaired exactly.

Every exact zero u of M kills P_a u and the coefficients of the products on which u is tight. The forms are proposed on the
complement of those u and rounded in an integer basis of it; then the tight coefficients are made zero exactly.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checker.parrilo import Monomial, expansion, monomials
from ..checker.psd import Rows
from .parrilo_program import INSIDE, Program, Proposal, solve_program
from .repair import repair

Array = NDArray[np.float64]


def forms_on_the_face(
    matrix: Rows, floats: Array, weights: list[int], level: int, zeros: list[dict[int, int]]
) -> dict[str, Any] | None:
    """A proof, not yet checked, whose forms vanish on the zeros; None where they do not span the face."""
    n = len(matrix)
    killed: dict[Monomial, list[dict[int, int]]] = {a: [] for a in monomials(n, level)}
    tight: set[Monomial] = set()
    for u in zeros:
        flat = {k for k in range(n) if k not in u and sum(matrix[k][j] * v for j, v in u.items()) == 0}
        for a, list_ in killed.items():
            if _touches(a, u, flat):
                list_.append(u)
        tight.update(m for m in monomials(n, level + 2) if _touches(m, u, flat))
    exact = {a: _complement(n, kernel) for a, kernel in killed.items()}
    scale = np.array([float(Fraction(w, max(weights))) for w in weights])
    factors = {}
    for a, columns in exact.items():
        if columns:
            basis = np.array([[float(v) for v in c] for c in columns]).T / scale[:, None]
            if not np.isfinite(basis).all() or np.linalg.matrix_rank(basis) < len(columns):
                return None
            factors[a] = np.linalg.qr(basis)
    program = Program(floats, level, {a: f.Q for a, f in factors.items()}, frozenset(tight))
    proposal = solve_program(program)
    if proposal is None or proposal.margin < INSIDE:
        return None
    # coefficients that came out at zero are taken to be zero, so that the others have room for the repair
    small = min(1e-6, 1e-2 * proposal.margin)
    tight.update(m for m, s in proposal.slack.items() if s < small)
    program = Program(floats, level, program.bases, frozenset(tight))
    proposal = solve_program(program, slack=True)
    if proposal is None or proposal.margin < INSIDE:
        return None
    return _repaired(matrix, weights, exact, {a: f.R for a, f in factors.items()}, program, proposal)


def _touches(product: Monomial, u: dict[int, int], flat: set[int]) -> bool:
    """At u + epsilon d the left side is O(epsilon^2) along d on ``flat``, O(epsilon) elsewhere: the product is larger."""
    outside = [k for k in product if k not in u]
    return not outside or (len(outside) == 1 and outside[0] in flat)


def _complement(n: int, kernel: list[dict[int, int]]) -> list[list[int]]:
    """An integer basis of {v : u . v = 0 for all u}, shortened by LLL."""
    from flint import fmpz_mat

    if not kernel:
        return [[int(i == j) for j in range(n)] for i in range(n)]
    basis, nullity = fmpz_mat([[u.get(j, 0) for j in range(n)] for u in kernel]).nullspace()
    rows = []
    for k in range(int(nullity)):
        column = [int(basis[i, k]) for i in range(n)]
        divisor = math.gcd(*column)
        rows.append([v // divisor for v in column])
    return [[int(v) for v in row] for row in fmpz_mat(rows).lll().tolist()] if rows else []


def _repaired(
    matrix: Rows,
    weights: list[int],
    exact: dict[Monomial, list[list[int]]],
    triangles: dict[Monomial, Array],
    program: Program,
    proposal: Proposal,
) -> dict[str, Any] | None:
    """The forms in the exact bases, rounded, with the tight coefficients made zero exactly."""
    n, level = len(matrix), program.level
    unit = Fraction(weights[0] ** 2, matrix[0][0])
    value: dict[tuple[Monomial, int, int], Fraction] = {}
    weight: dict[tuple[Monomial, int, int], float] = {}
    top = max(weights)
    for a, form in proposal.forms.items():
        inverse = np.linalg.inv(triangles[a])
        inner = inverse @ form @ inverse.T
        scale = Fraction(top * top * math.prod(weights[i] for i in a)) / unit
        for p in range(len(inner)):
            for r in range(p + 1):
                number = Fraction(float(inner[p, r])) * scale
                value[a, p, r] = _short(number, Fraction(float(abs(inner).max() or 1.0)) * scale)
                weight[a, p, r] = abs(float(inner[p, r]))
    target = expansion(matrix, weights, level)
    rows: dict[Monomial, dict[tuple[Monomial, int, int], int]] = {m: {} for m in program.tight}
    for a in proposal.forms:
        columns = exact[a]
        for i in range(n):
            for j in range(i + 1):
                m = tuple(sorted((*a, i, j)))
                if m not in rows:
                    continue
                twice = 1 if i == j else 2
                for p, u in enumerate(columns):
                    for r in range(p + 1):
                        v = columns[r]
                        c = u[i] * v[j] + (u[j] * v[i] if p != r else 0)
                        if c:
                            rows[m][a, p, r] = rows[m].get((a, p, r), 0) + twice * c
    order = sorted(value, key=lambda k: -weight[k])
    if not repair(value, [(row, Fraction(target[m])) for m, row in rows.items()], order):
        return None
    q = math.lcm(*(v.denominator for v in value.values()))
    forms = []
    for a in proposal.forms:
        columns = exact[a]
        k = len(columns)
        inner_exact = [[int(q * value[a, max(p, r), min(p, r)]) for r in range(k)] for p in range(k)]
        half = [[sum(columns[p][i] * inner_exact[p][r] for p in range(k)) for r in range(k)] for i in range(n)]
        triangle = [[sum(half[i][r] * columns[r][j] for r in range(k)) for j in range(i + 1)] for i in range(n)]
        forms.append([list(a), triangle])
    return {"kind": "parrilo", "level": level, "multiplier": q, "weights": weights, "forms": forms}


def _short(value: Fraction, size: Fraction) -> Fraction:
    """On the grid of 2^-36 of the size."""
    exponent = 36 - (size.numerator.bit_length() - size.denominator.bit_length())
    step = Fraction(2) ** -exponent
    return round(value / step) * step

"""Parrilo-type proofs of level r: a semidefinite program proposes the forms, exact arithmetic accepts them.

    max lambda  s.t.  (sum w x)^r x^T M x - sum_{|a| = r} x^a x^T P_a x  has coefficients >= 0,  P_a - lambda I >= 0 (PSD)

lambda > 0: the coefficients bound the P_a from above only, so rounding every entry down is harmless. M on the boundary:
every exact zero u of M kills P_a u and the coefficients of the products on which u is tight; the P_a then live on the
complement of those u, and the equations are repaired exactly. That needs a strict interior on this face (lambda > 0 there);
where the zeros that are known do not span it, or the coefficients of an irrational face are asked for, there is no proof.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checker.parrilo import Monomial, expansion, monomials, replay_parrilo
from ..checker.psd import Rows, scaled_floats
from ..errors import CertificateError
from .conic import solve_cones
from .repair import repair

Array = NDArray[np.float64]
log = logging.getLogger(__name__)

MOST_UNKNOWNS = 6000  # entries of all forms together: order 10 at level 1 has 550, order 20 has 4200
INSIDE = 1e-9  # margin from which rounding is trusted to stay inside


@dataclass(frozen=True, eq=False)
class _Program:
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


def unknowns(n: int, level: int) -> int:
    """How many entries the forms of a proof have."""
    return math.comb(n + level - 1, level) * n * (n + 1) // 2


def prove_parrilo(matrix: Rows, level: int = 1, zeros: list[dict[int, int]] | None = None) -> dict[str, Any] | None:
    """An exact "parrilo" proof of that level for an integer matrix with positive diagonal, or None.

    zeros: exact zeros of M (sparse integer vectors), if it is on the boundary of the copositive cone.
    """
    n = len(matrix)
    if unknowns(n, level) > MOST_UNKNOWNS or any(matrix[i][i] <= 0 for i in range(n)):
        return None
    floats = scaled_floats(matrix)
    if not np.isfinite(floats).all():
        return None
    weights = matrix_weights(matrix)
    if not zeros:
        program = _Program(floats, level, dict.fromkeys(monomials(n, level), np.eye(n)), frozenset())
        proposal = _solve(program)
        if proposal is None or proposal.margin < INSIDE:
            return None
        return accepted(matrix, rounded_forms(matrix, weights, level, proposal))
    return _on_the_face(matrix, floats, weights, level, zeros)


def matrix_weights(matrix: Rows) -> list[int]:
    """Integers close to a multiple of m_ii^1/2: in y = w x the matrix has unit diagonal."""
    n = len(matrix)
    diagonal = [matrix[i][i] for i in range(n)]
    if len(set(diagonal)) == 1:
        return [1] * n
    exact = [math.isqrt(v) for v in diagonal]
    if any(e * e != v for e, v in zip(exact, diagonal)):
        shift = max(0, 40 - min(v.bit_length() for v in diagonal))
        exact = [math.isqrt(v << (2 * shift)) for v in diagonal]
    divisor = math.gcd(*exact)
    return [e // divisor for e in exact]


def accepted(matrix: Rows, proof: dict[str, Any] | None) -> dict[str, Any] | None:
    """The proof if the checker takes it, else None."""
    if proof is None:
        return None
    try:
        replay_parrilo(matrix, proof)
    except CertificateError as error:
        log.debug("order %d: the rounded forms are no proof: %s", len(matrix), error)
        return None
    return proof


def rounded_forms(matrix: Rows, weights: list[int], level: int, proposal: Proposal) -> dict[str, Any]:
    """The proof with every entry of the forms (for the unit-diagonal matrix) rounded down on a grid finer than the margin."""
    n = len(matrix)
    unit = Fraction(weights[0] ** 2, matrix[0][0])  # w w^T o a = unit M
    # a quarter of the margin, as a multiple of J, pays for coefficients that the solver left slightly negative
    push = proposal.margin / (4 * n)
    need = 16 * n * unit / (Fraction(proposal.margin) * min(weights) ** (level + 2))
    q = 1 << max(0, math.ceil(need) - 1).bit_length()
    forms = []
    for a, form in proposal.forms.items():
        scale = Fraction(q) / unit * math.prod(weights[i] for i in a)
        triangle = [
            [math.floor(Fraction(float(form[i, j]) - push) * scale * weights[i] * weights[j]) for j in range(i + 1)]
            for i in range(n)
        ]
        forms.append([list(a), triangle])
    return {"kind": "parrilo", "level": level, "multiplier": q, "weights": weights, "forms": forms}


def _on_the_face(
    matrix: Rows, floats: Array, weights: list[int], level: int, zeros: list[dict[int, int]]
) -> dict[str, Any] | None:
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
    program = _Program(floats, level, {a: f.Q for a, f in factors.items()}, frozenset(tight))
    proposal = _solve(program)
    if proposal is None or proposal.margin < INSIDE:
        return None
    # coefficients that came out at zero are taken to be zero, so that the others have room for the repair
    small = min(1e-6, 1e-2 * proposal.margin)
    tight.update(m for m, s in proposal.slack.items() if s < small)
    program = _Program(floats, level, program.bases, frozenset(tight))
    proposal = _solve(program, slack=True)
    if proposal is None or proposal.margin < INSIDE:
        return None
    return accepted(matrix, _repaired(matrix, weights, exact, {a: f.R for a, f in factors.items()}, program, proposal))


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
    program: _Program,
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


def _solve(program: _Program, *, slack: bool = False) -> Proposal | None:
    """The program above; with ``slack`` the coefficients that are not tight keep lambda too."""
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

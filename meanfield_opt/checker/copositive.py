"""Replay of copositivity proofs on symmetric integer matrices. Exact; no solver, no compiled code.

A proof is a JSON value {"kind": ..., ...}. ``replay(M, proof)`` raises CertificateError unless the proof shows that M is
copositive, and returns whether it also shows strict copositivity. Kinds:

nonnegative  every entry is >= 0.
psd          M is positive semidefinite; {"direction": y} with M y > 0, if given, shows strict copositivity.
spn          q M - N is positive semidefinite with N >= 0 entrywise: {"multiplier": q, "nonnegative": {"i,j": value}}.
split        entries between the blocks are >= 0 and every block is copositive: {"blocks": [[indices, proof], ...]}.
scale        diag(d) M diag(d) is copositive, d > 0 rational: {"d": [...], "proof": ...}.
aggregate    M >= P^T Q P entrywise for a partition P, Q the block minima, and Q is copositive: {"groups", "proof"}.
round        D M' D <= M entrywise with D = diag(2^h), M' = floor(D^-1 M D^-1) copositive: {"h": [...], "proof": ...}.
stable       M >= s (t (I + A) - J) entrywise, t at least the stability number of A (found again): see ``stable_set``.
parrilo      (sum w_i x_i)^r x^T M x in semidefinite forms and nonnegative coefficients: see ``parrilo``.
tree         no minimal support of a negative value exists: see ``Tree``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from ..errors import CertificateError
from .codec import integer, rational
from .parrilo import replay_parrilo
from .psd import Rows, psd_rank, quadratic_value
from .stable_set import MOST_NODES, SearchLimit, larger_clique, stable_form

Proof = dict[str, Any]


def replay(matrix: Rows, proof: Proof) -> bool:
    """Check ``proof`` for M; True if strict copositivity follows too; CertificateError if it proves nothing."""
    try:
        kind = proof["kind"]
        if kind not in KINDS:
            raise CertificateError(f"copositivity proofs of kind {kind!r} are unknown to this checker.")
        return KINDS[kind](matrix, proof)
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError, AttributeError) as error:
        raise CertificateError(f"the copositivity proof is malformed: {error!r}") from error
    except RecursionError as error:
        raise CertificateError("the copositivity proof is nested too deeply.") from error


def replay_witness(matrix: Rows, witness: Sequence[Fraction]) -> Fraction:
    """x^T M x for a witness x >= 0; CertificateError unless it is negative."""
    if len(witness) != len(matrix) or any(v < 0 for v in witness):
        raise CertificateError("the witness is not a nonnegative vector of the matrix's order.")
    value = quadratic_value(matrix, witness)
    if not value < 0:
        raise CertificateError(f"the witness has value {value}, which is not negative.")
    return value


def replay_zero(matrix: Rows, zero: Sequence[Fraction]) -> None:
    """CertificateError unless x >= 0, x != 0 and x^T M x = 0."""
    if len(zero) != len(matrix) or any(v < 0 for v in zero) or not any(zero):
        raise CertificateError("the zero is not a nonzero nonnegative vector of the matrix's order.")
    if quadratic_value(matrix, zero) != 0:
        raise CertificateError("the claimed zero does not have the value 0.")


def _nonnegative(matrix: Rows, proof: Proof) -> bool:
    if any(v < 0 for row in matrix for v in row):
        raise CertificateError("the matrix has a negative entry.")
    return all(matrix[i][i] > 0 for i in range(len(matrix)))


def _psd(matrix: Rows, proof: Proof) -> bool:
    rank = psd_rank(matrix)
    if rank is None:
        raise CertificateError("the matrix is not positive semidefinite.")
    if rank < len(matrix) and proof.get("direction") is not None:
        # a zero x >= 0 of a semidefinite M has M x = 0, hence (M y)^T x = 0: impossible for M y > 0
        y = [rational(v) for v in proof["direction"]]
        if len(y) != len(matrix) or any(sum(m * v for m, v in zip(row, y)) <= 0 for row in matrix):
            raise CertificateError("the direction of a semidefinite proof does not show strictness.")
        return True
    return rank == len(matrix)


def _spn(matrix: Rows, proof: Proof) -> bool:
    n, q = len(matrix), integer(proof["multiplier"])
    if q <= 0:
        raise CertificateError("the multiplier of a PSD + N split must be positive.")
    rest = [[q * v for v in row] for row in matrix]
    diagonal = set()
    for key, value in proof["nonnegative"].items():
        i, j = map(int, key.split(","))
        amount = integer(value)
        if amount < 0 or not 0 <= i <= j < n:
            raise CertificateError("the N of a PSD + N split has a negative entry.")
        rest[i][j] -= amount
        if i != j:
            rest[j][i] -= amount
        elif amount > 0:
            diagonal.add(i)
    rank = psd_rank(rest)
    if rank is None:
        raise CertificateError("the P of a PSD + N split is not positive semidefinite.")
    # x^T N x > 0 for every x != 0 in the cone as soon as N has a positive diagonal
    return rank == n or len(diagonal) == n


def _split(matrix: Rows, proof: Proof) -> bool:
    n = len(matrix)
    owner = [-1] * n
    for b, (indices, _) in enumerate(proof["blocks"]):
        for i in indices:
            if type(i) is not int or not 0 <= i < n or owner[i] != -1:
                raise CertificateError("the blocks of a split do not partition the indices.")
            owner[i] = b
    if -1 in owner:
        raise CertificateError("the blocks of a split do not cover all indices.")
    for i in range(n):
        for j in range(i):
            if owner[i] != owner[j] and matrix[i][j] < 0:
                raise CertificateError("a negative entry lies between two blocks of a split.")
    return all([replay([[matrix[i][j] for j in index] for i in index], inner) for index, inner in proof["blocks"]])


def _scale(matrix: Rows, proof: Proof) -> bool:
    d = [rational(v) for v in proof["d"]]
    if len(d) != len(matrix) or any(v <= 0 for v in d):
        raise CertificateError("a scaling needs one positive number for each row.")
    return replay(scaled(matrix, d), proof["proof"])


def scaled(matrix: Rows, d: Sequence[Fraction]) -> list[list[int]]:
    """diag(d) M diag(d) times the positive rational that makes it a primitive integer matrix."""
    n = len(matrix)
    common = math.lcm(*(v.denominator for v in d))
    e = [v.numerator * (common // v.denominator) for v in d]
    out = [[matrix[i][j] * e[i] * e[j] for j in range(n)] for i in range(n)]
    divisor = math.gcd(*(v for row in out for v in row)) or 1
    return [[v // divisor for v in row] for row in out]


def _round(matrix: Rows, proof: Proof) -> bool:
    h = proof["h"]
    if len(h) != len(matrix) or any(type(v) is not int or not -1000 <= v <= 1 << 20 for v in h):
        raise CertificateError("a rounding needs one exponent for each row.")
    return replay(rounded(matrix, h), proof["proof"])


def rounded(matrix: Rows, h: Sequence[int]) -> list[list[int]]:
    """floor(2^(-h_i - h_j) m_ij)."""
    n = len(matrix)
    return [
        [matrix[i][j] >> (h[i] + h[j]) if h[i] + h[j] >= 0 else matrix[i][j] << -(h[i] + h[j]) for j in range(n)]
        for i in range(n)
    ]


def _stable(matrix: Rows, proof: Proof) -> bool:
    form = stable_form(matrix)
    if form is None:
        raise CertificateError("the matrix does not dominate the form of a stable-set problem.")
    neighbours, bound = form
    least = -min(v for row in matrix for v in row)
    try:
        if larger_clique(neighbours, bound, max_nodes=MOST_NODES) is not None:
            raise CertificateError("the stability number exceeds the form's bound.")
        # strict as soon as no stable set reaches the (rational) bound d/s + 1
        return matrix[0][0] % least != 0 or larger_clique(neighbours, bound - 1, max_nodes=MOST_NODES) is None
    except SearchLimit:
        raise CertificateError(
            f"finding the stability number takes more than {MOST_NODES} nodes, more than a proof of this kind may ask for."
        ) from None


def _aggregate(matrix: Rows, proof: Proof) -> bool:
    groups = proof["groups"]
    if sorted(i for g in groups for i in g) != list(range(len(matrix))) or not all(groups):
        raise CertificateError("the groups of an aggregation do not partition the indices.")
    return replay(quotient(matrix, groups), proof["proof"])


def quotient(matrix: Rows, groups: Sequence[Sequence[int]]) -> list[list[int]]:
    """Q_gh = min of M over the block g x h: x^T M x >= y^T Q y with y_g = sum of x over g, for every x >= 0."""
    return [[min(matrix[i][j] for i in g for j in h) for h in groups] for g in groups]


def _tree(matrix: Rows, proof: Proof) -> bool:
    return Tree(matrix).replay(proof["steps"])


class Tree:
    """No minimal support S of a negative value.

    If M is not copositive, take S minimal with M_SS not copositive. Then M_SS is nonsingular with one negative
    eigenvalue and M_SS^-1 <= 0 entrywise; all principal submatrices of order |S|-1 are PSD, those of order <= |S|-2
    positive definite (Hadeler 1983; Valiaho 1989). Hence S is reached from the empty set through sets T with M_TT
    positive definite. At T, with free indices F, let R = M / M_TT be the Schur complement on F and, for j in F,
    v = (w, 1) on T + j with w = -M_TT^-1 M_Tj, so that (M v)_T = 0 and (M v)_F = R_jF. A step may
    - drop j: no S with T + j in S in T + F exists, because (a) R_jj < 0 or R_jj = 0, and w has a negative entry; or
      (b) R_jj >= 0, w >= 0 and R_jF >= 0: then v^T M x = min * sum(v) < 0 <= x^T (M v) is a contradiction;
    - branch on j with R_jj > 0: replay T + j with the remaining F, then drop j.
    When the steps end, R_FF must be copositive (then M is so on T + F): all its entries are >= 0, or the last step is a
    proof of it. A step is an index (drop), [index, steps] (branch) or, at the end, a proof. Strict copositivity follows unless a drop (b) had R_jj = 0 or
    the last R_FF is not shown to be strictly copositive.
    """

    def __init__(self, matrix: Rows) -> None:
        self.matrix = matrix

    def replay(self, steps: list[Any]) -> bool:
        """Check all steps from T = {}."""
        return self._node(
            [], {i: list(row) for i, row in enumerate(self.matrix)}, set(range(len(self.matrix))), 1, steps
        )

    def _node(
        self, top: list[list[int]], rows: dict[int, list[int]], free: set[int], last: int, steps: list[Any]
    ) -> bool:
        strict = True
        for step in steps:
            if isinstance(step, dict):
                if step is not steps[-1]:
                    raise CertificateError("a leaf of the tree is not its last step.")
                rest = sorted(free)
                return replay([[rows[i][k] for k in rest] for i in rest], step) and strict
            j = step[0] if isinstance(step, list) else step
            if j not in free:
                raise CertificateError("a step of the tree uses an index that is not free.")
            if isinstance(step, list):
                strict &= self._branch(top, rows, free, last, j, step[1])
            else:
                strict &= self._drop(top, rows[j], free, j)
            free.discard(j)
        for i in free:
            if rows[i][i] == 0:
                strict = False
            if any(rows[i][k] < 0 for k in free):
                raise CertificateError("a leaf of the tree is not proved: its Schur complement has a negative entry.")
        return strict

    @staticmethod
    def _drop(top: list[list[int]], row: list[int], free: set[int], j: int) -> bool:
        mixed = any(r[j] > 0 for r in top)  # rows of top hold M_TT^-1 M_TF (times the last pivot): w = -top
        if row[j] <= 0 and mixed:
            return True
        if mixed or any(row[k] < 0 for k in free):
            raise CertificateError("a step of the tree drops an index that it may not drop.")
        return row[j] > 0

    def _branch(
        self, top: list[list[int]], rows: dict[int, list[int]], free: set[int], last: int, j: int, steps: list[Any]
    ) -> bool:
        pivot_row = rows[j]
        p = pivot_row[j]
        if p <= 0:
            raise CertificateError("a step of the tree branches on an index whose block is not positive definite.")
        keep = [k for k in free if k != j]
        width = len(pivot_row)

        def eliminate(row: list[int]) -> list[int]:
            out, factor = [0] * width, row[j]
            for k in keep:
                out[k] = (row[k] * p - factor * pivot_row[k]) // last
            return out

        below = [eliminate(row) for row in top]
        below.append(pivot_row)
        return self._node(below, {i: eliminate(rows[i]) for i in keep}, set(keep), p, steps)


KINDS: dict[str, Callable[[Rows, Proof], bool]] = {
    "nonnegative": _nonnegative,
    "psd": _psd,
    "spn": _spn,
    "split": _split,
    "scale": _scale,
    "round": _round,
    "stable": _stable,
    "aggregate": _aggregate,
    "parrilo": replay_parrilo,
    "tree": _tree,
}

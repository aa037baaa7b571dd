"""Exact doubly nonnegative separators: X PSD and entrywise nonnegative with <A,X> < 0 proves that A is not PSD + N."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, final

import numpy as np

from ..checker.copositive import replay
from ..checker.psd import Rows, psd_rank, scaled_floats
from ..errors import CertificateError
from ..threads import blas_threads
from .answer import NotCopositive, ProofTree
from .check import check
from .coherent import prove_by_classes
from .cp_answer import inner_product
from .matrix import ExactMatrix, exact_matrix
from .reduce import principal
from .spn import LARGEST, prove_split, solve_split

log = logging.getLogger(__name__)


@final
@dataclass(frozen=True, eq=False)
class Separator:
    """X (n, n) rational, doubly nonnegative, with <A,X> = value < 0: A is not in PSD + N."""

    matrix: ExactMatrix = field(repr=False)
    X: tuple[tuple[Fraction, ...], ...] = field(repr=False)
    value: Fraction

    def replay(self) -> None:
        """Check again, exactly; CertificateError otherwise."""
        n = self.matrix.order
        x = self.X
        whole = exact_matrix(x).entries
        if len(x) != n or any(v < 0 for row in whole for v in row) or psd_rank(whole) is None:
            raise CertificateError("X is not doubly nonnegative.")
        if inner_product(self.matrix, x) != self.value or not self.value < 0:
            raise CertificateError("<A,X> is not the claimed negative value.")


@final
@dataclass(frozen=True, eq=False)
class SplitProof:
    """A is PSD + N: ``proof`` is the exact split."""

    matrix: ExactMatrix = field(repr=False)
    proof: ProofTree

    def replay(self) -> None:
        """Check again, exactly; CertificateError otherwise."""
        replay(self.matrix.entries, self.proof.artefact)


@blas_threads(0)
def spn_separator(matrix: Any) -> Separator | None:
    """An exact separator of A from PSD + N, or None if none was found (see ``spn_split`` for the proof of the contrary).

    Orders above 48 are not attempted except through a witness against copositivity.
    """
    a = exact_matrix(matrix)
    n = a.order
    for i in range(n):
        for j in range(n):
            if a.entries[i][i] < 0 or (a.entries[i][i] == 0 and a.entries[i][j] < 0):
                x = [Fraction(0)] * n
                x[j] = Fraction(1)
                x[i] = Fraction(abs(a.entries[j][j]) + 1, max(1, -2 * a.entries[i][j]) if i != j else 1)
                return _rank_one(a, x)
    index = [i for i in range(n) if a.entries[i][i] > 0]
    if not index or len(index) > LARGEST:
        return _by_witness(a)
    block = principal(a.entries, index)
    floats = scaled_floats(block)
    split = solve_split(floats) if np.isfinite(floats).all() else None
    if split is not None and split.margin < 0:
        for bits in (12, 20, 30, 45):
            inner = _rounded(block, split.dual, bits)
            full = [[Fraction(0)] * n for _ in range(n)]
            for p, i in enumerate(index):
                for q, j in enumerate(index):
                    full[i][j] = inner[p][q]
            found = _accept(a, full)
            if found is not None:
                return found
    return _by_witness(a)


@blas_threads(0)
def spn_split(matrix: Any) -> SplitProof | None:
    """The exact split of A into PSD + N, or None if none was found. Boundary cases use the exact zeros of A."""
    a = exact_matrix(matrix)
    if psd_rank(a.entries) is not None:
        return SplitProof(a, ProofTree({"kind": "psd"}))
    proof = prove_by_classes(a.entries) if a.order > 2 else None
    if proof is None:
        proof, _ = prove_split(a.entries, None)
    if proof is None:
        from .tree import LimitReached, TreeSearch, WitnessFound

        search = TreeSearch(a.entries, max_nodes=2000)
        try:
            search.run()
        except WitnessFound:
            return None
        except LimitReached:
            log.debug("the search for zeros stopped early")
        if search.zeros:
            proof, _ = prove_split(a.entries, search.zeros)
    return None if proof is None else SplitProof(a, ProofTree(proof))


def _by_witness(a: ExactMatrix) -> Separator | None:
    answer = check(a, time_limit=10.0)
    return _rank_one(a, list(answer.witness)) if isinstance(answer, NotCopositive) else None


def _rank_one(a: ExactMatrix, x: list[Fraction]) -> Separator | None:
    return _accept(a, [[u * v for v in x] for u in x])


def _rounded(block: Rows, dual: np.ndarray, bits: int) -> list[list[Fraction]]:
    """S X S on a grid, pushed inside the cone by a little (I + J) of the grid's size; S undoes the scaling."""
    n = len(dual)
    size = float(np.abs(dual).max()) or 1.0
    grid = 1 << bits
    whole = [[max(0, round(float(dual[i, j] + dual[j, i]) / (2 * size) * grid)) for j in range(n)] for i in range(n)]
    push = n  # rounding errors are at most 1/2 an entry, clipping a little more: n I dominates them
    s = []
    for i in range(n):
        half = (block[i][i].bit_length() - 1) // 2
        s.append(
            Fraction(1 << half, 1)
            * Fraction(float(np.sqrt(float(Fraction(block[i][i], 1 << (2 * half)))))).limit_denominator(grid)
        )
    return [[Fraction(whole[i][j] + (push if i == j else 0)) / (s[i] * s[j]) for j in range(n)] for i in range(n)]


def _accept(a: ExactMatrix, x: list[list[Fraction]]) -> Separator | None:
    n = a.order
    value = sum((a.entries[i][j] * x[i][j] for i in range(n) for j in range(n)), Fraction(0)) / a.denominator
    if not value < 0:
        return None
    separator = Separator(a, tuple(tuple(row) for row in x), value)
    try:
        separator.replay()
    except CertificateError:
        return None
    return separator

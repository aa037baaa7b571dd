"""Exact reductions: blocks of the negative-entry graph, and a diagonal scaling that shortens the numbers."""

from __future__ import annotations

import math
from fractions import Fraction

from ..checker.copositive import scaled
from ..checker.psd import Rows


def negative_blocks(matrix: Rows) -> list[list[int]]:
    """Connected components of {(i,j): m_ij < 0}; M is copositive iff every block is (entries between them are >= 0)."""
    n = len(matrix)
    seen = [False] * n
    blocks = []
    for start in range(n):
        if seen[start]:
            continue
        seen[start] = True
        block, stack = [], [start]
        while stack:
            i = stack.pop()
            block.append(i)
            row = matrix[i]
            for j in range(n):
                if row[j] < 0 and not seen[j]:
                    seen[j] = True
                    stack.append(j)
        blocks.append(sorted(block))
    return blocks


def principal(matrix: Rows, index: list[int]) -> list[list[int]]:
    """The principal submatrix."""
    return [[matrix[i][j] for j in index] for i in index]


def good_scaling(matrix: Rows) -> list[Fraction] | None:
    """d > 0 such that diag(d) M diag(d) (as primitive integers) has shorter entries; None if none was found.

    Tried: equal diagonal where all m_ii m_00 are perfect squares (undoes D A D exactly), and row divisors.
    """
    before = _bits(matrix)
    if before <= 8:
        return None
    best: tuple[int, list[Fraction]] | None = None
    for d in (_equal_diagonal(matrix), _row_divisors(matrix)):
        if d is not None and len(set(d)) > 1:
            after = _bits(scaled(matrix, d))
            if best is None or after < best[0]:
                best = (after, d)
    return best[1] if best is not None and best[0] < before else None


def _bits(matrix: Rows) -> int:
    return max(abs(v) for row in matrix for v in row).bit_length()


def _equal_diagonal(matrix: Rows) -> list[Fraction] | None:
    first = matrix[0][0]
    if first <= 0:
        return None
    out = []
    for i in range(len(matrix)):
        product = matrix[i][i] * first
        if product <= 0:
            return None
        root = math.isqrt(product)
        if root * root != product:
            return None
        out.append(Fraction(first, root))
    return out


def _row_divisors(matrix: Rows) -> list[Fraction]:
    out = []
    for i, row in enumerate(matrix):
        g = math.gcd(*(v for j, v in enumerate(row) if j != i))
        divisor = 1
        if g > 1:  # the largest easily found d with d | g and d^2 | m_ii
            rest = math.gcd(g, math.isqrt(abs(row[i]))) if row[i] else g
            for candidate in (g, rest):
                if row[i] % (candidate * candidate) == 0:
                    divisor = candidate
                    break
        out.append(Fraction(1, divisor))
    return out

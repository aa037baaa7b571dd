"""Clique bounds by exhaustive branch and bound with greedy colourings; graphs are lists of neighbour bit sets."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..errors import CertificateError

# A proof "stable" holds no tree: the checker repeats the search, and no file may make it search for hours.
MOST_NODES = 250_000


class SearchLimit(Exception):
    """The node or time limit stopped the search before it proved anything."""


def larger_clique(
    neighbours: Sequence[int], size: int, *, max_nodes: int | None = None, deadline: float = float("inf")
) -> list[int] | None:
    """A clique with more than ``size`` vertices, or None, which proves that there is none. SearchLimit at a limit.

    A set that is coloured with c colours has no clique of more than c vertices (Tomita and Seki 2003). Vertices are
    ordered by degeneracy first.
    """
    n = len(neighbours)
    order = _degeneracy(neighbours)
    place = {v: i for i, v in enumerate(order)}
    adjacent = [0] * n
    for v in range(n):
        bits, moved = neighbours[v], 0
        while bits:
            low = bits & -bits
            moved |= 1 << place[low.bit_length() - 1]
            bits ^= low
        adjacent[place[v]] = moved
    nodes = 0

    def grow(candidates: int, chosen: list[int]) -> list[int] | None:
        nonlocal nodes
        nodes += 1
        if (max_nodes is not None and nodes > max_nodes) or (not nodes & 255 and time.monotonic() > deadline):
            raise SearchLimit
        need = size - len(chosen)
        coloured: list[tuple[int, int]] = []
        rest, colour = candidates, 0
        while rest:  # vertices of the first ``need`` colours cannot complete a larger clique
            colour += 1
            independent = rest
            while independent:
                low = independent & -independent
                v = low.bit_length() - 1
                independent &= ~(adjacent[v] | low)
                rest ^= low
                if colour > need:
                    coloured.append((v, colour))
            # independent now only lost neighbours: the class is a set of pairwise non-adjacent vertices
        for v, _ in reversed(coloured):
            inner = candidates & adjacent[v]
            if len(chosen) + 1 > size:
                return [*chosen, v]
            if inner:
                found = grow(inner, [*chosen, v])
                if found is not None:
                    return found
            candidates &= ~(1 << v)
        return None

    if size < 0 or n == 0:
        return [] if size < 0 else None
    found = grow((1 << n) - 1, [])
    return None if found is None else sorted(order[v] for v in found)


def _degeneracy(neighbours: Sequence[int]) -> list[int]:
    n = len(neighbours)
    left, degree = (1 << n) - 1, [b.bit_count() for b in neighbours]
    order = []
    for _ in range(n):
        v = min((u for u in range(n) if left >> u & 1), key=degree.__getitem__)
        order.append(v)
        left &= ~(1 << v)
        bits = neighbours[v] & left
        while bits:
            low = bits & -bits
            degree[low.bit_length() - 1] -= 1
            bits ^= low
    return order[::-1]


def check_clique(neighbours: Sequence[int], clique: Sequence[int]) -> None:
    """CertificateError unless the vertices are distinct and pairwise adjacent."""
    if len(set(clique)) != len(clique) or any(not 0 <= v < len(neighbours) for v in clique):
        raise CertificateError("the clique lists a vertex twice, or one that does not exist.")
    for a in clique:
        for b in clique:
            if a != b and not neighbours[a] >> b & 1:
                raise CertificateError(f"vertices {a} and {b} of the clique are not adjacent.")


def stable_form(matrix: Sequence[Sequence[int]]) -> tuple[list[int], int] | None:
    """(graph H, bound t) such that M is copositive if H has no clique of more than t vertices; None if M has no such form.

    M has the diagonal d > 0 and every other entry is >= d or >= -s: with H the pairs whose entry is < d,
    M >= s ((d/s + 1)(I + A) - J) where A is the complement of H (Motzkin and Straus 1965).
    """
    n = len(matrix)
    d = matrix[0][0]
    if d <= 0 or any(matrix[i][i] != d for i in range(n)):
        return None
    least = min(v for row in matrix for v in row)
    if least >= 0:
        return None
    neighbours = [sum(1 << j for j in range(n) if j != i and matrix[i][j] < d) for i in range(n)]
    return neighbours, d // -least + 1

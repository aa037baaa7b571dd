"""Replay of Parrilo-type proofs: (sum w_i x_i)^r x^T M x written with semidefinite forms and nonnegative coefficients."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import CertificateError
from .codec import integer
from .psd import Rows, psd_rank

Monomial = tuple[int, ...]

MOST_MONOMIALS = 300_000


def monomials(n: int, degree: int) -> Iterator[Monomial]:
    """Products of ``degree`` variables as sorted index tuples."""
    return itertools.combinations_with_replacement(range(n), degree)


def expansion(matrix: Rows, weights: Sequence[int], level: int) -> dict[Monomial, int]:
    """The coefficients of (sum_i w_i x_i)^level x^T M x."""
    n = len(matrix)
    out: dict[Monomial, int] = dict.fromkeys(monomials(n, level + 2), 0)
    for a in monomials(n, level):
        factor = math.factorial(level) * math.prod(weights[i] for i in a)
        factor //= math.prod(math.factorial(c) for c in Counter(a).values())
        add_form(out, a, matrix, factor)
    return out


def add_form(total: dict[Monomial, int], a: Monomial, form: Rows, factor: int) -> None:
    """total += factor x^a x^T F x."""
    for i, row in enumerate(form):
        for j in range(i + 1):
            if row[j]:
                total[tuple(sorted((*a, j, i)))] += factor * row[j] * (1 if i == j else 2)


def replay_parrilo(matrix: Rows, proof: dict[str, Any]) -> bool:
    """{"level": r, "multiplier": q > 0, "weights": w > 0, "forms": [[indices a, lower triangle of P_a], ...]}.

    q (sum w_i x_i)^r x^T M x - sum_a x^a x^T P_a x has nonnegative coefficients and every P_a is positive semidefinite;
    for x >= 0 the left factor is positive, so M is copositive (the cones Q_r of Pena, Vera and Zuluaga 2007; Q_1 is
    Parrilo's cone of level 1 in the form of Bomze and de Klerk 2002). Strict if for each i the coefficient of x_i^(r+2)
    is positive or the P of x_i^r is definite: the i of a positive entry of x then shows a positive term.
    """
    n, level, q = len(matrix), proof["level"], integer(proof["multiplier"])
    weights = [integer(w) for w in proof["weights"]]
    if type(level) is not int or not 0 <= level <= 8 or math.comb(n + level + 1, level + 2) > MOST_MONOMIALS:
        raise CertificateError("the level of a Parrilo proof is out of range.")
    if q <= 0 or len(weights) != n or any(w <= 0 for w in weights):
        raise CertificateError("the multiplier and the weights of a Parrilo proof must be positive.")
    rest = {m: q * c for m, c in expansion(matrix, weights, level).items()}
    definite: set[int] = set()
    seen: set[Monomial] = set()
    for indices, triangle in proof["forms"]:
        a = tuple(indices)
        if len(a) != level or a in seen or list(a) != sorted(a) or any(type(i) is not int for i in a):
            raise CertificateError("a form of a Parrilo proof belongs to no product of the right degree.")
        if level and not 0 <= a[0] <= a[-1] < n:
            raise CertificateError("a form of a Parrilo proof uses an index that does not exist.")
        seen.add(a)
        if [len(row) for row in triangle] != list(range(1, n + 1)):
            raise CertificateError("a form of a Parrilo proof has the wrong shape.")
        form = [[integer(triangle[max(i, j)][min(i, j)]) for j in range(n)] for i in range(n)]
        rank = psd_rank(form)
        if rank is None:
            raise CertificateError("a form of a Parrilo proof is not positive semidefinite.")
        if rank == n and len(set(a)) == 1:
            definite.add(a[0])
        elif rank == n and level == 0:
            definite.update(range(n))
        add_form(rest, a, form, -1)
    if any(c < 0 for c in rest.values()):
        raise CertificateError("a coefficient of a Parrilo proof is negative.")
    return all(i in definite or rest[(i,) * (level + 2)] > 0 for i in range(n))

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
from fractions import Fraction
from typing import Any

import numpy as np

from ..checker.parrilo import monomials, replay_parrilo
from ..checker.psd import Rows, scaled_floats
from ..errors import CertificateError
from .parrilo_face import forms_on_the_face
from .parrilo_program import INSIDE, Program, Proposal, solve_program

log = logging.getLogger(__name__)

MOST_UNKNOWNS = 6000  # entries of all forms together: order 10 at level 1 has 550, order 20 has 4200


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
        program = Program(floats, level, dict.fromkeys(monomials(n, level), np.eye(n)), frozenset())
        proposal = solve_program(program)
        if proposal is None or proposal.margin < INSIDE:
            return None
        return accepted(matrix, rounded_forms(matrix, weights, level, proposal))
    return accepted(matrix, forms_on_the_face(matrix, floats, weights, level, zeros))


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

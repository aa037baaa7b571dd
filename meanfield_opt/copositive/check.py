"""The copositivity test: exact reductions, quick proofs, the exact search; an answer that can be replayed."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import replace
from fractions import Fraction
from typing import Any

from ..checker.copositive import rounded, scaled
from ..checker.psd import Rows, quadratic_value
from ..validate import integer, seconds
from .answer import Answer, Copositive, NotCopositive, ProofTree, Undecided
from .matrix import ExactMatrix, exact_matrix
from .prove import Decision, Plan, StillOpen, has_leaf, primitive, prove, unit
from .reduce import good_scaling, negative_blocks, principal
from .tree import WitnessFound

log = logging.getLogger(__name__)

MOST_LEVEL = 100  # forms of such a level are beyond any solver from order 3 on
KEPT_BITS = 44  # length to which long entries are rounded for a first attempt


def check(matrix: Any, *, time_limit: float = 60.0, seed: int = 0, level: int | None = None) -> Answer:
    """Is x^T A x >= 0 for every x >= 0? Exact throughout: floats are taken as the binary fractions they are.

    matrix: (n, n) symmetric; numpy, nested lists, ints, floats, Fractions, flint, pandas or scipy sparse.
    time_limit: seconds, after which the answer is Undecided. seed: for the search for witnesses.
    level: ask for a proof in a cone of that level or below: 0 is PSD + nonnegative, 1 Parrilo's K^1, beyond it the cones
    Q_r of Pena, Vera and Zuluaga (each block of negative entries by itself, after diagonal scaling). A matrix that is not
    shown to lie there is Undecided, or refuted by a witness; None decides by any means.
    Raises InputError for anything that is not a finite symmetric matrix.
    """
    seconds(time_limit, "time_limit")
    if level is not None:
        level = integer(level, "level", least=0, most=MOST_LEVEL)
    integer(seed, "seed", least=0)
    started = time.monotonic()
    a = exact_matrix(matrix)
    divisor = math.gcd(*(v for row in a.entries for v in row)) or 1
    work = a.entries if divisor == 1 else [[v // divisor for v in row] for row in a.entries]
    try:
        proof, strict, zero = _decide(work, Plan(started + time_limit, seed, level))
    except WitnessFound as found:
        x = primitive(found.witness)
        value = quadratic_value(a.entries, x) / a.denominator
        if not (
            value < 0 and min(x) >= 0
        ):  # pragma: no cover - a defect of the search, never to be reported as a proof
            raise AssertionError("internal error: the witness is not negative") from None
        return NotCopositive(a, tuple(x), value, time.monotonic() - started)
    except StillOpen as reason:
        least = Fraction(min(v for row in a.entries for v in row), a.denominator)
        return Undecided(a, str(reason), min(least, Fraction(0)), time.monotonic() - started)
    if divisor != 1 and not _homogeneous(proof):
        proof = {"kind": "scale", "d": [1] * a.order, "proof": proof}  # which divides by the common factor
    return Copositive(a, ProofTree(proof), strict, zero, time.monotonic() - started)


def _homogeneous(proof: dict[str, Any]) -> bool:
    """Whether the proof for M is one for every multiple of M too: not where numbers of the size of M stand in it."""
    if proof["kind"] in ("spn", "parrilo", "round"):
        return False
    if proof["kind"] == "tree":
        return not has_leaf(proof["steps"])
    return proof["kind"] != "split" or all(_homogeneous(inner) for _, inner in proof["blocks"])


def _decide(matrix: Rows, plan: Plan) -> Decision:
    n = len(matrix)
    for i in range(n):
        if matrix[i][i] < 0:
            raise WitnessFound(unit(n, {i: 1}))
    blocks = negative_blocks(matrix)
    if len(blocks) == 1 and n > 1:
        return _block(matrix, plan)
    parts: list[Any] = []
    strict: bool | None = True
    zero = None
    if len(blocks) == n:
        for i in range(n):
            if matrix[i][i] == 0:
                return {"kind": "nonnegative"}, False, tuple(unit(n, {i: 1}))
        return {"kind": "nonnegative"}, True, None
    undecided = None
    for index in blocks:
        block = principal(matrix, index)
        try:
            proof, inner, inner_zero = _single(block) if len(index) == 1 else _block(block, plan)
        except WitnessFound as found:
            raise WitnessFound(_embed(n, index, found.witness)) from None
        except StillOpen as reason:  # another block may still hold a witness
            undecided = reason
            continue
        parts.append([index, proof])
        if inner is False:
            strict = False
            if zero is None and inner_zero is not None:
                zero = tuple(_embed(n, index, list(inner_zero)))
        elif inner is None and strict:
            strict = None
    if undecided is not None:
        raise undecided
    return {"kind": "split", "blocks": parts}, strict, zero


def _single(block: Rows) -> Decision:
    positive = block[0][0] > 0
    return {"kind": "nonnegative"}, positive, None if positive else (Fraction(1),)


def _block(matrix: Rows, plan: Plan) -> Decision:
    """One connected block: scale it if that shortens the numbers, then prove or refute it."""
    n = len(matrix)
    for i in range(n):
        if matrix[i][i] == 0:  # connected, so row i has a negative entry
            k = next(k for k in range(n) if matrix[i][k] < 0)
            x = {k: Fraction(1), i: Fraction(matrix[k][k] + 1, -2 * matrix[i][k])}
            raise WitnessFound(unit(n, x))
    d = good_scaling(matrix)
    if d is None:
        return _prove_long(matrix, plan)
    try:
        proof, strict, zero = _prove_long(scaled(matrix, d), plan)
    except WitnessFound as found:
        raise WitnessFound([x * s for x, s in zip(found.witness, d)]) from None
    back = None if zero is None else tuple(primitive([x * s for x, s in zip(zero, d)]))
    artefact = {"kind": "scale", "d": [[s.numerator, s.denominator] for s in d], "proof": proof}
    return artefact, strict, back


def _prove_long(matrix: Rows, plan: Plan) -> Decision:
    """Long entries: first the matrix rounded down to KEPT_BITS bits (enough unless M is close to the boundary)."""
    n = len(matrix)
    if n < 6 or max(abs(v) for row in matrix for v in row).bit_length() <= KEPT_BITS + 12:
        return prove(matrix, plan)
    h = [(matrix[i][i].bit_length() - KEPT_BITS) // 2 for i in range(n)]
    short = rounded(matrix, h)
    try:
        now = time.monotonic()
        proof, strict, _ = prove(short, replace(plan, deadline=now + 0.4 * (plan.deadline - now)))
        if strict:
            return {"kind": "round", "h": h, "proof": proof}, True, None
    except WitnessFound as found:
        x = [v * Fraction(2) ** -e for v, e in zip(found.witness, h)]
        if quadratic_value(matrix, x) < 0:
            raise WitnessFound(x) from None
    except StillOpen:
        log.debug("order %d: the rounded matrix stayed open", n)
    return prove(matrix, plan)


def _embed(n: int, index: list[int], values: list[Fraction]) -> list[Fraction]:
    return unit(n, dict(zip(index, values)))


def verify(path: Any, matrix: Any = None) -> Any:
    """Check a saved certificate with the independent checker; CertificateError unless everything follows."""
    from ..checker.copositive_file import verify_copositivity

    if matrix is None:
        return verify_copositivity(path)
    a: ExactMatrix = exact_matrix(matrix)
    return verify_copositivity(path, (a.entries, a.denominator))

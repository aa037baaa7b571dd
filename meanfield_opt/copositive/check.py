"""The copositivity test: exact reductions, quick proofs, the exact search; an answer that can be replayed."""

from __future__ import annotations

import logging
import math
import time
from fractions import Fraction
from typing import Any

import numpy as np

from ..checker.copositive import replay, rounded, scaled
from ..checker.psd import Rows, psd_rank, quadratic_value, scaled_floats
from ..checker.stable_set import SearchLimit, larger_clique, stable_form
from ..errors import InputError
from .answer import Answer, Copositive, NotCopositive, ProofTree, Undecided
from .coherent import prove_by_classes
from .kernel import singular_psd
from .matrix import ExactMatrix, exact_matrix
from .reduce import good_scaling, negative_blocks, principal
from .search import find_witness
from .spn import LARGEST, prove_split
from .tree import LimitReached, TreeSearch, WitnessFound

log = logging.getLogger(__name__)

FIRST_NODES = 3000  # nodes of the exact search before heavier proofs are tried
KEPT_BITS = 44  # length to which long entries are rounded for a first attempt
FIRST_WORK = 4_000_000  # and nodes times order squared


class _Open(Exception):
    """A block stayed undecided."""


def check(matrix: Any, *, time_limit: float = 60.0, seed: int = 0) -> Answer:
    """Is x^T A x >= 0 for every x >= 0? Exact throughout: floats are taken as the binary fractions they are.

    matrix: (n, n) symmetric; numpy, nested lists, ints, floats, Fractions, flint, pandas or scipy sparse.
    time_limit: seconds, after which the answer is Undecided. seed: for the search for witnesses.
    Raises InputError for anything that is not a finite symmetric matrix.
    """
    if not (isinstance(time_limit, (int, float)) and time_limit > 0):
        raise InputError(f"time_limit must be a positive number of seconds, not {time_limit!r}.")
    started = time.monotonic()
    a = exact_matrix(matrix)
    divisor = math.gcd(*(v for row in a.entries for v in row)) or 1
    work = a.entries if divisor == 1 else [[v // divisor for v in row] for row in a.entries]
    try:
        proof, strict, zero = _decide(work, started + time_limit, seed)
    except WitnessFound as found:
        x = _primitive(found.witness)
        value = quadratic_value(a.entries, x) / a.denominator
        if not (
            value < 0 and min(x) >= 0
        ):  # pragma: no cover - a defect of the search, never to be reported as a proof
            raise AssertionError("internal error: the witness is not negative") from None
        return NotCopositive(a, tuple(x), value, time.monotonic() - started)
    except _Open as reason:
        least = Fraction(min(v for row in a.entries for v in row), a.denominator)
        return Undecided(a, str(reason), min(least, Fraction(0)), time.monotonic() - started)
    return Copositive(a, ProofTree(proof), strict, zero, time.monotonic() - started)


def _primitive(x: list[Fraction]) -> list[Fraction]:
    """The same ray with coprime integer entries where that is shorter than a denominator each."""
    common = math.lcm(*(v.denominator for v in x))
    whole = [v.numerator * (common // v.denominator) for v in x]
    divisor = math.gcd(*whole)
    return [Fraction(v // divisor) for v in whole]


Decision = tuple[dict[str, Any], bool | None, tuple[Fraction, ...] | None]


def _decide(matrix: Rows, deadline: float, seed: int) -> Decision:
    n = len(matrix)
    for i in range(n):
        if matrix[i][i] < 0:
            raise WitnessFound(_unit(n, {i: 1}))
    blocks = negative_blocks(matrix)
    if len(blocks) == 1 and n > 1:
        return _block(matrix, deadline, seed)
    parts: list[Any] = []
    strict: bool | None = True
    zero = None
    if len(blocks) == n:
        for i in range(n):
            if matrix[i][i] == 0:
                return {"kind": "nonnegative"}, False, tuple(_unit(n, {i: 1}))
        return {"kind": "nonnegative"}, True, None
    undecided = None
    for index in blocks:
        block = principal(matrix, index)
        try:
            proof, inner, inner_zero = _single(block) if len(index) == 1 else _block(block, deadline, seed)
        except WitnessFound as found:
            raise WitnessFound(_embed(n, index, found.witness)) from None
        except _Open as reason:  # another block may still hold a witness
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


def _block(matrix: Rows, deadline: float, seed: int) -> Decision:
    """One connected block: scale it if that shortens the numbers, then prove or refute it."""
    n = len(matrix)
    for i in range(n):
        if matrix[i][i] == 0:  # connected, so row i has a negative entry
            k = next(k for k in range(n) if matrix[i][k] < 0)
            x = {k: Fraction(1), i: Fraction(matrix[k][k] + 1, -2 * matrix[i][k])}
            raise WitnessFound(_unit(n, x))
    d = good_scaling(matrix)
    if d is None:
        return _prove_long(matrix, deadline, seed)
    try:
        proof, strict, zero = _prove_long(scaled(matrix, d), deadline, seed)
    except WitnessFound as found:
        raise WitnessFound([x * s for x, s in zip(found.witness, d)]) from None
    back = None if zero is None else tuple(_primitive([x * s for x, s in zip(zero, d)]))
    artefact = {"kind": "scale", "d": [[s.numerator, s.denominator] for s in d], "proof": proof}
    return artefact, strict, back


def _prove_long(matrix: Rows, deadline: float, seed: int) -> Decision:
    """Long entries: first the matrix rounded down to KEPT_BITS bits (enough unless M is close to the boundary)."""
    n = len(matrix)
    if n < 6 or max(abs(v) for row in matrix for v in row).bit_length() <= KEPT_BITS + 12:
        return _prove(matrix, deadline, seed)
    h = [(matrix[i][i].bit_length() - KEPT_BITS) // 2 for i in range(n)]
    short = rounded(matrix, h)
    try:
        now = time.monotonic()
        proof, strict, _ = _prove(short, now + 0.4 * (deadline - now), seed)
        if strict:
            return {"kind": "round", "h": h, "proof": proof}, True, None
    except WitnessFound as found:
        x = [v * Fraction(2) ** -e for v, e in zip(found.witness, h)]
        if quadratic_value(matrix, x) < 0:
            raise WitnessFound(x) from None
    except _Open:
        log.debug("order %d: the rounded matrix stayed open", n)
    return _prove(matrix, deadline, seed)


def _prove(matrix: Rows, deadline: float, seed: int) -> Decision:
    n = len(matrix)
    floats = scaled_floats(matrix)
    finite = bool(np.isfinite(floats).all())
    if finite and n > 2 and np.linalg.eigvalsh(floats)[0] > -1e-9:
        rank = psd_rank(matrix)
        if rank is not None:
            return ({"kind": "psd"}, True, None) if rank == n else singular_psd(matrix, floats)
    search = TreeSearch(matrix, max_nodes=max(50, min(FIRST_NODES, FIRST_WORK // (n * n))), deadline=deadline)
    try:
        return _tree_decision(search.run(), search)
    except LimitReached:
        log.debug("order %d: the exact search passed %d nodes", n, search.nodes)
    proof = prove_by_classes(matrix)
    if proof is not None:
        strict = True if replay(matrix, proof) else (False if search.zeros else None)
        return proof, strict, _first_zero(search)
    stable = _stable_proof(matrix, deadline)
    if stable is not None:
        return stable
    witness = find_witness(matrix, deadline, seed=seed)
    if witness is not None:
        raise WitnessFound(witness)
    return _close(matrix, deadline, search.zeros)


def _stable_proof(matrix: Rows, deadline: float) -> Decision | None:
    """Matrices that dominate a stable-set form, if a short search with colour bounds finds the number."""
    form = stable_form(matrix)
    if form is None:
        return None
    neighbours, bound = form
    n, zero = len(matrix), None
    left = min(deadline, time.monotonic() + 5.0)
    try:
        found = larger_clique(neighbours, bound, deadline=left)
        least = -min(v for row in matrix for v in row)
        if found is not None:
            x = _unit(n, dict.fromkeys(found, 1))
            if quadratic_value(matrix, x) < 0:
                raise WitnessFound(x)
            return None
        if matrix[0][0] % least == 0:
            tight = larger_clique(neighbours, bound - 1, deadline=left)
            if tight is not None:
                x = _unit(n, dict.fromkeys(tight, 1))
                zero = tuple(x) if quadratic_value(matrix, x) == 0 else None
                return {"kind": "stable"}, False if zero else None, zero
    except SearchLimit:
        return None
    return {"kind": "stable"}, True, None


def _close(matrix: Rows, deadline: float, zeros: list[dict[int, int]]) -> Decision:
    """The exact search with semidefinite closures of its nodes; without them above the order that the solver takes."""
    n = len(matrix)
    search = TreeSearch(matrix, deadline=deadline, zeros=list(zeros))
    try:
        steps = search.run_closing(close_node) if n <= LARGEST else search.run()
    except LimitReached:
        raise _Open(f"time limit: the exact search stopped after {search.nodes} nodes") from None
    return _tree_decision(steps, search)


def close_node(matrix: list[list[int]], zeros: list[dict[int, int]]) -> tuple[dict[str, Any] | None, Any]:
    """A proof for a Schur complement: semidefinite, or PSD + N; otherwise the weights of the separating X."""
    floats = scaled_floats(matrix)
    if not np.isfinite(floats).all():
        return None, None
    if np.linalg.eigvalsh(floats)[0] > -1e-9 and psd_rank(matrix) is not None:
        return {"kind": "psd"}, None
    proof, split = prove_split(matrix, zeros)
    return proof, None if split is None else split.dual.diagonal()


def _tree_decision(steps: list[Any], search: TreeSearch) -> Decision:
    proof = {"kind": "tree", "steps": steps}
    if search.zeros:
        return proof, False, _first_zero(search)
    closed = _has_leaf(steps)
    return proof, True if not closed or replay(search.matrix, proof) else None, None


def _has_leaf(steps: list[Any]) -> bool:
    return any(isinstance(s, dict) or (isinstance(s, list) and _has_leaf(s[1])) for s in steps)


def _first_zero(search: TreeSearch) -> tuple[Fraction, ...] | None:
    return tuple(_primitive(_unit(len(search.matrix), search.zeros[0]))) if search.zeros else None


def _unit(n: int, values: Any) -> list[Fraction]:
    x = [Fraction(0)] * n
    for i, v in values.items():
        x[i] = Fraction(v)
    return x


def _embed(n: int, index: list[int], values: list[Fraction]) -> list[Fraction]:
    return _unit(n, dict(zip(index, values)))


def verify(path: Any, matrix: Any = None) -> Any:
    """Check a saved certificate with the independent checker; CertificateError unless everything follows."""
    from ..checker.copositive_file import verify_copositivity

    if matrix is None:
        return verify_copositivity(path)
    a: ExactMatrix = exact_matrix(matrix)
    return verify_copositivity(path, (a.entries, a.denominator))

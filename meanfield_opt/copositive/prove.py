"""The proof of one connected block: the exact search first, then proofs by symmetry, splits, levels and closed nodes."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..checker.copositive import replay
from ..checker.psd import Rows, psd_rank, quadratic_value, scaled_floats
from ..checker.stable_set import MOST_NODES, SearchLimit, larger_clique, stable_form
from ..threads import blas_threads
from .coherent import prove_by_classes
from .kernel import singular_psd
from .parrilo import prove_parrilo
from .parrilo_invariant import prove_parrilo_invariant
from .search import find_witness
from .spn import LARGEST, prove_split
from .tree import LimitReached, TreeSearch, WitnessFound

log = logging.getLogger(__name__)

FIRST_NODES = 3000  # nodes of the exact search before heavier proofs are tried
FEW_NODES = 400  # and before one semidefinite program, where that is cheap:
SPLIT_EARLY = range(12, 41)  # these orders
STABLE_FROM = 12  # order from which stable-set forms are tried before the exact search
FIRST_WORK = 1_500_000  # and nodes times order squared

Decision = tuple[dict[str, Any], bool | None, tuple[Fraction, ...] | None]


class StillOpen(Exception):
    """A block stayed undecided."""


@dataclass(frozen=True)
class Plan:
    """deadline: on time.monotonic(). seed: for the search for witnesses. level: of the cone, None for any proof."""

    deadline: float
    seed: int
    level: int | None = None


def prove(matrix: Rows, plan: Plan) -> Decision:
    n = len(matrix)
    floats = scaled_floats(matrix)
    finite = bool(np.isfinite(floats).all())
    if finite and n > 2 and np.linalg.eigvalsh(floats)[0] > -1e-9:
        rank = psd_rank(matrix)
        if rank is not None:
            return ({"kind": "psd"}, True, None) if rank == n else singular_psd(matrix, floats)
    deadline = plan.deadline
    if plan.level is None and n >= STABLE_FROM:
        stable = _stable_proof(matrix, deadline, max_nodes=FIRST_NODES)
        if stable is not None:
            return stable
    most = max(50, min(FIRST_NODES, FIRST_WORK // (n * n)))
    first = FEW_NODES if plan.level is None and n in SPLIT_EARLY else most
    search = TreeSearch(matrix, max_nodes=first, deadline=deadline)
    try:
        found = _tree_decision(search.run(), search)
        if plan.level is None:
            return found
    except LimitReached:
        log.debug("order %d: the exact search passed %d nodes", n, search.nodes)
    with blas_threads(0):
        return _prove_hard(matrix, plan, search, most)


def _prove_hard(matrix: Rows, plan: Plan, search: TreeSearch, most: int) -> Decision:
    """``search``: the exact search that stopped at its limit (or ended, where a proof of some level is asked for)."""
    n, deadline = len(matrix), plan.deadline
    if plan.level is not None:
        return _by_level(matrix, plan, plan.level, search)
    if search.max_nodes < most:
        proof, _ = prove_split(matrix, search.zeros)
        if proof is not None:
            return _with_strictness(matrix, proof, search)
        search = TreeSearch(matrix, max_nodes=most, deadline=deadline)
        try:
            return _tree_decision(search.run(), search)
        except LimitReached:
            log.debug("order %d: the exact search passed %d nodes", n, search.nodes)
    proof = prove_by_classes(matrix)
    if proof is not None:
        return _with_strictness(matrix, proof, search)
    stable = _stable_proof(matrix, deadline)
    if stable is not None:
        return stable
    witness = find_witness(matrix, deadline, seed=plan.seed)
    if witness is not None:
        raise WitnessFound(witness)
    return _close(matrix, deadline, search.zeros)


def _by_level(matrix: Rows, plan: Plan, level: int, search: TreeSearch) -> Decision:
    """A proof in the cone of that level or below; the exact search has looked for zeros (and met no witness)."""
    proof = prove_by_classes(matrix)
    if proof is None:
        proof, _ = prove_split(matrix, search.zeros)
    if proof is None and level > 0 and len(matrix) >= STABLE_FROM and not search.zeros:
        proof = prove_parrilo_invariant(matrix)
    for r in range(1, level + 1):
        if proof is not None or time.monotonic() > plan.deadline:
            break
        proof = prove_parrilo(matrix, r, search.zeros)
    if proof is None:
        witness = find_witness(matrix, plan.deadline, seed=plan.seed)
        if witness is not None:
            raise WitnessFound(witness)
        raise StillOpen(f"not shown to lie in the cone of level {level} (order {len(matrix)})")
    return _with_strictness(matrix, proof, search)


def _with_strictness(matrix: Rows, proof: dict[str, Any], search: TreeSearch) -> Decision:
    strict = True if replay(matrix, proof) else (False if search.zeros else None)
    return proof, strict, _first_zero(search)


def _stable_proof(matrix: Rows, deadline: float, max_nodes: int = MOST_NODES) -> Decision | None:
    """Matrices that dominate a stable-set form, if a short search with colour bounds finds the number."""
    form = stable_form(matrix)
    if form is None:
        return None
    neighbours, bound = form
    n, zero = len(matrix), None
    left = min(deadline, time.monotonic() + 5.0)
    try:
        found = larger_clique(neighbours, bound, max_nodes=max_nodes, deadline=left)
        least = -min(v for row in matrix for v in row)
        if found is not None:
            x = unit(n, dict.fromkeys(found, 1))
            if quadratic_value(matrix, x) < 0:
                raise WitnessFound(x)
            return None
        if matrix[0][0] % least == 0:
            tight = larger_clique(neighbours, bound - 1, max_nodes=max_nodes, deadline=left)
            if tight is not None:
                x = unit(n, dict.fromkeys(tight, 1))
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
        raise StillOpen(f"time limit: the exact search stopped after {search.nodes} nodes") from None
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
    closed = has_leaf(steps)
    return proof, True if not closed or replay(search.matrix, proof) else None, None


def has_leaf(steps: list[Any]) -> bool:
    return any(isinstance(s, dict) or (isinstance(s, list) and has_leaf(s[1])) for s in steps)


def _first_zero(search: TreeSearch) -> tuple[Fraction, ...] | None:
    return tuple(primitive(unit(len(search.matrix), search.zeros[0]))) if search.zeros else None


def unit(n: int, values: Any) -> list[Fraction]:
    x = [Fraction(0)] * n
    for i, v in values.items():
        x[i] = Fraction(v)
    return x


def primitive(x: list[Fraction]) -> list[Fraction]:
    """The same ray with coprime integer entries where that is shorter than a denominator each."""
    common = math.lcm(*(v.denominator for v in x))
    whole = [v.numerator * (common // v.denominator) for v in x]
    divisor = math.gcd(*whole)
    return [Fraction(v // divisor) for v in whole]

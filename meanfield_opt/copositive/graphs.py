"""Stability and clique numbers of networkx graphs, with a set that attains them and a proof that nothing larger exists."""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, final

from ..checker.stable_set import SearchLimit, check_clique, larger_clique
from ..errors import CertificateError, InputError
from ..validate import seconds as positive_seconds
from .answer import Copositive, ProofTree
from .check import check
from .theta import form_at, theta_bound

FIRST_NODES = 20_000  # of the search before theta' is tried
FORM_ORDER = 200  # largest order at which a whole copositivity test is tried


@final
@dataclass(frozen=True, eq=False)
class GraphNumber:
    """lower <= alpha(G) (or omega(G)) <= upper; ``vertices`` attain ``lower``.

    proof: "colouring" (exhaustive search with colour bounds, run again by ``replay``), "copositive" (t (I + A) - J, or
    t (J - A) - J for cliques, with t = ``level`` < upper + 1; ``certificate`` holds its proof: PSD + N shows theta' <= t)
    or "greedy colouring" (not closed).
    """

    quantity: str
    lower: int
    upper: int
    vertices: tuple[Hashable, ...]
    proof: str
    seconds: float
    certificate: ProofTree | None = None
    level: Fraction | None = None
    _neighbours: tuple[int, ...] = field(default=(), repr=False)
    _clique: tuple[int, ...] = field(default=(), repr=False)

    @property
    def exact(self) -> bool:
        """Whether the number is known."""
        return self.lower == self.upper

    def __int__(self) -> int:
        if not self.exact:
            raise ValueError(f"the {self.quantity} lies between {self.lower} and {self.upper}.")
        return self.lower

    def replay(self) -> None:
        """Check both bounds again; CertificateError if one does not follow."""
        check_clique(self._neighbours, self._clique)
        if len(self._clique) != self.lower:
            raise CertificateError("the set does not have the claimed size.")
        if self.proof == "colouring":
            if larger_clique(self._neighbours, self.upper) is not None:
                raise CertificateError("there is a larger set.")
        elif self.certificate is not None:
            from ..checker.copositive import replay

            if self.level is None or not self.level < self.upper + 1:
                raise CertificateError("the level of the copositive form does not show the upper bound.")
            replay(form_at(self._neighbours, self.level), self.certificate.artefact)
        elif self.upper < min(len(self._neighbours), greedy_colours(self._neighbours)):
            raise CertificateError("the upper bound has no proof.")


def stability_number(graph: Any, *, time_limit: float = 60.0) -> GraphNumber:
    """alpha(G) of an undirected networkx graph (loops are ignored)."""
    return _number(graph, "stability number", time_limit)


def clique_number(graph: Any, *, time_limit: float = 60.0) -> GraphNumber:
    """omega(G) of an undirected networkx graph (loops are ignored)."""
    return _number(graph, "clique number", time_limit)


def _number(graph: Any, quantity: str, time_limit: float) -> GraphNumber:
    if not (hasattr(graph, "adj") and hasattr(graph, "nodes")):
        raise InputError(f"a networkx graph is needed, not {type(graph).__name__}.")
    if graph.is_directed():
        raise InputError("the graph is directed; pass graph.to_undirected().")
    positive_seconds(time_limit, "time_limit")
    started = time.monotonic()
    names = list(graph.nodes)
    if not names:
        raise InputError("the graph has no vertices.")
    place = {v: i for i, v in enumerate(names)}
    n = len(names)
    neighbours = [0] * n
    for u, v in graph.edges():
        if u != v:
            neighbours[place[u]] |= 1 << place[v]
            neighbours[place[v]] |= 1 << place[u]
    if quantity.startswith("stab"):
        everything = (1 << n) - 1
        neighbours = [everything & ~b & ~(1 << i) for i, b in enumerate(neighbours)]
    clique = _greedy_clique(neighbours)
    proof, upper = "greedy colouring", greedy_colours(neighbours)
    certificate: ProofTree | None = None
    level: Fraction | None = None
    # a short search, then theta', which closes symmetric graphs that colours do not, then search and forms in turn
    for deadline, share in ((started + 0.5 * time_limit, FIRST_NODES), (started + time_limit, None)):
        try:
            while (found := larger_clique(neighbours, len(clique), max_nodes=share, deadline=deadline)) is not None:
                clique = found
            proof, upper, certificate, level = "colouring", len(clique), None, None
            break
        except SearchLimit:
            if share is None:
                continue
            bound = theta_bound(neighbours, len(clique)) if upper > len(clique) else None
            if bound is not None and int(bound[0]) < upper:
                level, upper, proof, certificate = bound[0], int(bound[0]), "copositive", ProofTree(bound[1])
            if upper == len(clique):
                break
            left = started + time_limit - time.monotonic()
            if n <= FORM_ORDER and left > 0:
                answer = check(form_at(neighbours, Fraction(len(clique))), time_limit=max(0.1, 0.5 * left))
                if isinstance(answer, Copositive):
                    level, upper = Fraction(len(clique)), len(clique)
                    proof, certificate = "copositive", answer.proof
                    break
                if answer.copositive is False:
                    support = [i for i, v in enumerate(answer.witness) if v]
                    if all(neighbours[a] >> b & 1 for a in support for b in support if a != b) and len(support) > len(
                        clique
                    ):
                        clique = support
    vertices = tuple(names[i] for i in clique)
    seconds = time.monotonic() - started
    return GraphNumber(
        quantity, len(clique), upper, vertices, proof, seconds, certificate, level, tuple(neighbours), tuple(clique)
    )


def _greedy_clique(neighbours: list[int]) -> list[int]:
    best: list[int] = []
    for start in sorted(range(len(neighbours)), key=lambda v: -neighbours[v].bit_count())[:50]:
        clique, candidates = [start], neighbours[start]
        while candidates:
            members = [v for v in range(len(neighbours)) if candidates >> v & 1]
            v = max(members, key=lambda u: (neighbours[u] & candidates).bit_count())
            clique.append(v)
            candidates &= neighbours[v]
        if len(clique) > len(best):
            best = clique
    return sorted(best)


def greedy_colours(neighbours: Any) -> int:
    """Number of colours of a greedy colouring in order of degree: an upper bound on the clique number."""
    classes: list[int] = []
    for v in sorted(range(len(neighbours)), key=lambda u: -neighbours[u].bit_count()):
        for k, members in enumerate(classes):
            if not members & neighbours[v]:
                classes[k] |= 1 << v
                break
        else:
            classes.append(1 << v)
    return len(classes)

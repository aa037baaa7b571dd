"""The exact decision method: a search over the supports on which a smallest counterexample could live.

The mathematics is stated once, at ``meanfield_opt.checker.copositive.Tree``, which replays what this search returns.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checker.psd import Rows

Node = tuple[list[int], list[list[int]], list[list[int]], list[int], int]
#: proposes a proof that an integer matrix is copositive, and weights that say which index to branch on otherwise
Closer = Callable[[list[list[int]], list[dict[int, int]]], tuple[dict[str, Any] | None, NDArray[np.float64] | None]]


class LimitReached(Exception):
    """The node or time limit stopped the search."""


class WitnessFound(Exception):
    """x >= 0 with x^T M x < 0."""

    def __init__(self, witness: list[Fraction]) -> None:
        super().__init__("not copositive")
        self.witness = witness


@dataclass
class TreeSearch:
    """One search over an integer matrix. ``run`` returns the steps of the proof or raises.

    zeros: the exact zeros x >= 0, x^T M x = 0 met on the way (as sparse integer vectors).
    max_nodes, deadline (time.monotonic()): limits, LimitReached beyond.
    """

    matrix: Rows
    max_nodes: int = 1 << 60
    deadline: float = float("inf")
    nodes: int = 0
    zeros: list[dict[int, int]] = field(default_factory=list)
    _too_large: int = 1 << 30  # order from which the plain search has not settled a node lately
    _zero_keys: set[tuple[int, ...]] = field(default_factory=set)

    def run(self) -> list[Any]:
        """The steps of a proof that M is copositive; WitnessFound or LimitReached otherwise."""
        n = len(self.matrix)
        return self._node([], [], [list(r) for r in self.matrix], list(range(n)), 1)

    # the arguments: support T, its rows of M_TT^-1 M_TF, the Schur complement rows, the free indices (columns), det(T)
    def _node(
        self, support: list[int], top: list[list[int]], rows: list[list[int]], names: list[int], last: int
    ) -> list[Any]:
        self.nodes += 1
        if self.nodes > self.max_nodes or time.monotonic() > self.deadline:
            raise LimitReached
        steps, alive, mixed = self._first_drops(support, top, rows, names, last)
        degree = [0] * len(names)
        for a in alive:
            row = rows[a]
            degree[a] = sum(row[b] < 0 for b in alive)
        while True:
            for a in list(alive):
                if not degree[a] and not mixed[a]:
                    alive.remove(a)
                    steps.append(names[a])
            best = max(alive, key=degree.__getitem__, default=None)
            if best is None or not degree[best]:
                return steps
            alive.remove(best)
            pivot = rows[best]
            steps.append([names[best], self._node(*self._child(support, top, rows, names, last, best, alive))])
            for b in alive:
                if pivot[b] < 0:
                    degree[b] -= 1

    def _first_drops(
        self, support: list[int], top: list[list[int]], rows: list[list[int]], names: list[int], last: int
    ) -> tuple[list[Any], list[int], list[bool]]:
        """Drops that need no look at other columns; the columns left; where w has a negative entry."""
        steps: list[Any] = []
        alive = list(range(len(names)))
        mixed = [False] * len(names)
        for row in top:
            for a in alive:
                if row[a] > 0:
                    mixed[a] = True
        for a in list(alive):
            if rows[a][a] <= 0:
                if not mixed[a]:
                    self._stationary(support, top, rows, names, last, a)
                alive.remove(a)
                steps.append(names[a])
        return steps, alive, mixed

    def _child(
        self,
        support: list[int],
        top: list[list[int]],
        rows: list[list[int]],
        names: list[int],
        last: int,
        best: int,
        alive: list[int],
    ) -> Node:
        source = rows[best]
        p = source[best]
        pivot = [source[b] for b in alive]
        below = []
        for row in top:
            f = row[best]
            below.append([(row[b] * p - f * q) // last for b, q in zip(alive, pivot)])
        below.append(pivot)
        schur = []
        for a in alive:
            row = rows[a]
            f = row[best]
            schur.append([(row[b] * p - f * q) // last for b, q in zip(alive, pivot)])
        return [*support, names[best]], below, schur, [names[a] for a in alive], p

    def run_closing(self, close: Closer, patience: int = 300) -> list[Any]:
        """Like ``run``, for harder matrices: a node that the plain search does not settle within ``patience`` nodes is
        handed to ``close``, and branched on the index of the largest weight if that fails.
        """
        n = len(self.matrix)
        return self._closing(close, patience, ([], [], [list(r) for r in self.matrix], list(range(n)), 1))

    def _closing(self, close: Closer, patience: int, node: Node) -> list[Any]:
        support, top, rows, names, last = node
        steps, alive, _ = self._first_drops(support, top, rows, names, last)
        limit = self.max_nodes
        while True:
            part = ([[r[b] for b in alive] for r in top], [[rows[a][b] for b in alive] for a in alive])
            left = [names[a] for a in alive]
            begin = self.nodes
            hopeless = len(left) >= self._too_large
            self.max_nodes = min(limit, begin + (patience // 10 if hopeless else patience))
            try:
                settled = self._node(support, *part, left, last)
                if hopeless and self.nodes > begin + 3:
                    self._too_large = len(left) + 1
                return [*steps, *settled]
            except LimitReached:
                if self.nodes > limit or time.monotonic() > self.deadline:
                    raise
                self._too_large = min(self._too_large, len(left))
            finally:
                self.max_nodes = limit
            proof, weights = close(part[1], self._inner_zeros(support, left))
            if proof is not None:
                return [*steps, proof]
            best = alive[int(np.argmax(weights))] if weights is not None else self._busiest(rows, alive)
            alive.remove(best)
            child = self._child(support, top, rows, names, last, best, alive)
            steps.append([names[best], self._closing(close, patience, child)])

    def _inner_zeros(self, support: list[int], left: list[int]) -> list[dict[int, int]]:
        """The known zeros inside the node, as vectors over its free indices."""
        place = {j: a for a, j in enumerate(left)}
        inside = [z for z in self.zeros if all(i in place or i in support for i in z)]
        return [u for z in inside if (u := {place[i]: v for i, v in z.items() if i in place})]

    @staticmethod
    def _busiest(rows: list[list[int]], alive: list[int]) -> int:
        return max(alive, key=lambda a: sum(rows[a][b] < 0 for b in alive))

    def _stationary(
        self, support: list[int], top: list[list[int]], rows: list[list[int]], names: list[int], last: int, a: int
    ) -> None:
        """v = (w, 1) on T + j has value R_jj <= 0: a witness if negative; a zero, or with (M v)_k < 0 a witness too."""
        vector = {t: -row[a] for t, row in zip(support, top) if row[a]}
        vector[names[a]] = last
        if rows[a][a] < 0:
            raise WitnessFound(self._dense(vector))
        key = tuple(sorted(vector))
        if key in self._zero_keys:
            return
        self._zero_keys.add(key)
        for k, row in enumerate(self.matrix):
            slope = sum(row[i] * v for i, v in vector.items())
            if slope < 0:  # value of v + e_k s: 2 s slope + s^2 m_kk, least at s = -slope / m_kk
                x = self._dense(vector)
                x[k] += Fraction(-slope, row[k]) if row[k] > 0 else 1
                raise WitnessFound(x)
        self.zeros.append(vector)

    def _dense(self, vector: dict[int, int]) -> list[Fraction]:
        x = [Fraction(0)] * len(self.matrix)
        for i, v in vector.items():
            x[i] = Fraction(v)
        return x

"""The exact decision method: a search over the supports on which a smallest counterexample could live.

The mathematics is stated once, at ``meanfield_opt.checker.copositive.Tree``, which replays what this search returns.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ..checker.psd import Rows


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
        if self.nodes > self.max_nodes or (
            (not self.nodes & 63 or len(names) > 40) and time.monotonic() > self.deadline
        ):
            raise LimitReached
        steps: list[Any] = []
        alive = list(range(len(names)))
        mixed = [False] * len(names)
        for row in top:
            for a in alive:
                if row[a] > 0:
                    mixed[a] = True
        # drops that need no look at the other columns
        for a in list(alive):
            if rows[a][a] <= 0:
                if not mixed[a]:
                    self._stationary(support, top, rows, names, last, a)
                alive.remove(a)
                steps.append(names[a])
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
            steps.append([names[best], self._child(support, top, rows, names, last, best, alive)])
            for b in alive:
                if pivot[b] < 0:
                    degree[b] -= 1

    def _child(
        self,
        support: list[int],
        top: list[list[int]],
        rows: list[list[int]],
        names: list[int],
        last: int,
        best: int,
        alive: list[int],
    ) -> list[Any]:
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
        return self._node([*support, names[best]], below, schur, [names[a] for a in alive], p)

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

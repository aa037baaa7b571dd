"""What a search over cones asks of a formulation of the supremum, and the arrays in which compiled code answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int32]

#: nodes that one compiled call may make, of one cone and about in all
ITEM_NODES = 4_000
CHUNK_NODES = 40_000


@dataclass(eq=False)
class Refined:
    """What one compiled call did to its cones: ``done`` of them were treated, each span giving (ops, leaves) ends."""

    ops: Ints
    leaves: Array
    status: NDArray[np.int8]
    spans: NDArray[np.int64]
    best: Array
    done: int = 0

    @classmethod
    def room(cls, cones: Array) -> Refined:
        """The arrays that a compiled call on cones (m, n, n) fills."""
        from .kernels import MAX_DEPTH

        m, n = cones.shape[:2]
        nodes = CHUNK_NODES + 2 * ITEM_NODES + 4 * MAX_DEPTH
        return cls(
            np.empty(nodes, np.int32),
            np.empty((nodes, n, n)),
            np.empty(nodes, np.int8),
            np.zeros((m, 2), np.int64),
            np.zeros(1 + n),
        )


class View(ABC):
    """One formulation of the supremum as a condition on cones of dimension ``dimension``."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """n."""

    @property
    @abstractmethod
    def rows(self) -> int:
        """P, the rows that a cone starts with."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """Identifies problem, dual point and formulation, for checkpoints."""

    @abstractmethod
    def roots(self) -> tuple[Ints, Array]:
        """The partition to begin with: a preorder forest of cuts of the orthants, and its leaves (m, n, n)."""

    @abstractmethod
    def outside(self, cones: Array) -> NDArray[np.bool_]:
        """Which cones (m, n, n) need no proof, because a symmetry carries them elsewhere."""

    @abstractmethod
    def refine(self, cones: Array, level: float, final: float, budget: int) -> Refined:
        """Refine cones until they pass at ``level`` or the budget of nodes is used up."""

    @abstractmethod
    def start(self) -> tuple[float, Array]:
        """The best squared ratio that a quick local search finds, and its point."""

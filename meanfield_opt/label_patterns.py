"""Patterns that depend on a few labels only, stored as small tables instead of P numbers each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

Array = NDArray[np.float64]

MOST_BITS = 10


@dataclass(frozen=True)
class LabelPatterns:
    """Pattern j takes on sample p the value ``tables[j][x]``, bit b of x being set where label ``labels[j][b]`` is -1.

    Meant for targets that hold signs (d_Y, P). A pattern beta 1 + gamma v_i has labels (i,) and the table
    (beta + gamma, beta - gamma). The tables are exact: the pattern is exactly what they say.
    """

    labels: tuple[tuple[int, ...], ...]
    tables: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.tables):
            raise InputError(f"{len(self.labels)} label sets do not fit {len(self.tables)} tables.")
        for chosen, table in zip(self.labels, self.tables):
            if len(chosen) > MOST_BITS or len(set(chosen)) != len(chosen) or min(chosen, default=0) < 0:
                raise InputError(f"labels of a pattern must be at most {MOST_BITS} distinct indices, not {chosen}.")
            if len(table) != 1 << len(chosen) or not all(math.isfinite(value) for value in table):
                raise InputError(f"a pattern on {len(chosen)} labels needs {1 << len(chosen)} finite values.")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, keep: NDArray[np.intp] | NDArray[np.bool_]) -> LabelPatterns:
        """The restriction to some patterns."""
        chosen = np.arange(len(self))[keep]
        return LabelPatterns(tuple(self.labels[j] for j in chosen), tuple(self.tables[j] for j in chosen))

    def arrays(self, targets: Array) -> Array:
        """The patterns as an array (J, P)."""
        if any(max(chosen, default=-1) >= targets.shape[0] for chosen in self.labels):
            raise InputError(f"a pattern names a label beyond the {targets.shape[0]} there are.")
        out = np.empty((len(self), targets.shape[1]))
        for row, chosen, table in zip(out, self.labels, self.tables):
            if len(chosen) == 1:
                row[:] = np.where(targets[chosen[0]] < 0, table[1], table[0])
                continue
            code = np.zeros(targets.shape[1], dtype=np.int16)
            for bit, label in enumerate(chosen):
                code |= (targets[label] < 0).astype(np.int16) << bit
            row[:] = np.asarray(table)[code]
        return out

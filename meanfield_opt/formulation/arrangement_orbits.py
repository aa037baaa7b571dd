"""Orbits of the cells of an arrangement under a symmetry of inputs and targets: one cell an orbit is enough.

A[s] = A R carries the cell of theta, with activity D, to that of R theta, with activity D[s]; in an invariant solution
U goes to R U R^T and its share D A U A^T D of the kernel to the same matrix with rows and columns s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..losses.squared import Squared
from ..problem import TwoLayerProblem
from ..symmetry.inputs import InputGroup, input_group

Array = NDArray[np.float64]
Cells = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CellOrbits:
    """``cells`` (N, P): one of each orbit. ``images``: for each the group's elements that carry it to the cells of its
    orbit, each once, the identity first."""

    cells: Cells
    images: tuple[Ints, ...]
    group: InputGroup

    @property
    def total(self) -> int:
        """The number of all cells."""
        return sum(image.size for image in self.images)


def cell_orbits(problem: TwoLayerProblem, cells: Cells) -> CellOrbits | None:
    """The orbits of all cells (N, P) under the symmetry of the data, or None.

    None too where the loss is not the squared one (another need not be invariant), and unless every generator permutes
    the set of cells, compared exactly: what is nearly symmetric may have other cells.
    """
    group = input_group(problem) if isinstance(problem.loss, Squared) else None
    if group is None:
        return None
    place = {cell.tobytes(): k for k, cell in enumerate(cells)}
    seen = np.zeros(cells.shape[0], dtype=bool)
    chosen, images = [], []
    for k, cell in enumerate(cells):
        if seen[k]:
            continue
        carriers = []
        for number, element in enumerate(group.elements):
            there = place.get(cell[element].tobytes())
            if there is None:
                return None
            if not seen[there]:
                seen[there] = True
                carriers.append(number)
        chosen.append(k)
        images.append(np.array(carriers, dtype=np.int64))
    return CellOrbits(cells[chosen], tuple(images), group)

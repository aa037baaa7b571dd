"""The boxes of an unfinished search over neurons in a file. What is read is taken only if it covers all neurons again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..checker.frames import Cells
from .stored import damaged, load_arrays, save_arrays

Array = NDArray[np.float64]

#: larger searches are not written: reading them would take as long as beginning anew
MOST_SAVED = 500_000


def save(checkpoint: str, question: str, cells: Cells) -> None:
    """Write the file whole or not at all; nothing where there are too many boxes."""
    if cells.size <= MOST_SAVED:
        save_arrays(checkpoint, question, {"lo": cells.lo, "hi": cells.hi, "face": cells.face})


def load(checkpoint: str, question: str, first: Cells, rows: Array) -> Cells | None:
    """The boxes saved for this question; None where there are none. InputError for a damaged file, or one whose boxes are not
    what cutting ``first`` in halves gives."""
    held = load_arrays(checkpoint, question, {"lo": "float64", "hi": "float64", "face": "int64"})
    if held is None:
        return None
    cells = Cells(held["lo"], held["hi"], held["face"])
    if not covers(cells, first, rows):
        raise damaged(checkpoint, question, "its boxes are not those of this search")
    return cells


def covers(cells: Cells, first: Cells, rows: Array) -> bool:
    """Whether the cells are exactly the leaves of a tree that cuts ``first``: then they hold all that ``first`` holds."""
    shape = (cells.size, rows.shape[1])
    if cells.lo.shape != shape or cells.hi.shape != shape or cells.face.ndim != 1:
        return False
    leaves, seen, here = set(_names(cells)), 0, first
    if len(leaves) != cells.size:
        return False
    while here.size:
        known = np.array([name in leaves for name in _names(here)], dtype=bool)
        seen += int(known.sum())
        here = here[~known]
        # every box that is no leaf holds two of them
        if not here.size or seen + 2 * here.size > cells.size:
            break
        cut = here.halves(rows)
        if cut is None:
            return False
        here = cut
    return not here.size and seen == cells.size


def _names(cells: Cells) -> list[bytes]:
    table = np.ascontiguousarray(np.hstack([cells.lo, cells.hi, cells.face[:, None].astype(np.float64)]))
    return [row.tobytes() for row in table]

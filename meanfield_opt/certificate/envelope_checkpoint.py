"""The cells of an unfinished envelope search in a file. What is read is taken only if it covers the domain again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..checker.envelope import DEEPEST, check_cover, corners_of
from ..errors import CertificateError
from .stored import damaged, load_arrays, save_arrays

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Saved:
    """boxes: cells as (depth, index ...). corners: keys of points. tangents: one a corner."""

    boxes: Numbers
    corners: Numbers
    tangents: Array


def save(checkpoint: str, question: str, saved: Saved) -> None:
    """Write the file whole or not at all."""
    arrays = {"boxes": saved.boxes, "corners": saved.corners, "tangents": saved.tangents}
    save_arrays(checkpoint, question, arrays)


def load(checkpoint: str, question: str, size: int, samples: int, ordered: int) -> Saved | None:
    """What was saved for this question, None if nothing was; InputError for a damaged file, or cells that do not cover.

    size: coordinates of a cell. samples: of a tangent point. ordered: outputs in whose order cells may be left out.
    """
    held = load_arrays(checkpoint, question, {"boxes": "int64", "corners": "int64", "tangents": "float64"})
    if held is None:
        return None
    saved = Saved(held["boxes"], held["corners"], held["tangents"])
    if not _sound(saved, size, samples, ordered):
        raise damaged(checkpoint, question, "its cells are not those of this search")
    return saved


def _sound(saved: Saved, size: int, samples: int, ordered: int) -> bool:
    if any(array.ndim != 2 for array in (saved.boxes, saved.corners, saved.tangents)):
        return False
    shapes = (len(saved.boxes), size + 1), (len(saved.corners), size), (len(saved.corners), samples)
    if (saved.boxes.shape, saved.corners.shape, saved.tangents.shape) != shapes:
        return False
    if not np.isfinite(saved.tangents).all() or not ((saved.boxes[:, 0] >= 0) & (saved.boxes[:, 0] <= DEEPEST)).all():
        return False
    boxes = {(row[0], tuple(row[1:])) for row in saved.boxes.tolist()}
    keys = {tuple(key) for key in saved.corners.tolist()}
    try:
        check_cover(boxes, size, ordered)
    except CertificateError:
        return False
    return len(keys) == len(saved.corners) and all(key in keys for box in boxes for key in corners_of(box))

"""The cells of an unfinished envelope search in a file. What is read is taken only if it covers the domain again."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..checker.envelope import DEEPEST, check_cover, corners_of
from ..errors import CertificateError, InputError
from ..files import replacing
from .bnb.checkpoint import file_of

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Saved:
    """boxes: cells as (depth, index ...). corners: keys of points. tangents: one a corner."""

    boxes: Numbers
    corners: Numbers
    tangents: Array

    def digest(self, question: str) -> str:
        """SHA-256 of all arrays and of what was asked."""
        hasher = hashlib.sha256(f"envelope {question} {self.boxes.shape} {self.corners.shape}".encode())
        for array in (self.boxes, self.corners, self.tangents):
            hasher.update(np.ascontiguousarray(array).tobytes())
        return hasher.hexdigest()


def save(checkpoint: str, question: str, saved: Saved) -> None:
    """Write the file whole or not at all."""
    with replacing(file_of(checkpoint, question), "the checkpoint of the proof") as part, part.open("wb") as stream:
        np.savez(
            stream, boxes=saved.boxes, corners=saved.corners, tangents=saved.tangents, digest=saved.digest(question)
        )


def load(checkpoint: str, question: str, size: int, samples: int, ordered: int) -> Saved | None:
    """What was saved for this question, None if nothing was; InputError for a damaged file, or cells that do not cover.

    size: coordinates of a cell. samples: of a tangent point. ordered: outputs in whose order cells may be left out.
    """
    path = file_of(checkpoint, question)
    if not path.exists():
        return None
    try:
        with path.open("rb") as stream, np.load(stream) as file:
            saved = Saved(
                np.asarray(file["boxes"], dtype=np.int64),
                np.asarray(file["corners"], dtype=np.int64),
                np.asarray(file["tangents"], dtype=np.float64),
            )
            right = str(file["digest"]) == saved.digest(question)
    except (OSError, EOFError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is no checkpoint of this version ({error}); remove it to start again.") from error
    if not right or not _sound(saved, size, samples, ordered):
        raise InputError(f"{path} is damaged (its cells are not those of this search); remove it to start again.")
    return saved


def _sound(saved: Saved, size: int, samples: int, ordered: int) -> bool:
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

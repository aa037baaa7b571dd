"""A partition into cones in a file, and what it proved; what is read is tested again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..stored import load_arrays, save_arrays

Array = NDArray[np.float64]

KINDS = {"ops": "int32", "leaves": "float64", "best": "float64", "point": "float64", "proved": "float64"}


@dataclass(frozen=True, eq=False)
class Saved:
    """ops, leaves: a partition. best, point: the best squared ratio met, and where. proved: the level of the last finished
    stage (inf: none), at which every leaf passed, or a cone that it is a part of."""

    ops: NDArray[np.int32]
    leaves: Array
    best: float
    point: Array
    proved: float


def save(checkpoint: str, question: str, saved: Saved) -> None:
    """Write the file whole or not at all."""
    numbers = {"best": np.float64(saved.best), "proved": np.float64(saved.proved)}
    arrays = {"ops": saved.ops, "leaves": saved.leaves, "point": saved.point, **numbers}
    save_arrays(checkpoint, question, {name: np.asarray(arrays[name], dtype=kind) for name, kind in KINDS.items()})


def load(checkpoint: str, question: str) -> Saved | None:
    """What was saved for this question, None if nothing was; InputError for a damaged file or one of another version."""
    held = load_arrays(checkpoint, question, KINDS)
    if held is None:
        return None
    return Saved(held["ops"], held["leaves"], float(held["best"]), held["point"], float(held["proved"]))

"""The state of a search in a file, with a SHA-256 of all of it: damage is noticed, and what is read is tested again."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...files import replacing
from ...problem import TwoLayerProblem

Array = NDArray[np.float64]
VERSION = 2


@dataclass(frozen=True, eq=False)
class Saved:
    """ops, leaves: a partition. best, point: the best squared ratio met, and where. proved: the level of the last finished
    stage (inf: none), at which every leaf passed, or a cone that it is a part of."""

    ops: NDArray[np.int32]
    leaves: Array
    best: float
    point: Array
    proved: float

    def digest(self, question: str) -> str:
        """SHA-256 of all fields and of what was asked."""
        hasher = hashlib.sha256(f"{VERSION} {question} {self.ops.shape} {self.leaves.shape}".encode())
        numbers = np.array([self.best, self.proved, *self.point], dtype="<f8")
        for array in (numbers, self.ops.astype("<i4"), self.leaves.astype("<f8")):
            hasher.update(np.ascontiguousarray(array).data)
        return hasher.hexdigest()


def question_digest(formulation: str, problem: TwoLayerProblem, dual: Array) -> str:
    """SHA-256 of what a search is asked: the formulation, the problem and the dual point."""
    hasher = hashlib.sha256(formulation.encode())
    hasher.update(problem.fingerprint.encode())
    hasher.update(np.ascontiguousarray(dual, dtype="<f8").tobytes())
    return hasher.hexdigest()


def file_of(checkpoint: str, question: str) -> Path:
    """One file a question (problem, dual point and formulation)."""
    return Path(f"{checkpoint}.{question[:16]}.npz")


def save(checkpoint: str, question: str, saved: Saved) -> None:
    """Write the file whole or not at all."""
    with replacing(file_of(checkpoint, question), "the checkpoint of the proof") as part, part.open("wb") as stream:
        np.savez(
            stream,
            ops=saved.ops,
            leaves=saved.leaves,
            best=saved.best,
            point=saved.point,
            proved=saved.proved,
            digest=saved.digest(question),
        )


def load(checkpoint: str, question: str) -> Saved | None:
    """What was saved for this question, None if nothing was; InputError for a damaged file or one of another version."""
    path = file_of(checkpoint, question)
    if not path.exists():
        return None
    try:
        with path.open("rb") as stream, np.load(stream) as file:
            found = Saved(
                np.asarray(file["ops"], dtype=np.int32),
                np.asarray(file["leaves"], dtype=np.float64),
                float(file["best"]),
                np.asarray(file["point"], dtype=np.float64),
                float(file["proved"]),
            )
            right = str(file["digest"]) == found.digest(question)
    except (OSError, EOFError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is no checkpoint of this version ({error}); remove it to start again.") from error
    if not right:
        raise InputError(f"{path} is damaged (its digest does not match); remove it to start again.")
    return found

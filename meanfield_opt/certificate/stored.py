"""The state of a search as arrays in a file, with a SHA-256 of all of it and of what was asked: damage is noticed.

A digest keeps damage out, not malice: whoever loads tests again whatever a proof rests on.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..files import replacing
from ..problem import TwoLayerProblem

VERSION = 3


def question_digest(formulation: str, problem: TwoLayerProblem, dual: NDArray[np.float64]) -> str:
    """SHA-256 of what a search is asked: the formulation, the problem and the dual point."""
    hasher = hashlib.sha256(formulation.encode())
    hasher.update(problem.fingerprint.encode())
    hasher.update(np.ascontiguousarray(dual, dtype="<f8").tobytes())
    return hasher.hexdigest()


def file_of(checkpoint: str, question: str) -> Path:
    """One file a question (problem, dual point and formulation)."""
    return Path(f"{checkpoint}.{question[:16]}.npz")


def save_arrays(checkpoint: str, question: str, arrays: dict[str, NDArray[Any]]) -> None:
    """Write the file whole or not at all."""
    sealed: dict[str, Any] = {**arrays, "digest": _digest(question, arrays)}
    with replacing(file_of(checkpoint, question), "the checkpoint of the proof") as part, part.open("wb") as stream:
        np.savez(stream, **sealed)


def load_arrays(checkpoint: str, question: str, kinds: dict[str, str]) -> dict[str, NDArray[Any]] | None:
    """The arrays saved for this question, by name and dtype; None if nothing was. InputError for a damaged file, or one of
    another version."""
    path = file_of(checkpoint, question)
    if not path.exists():
        return None
    try:
        with path.open("rb") as stream, np.load(stream) as file:
            arrays = {name: np.asarray(file[name], dtype=kind) for name, kind in kinds.items()}
            right = str(file["digest"]) == _digest(question, arrays)
    except (OSError, EOFError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is no checkpoint of this version ({error}); remove it to start again.") from error
    if not right:
        raise damaged(checkpoint, question, "its digest does not match")
    return arrays


def damaged(checkpoint: str, question: str, why: str) -> InputError:
    """The error for a file that is not what a search left."""
    return InputError(f"{file_of(checkpoint, question)} is damaged ({why}); remove it to start again.")


def _digest(question: str, arrays: dict[str, NDArray[Any]]) -> str:
    hasher = hashlib.sha256(f"{VERSION} {question}".encode())
    for name, array in sorted(arrays.items()):
        hasher.update(f"{name} {array.shape}".encode())
        hasher.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())
    return hasher.hexdigest()

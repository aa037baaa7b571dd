"""What the option ``memory`` may hold: nothing yet, or what an earlier run wrote there."""

from __future__ import annotations

from typing import Any

import numpy as np

from meanfield_opt.errors import InputError
from meanfield_opt.problem import TwoLayerProblem
from meanfield_opt.validate import shown


def check_memory(memory: Any) -> None:
    """InputError unless ``memory`` is a dict whose columns (J, n), masses (J,), basins (K, n) and the dual point (d_Y, P) of its problem belong
    together, where it has them, and whose gap ``unknown`` is a number.

    One that lacks some of them is not used, and no error.
    """
    if not isinstance(memory, dict):
        raise InputError(f"memory must be a dict, not {type(memory).__name__}.")
    if not memory.keys() >= {"columns", "masses", "basins"}:
        return
    columns, masses, basins = memory["columns"], memory["masses"], memory["basins"]
    wrong = None
    if not _numbers(columns, 2):
        wrong = "columns", columns
    elif not _numbers(masses, 1) or masses.size != columns.shape[0] or (masses < 0).any():
        wrong = "masses", masses
    elif basins is not None and (not _numbers(basins, 2) or basins.shape[1] != columns.shape[1]):
        wrong = "basins", basins
    elif "dual" in memory and not _dual(memory["dual"], memory.get("problem")):
        wrong = "dual", memory["dual"]
    elif not isinstance(memory.get("unknown", 1.0), float):
        wrong = "unknown", memory["unknown"]
    if wrong is not None:
        raise InputError(
            f"memory holds {wrong[0]} that no run wrote, {shown(wrong[1])}; give the dict of an earlier call as it is, or an empty one."
        )


def comparable(known: TwoLayerProblem, problem: TwoLayerProblem) -> bool:
    """Whether the two differ in their penalties only, so that what searches met under one says something about the other."""
    return (
        known.geometry is problem.geometry
        and known.activation == problem.activation
        and known.loss == problem.loss
        and np.array_equal(known.targets, problem.targets)
    )


def _dual(value: Any, problem: Any) -> bool:
    return _numbers(value, 2) and (not isinstance(problem, TwoLayerProblem) or value.shape == problem.targets.shape)


def _numbers(value: Any, ndim: int) -> bool:
    ordinary = isinstance(value, np.ndarray) and value.ndim == ndim and value.dtype == np.float64
    return ordinary and bool(np.isfinite(value).all())

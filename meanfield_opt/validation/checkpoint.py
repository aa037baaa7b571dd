"""A training run on disk: written whole or not at all, and resumed only by the run that wrote it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ..errors import InputError
from ..files import replacing
from .networks import import_torch


@runtime_checkable
class Remembers(Protocol):
    """An observer with a memory that a resumed run must have again."""

    def state(self) -> dict[str, Any]:
        """The memory as arrays."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a memory given by ``state``."""


@dataclass(frozen=True, eq=False)
class Position:
    """Where a run stands after ``step`` steps: parameters x (S, n), flags and counts (S,), the optimiser's state.

    Nothing in it is changed later, so that it stays consistent whenever the run is interrupted.
    """

    step: int
    x: Any
    active: Any
    taken: Any
    bad: Any
    state: dict[str, Any]


def save(path: Path, identity: str, at: Position, memory: dict[str, Any] | None) -> None:
    """Write the checkpoint; InputError where the file cannot be written."""
    torch = import_torch()
    body = {"identity": identity, "step": at.step, "x": at.x, "active": at.active, "taken": at.taken, "bad": at.bad}
    kept = None if memory is None else {k: torch.as_tensor(v) for k, v in memory.items()}
    with replacing(path, "the checkpoint") as part:
        try:
            torch.save({**body, "state": at.state, "memory": kept}, part)
        except RuntimeError as error:  # how torch reports a file that it cannot open
            raise OSError(str(error).splitlines()[0]) from error


def resume(path: Path, identity: str, fresh: Position) -> tuple[Position, dict[str, Any] | None]:
    """The stored position and the observer's memory. ``fresh``: the start of the same run, for shapes and device."""
    torch = import_torch()
    try:
        body = torch.load(path, map_location=fresh.x.device, weights_only=True)
        stored, step = body["identity"], int(body["step"])
        tensors = (body["x"], body["active"], body["taken"], body["bad"])
        wanted = (fresh.x, fresh.active, fresh.taken, fresh.bad)
        fits = all(a.shape == b.shape and a.dtype == b.dtype for a, b in zip(tensors, wanted))
        fits &= set(body["state"]) == set(fresh.state) and step >= 0 and bool(torch.isfinite(body["x"]).all())
        memory = body["memory"]
        arrays = None if memory is None else {k: v.cpu().numpy() for k, v in memory.items()}
    except Exception as error:
        raise InputError(f"the checkpoint {path} cannot be read ({type(error).__name__}); remove it.") from error
    if stored != identity:
        raise InputError(f"the checkpoint {path} belongs to another run; remove it or name another file.")
    if not fits:
        raise InputError(f"the checkpoint {path} is damaged; remove it.")
    return Position(step, *tensors, body["state"]), arrays

"""Where training runs: the torch device and the number of CPU threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import InputError
from ..validate import instance
from .networks import import_torch

#: multiply-adds of one forward pass (all seeds) above which torch's own number of threads is kept
MANY = 500_000_000


def pick_device(name: str) -> Any:
    """The torch device: "auto" is CUDA where it is present; a named device that is absent is refused."""
    torch = import_torch()
    instance(name, str, "device", "auto, cpu, cuda or another device of torch")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"the device {name!r} cannot be used here: {first} Use device='auto' or 'cpu'.") from error
    return device


@contextmanager
def torch_threads(work: int, wanted: int | None) -> Iterator[None]:
    """``wanted`` CPU threads inside the block; None: one, unless ``work`` (multiply-adds of a pass) is more than MANY.

    A step here is a few dozen small operations, and threads that wait for each other between them cost far more than
    they give (figures in docs/validation.md). One thread also makes a run repeatable whatever the machine has. The
    setting is torch's, for the whole process; the one found is put back at the end.
    """
    torch = import_torch()
    before = torch.get_num_threads()
    count = wanted if wanted is not None else (before if work > MANY else 1)
    if count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

"""Output files of the command line: refused before any work where they cannot be written or would cost something, then written whole."""

from __future__ import annotations

import argparse
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ..errors import InputError
from ..files import figure_suffix
from ..validate import file_path


def check_outputs(arguments: argparse.Namespace, *options: str, inputs: tuple[str | None, ...] = ()) -> None:
    """InputError for options that name no writable file, a file read from (``inputs``), or one file twice."""
    taken = {Path(name).resolve(): "the input" for name in inputs if name and Path(name).is_file()}
    for option in options:
        value = getattr(arguments, option)
        if value is None or (value == "-" and option == "json"):
            continue
        if value == "-":
            raise InputError(f"--{option} -: only --json writes to standard output; give a file.")
        path = file_path(value, f"--{option}")
        target = path.resolve()
        if not value or path.is_dir() or not target.parent.is_dir():
            raise InputError(f"--{option} {value}: no file can be written there; give a file in an existing folder.")
        if not os.access(target if target.exists() else target.parent, os.W_OK):
            raise InputError(f"--{option} {value}: no file can be written there; it is write-protected.")
        if option == "plot":
            figure_suffix(path)
        if target in taken and (target.is_file() or not target.exists()):
            raise InputError(f"--{option} {value}: that is {taken[target]}; give another file.")
        taken[target] = f"the file of --{option}"


@contextmanager
def patient() -> Iterator[list[int]]:
    """A first Ctrl-C inside is noted in the list that this gives, and the work, which is short, goes on; a second one ends it."""
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    ours = threading.current_thread() is threading.main_thread()
    if not (ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler):
        yield noted  # someone else deals with signals
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)

"""Output files of the command line: refused before any work where they cannot be written, or would cost something."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

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

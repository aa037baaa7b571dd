"""Files that are written whole or not at all, with typed errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import InputError
from .validate import file_path

FIGURES = ("png", "pdf", "svg")


def figure_suffix(path: Any) -> str:
    """ "png", "pdf" or "svg", by the end of the name; InputError otherwise."""
    suffix = file_path(path, "the path of a figure").suffix.lower().lstrip(".")
    if suffix not in FIGURES:
        raise InputError(f"{path}: figures end in .{', .'.join(FIGURES[:-1])} or .{FIGURES[-1]}.")
    return suffix


@contextmanager
def replacing(path: Any, what: str) -> Iterator[Path]:
    """A path to write to; what is there takes the place of ``path`` when the block ends well, else nothing changes.

    Links are followed; devices and pipes are written to directly. what: the content in words, for the InputError that
    follows where nothing can be written.
    """
    target = file_path(path, f"the path for {what}")
    part = None
    try:
        target = target.resolve()
        if target.is_dir():
            raise IsADirectoryError(f"{target} is a folder")
        if target.exists() and not target.is_file():
            yield target
        else:
            part = target.with_name(target.name + ".part")
            yield part
            part.replace(target)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{what} cannot be written to {path} ({reason}); name another file.") from error
    finally:
        if part is not None:
            with suppress(OSError):
                part.unlink()


def write_text(path: Any, text: str, what: str) -> None:
    """Write UTF-8 text whole or not at all; InputError where that is not possible."""
    with replacing(path, what) as part:
        part.write_text(text, encoding="utf-8")

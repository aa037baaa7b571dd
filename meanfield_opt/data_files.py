"""Data files: npz with arrays X and Y, or csv."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

Array = NDArray[np.float64]

SUFFIXES = (".npz", ".csv")


def read_data(path: str | Path, *, targets: int | None = None) -> tuple[Array, Array]:
    """X (P, d_X) and Y (P, d_Y) from an .npz file (arrays X and Y) or a .csv file.

    csv: with a header, columns whose name starts with "y" (any case) are targets; otherwise, or when ``targets`` is
    given, the last ``targets`` columns (1 by default) are.
    """
    file = Path(path)
    if file.suffix.lower() not in SUFFIXES:
        raise InputError(f"{file.name}: data files end in .npz (arrays X and Y) or .csv.")
    if not file.is_file():
        raise InputError(f"{file} does not exist or is not a file.")
    return _read_npz(file) if file.suffix.lower() == ".npz" else _read_csv(file, targets)


def _read_npz(file: Path) -> tuple[Array, Array]:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            missing = [name for name in ("X", "Y") if name not in content]
            if missing:
                raise InputError(
                    f"{file.name} has no array {' and no array '.join(missing)} (it holds: {', '.join(content) or 'nothing'}); "
                    "save it with numpy.savez(file, X=..., Y=...)."
                )
            return content["X"], content["Y"]
    except InputError:
        raise
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"{file.name} cannot be read as an npz file of numbers: {error}") from error


def _read_csv(file: Path, targets: int | None) -> tuple[Array, Array]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = [row for row in csv.reader(stream) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file.name} cannot be read as a csv file: {error}") from error
    if not rows:
        raise InputError(f"{file.name} is empty.")
    header = None if _is_numeric(rows[0]) else [cell.strip() for cell in rows[0]]
    body = rows if header is None else rows[1:]
    if not body:
        raise InputError(f"{file.name} has a header but no samples.")
    width = len(rows[0])
    for number, row in enumerate(rows, start=1):
        if len(row) != width:
            raise InputError(f"{file.name}: row {number} has {len(row)} columns, the first row has {width}.")
    try:
        table = np.array([[float(cell) for cell in row] for row in body])
    except ValueError as error:
        raise InputError(f"{file.name} holds a cell that is not a number: {error}") from error
    is_target = _target_columns(file, header, width, targets)
    return table[:, ~is_target], table[:, is_target]


def _target_columns(file: Path, header: list[str] | None, width: int, targets: int | None) -> NDArray[np.bool_]:
    named = np.array([header is not None and header[k].lower().startswith("y") for k in range(width)])
    if targets is None and named.any():
        chosen = named
    else:
        count = 1 if targets is None else targets
        if not 1 <= count < width:
            raise InputError(f"{file.name} has {width} columns; the number of target columns must be 1 to {width - 1}.")
        chosen = np.arange(width) >= width - count
    if chosen.all():
        raise InputError(f"{file.name} has no input columns beside its targets.")
    return chosen


def _is_numeric(row: list[str]) -> bool:
    for cell in row:
        try:
            float(cell)
        except ValueError:
            return False
    return True

"""Input of a symmetric matrix, taken exactly: floats as the binary fractions that they are, ints, Fractions, flint."""

from __future__ import annotations

import json
import math
import numbers
import zipfile
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np

from ..errors import InputError
from ..validate import file_path

Rational = Fraction | int


@final
@dataclass(frozen=True, eq=False)
class ExactMatrix:
    """A symmetric rational matrix A = entries / denominator, entries integers (rows of tuples)."""

    entries: tuple[tuple[int, ...], ...]
    denominator: int

    @property
    def order(self) -> int:
        """n."""
        return len(self.entries)

    @cached_property
    def rational(self) -> list[list[Fraction]]:
        """A as Fractions."""
        return [[Fraction(v, self.denominator) for v in row] for row in self.entries]


def exact(value: Any) -> Fraction:
    """A number as an exact Fraction; InputError for anything that is not a finite real number."""
    if isinstance(value, (bool, np.bool_)):
        raise InputError(f"the matrix holds {value!r}; its entries must be numbers.")
    if isinstance(value, (int, Fraction)):
        return Fraction(value)
    if isinstance(value, np.integer):
        return Fraction(int(value))
    if isinstance(value, (float, np.floating)):
        number = float(value)
        if isinstance(value, np.longdouble) and np.longdouble(number) != value:
            raise InputError("long double entries do not fit into float64; pass Fractions instead.")
        if not math.isfinite(number):
            raise InputError("the matrix contains NaN or infinity; a copositivity test needs finite entries.")
        return Fraction(number)
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise InputError("the matrix contains NaN or infinity; a copositivity test needs finite entries.")
        return Fraction(value)
    if isinstance(value, str):
        exponent = value.lower().partition("e")[2].strip().lstrip("+-").lstrip("0")
        if len(exponent) > 4:
            raise InputError(f"the matrix entry {value[:40]!r} has an exponent beyond 9999.")
        try:
            return Fraction(value.strip())
        except (ValueError, ZeroDivisionError) as error:
            raise InputError(f"the matrix entry {value[:40]!r} is not a number.") from error
    if isinstance(value, numbers.Rational):
        return Fraction(int(value.numerator), int(value.denominator))
    if type(value).__module__.partition(".")[0] == "flint":
        try:
            if hasattr(value, "p") and hasattr(value, "q"):
                return Fraction(int(value.p), int(value.q))
            return Fraction(int(value))
        except (TypeError, ValueError):
            pass
    raise InputError(f"the matrix holds {type(value).__name__} entries; give ints, floats, Fractions or flint numbers.")


def rows_of(matrix: Any) -> list[list[Any]]:
    """Any accepted container as a list of rows (no check of the numbers)."""
    if hasattr(matrix, "tocsr") and hasattr(matrix, "toarray"):
        matrix = matrix.toarray()
    if hasattr(matrix, "nrows") and hasattr(matrix, "ncols") and hasattr(matrix, "tolist"):
        return [list(row) for row in matrix.tolist()]
    if hasattr(matrix, "to_numpy"):
        matrix = matrix.to_numpy()
    if isinstance(matrix, np.ndarray):
        if matrix.ndim != 2:
            raise InputError(f"a matrix is needed; the array has shape {matrix.shape}.")
        if matrix.dtype.kind == "c":
            raise InputError("the matrix has complex entries; copositivity is about real symmetric matrices.")
        return [list(row) for row in (matrix if matrix.dtype == object else matrix.tolist())]
    if isinstance(matrix, (str, bytes)) or not hasattr(matrix, "__iter__"):
        raise InputError(f"a matrix (array or list of rows) is needed, not {type(matrix).__name__}.")
    rows = []
    for row in matrix:
        if isinstance(row, (str, bytes)) or not hasattr(row, "__iter__"):
            raise InputError("a matrix is needed: a list of rows, each a list of numbers.")
        rows.append(list(row))
    return rows


def exact_matrix(matrix: Any) -> ExactMatrix:
    """Validate: square, not empty, finite, exactly symmetric; InputError otherwise."""
    if isinstance(matrix, ExactMatrix):
        return matrix
    raw = rows_of(matrix)
    n = len(raw)
    if n == 0:
        raise InputError("the matrix is empty; at least one row is needed.")
    if any(len(row) != n for row in raw):
        raise InputError(f"the matrix is not square: {n} rows, row lengths {sorted({len(r) for r in raw})[:4]}.")
    if all(type(v) is int for row in raw for v in row):
        rows, denominator = [tuple(row) for row in raw], 1
    else:
        fractions = [[exact(v) for v in row] for row in raw]
        denominator = math.lcm(*{v.denominator for row in fractions for v in row})
        rows = [tuple(v.numerator * (denominator // v.denominator) for v in row) for row in fractions]
    for i in range(n):
        for j in range(i):
            if rows[i][j] != rows[j][i]:
                raise InputError(
                    f"the matrix is not symmetric: entries ({i},{j}) and ({j},{i}) differ by "
                    f"{float(abs(Fraction(rows[i][j] - rows[j][i], denominator))):.3g}; pass (A + A.T) / 2 if that is meant."
                )
    return ExactMatrix(tuple(rows), denominator)


def load_matrix(path: str | Path) -> list[list[Fraction]]:
    """Read a matrix from .npy, .csv (decimals and fractions, taken exactly), .json (rows; numbers or text) exactly."""
    path = file_path(path)
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            with path.open("rb") as stream:
                return [[exact(v) for v in row] for row in rows_of(np.load(stream, allow_pickle=False))]
        text = path.read_text()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} does not hold a matrix: {error}") from error
    if suffix == ".json":
        try:
            value = json.loads(text, parse_float=exact)
        except (json.JSONDecodeError, ValueError, RecursionError) as error:
            raise InputError(f"{path} is not JSON: {error}") from error
        if isinstance(value, dict):
            value = value.get("matrix")
        if not isinstance(value, list):
            raise InputError(f'{path} must hold a list of rows, or {{"matrix": rows}}.')
        return [[exact(v) for v in row] for row in rows_of(value)]
    if suffix in (".csv", ".txt"):
        lines = [line.strip() for line in text.splitlines()]
        rows = [
            [exact(cell) for cell in (line.split(",") if "," in line else line.split())]
            for line in lines
            if line and not line.startswith("#")
        ]
        if not rows:
            raise InputError(f"{path} is empty.")
        return rows
    raise InputError(
        f"{path}: matrices are read from .npy, .csv or .json files, not {suffix or 'files without ending'}."
    )

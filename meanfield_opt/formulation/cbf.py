"""Read a conic program from a CBF file (Conic Benchmark Format 3), to solve elsewhere what a solver wrote out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .program import Affine, Builder, ConicProgram, SymmetricVariable

Array = NDArray[np.float64]
Numbers = tuple[float, ...]

MOST_VERSION = 4


@dataclass
class _Document:
    """Sections of a CBF file as they come."""

    maximise: bool = False
    variables: list[tuple[str, int]] = field(default_factory=list)
    constraints: list[tuple[str, int]] = field(default_factory=list)
    psd_variables: list[int] = field(default_factory=list)
    psd_constraints: list[int] = field(default_factory=list)
    entries: dict[str, list[Numbers]] = field(default_factory=dict)
    offset: float = 0.0


def read_cbf(path: str | Path) -> ConicProgram:
    """The program of a CBF file with linear, second-order (Q), exponential (EXP) and PSD parts, minimisation only.

    InputError for other cones, integer variables, maximisation or a malformed file.
    """
    document = _parse(Path(path))
    if document.maximise:
        raise InputError(f"{path}: maximisation is not read here; negate the objective.")
    builder = Builder(f"CBF file {Path(path).name}", offset=document.offset)
    x = builder.variables(sum(size for _, size in document.variables))
    matrices = [builder.symmetric(order) for order in document.psd_variables]
    place = 0
    for domain, size in document.variables:
        _constrain(builder, domain, _unit(x[place : place + size]))
        place += size
    for matrix in matrices:
        builder.psd_variable(matrix)
    for column, value in document.entries.get("OBJACOORD", []):
        builder.cost(x[[int(column)]], value)
    for matrix_, i, j, value in document.entries.get("OBJFCOORD", []):
        columns, factors = _entry(matrices[int(matrix_)], int(i), int(j), value)
        builder.cost(columns, factors)
    rows = sum(size for _, size in document.constraints)
    expression = _rows(document, x, matrices, rows)
    place = 0
    for domain, size in document.constraints:
        _constrain(builder, domain, _part(expression, place, size))
        place += size
    if document.psd_constraints:
        raise InputError(f"{path}: PSD constraints (PSDCON) are not read here, PSD variables are.")
    return builder.build()


def _rows(document: _Document, x: NDArray[np.int64], matrices: list[SymmetricVariable], rows: int) -> Affine:
    constant = np.zeros(rows)
    for row, value in document.entries.get("BCOORD", []):
        constant[int(row)] += value
    at: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    for row, column, value in document.entries.get("ACOORD", []):
        at.append(int(row))
        columns.append(int(x[int(column)]))
        values.append(value)
    for row, matrix, i, j, value in document.entries.get("FCOORD", []):
        found, factors = _entry(matrices[int(matrix)], int(i), int(j), value)
        at += [int(row)] * found.size
        columns += found.tolist()
        values += factors.tolist()
    return Affine.make(constant, at, columns, values)


def _entry(matrix: SymmetricVariable, i: int, j: int, value: float) -> tuple[NDArray[np.int64], Array]:
    """<F, X> of the symmetric F with F_ij = F_ji = value: 2 value X_ij off the diagonal."""
    columns, factors = matrix.entries([i], [j])
    return columns, np.asarray(factors * value * (1.0 if i == j else 2.0))


def _unit(columns: NDArray[np.int64]) -> Affine:
    return Affine.make(np.zeros(columns.size), np.arange(columns.size), columns, 1.0)


def _part(expression: Affine, start: int, size: int) -> Affine:
    keep = (expression.rows >= start) & (expression.rows < start + size)
    return Affine(
        expression.constant[start : start + size],
        expression.rows[keep] - start,
        expression.columns[keep],
        expression.values[keep],
    )


def _constrain(builder: Builder, domain: str, expression: Affine) -> None:
    if domain == "F":
        return
    if domain == "L=":
        builder.zero(expression)
    elif domain == "L+":
        builder.nonnegative(expression)
    elif domain == "L-":
        builder.nonnegative(Affine(-expression.constant, expression.rows, expression.columns, -expression.values))
    elif domain == "Q":
        builder.second_order(expression, expression.constant.size)
    elif domain == "EXP" and expression.constant.size == 3:  # (z, y, x)
        builder.exponential(
            Affine(expression.constant[::-1], 2 - expression.rows, expression.columns, expression.values)
        )
    else:
        raise InputError(f"the CBF cone {domain!r} is not read here (F, L=, L+, L-, Q and EXP of size 3 are).")


def _parse(path: Path) -> _Document:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    lines = iter(line for line in (raw.split("#")[0].strip() for raw in text.splitlines()) if line)
    document = _Document()
    try:
        for keyword in lines:
            _section(document, keyword, lines)
    except (StopIteration, ValueError, IndexError) as error:
        raise InputError(f"{path} is not a well-formed CBF file: {error!r}.") from error
    return document


def _section(document: _Document, keyword: str, lines: object) -> None:
    def line() -> list[str]:
        return str(next(lines)).split()  # type: ignore[call-overload]

    if keyword == "VER":
        version = int(line()[0])
        if not 1 <= version <= MOST_VERSION:
            raise InputError(f"CBF version {version} is not read here.")
    elif keyword == "OBJSENSE":
        document.maximise = line()[0] == "MAX"
    elif keyword in ("VAR", "CON"):
        _, count = map(int, line())
        target = document.variables if keyword == "VAR" else document.constraints
        for _ in range(count):
            domain, size = line()
            target.append((domain, int(size)))
    elif keyword in ("PSDVAR", "PSDCON"):
        orders = [int(line()[0]) for _ in range(int(line()[0]))]
        (document.psd_variables if keyword == "PSDVAR" else document.psd_constraints).extend(orders)
    elif keyword == "OBJBCOORD":
        document.offset = float(line()[0])
    elif keyword in ("OBJACOORD", "OBJFCOORD", "ACOORD", "BCOORD", "FCOORD"):
        count = int(line()[0])
        document.entries[keyword] = [tuple(map(float, line())) for _ in range(count)]
    else:
        raise InputError(f"the CBF section {keyword!r} is not read here.")

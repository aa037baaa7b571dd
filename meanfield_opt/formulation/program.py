"""One small conic program type, its answer, and a builder.

    minimise    c . x + offset      subject to   s = b - A x in K,    K = zero x nonnegative x second-order x PSD x exponential
    dual        maximise  offset - b . y         subject to   A^T y + c = 0,   y in K*   (free for the zero cone)

Rows come in that order of cones; a second-order block is (t, u) with t >= |u|; a PSD block is ``svec`` (symmetric.py); an
exponential block is (x, y, z) with y exp(x / y) <= z, y > 0, and the limits of such points (exponential.py).
So the Lagrangian is c . x - y . s, and y . s = 0 at an optimum. Every adapter translates its solver's signs to these.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from ..solution import Status
from . import exponential
from .symmetric import ROOT2, lower_indices, position, smat, svec_size, svec_weights

Array = NDArray[np.float64]
Index = NDArray[np.int64]


#: the cones there are, in row order
CONES = ("zero", "nonnegative", "second_order", "psd", "exponential")


@dataclass(frozen=True)
class Cones:
    """Sizes: rows of the zero and the nonnegative cone, lengths of second-order cones, orders of PSD cones, the number of
    exponential cones."""

    zero: int = 0
    nonnegative: int = 0
    second_order: tuple[int, ...] = ()
    psd: tuple[int, ...] = ()
    exponential: int = 0

    @property
    def rows(self) -> int:
        """The number of rows of A."""
        matrices = sum(svec_size(n) for n in self.psd)
        return self.zero + self.nonnegative + sum(self.second_order) + matrices + 3 * self.exponential

    def kinds(self) -> frozenset[str]:
        """Names of the cones in use, out of ``CONES``."""
        return frozenset(name for name in CONES if getattr(self, name) not in (0, ()))

    def blocks(self) -> list[tuple[str, slice, int]]:
        """(kind, rows, length or order) of every block, in row order."""
        out: list[tuple[str, slice, int]] = []
        start = 0
        sizes = [("zero", self.zero, self.zero), ("nonnegative", self.nonnegative, self.nonnegative)]
        sizes += [("second_order", n, n) for n in self.second_order]
        sizes += [("psd", svec_size(n), n) for n in self.psd]
        sizes += [("exponential", 3, 3)] * self.exponential
        for kind, rows, size in sizes:
            if rows:
                out.append((kind, slice(start, start + rows), size))
            start += rows
        return out


@dataclass(frozen=True, eq=False)
class ConicProgram:
    """min c . x + offset  s.t.  b - A x in K. ``c`` (n,), ``a`` (m, n) sparse, ``b`` (m,)."""

    c: Array
    a: sparse.csc_array
    b: Array
    cones: Cones
    offset: float = 0.0
    label: str = "conic program"

    def objective(self, x: Array) -> float:
        """c . x + offset."""
        return float(self.c @ x) + self.offset

    def dual_objective(self, y: Array) -> float:
        """offset - b . y."""
        return self.offset - float(self.b @ y)

    def slack(self, x: Array) -> Array:
        """s = b - A x."""
        return np.asarray(self.b - self.a @ x)

    def violation(self, x: Array) -> float:
        """How far the slack is from K: the largest violation over blocks (0 for a feasible point)."""
        return self._distance(self.slack(x), dual=False)

    def dual_violation(self, y: Array) -> float:
        """How far (y, A^T y + c) is from dual feasibility."""
        stationarity = float(np.abs(self.a.T @ y + self.c).max(initial=0.0))
        return max(stationarity, self._distance(y, dual=True))

    def _distance(self, s: Array, *, dual: bool) -> float:
        worst = 0.0
        for kind, rows, _ in self.cones.blocks():
            part = s[rows]
            if kind == "zero":
                bad = 0.0 if dual else float(np.abs(part).max())
            elif kind == "nonnegative":
                bad = float(-part.min())
            elif kind == "second_order":
                bad = float(np.linalg.norm(part[1:]) - part[0])
            elif kind == "psd":
                bad = float(-np.linalg.eigvalsh(smat(part))[0])
            else:
                bad = exponential.dual_violation(part) if dual else exponential.violation(part)
            worst = max(worst, bad)
        return worst


@dataclass(frozen=True, eq=False)
class ConicAnswer:
    """What a solver says about a program: x and y in the conventions above (None where there are none).

    ``words``: the solver's own status, and any warnings it gave. No bound is ever taken from an answer.
    """

    status: Status
    x: Array | None
    y: Array | None
    words: str
    iterations: int | None = None
    setup_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def usable(self) -> bool:
        """Whether there is a finite point to lift."""
        return self.x is not None and bool(np.isfinite(self.x).all())


class Kind(IntEnum):
    """Cones in row order."""

    ZERO = 0
    NONNEGATIVE = 1
    SECOND_ORDER = 2
    PSD = 3
    EXPONENTIAL = 4


@dataclass(frozen=True, eq=False)
class Affine:
    """s = L x + constant, L given by triplets (rows, columns, values); duplicates add up."""

    constant: Array
    rows: Index
    columns: Index
    values: Array

    @staticmethod
    def make(constant: ArrayLike, rows: ArrayLike, columns: ArrayLike, values: ArrayLike) -> Affine:
        """With rows, columns and values broadcast against each other."""
        r, c, v = np.broadcast_arrays(rows, columns, values)
        return Affine(
            np.asarray(constant, dtype=np.float64),
            np.asarray(r, dtype=np.int64).ravel(),
            np.asarray(c, dtype=np.int64).ravel(),
            np.asarray(v, dtype=np.float64).ravel(),
        )


@dataclass
class Builder:
    """Collects variables and cone blocks, then assembles the program in one pass."""

    label: str
    offset: float = 0.0
    _count: int = 0
    _costs: list[tuple[Index, Array]] = field(default_factory=list)
    _blocks: list[tuple[Kind, int, Affine]] = field(default_factory=list)

    def variables(self, count: int) -> Index:
        """Indices of ``count`` new variables."""
        first = self._count
        self._count += count
        return np.arange(first, self._count, dtype=np.int64)

    def symmetric(self, order: int) -> SymmetricVariable:
        """A new symmetric matrix."""
        return SymmetricVariable(order, int(self.variables(svec_size(order))[0]))

    def cost(self, columns: Index, values: ArrayLike) -> None:
        """Add values . x[columns] to the objective."""
        self._costs.append((columns, np.broadcast_to(np.asarray(values, dtype=np.float64), columns.shape)))

    def zero(self, expression: Affine) -> None:
        """expression = 0."""
        self._blocks.append((Kind.ZERO, expression.constant.size, expression))

    def nonnegative(self, expression: Affine) -> None:
        """expression >= 0, entry by entry."""
        self._blocks.append((Kind.NONNEGATIVE, expression.constant.size, expression))

    def second_order(self, expression: Affine, length: int) -> None:
        """Consecutive groups of ``length`` rows (t, u) with t >= |u|."""
        self._blocks.append((Kind.SECOND_ORDER, length, expression))

    def exponential(self, expression: Affine) -> None:
        """Consecutive groups of three rows (x, y, z) with y exp(x / y) <= z."""
        self._blocks.append((Kind.EXPONENTIAL, 3, expression))

    def psd(self, expression: Affine, order: int) -> None:
        """One symmetric matrix of that order, as svec, is PSD."""
        self._blocks.append((Kind.PSD, order, expression))

    def psd_variable(self, variable: SymmetricVariable) -> None:
        """That symmetric matrix is PSD."""
        k = np.arange(variable.indices.size)
        self.psd(Affine.make(np.zeros(k.size), k, variable.indices, 1.0), variable.order)

    def build(self) -> ConicProgram:
        """The program."""
        c = np.zeros(self._count)
        for columns, values in self._costs:
            np.add.at(c, columns, values)
        blocks = sorted(self._blocks, key=lambda item: item[0])  # stable: keeps the order within a kind
        start = 0
        rows: list[Index] = []
        columns_: list[Index] = []
        values_: list[Array] = []
        b: list[Array] = []
        sizes: dict[Kind, list[int]] = {kind: [] for kind in Kind}
        for kind, size, expression in blocks:
            height = expression.constant.size
            grouped = kind in (Kind.SECOND_ORDER, Kind.EXPONENTIAL)
            sizes[kind] += [size] * (height // size) if grouped else [size]
            rows.append(expression.rows + start)
            columns_.append(expression.columns)
            values_.append(-expression.values)
            b.append(expression.constant)
            start += height
        a = sparse.csc_array((_join(values_), (_join_index(rows), _join_index(columns_))), shape=(start, self._count))
        a.sum_duplicates()
        cones = Cones(
            sum(sizes[Kind.ZERO]),
            sum(sizes[Kind.NONNEGATIVE]),
            tuple(sizes[Kind.SECOND_ORDER]),
            tuple(sizes[Kind.PSD]),
            len(sizes[Kind.EXPONENTIAL]),
        )
        return ConicProgram(c, a, _join(b), cones, self.offset, self.label)


def _join(parts: list[Array]) -> Array:
    return np.concatenate(parts) if parts else np.zeros(0)


def _join_index(parts: list[Index]) -> Index:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class SymmetricVariable:
    """The svec variable of a symmetric matrix: entry (i, j) is x[index(i, j)] * factor(i, j)."""

    order: int
    first: int

    @cached_property
    def indices(self) -> Index:
        """All variables."""
        return np.arange(self.first, self.first + svec_size(self.order), dtype=np.int64)

    def entries(self, rows: ArrayLike, columns: ArrayLike) -> tuple[Index, Array]:
        """(variables, factors) of entries, flattened."""
        r, c = np.broadcast_arrays(np.asarray(rows, dtype=np.int64), np.asarray(columns, dtype=np.int64))
        r, c = r.ravel(), c.ravel()
        return self.first + position(self.order, r, c), np.where(r == c, 1.0, 1.0 / ROOT2)

    def functional(self, matrix: Array) -> tuple[Index, Array]:
        """(variables, coefficients) of <matrix, X> for a symmetric matrix."""
        rows, columns = lower_indices(self.order)
        return self.indices, np.asarray(matrix[rows, columns] * svec_weights(self.order))

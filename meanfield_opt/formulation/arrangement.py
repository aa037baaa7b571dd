"""Cells of a central hyperplane arrangement {theta : a_p . theta = 0}, enumerated in exact integer arithmetic."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import comb, gcd, lcm

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Array = NDArray[np.float64]
Row = tuple[int, ...]

#: subsets of rank - 1 hyperplanes that the enumeration may visit
MOST_SUBSETS = 60_000


def cell_count_bound(samples: int, rank: int) -> int:
    """2 sum_{k < r} C(P - 1, k): the number of cells in general position, an upper bound otherwise (Cover 1965)."""
    return 2 * sum(comb(samples - 1, k) for k in range(rank))


def enumerate_cells(factor: Array) -> NDArray[np.bool_]:
    """(N, P) activity patterns: row n is 1{a_p . theta > 0} on the interior of cell n; all cells, each once.

    Exact: the floats of ``factor`` are taken as the rationals they are. A zero row counts as inactive. Every cell of
    an arrangement of rank r has an extreme ray on r - 1 independent hyperplanes; around that ray the cells are those
    of the hyperplanes that contain it, one dimension lower.
    """
    rows = [_integers(row) for row in np.asarray(factor, dtype=np.float64)]
    rank = _rank(rows)
    if comb(len(rows), max(rank - 1, 0)) > MOST_SUBSETS:
        raise InputError(
            f"{len(rows)} samples of rank {rank} have up to {cell_count_bound(len(rows), rank)} cells, too many to "
            "enumerate; use sampled cells (which give no bound) or another formulation."
        )
    signs = _cells(rows)
    return np.array(sorted(signs), dtype=np.int8) > 0


def sample_cells(factor: Array, count: int, seed: int) -> NDArray[np.bool_]:
    """Patterns of ``count`` random directions, without repeats: some of the cells, never known to be all."""
    theta = np.random.default_rng(seed).standard_normal((count, factor.shape[1]))
    return np.unique(theta @ factor.T > 0, axis=0)


def parallel_rows(factor: Array) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """(kept (L,), line (P,), ratio (P,)): row p is ratio[p] times row kept[line[p]], no two kept rows are parallel, decided
    exactly. A zero row has ratio 0, on line 0; ratios are rounded once. InputError if all rows are zero."""
    rows = [_integers(row) for row in np.asarray(factor, dtype=np.float64)]
    kept: list[int] = []
    seen: dict[Row, int] = {}
    line, ratio = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows))
    for p, row in enumerate(rows):
        lead = next((i for i, value in enumerate(row) if value), None)
        if lead is None:
            continue
        ray = row if row[lead] > 0 else tuple(-value for value in row)
        if ray not in seen:
            seen[ray] = len(kept)
            kept.append(p)
        line[p] = seen[ray]
        ratio[p] = float(Fraction(float(factor[p, lead])) / Fraction(float(factor[kept[line[p]], lead])))
    if not kept:
        raise InputError("all inputs are zero, so that every network is; there is nothing to lift.")
    return np.array(kept, dtype=np.int64), line, ratio


def _integers(row: Array) -> Row:
    """A positive multiple of the row with integer entries."""
    parts = [Fraction(float(value)) for value in row]
    scale = lcm(*(part.denominator for part in parts))
    return _primitive([int(part * scale) for part in parts])


def _primitive(row: list[int]) -> Row:
    divisor = gcd(*row) if row else 0
    return tuple(value // divisor for value in row) if divisor else tuple(row)


def _echelon(rows: list[Row]) -> tuple[list[list[int]], list[int]]:
    """(fraction-free reduced rows, pivot columns)."""
    work: list[list[int]] = []
    pivots: list[int] = []
    for row in rows:
        current = list(row)
        for kept, pivot in zip(work, pivots):
            if current[pivot]:
                a, b = kept[pivot], current[pivot]
                current = [a * x - b * y for x, y in zip(current, kept)]
        lead = next((i for i, value in enumerate(current) if value), None)
        if lead is not None:
            work.append(list(_primitive(current)))
            pivots.append(lead)
    return work, pivots


def _rank(rows: list[Row]) -> int:
    return len(_echelon(rows)[1])


def _null_vector(rows: list[Row], dimension: int) -> Row:
    """A nonzero integer vector orthogonal to rows of rank < dimension."""
    work, pivots = _echelon(rows)
    free = next(i for i in range(dimension) if i not in pivots)
    solution = [Fraction(0)] * dimension
    solution[free] = Fraction(1)
    for kept, pivot in reversed(list(zip(work, pivots))):
        rest = sum((kept[i] * solution[i] for i in range(dimension) if i != pivot), Fraction(0))
        solution[pivot] = -rest / kept[pivot]
    scale = lcm(*(value.denominator for value in solution))
    return _primitive([int(value * scale) for value in solution])


def _drop(rows: list[Row], direction: Row) -> list[Row]:
    """The rows as functionals on R^r / direction (they vanish on it): drop a coordinate where it is nonzero."""
    k = next(i for i, value in enumerate(direction) if value)
    return [row[:k] + row[k + 1 :] for row in rows]


def _cells(rows: list[Row]) -> set[tuple[int, ...]]:
    """Sign vectors (+1, -1; 0 for zero rows) of all cells."""
    live = [p for p, row in enumerate(rows) if any(row)]
    if len(live) < len(rows):
        return {_spread(signs, live, len(rows)) for signs in (_cells([rows[p] for p in live]) if live else {()})}
    dimension = len(rows[0])
    if _rank(rows) < dimension:
        return _cells(_drop(rows, _null_vector(rows, dimension)))
    if dimension == 1:
        signs = tuple(1 if row[0] > 0 else -1 for row in rows)
        return {signs, tuple(-s for s in signs)}
    found: set[tuple[int, ...]] = set()
    seen: set[Row] = set()
    for subset in combinations(range(len(rows)), dimension - 1):
        chosen = [rows[p] for p in subset]
        if _rank(chosen) < dimension - 1:
            continue
        ray = _null_vector(chosen, dimension)
        lead = next(value for value in ray if value)
        ray = ray if lead > 0 else tuple(-value for value in ray)
        if ray in seen:
            continue
        seen.add(ray)
        dots = [sum(x * y for x, y in zip(row, ray)) for row in rows]
        on = [p for p, dot in enumerate(dots) if dot == 0]
        around = _cells(_drop([rows[p] for p in on], ray))
        for side in (1, -1):
            base = [side if dot > 0 else -side for dot in dots]
            for signs in around:
                cell = list(base)
                for p, sign in zip(on, signs):
                    cell[p] = sign
                found.add(tuple(cell))
    return found


def _spread(signs: tuple[int, ...], live: list[int], length: int) -> tuple[int, ...]:
    out = [0] * length
    for p, sign in zip(live, signs):
        out[p] = sign
    return tuple(out)

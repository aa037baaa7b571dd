"""Exact repair of linear equations after rounding: the unknowns named first absorb what is left over."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from fractions import Fraction
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def repair(
    value: dict[Key, Fraction], equations: Sequence[tuple[dict[Key, int], Fraction]], order: Sequence[Key]
) -> bool:
    """Change ``value`` so that sum_k row[k] value[k] = right for every (row, right); False if they contradict.

    order: the unknowns that may change, those that should absorb the change first. Keys of a row outside it count as 0.
    """
    from flint import fmpq, fmpq_mat

    if not equations:
        return True
    place = {k: t for t, k in enumerate(order)}
    last = len(order)
    table = [[fmpq(0)] * (last + 1) for _ in equations]
    for target, (row, right) in zip(table, equations):
        for k, c in row.items():
            if k in place:
                target[place[k]] = fmpq(c)
                right = right - c * value[k]
        target[last] = fmpq(right.numerator, right.denominator)
    reduced, rank = fmpq_mat(table).rref()
    for t in range(rank):
        lead = next((k for k in range(last + 1) if reduced[t, k] != 0), last)
        if lead == last:
            return False
        change = reduced[t, last]
        value[order[lead]] += Fraction(int(change.p), int(change.q))
    return True

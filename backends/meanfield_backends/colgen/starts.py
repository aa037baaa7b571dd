"""Starts of sweeps: kinds of them, and how many of each, by what they have met in the last rounds.

Measured on digits (65 weights) at a dual point whose columns were violated by no more than 4e-4: 6000 sums or differences of one atom and 0.3 to
0.6 of another met 50 new violated basins, 6000 random starts one, 6000 random neighbours of atoms 20. The basins lie at angles of 0.1 to 0.2 from atoms,
in directions in which atoms differ. But the tallest may be far from all of them, so that no kind is ever given up.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .ascent import unit_rows

Array = NDArray[np.float64]

#: kinds of starts
COUNT = 9
#: share of the starts of a sweep that every kind keeps, all kinds together
KEPT = 0.4
#: weight of the last round in the yields remembered
LAST = 0.5


@dataclass
class Yields:
    """New violated basins a start, for each kind; the same for all in the beginning."""

    rate: Array = field(default_factory=lambda: np.ones(COUNT))

    def counts(self, total: int) -> list[int]:
        """Starts of each kind, about ``total`` together."""
        share = KEPT / COUNT + (1.0 - KEPT) * self.rate / max(float(self.rate.sum()), 1e-300)
        return [int(np.ceil(total * part)) for part in share]

    def learn(self, kinds: NDArray[np.int64], hits: NDArray[np.int64]) -> None:
        """kinds: of all starts made. hits: of those that met something new."""
        made, met = (np.bincount(x, minlength=COUNT).astype(float) for x in (kinds, hits))
        seen = (met + 0.5) / np.maximum(made + 1.0, 1.0)  # nothing met is not nothing to meet
        self.rate = seen if (self.rate == 1.0).all() else (1.0 - LAST) * self.rate + LAST * seen


@dataclass(frozen=True)
class Known:
    """What starts are made of, all of length 1: atoms (columns with mass), basins without columns, all of them and other columns.

    rows: A (P, n).
    """

    atoms: Array
    basins: Array
    all: Array
    rows: Array
    evener: Array
    rng: np.random.Generator

    def draw(self, of: Array, count: int) -> Array:
        return np.asarray(of[self.rng.integers(of.shape[0], size=count)])

    def factors(self, count: int, low: float, high: float) -> Array:
        """Numbers of either sign and of sizes between low and high."""
        return np.asarray(
            self.rng.uniform(low, high, (count, 1)) * np.where(self.rng.random((count, 1)) < 0.5, -1.0, 1.0)
        )

    def noise(self, count: int) -> Array:
        return self.rng.standard_normal((count, self.evener.shape[0]))


def _random(known: Known, count: int) -> Array:
    x = known.noise(count)
    x[::2] = x[::2] @ known.evener
    return x


def _toward(known: Known, count: int) -> Array:
    """Atoms, with a part of another column added or taken away."""
    return known.draw(known.atoms, count) + known.factors(count, 0.2, 0.7) * known.draw(known.all, count)


def _between(known: Known, count: int) -> Array:
    """Any columns, with a part of another one added or taken away."""
    return known.draw(known.all, count) + known.factors(count, 0.2, 0.7) * known.draw(known.all, count)


def _beside(known: Known, count: int) -> Array:
    """Basins that are no columns, with a part of another one added or taken away."""
    if known.basins.shape[0] == 0:
        return _between(known, count)
    return known.draw(known.basins, count) + known.factors(count, 0.2, 0.7) * known.draw(known.basins, count)


def _samples(known: Known, count: int) -> Array:
    """Columns pushed across kinks: along samples (with the 1 of the bias)."""
    return known.draw(known.all, count) + known.factors(count, 0.1, 0.5) * unit_rows(known.draw(known.rows, count))


def _pairs(known: Known, count: int) -> Array:
    return known.draw(known.atoms, count) + known.factors(count, 0.7, 1.0) * known.draw(known.atoms, count)


def _near(known: Known, count: int) -> Array:
    base, distance = known.draw(known.atoms, count), known.rng.uniform(0.3, 1.5, (count, 1))
    return np.asarray(base + distance * unit_rows(known.noise(count)))


def _about(known: Known, count: int) -> Array:
    base, distance = known.draw(known.all, count), known.rng.uniform(0.5, 1.5, (count, 1))
    return np.asarray(base + distance * unit_rows(known.noise(count)))


def _opposite(known: Known, count: int) -> Array:
    """Opposite to columns: sums of other ones are added, or noise."""
    base, distance = known.draw(known.all, count), known.rng.uniform(0.0, 1.0, (count, 1))
    away = unit_rows(known.noise(count))
    away[::2] = unit_rows(known.draw(known.all, count) + known.factors(count, 0.5, 1.0) * known.draw(known.all, count))[
        ::2
    ]
    return np.asarray(distance * away - base)


KINDS = (_random, _toward, _between, _beside, _samples, _pairs, _near, _about, _opposite)


def starts(known: Known, yields: Yields, total: int) -> tuple[Array, NDArray[np.int64]]:
    """About ``total`` starts and their kinds; random ones only where nothing is known."""
    if known.atoms.shape[0] == 0:
        return _random(known, total), np.zeros(total, dtype=np.int64)
    counts = yields.counts(total)
    made = [kind(known, count) for kind, count in zip(KINDS, counts, strict=True)]
    return np.vstack(made), np.repeat(np.arange(COUNT), counts)

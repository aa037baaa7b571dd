"""One search at one dual point: starts, where ascents from them end, the best of these made exact, what they are worth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.problem import TwoLayerProblem

from .ascent import ascend, sharpen, unit_rows
from .basins import MOST_BASINS, different, memorable, ranked, unlike
from .bound import lower_estimate, relative_gap
from .carrier import Carrier
from .search import evening, levels_at, spread
from .state import State
from .work import UNEVEN, steps_of

Array = NDArray[np.float64]

#: levels below which a start is given up after so many steps. On teachers of ten inputs they halve the steps; of the starts that end above 0.985
#: nine in ten are kept
FLOORS = ((14, 0.65), (19, 0.8), (24, 0.9), (30, 0.95), (39, 0.97))
#: what starts of groups are, in these shares: random ones, best responses to random directions of the dual point, neighbours of columns in use, neighbours
#: of basins, parts of two basins added or taken away. At dual points of the teacher (lambda 0.1) with gaps of 1e-3 to 1e-2, 300,000 neighbours of basins met
#: 21 of 55 unknown violated ones, as many of columns in use 16, parts of two 10 to 13, best responses 5, random ones 5
KINDS = (0.25, 0.1, 0.1, 0.4, 0.15)
#: level below which the end of an ascent is not made exact
HOPE = 0.97
#: starts looked up, and a quarter of the ends met, beyond which only those that are not alike are kept
ROOM = 8192
#: ends of ascents made exact together, best first, and the share of new violated ones below which the rest is left
BATCH, YIELD = 64, 0.03
#: roundings of kinks, one after the other; the finest one that maxima are worth, beside the gap
EPSILONS, FINE = (1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8), 1e-4


@dataclass
class Look:
    """One search at one dual point. bar: violations below it are not worth looking for. exact: ends made exact in one go, at most.

    met: weights (N, n) and levels (N,) found, part by part; high: the violated ones; top: the highest level.
    tried: where Newton's method has begun or ended.
    """

    problem: TwoLayerProblem
    carrier: Carrier
    state: State
    rng: np.random.Generator
    watch: Callable[[], bool]
    tolerance: float
    bar: float
    exact: int
    met: list[tuple[Array, Array]] = field(default_factory=list)
    high: list[tuple[Array, Array]] = field(default_factory=list)
    tried: list[Array] = field(default_factory=list)
    top: float = 0.0
    room: int = ROOM

    def __post_init__(self) -> None:
        self.evener, self.lengths = evening(self.carrier.geometry)
        self.rows = self.carrier.patterns(np.eye(self.carrier.dimension)).T
        self.dual, self.steps = self.state.dual, steps_of(self.carrier)
        self.uneven = spread(self.carrier.geometry) > UNEVEN

    def levels(self, x: Array) -> Array:
        return levels_at(self.problem, self.carrier, self.dual, x)

    def maxima(self, x: Array) -> Array:
        """Where first-order ascent ends, best first, no two alike."""
        threads = self.state.threads
        climbed, level = ascend(self.problem, self.rows, self.dual, x, self.steps, FLOORS, self.watch, threads)
        return different(climbed[np.argsort(-level, kind="stable")][: 4 * MOST_BASINS], MOST_BASINS, 1e-2, self.lengths)

    def violated(self) -> Array:
        """The violated maxima, best first, no two alike."""
        x = different(ranked(self.high)[0], MOST_BASINS, 1e-2, self.lengths)
        # searches that confirm take hundreds of groups, which meet the same again and again
        self.high = [(x, self.levels(x))]
        return x

    def sharpen(self, x: Array, epsilons: tuple[float, ...]) -> Array:
        return sharpen(self.problem, self.rows, self.dual, x, epsilons, self.state.threads)

    def untried(self, x: Array) -> Iterator[Array]:
        """Batches of the starts x (best first): those that are hopeful, and not where others are or were that have been made exact."""
        x, waiting = x[self.levels(x) > HOPE], x[:0]
        tried = np.vstack([waiting, *self.tried])
        if tried.shape[0] > self.room:
            tried = different(tried, tried.shape[0], 1e-2, self.lengths)
            self.room = max(ROOM, 2 * tried.shape[0])
        self.tried = [tried]
        for begin in range(0, x.shape[0], 4 * BATCH):  # few batches are asked for
            part = x[begin : begin + 4 * BATCH]
            waiting = np.vstack([waiting, part[unlike(part, tried, self.lengths)]])
            while waiting.shape[0] >= BATCH:
                yield waiting[:BATCH]
                waiting = waiting[BATCH:]
        if waiting.shape[0]:
            yield waiting

    def best_sharpened(self, x: Array, old: Array, least: float) -> list[Array]:
        """The untried of the starts x made exact as long as in each batch at least so many lead to violations that are not in ``old``."""
        begun: list[Array] = []
        ends: list[Array] = []
        for batch in self.untried(x):
            if len(begun) * BATCH >= self.exact or self.watch():
                break
            begun.append(batch)
            ends.append(self.sharpen(batch, self.roundings(1)))
            new = ends[-1][self.levels(ends[-1]) > 1.0 + self.bar]
            # where one input counts far more than others, maxima that matter look alike
            if np.count_nonzero(self.uneven | unlike(new, old, self.lengths)) < least:
                break
            old = np.vstack([old, new])
        self.tried += [*begun, *ends]
        return ends

    def add(self, parts: list[Array]) -> None:
        for x in parts:
            level = self.levels(x)
            self.top = max(self.top, float(np.fmax.reduce(level, initial=0.0)))  # NaN is above no other
            self.met.append((x, level))
            self.high.append((x[level > 1.0], level[level > 1.0]))
        if sum(x.shape[0] for x, _ in self.met) > 4 * ROOM:
            best, level = ranked(self.met)
            x = np.vstack(
                [best[:1], memorable(self.carrier, best, level, MOST_BASINS)]
            )  # the highest is told, however low
            self.met = [(x, self.levels(x))]

    def roundings(self, first: int) -> tuple[float, ...]:
        return roundings(self.carrier, first, self.tolerance)

    def bearable(self) -> bool:
        """Whether what was found leaves the gap within the tolerance."""
        lower = lower_estimate(self.problem, self.dual, self.top)
        return relative_gap(self.state.energy, lower) <= self.tolerance

    def random(self, count: int) -> Array:
        """Random weights, every other one such that patterns vary alike in all directions."""
        x = self.rng.standard_normal((count, self.evener.shape[0]))
        x[::2] = x[::2] @ self.evener
        return x

    def varied(self, count: int, active: Array) -> Array:
        """About so many starts of all ``KINDS``; active: the columns in use."""
        part = [round(count * share) for share in KINDS]
        known = self.state.basins
        if known is None or known.shape[0] == 0:
            known = active if active.shape[0] else self.random(count)
        aimed = self.rng.standard_normal((part[1], self.problem.n_outputs)) @ self.dual
        first, second = (known[self.rng.integers(known.shape[0], size=part[4])] for _ in range(2))
        length, sign = self.rng.uniform(0.1, 1.0, (part[4], 1)), self.rng.choice([-1.0, 1.0], (part[4], 1))
        starts = [self.random(part[0]), self.carrier.pull(aimed), self.near(active, part[2], (-1.0, 0.3))]
        return np.vstack([*starts, self.near(known, part[3], (-1.0, -0.3)), length * first + sign * second])

    def near(self, x: Array, count: int, decades: tuple[float, float]) -> Array:
        """Random neighbours of the weights x, at distances of 10 to these powers measured on patterns of length 1."""
        if x.shape[0] == 0:
            return x
        base = unit_rows(x[self.rng.integers(x.shape[0], size=count)] @ self.lengths)
        noise = unit_rows(self.rng.standard_normal(base.shape)) * 10.0 ** self.rng.uniform(*decades, (count, 1))
        return np.asarray((base + noise) @ self.evener)


def roundings(carrier: Carrier, first: int, gap: float) -> tuple[float, ...]:
    """Roundings of kinks from this one on, as fine as maxima need to be at this gap; all of them on uneven inputs."""
    if spread(carrier.geometry) > UNEVEN:
        return EPSILONS[first:]
    return tuple(eps for eps in EPSILONS[first:] if eps >= FINE * gap) or EPSILONS[first : first + 1]

"""Pricing in few dimensions: exact local maxima of the level at the present dual point, and all of them remembered.

Maxima are many and their basins small. First-order ascent (``climb``) from many starts finds the basins, Newton's method (``ascent``) the
maxima in the best of them. Basins move little from one dual point to the next, so those met so far are starts of every later search.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.problem import TwoLayerProblem

from .ascent import ascend, sharpen, unit_rows
from .bound import lower_estimate, relative_gap
from .carrier import Carrier
from .search import Found, evening, levels
from .state import State
from .work import WORK, fresh_starts, master_work, start_work, steps_of

Array = NDArray[np.float64]

LOGGER = logging.getLogger(__name__)

#: sharpened in one group, at most
MOST_SHARP = 512
#: columns added a round
MOST_NEW = 600
#: basins remembered
MOST_BASINS = 2048
#: relative gap above which maxima need not be exact
FAR = 0.1
#: levels below which a basin is not remembered
LOW = 0.9
#: level below which a start is given up after a dozen steps, and below which the end of its ascent is not made exact
FLOOR, HOPE = 0.7, 0.97
#: sizes of groups of further starts in one search: while each meets at least so many new violated maxima (this share of those known, once
#: starts have cost as much as masters do), and all together no more
MORE, FEW, SHARE, ENOUGH = (0.25, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0), 4, 0.05, 300
#: gap to expect of unknown basins, beside that of the search before, where the known ones are settled
UNKNOWN = 0.1
#: starts of a search to believe in, beside its usual ones, in units of these
CONFIRM = 3
#: ends of ascents made exact together, best first, and the share of new violated ones below which the rest is left
BATCH, YIELD = 64, 0.03
EPSILONS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8)


def different(x: Array, limit: int, angle: float, lengths: Array) -> Array:
    """Up to ``limit`` of the weights x (N, n), the first ones, scaled to length 1.

    No two have patterns x lengths within ``angle`` (at least 5e-6) of each other. lengths (n, n): A^T A to the power 1/2, up to a factor.
    """
    from .apart import apart  # compiled on first use

    if x.shape[0] == 0:
        return x
    unit = unit_rows(x @ lengths)
    most = 1.0 - max(1e-11, 0.5 * angle * angle)
    # rows that are close are close in every coordinate: the one that varies most is compared first
    key = np.ascontiguousarray(unit[:, int(np.argmax(unit.std(axis=0)))])
    chosen = apart(unit, np.argsort(key), key, most, np.sqrt(2.0 * (1.0 - most)) + 1e-12, limit)
    return unit_rows(x[chosen])


def price(
    problem: TwoLayerProblem,
    carrier: Carrier,
    state: State,
    rng: np.random.Generator,
    starts: int,
    gap: float,
    watch: Callable[[], bool],
    tolerance: float,
    confirm: bool,
) -> Found:
    """Exact local maxima of the level at the present dual point, best first; ``state.basins`` is renewed.

    starts: random ones in one dimension; more in proportion to the dimensions. gap: of the round before. tolerance: the relative
    gap asked for; violations of less than half of it are not worth looking for. confirm: whether to look until a gap of the tolerance can be
    believed; the search then takes half as many starts as all searches before it together, at least, unless it refutes that gap.
    """
    n, dual = carrier.dimension, state.dual
    evener, lengths = evening(carrier.geometry)
    rows = carrier.patterns(np.eye(n)).T
    active = _active(problem, carrier, state)
    steps, cost = steps_of(carrier), start_work(problem, carrier)
    wide = fresh_starts(problem, carrier, starts)
    most = int(min(MOST_BASINS, max(WORK / cost, starts)))
    exact = int(np.clip(WORK / (16.0 * problem.n_samples * n * (n + 4.0)), 16, MOST_SHARP))
    aimed = rng.standard_normal((wide // 8 + 8, problem.n_outputs))
    aimed[: 2 * problem.n_outputs] = np.vstack([np.eye(problem.n_outputs), -np.eye(problem.n_outputs)])
    known = active if state.basins is None else np.vstack([active, state.basins])
    near = _near(active, wide // 8, (-1.5, 0.0), evener, lengths, rng)
    across = _across(carrier, known[active.shape[0] :][: max(8, wide // 32)])
    settled = math.isfinite(state.settled) and state.basins is not None
    if settled:  # what is left are basins that nobody knows: it has to be seen how far they reach
        gap = max(state.settled, UNKNOWN * gap)
    first = np.vstack(
        [known[: 0 if settled else None], _random(wide, evener, rng), carrier.pull(aimed @ dual), near, across]
    )

    def maxima(x: Array) -> Array:
        """Where first-order ascent ends, best first, no two alike."""
        climbed, level = ascend(problem, rows, dual, x, steps, FLOOR, watch, state.threads)
        return different(climbed[np.argsort(-level, kind="stable")][: 4 * MOST_BASINS], MOST_BASINS, 1e-2, lengths)

    def unmet(x: Array, met: Array) -> Array:
        """Those that are hopeful and not where others are or were that have been made exact."""
        level = levels(problem, dual, problem.features(carrier.patterns(x)), carrier.cost(x))
        x = x[level > HOPE]
        near = (unit_rows(x @ lengths) @ unit_rows(met @ lengths).T).max(axis=1, initial=-1.0)
        return np.asarray(x[near < 1.0 - 2e-4])

    def sharpened(x: Array, epsilons: tuple[float, ...]) -> list[Array]:
        """Those of the starts x (best first) that are worth it, made exact; ``tried`` gets the starts."""
        ends, done = [], 0
        while done < min(x.shape[0], exact) and not watch():
            ends.append(sharpen(problem, rows, dual, x[done : done + BATCH], epsilons, state.threads))
            done += BATCH
            level = levels(problem, dual, problem.features(carrier.patterns(ends[-1])), carrier.cost(ends[-1]))
            if np.count_nonzero(level > 1.0 + bar) < (YIELD * BATCH if not confirm else 1):
                break
        tried.append(x[:done])
        return ends

    bar, tried = max(0.02 * gap, 0.5 * tolerance), [known] if settled else []
    apart = maxima(first)
    few = min(starts, exact)
    sharp = [apart]
    groups: list[tuple[Array, tuple[float, ...]]] = [(apart[:few], EPSILONS[1:4])]
    if settled or gap <= FAR:
        close = _near(active, few, (-4.0, -0.5), evener, lengths, rng)
        if settled:
            sharp += [known, *sharpened(unmet(apart, known), EPSILONS[1:])]
            groups = [(close, EPSILONS[3:])]
        else:
            groups = [(apart[:exact], EPSILONS[1:]), (np.vstack([active[:exact], close]), EPSILONS[3:])]
    for x, epsilons in groups:
        if x.shape[0] and not watch():
            sharp.append(sharpen(problem, rows, dual, x, epsilons, state.threads))
            tried.append(x)
    tried += sharp[1:]
    x, level = ranked(problem, carrier, dual, sharp)
    met, spent = 0, 0.0
    columns = MOST_NEW + (0 if state.columns is None else state.columns.shape[0])
    master = master_work(problem, columns)
    wanted, state.starts = max(state.starts // 2, CONFIRM * wide), state.starts + first.shape[0]
    for size in _sizes(wanted if confirm else 0, wide) if confirm or gap <= FAR else ():
        # a master takes no more columns; what else is violated shows at the next dual point
        full = not confirm and different(x[level > 1.0], MOST_NEW, min(0.05, gap), lengths).shape[0] == MOST_NEW
        refuted = confirm and relative_gap(state.energy, lower_estimate(problem, dual, float(level[0]))) > tolerance
        if watch() or full or refuted:
            break
        # the more starts, the more of the small basins; they may cost as much as a few masters
        part = int(size * wide)
        again = carrier.pull(rng.standard_normal((part, problem.n_outputs)) @ dual)
        near = _near(active, part, (-1.0, 0.3), evener, lengths, rng)
        sharp = [maxima(np.vstack([_random(2 * part, evener, rng), again, near]))]
        old = different(x[level > 1.0], MOST_BASINS, 1e-2, lengths)
        sharp += sharpened(unmet(sharp[0], np.vstack(tried)), EPSILONS[1:])
        tried += sharp[1:]
        more, heights = ranked(problem, carrier, dual, sharp)
        news = unmet(different(more[heights > 1.0 + bar], MOST_BASINS, 1e-2, lengths), old).shape[0]
        x, level = np.vstack([x, more]), np.concatenate([level, heights])
        order = np.argsort(-level, kind="stable")
        x, level = x[order], level[order]
        met += news
        LOGGER.debug(
            "%d further starts: %d new violated maxima beside %d, top %.6f", 4 * part, news, old.shape[0], level[0]
        )
        spent += 0.5 * cost * 4 * part
        few_news = news < SHARE * old.shape[0] and spent > master
        state.starts += 4 * part
        if not confirm and (news < FEW * max(1.0, size) or few_news or met > ENOUGH):
            break
    state.basins = different(x[level > LOW], most, 1e-2, lengths)
    return Found(x, level, x[:0])


def _sizes(wanted: int, wide: int) -> Iterator[float]:
    """Sizes of groups of further starts, of four times ``wide`` starts each: ``MORE``, or so many that ``wanted`` are made."""
    if not wanted:
        yield from MORE
    while wanted > 0:
        yield 0.25
        wanted -= wide


def _random(count: int, evener: Array, rng: np.random.Generator) -> Array:
    """Random weights, every other one such that patterns vary alike in all directions."""
    x = rng.standard_normal((count, evener.shape[0]))
    x[::2] = x[::2] @ evener
    return x


def ranked(problem: TwoLayerProblem, carrier: Carrier, dual: Array, parts: list[Array]) -> tuple[Array, Array]:
    """These weights with their levels, best first."""
    x = np.vstack(parts)
    level = levels(problem, dual, problem.features(carrier.patterns(x)), carrier.cost(x))
    order = np.argsort(-level, kind="stable")
    return x[order], level[order]


def _near(
    x: Array, count: int, decades: tuple[float, float], evener: Array, lengths: Array, rng: np.random.Generator
) -> Array:
    """Random neighbours of the weights x, at distances of 10 to these powers measured on patterns of length 1."""
    if x.shape[0] == 0:
        return x
    base = unit_rows(x[rng.integers(x.shape[0], size=count)] @ lengths)
    noise = unit_rows(rng.standard_normal(base.shape)) * 10.0 ** rng.uniform(*decades, (count, 1))
    return np.asarray((base + noise) @ evener)


def _across(carrier: Carrier, x: Array) -> Array:
    """From each of the weights x to the other side of its eight nearest kinks: violations hide in cells next to good ones."""
    rows = carrier.patterns(np.eye(carrier.dimension)).T
    square = np.maximum(np.einsum("pn,pn->p", rows, rows), 1e-300)
    h = x @ rows.T
    nearest = np.argsort(np.abs(h) / np.sqrt(square), axis=1)[:, :8]
    step = 2.2 * np.take_along_axis(h, nearest, axis=1) / square[nearest]
    return np.asarray((x[:, None, :] - step[:, :, None] * rows[nearest]).reshape(-1, x.shape[1]))


def _active(problem: TwoLayerProblem, carrier: Carrier, state: State) -> Array:
    """The columns that carry mass and nearly attain the level 1, heaviest first."""
    if state.columns is None or state.column_masses is None:
        return unit_rows(state.particles.x)
    mass = state.column_masses
    order = np.argsort(-mass, kind="stable")[:MOST_SHARP]
    x = state.columns[order[mass[order] > 1e-6 * mass.sum()]]
    level = levels(problem, state.dual, problem.features(carrier.patterns(x)), carrier.cost(x))
    return np.asarray(x[level > 0.9])

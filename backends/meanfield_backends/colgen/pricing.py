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

from meanfield_opt.losses.squared import Squared
from meanfield_opt.problem import TwoLayerProblem

from .ascent import unit_rows
from .basins import MOST_BASINS, different, memorable, ranked, unlike
from .carrier import Carrier
from .look import BATCH, EPSILONS, FINE, YIELD, Look
from .search import Found, levels_at
from .state import State
from .work import WORK, fresh_starts, in_use, master_work, start_work

Array = NDArray[np.float64]

LOGGER = logging.getLogger(__name__)

#: sharpened in one group, at most
MOST_SHARP = 512
#: columns added a round
MOST_NEW = 600
#: relative gap above which maxima need not be exact
FAR = 0.1
#: sizes of groups of further starts in one search: while each meets at least so many new violated maxima (this share of those known, once
#: starts have cost as much as masters do), and all together no more
MORE, FEW, SHARE, ENOUGH = (0.25, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0), 4, 0.05, 300
#: gap to expect of unknown basins, beside that of the search before, where the known ones are settled
UNKNOWN = 0.1
#: divides the starts of a search at the zero measure
BRIEF = 8
#: starts of a search to believe in, beside its usual ones, in units of these: with the squared loss, and with others, whose dual points rest on few samples
#: (of 24 claims seven failed against 60,000 starts with 3, two with 16). In more dimensions basins are rarer: at least their square over the third number,
#: as one of a gap of 3e-6 for the teacher (ten inputs) was wrong by 7e-4 with 3 and with 16, where a search of 60,000 random starts meets one of two basins
CONFIRM, CONFIRM_MORE, CROWDED = 3, 16, 5.0
#: and half as many as all searches before it, but no more than so many
MOST_STARTS = 1_000_000
#: what a search costs at least once it has met a violation, in units of the master on the columns in use, where a cycle takes two or three masters and
#: known basins made exact: a single rare basin a cycle is a poor bargain
CYCLE = 4.0
#: starts of a group that confirms, at least: beside their ascents a group costs as much as a few hundred
GROUP = 2000
#: roundings for columns in use, in a search that would confirm. Where several kinks meet, maxima may lie within 1e-4 of each other and rounding by as much
#: leads from one to another. Of 24 claims of 1e-5 (P = 60, d_X = 4, lambda 0.3 and 0.1) 2 failed without them, and none with them
NARROW = (1e-5, 1e-6, 1e-8)


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
    gap asked for; violations of less than half of it are not worth looking for. confirm: whether to look at least until a gap of the tolerance can
    be believed. So does every search that has met nothing against it: it then takes half as many starts as all searches before it
    together, at least, unless that gap is refuted on the way, and the result says whether it was ``sure``.
    """
    n = carrier.dimension
    wide = fresh_starts(problem, carrier, starts)
    exact = int(np.clip(WORK / (16.0 * problem.n_samples * n * (n + 4.0)), 16, MOST_SHARP))
    settled = math.isfinite(state.settled) and state.basins is not None
    if settled:  # what is left are basins that nobody knows: it has to be seen how far they reach
        gap = max(state.settled, UNKNOWN * gap)
    look = Look(problem, carrier, state, rng, watch, tolerance, max(0.02 * gap, 0.5 * tolerance), exact)
    active = _active(problem, carrier, state)
    # without columns the dual point is that of the zero measure: all that matters is whether that is optimal
    some = wide if state.columns is not None else max(starts, wide // BRIEF)
    sure = _first(look, active, starts, some, gap, settled, confirm)
    sure = _more(look, active, wide, gap, sure)
    most = int(min(MOST_BASINS, max(WORK / start_work(problem, carrier), starts)))
    x, level = ranked(look.met)
    state.basins = memorable(carrier, x, level, most)
    return Found(x, level, x[:0], sure)


def _first(look: Look, active: Array, starts: int, wide: int, gap: float, settled: bool, confirm: bool) -> bool:
    """The first starts, random ones and about what is known; whether what they meet leaves the gap within the tolerance."""
    state, rng, dual, outputs = look.state, look.rng, look.dual, look.problem.n_outputs
    aimed = rng.standard_normal((wide // 8 + 8, outputs))
    aimed[: 2 * outputs] = np.vstack([np.eye(outputs), -np.eye(outputs)])
    basins = active[:0] if state.basins is None else state.basins
    known = np.vstack(
        [active, state.particles.x, basins]
    )  # atoms may be of an earlier master, their columns dropped since
    near = look.near(active, wide // 8, (-1.5, 0.0))
    across = _across(look.carrier, basins[: max(8, wide // 32)])
    first = [known[: 0 if settled else None], look.random(wide), look.carrier.pull(aimed @ dual), near, across]
    apart = look.maxima(np.vstack(first))
    state.starts += sum(x.shape[0] for x in first)
    few = min(starts, look.exact)
    parts = [apart]
    groups: list[tuple[Array, tuple[float, ...]]] = [(apart[:few], EPSILONS[1:4])]
    if settled or gap <= FAR:
        close = look.near(active, few, (-4.0, -0.5))
        groups = [(close, look.roundings(3))]
        if settled:
            look.tried.append(known)
            least = 1 if confirm else YIELD * BATCH
            parts += [known, *look.best_sharpened(apart, known, least)]
        else:
            groups = [
                (apart[: look.exact], look.roundings(1)),
                (np.vstack([active[: look.exact], close]), look.roundings(3)),
            ]
    for x, epsilons in groups:
        if x.shape[0] and not look.watch():
            parts.append(look.sharpen(x, epsilons))
            look.tried += [x, parts[-1]]
    look.add(parts)
    if look.bearable():
        look.add([look.sharpen(active, tuple(eps for eps in NARROW if eps >= FINE * look.tolerance))])
        look.tried.append(look.met[-1][0])
    if look.bearable() and not confirm:  # what was left because little came of it may refute the gap
        look.add(look.best_sharpened(apart, look.violated(), 1))
    return look.bearable()


def _more(look: Look, active: Array, wide: int, gap: float, sure: bool) -> bool:
    """Groups of further starts. sure: they are to confirm; otherwise they go on while they meet enough. Whether the gap was confirmed."""
    problem, carrier, state = look.problem, look.carrier, look.state
    columns = MOST_NEW + (0 if state.columns is None else state.columns.shape[0])
    master, cost = master_work(problem, columns), start_work(problem, carrier)
    met, spent = 0, 0.0
    cycle = CYCLE * master_work(problem, 0 if state.column_masses is None else in_use(state.column_masses))
    confirm = max(CONFIRM if isinstance(problem.loss, Squared) else CONFIRM_MORE, carrier.dimension**2 / CROWDED)
    confirm *= wide * state.trust / state.thrift
    wanted = int(max(confirm, min(state.starts // 2, MOST_STARTS)))
    for size in _sizes(wanted if sure else 0, wide) if sure or gap <= FAR else ():
        # a master takes no more columns; what else is violated shows at the next dual point
        full = not sure and look.violated()[:MOST_NEW].shape[0] == MOST_NEW
        if look.watch() or full or (sure and not look.bearable() and spent >= cycle):
            break
        # the more starts, the more of the small basins; they may cost as much as a few masters
        starts = look.varied(int(4.0 * size * wide), active)
        ends, old = look.maxima(starts), look.violated()
        sharp = look.best_sharpened(ends, old, 1 if sure else YIELD * BATCH)
        new = np.vstack([ends[:0], *sharp])
        new = different(new[look.levels(new) > 1.0 + look.bar], MOST_BASINS, 1e-2, look.lengths)
        news = int(np.count_nonzero(unlike(new, old, look.lengths)))
        look.add([ends, *sharp])
        count = starts.shape[0]
        LOGGER.debug(
            "%d further starts: %d new violated maxima beside %d, top %.6f", count, news, old.shape[0], look.top
        )
        state.starts += count
        met, spent = met + news, spent + 0.5 * cost * count
        few_news = news < SHARE * old.shape[0] and spent > master
        if not sure and spent >= cycle and (news < FEW * max(1.0, size) or few_news or met > ENOUGH):
            break
    return sure and look.bearable() and not look.watch()


def _sizes(wanted: int, wide: int) -> Iterator[float]:
    """Sizes of groups of further starts, of four times ``wide`` starts each: ``MORE``, or so many that ``wanted`` are made."""
    if not wanted:
        yield from MORE
    count = max(wide, GROUP)
    while wanted > 0:
        yield 0.25 * count / wide
        wanted -= count


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
    level = levels_at(problem, carrier, state.dual, x)
    return np.asarray(x[level > 0.9])

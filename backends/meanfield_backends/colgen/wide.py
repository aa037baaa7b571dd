"""Many weights a neuron (more than ``pool.SLIDING``): column generation by sweeps of many starts, a master on a working set, and sliding.

What was measured on digits (65 weights, 1797 samples): once the master is exact, the basins that have columns are violated by a few percent
only; what stands between the dual point and feasibility are basins that no start has met, each with a small share of the starts.
Starts near the atoms and opposite to them meet several times as many as random ones. So a round is: master, sweep, a slide of the atoms.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.backend import Progress, SolveOptions
from meanfield_opt.problem import TwoLayerProblem
from meanfield_opt.solution import Status

from . import pool
from .ascent import ascend, unit_rows
from .basins import copied, different
from .bound import lower_estimate, relative_gap
from .carrier import Carrier
from .glide import glide
from .improve import with_random
from .reduce import merge, prune
from .search import Found, evening, levels_at, spread
from .slide import Particles
from .starts import KINDS, Known, Yields, starts
from .state import State, Stopwatch
from .sweep import reached, sweep
from .work import UNEVEN

Array = NDArray[np.float64]

LOGGER = logging.getLogger(__name__)

#: atoms of the first slide, its steps for each rounding of the kinks, and steps of the later slides
FIRST, FIRST_STEPS, STEPS = 400, 100, 300
#: multiplications by a weight or readout in one slide, and the least steps of it: on very many samples new columns gain more than long slides
SLIDE_WORK, LEAST_STEPS = 4e10, 30
#: multiplications of the fresh starts of one sweep; starts, at least and at most
WORK, LEAST_STARTS, MOST_STARTS = 3e10, 192, 4096
#: steps of an ascent, of the exact one of this many best, and of that of the other violated ones
ASCENT, EXACT, BEST, SHORT = 60, 150, 64, 60
#: steps of an ascent where the gap is large: nearly every start meets something violated then, far more than known columns and basins a little
#: moved, which get this few
BRIEF, MOVED = 30, 5
#: columns added a round, basins remembered
MOST_NEW, MOST_BASINS = 500, 5000
#: angle, beside the gap, within which a maximum is a column that there is: known columns are climbed from, most of them by nothing
COPY = 0.01
#: levels below which basins are not remembered, and the angle (of patterns) within which two are one
LOW, SAME = 0.9, 0.05
#: angle from those known beyond which a violated basin is new; fresh starts come in so many groups at most, until so many new ones are met
NEW, GROUPS, ENOUGH = 0.1, 6, 24
#: a confirming search makes half as many groups of starts as all before it together, at least as many as one search and at most so many times
#: the number of kinds
WIDER = 2
#: rounds in a row, at most, that price only what is known, while that is violated by more than what the last fresh starts met beside it
FOLLOWED = 4
#: share of the starts on a path, but at its last penalty: what one search meets is known to the next, and judges the claims before it (``revise``)
THRIFT = 0.4
#: gap to expect of basins unknown at another penalty, beside that of the known ones
UNKNOWN = 0.05
#: entries of the features whose levels are measured at once
MOST_VALUES = 40_000_000
PATIENCE = 8
#: relative gap above which slides are long and searches short
FAR = 0.05


def applies(problem: TwoLayerProblem, carrier: Carrier) -> bool:
    """Whether this loop is for the problem."""
    return pool.applies(problem, carrier) and carrier.dimension > pool.SLIDING


@dataclass(frozen=True)
class Run:
    """What does not change in a run."""

    problem: TwoLayerProblem
    carrier: Carrier
    options: SolveOptions
    watch: Stopwatch
    rng: np.random.Generator
    rows: Array
    evener: Array
    lengths: Array
    yields: Yields


def rounds(
    problem: TwoLayerProblem,
    carrier: Carrier,
    options: SolveOptions,
    state: State,
    watch: Stopwatch,
    rng: np.random.Generator,
    most: int,
) -> Status:
    """Rounds until the sampled gap has been found small twice, time is over or nothing is gained."""
    rows = np.ascontiguousarray(carrier.patterns(np.eye(carrier.dimension)).T)
    run = Run(problem, carrier, options, watch, rng, rows, *evening(carrier.geometry), Yields())
    gap, confirming, energies, followed, made = 1.0, False, [], 0, 0
    if state.columns is None:
        _begin(run, state)
    else:  # those of another penalty, whose basins are followed first
        gap, state.unknown = min(state.recalled, FAR), max(state.unknown, UNKNOWN * state.recalled)
    for _ in range(most):
        state.rounds += 1
        if not confirming and not _master(run, state, gap):
            return Status.INACCURATE
        found, did = _price(run, state, gap, confirming, made, followed < FOLLOWED)
        followed, made = 0 if did else followed + 1, made + did
        gap = _estimate(run, state, found)
        state.history.append((watch.seconds(), state.energy, state.lower, state.particles.count))
        energies.append(state.energy)
        LOGGER.debug("round %d energy %.12g gap %.2e atoms %d", state.rounds, state.energy, gap, state.particles.count)
        if options.progress is not None:
            options.progress(
                Progress(
                    "column generation", state.rounds, state.energy, state.lower, watch.seconds(), state.particles.count
                )
            )
        if relative_gap(state.energy, state.lower) <= options.tolerance:
            if found.sure and state.best_dual is state.dual:
                return Status.SOLVED
            confirming = True
            assert state.best_dual is not None
            state.dual = state.best_dual  # the claim is made at that one
            continue
        confirming = False
        if (
            len(energies) > PATIENCE
            and energies[-1 - PATIENCE] - energies[-1] <= 0.01 * options.tolerance * energies[-1]
        ):
            return Status.INACCURATE
        moved = None if watch.over() else _slide(run, state, gap)
        near = min(0.05, gap)  # the gap may be infinite
        new = different(found.x[found.level > 1.0 + 0.01 * gap], MOST_NEW, near, run.lengths)
        assert state.columns is not None
        assert state.column_masses is not None
        new = new[~copied(new, state.columns, run.lengths, COPY * near)]
        state.columns = np.vstack([state.columns, new])
        state.column_masses = np.concatenate([state.column_masses, np.zeros(new.shape[0])])
        if moved is not None:
            pool.add(carrier, state, problem, moved)
        if watch.over():
            _master(run, state, gap)
            return Status.TIME_LIMIT
    return Status.ITERATION_LIMIT


def _begin(run: Run, state: State) -> None:
    """The first columns: the atoms there are, or where random ones come to rest."""
    moved = state.particles
    if moved.count == 0:
        moved = with_random(run.problem, run.carrier, moved, FIRST, run.rng)
        if spread(run.carrier.geometry) > UNEVEN:  # sliding in weights would follow the largest inputs
            state.columns, state.column_masses = unit_rows(moved.x @ run.evener), np.ones(moved.count)
            return
        for eps in (0.01, 3e-3):
            moved = glide(
                run.problem, run.carrier, run.rows, moved,
                eps=eps, iterations=FIRST_STEPS, watch=run.watch.over, threads=state.threads,
            )  # fmt: skip
            moved = merge(run.problem, run.carrier, prune(run.carrier, moved, 1e-6), eps)
            pool.take(run.problem, run.carrier, state, moved, run.watch)
    pool.add(run.carrier, state, run.problem, moved)


def _master(run: Run, state: State, gap: float) -> bool:
    """The master on all columns; the best atoms are replaced if the energy fell, columns of much slack are dropped."""
    none = np.zeros((0, run.carrier.dimension))
    accuracy = max(1e-13, 1e-2 * max(min(gap, 0.1), 0.1 * run.options.tolerance))
    return pool.master(run.problem, run.carrier, state, none, accuracy, min(gap, 0.1))


def _price(run: Run, state: State, gap: float, confirm: bool, before: int, follow: bool) -> tuple[Found, int]:
    """Local maxima of the level at the present dual point, best first, and how many groups of fresh starts were made; ``state.basins`` is renewed.

    confirm: whether to look until a gap of the tolerance can be believed in, or is refuted: many groups, as many starts of every kind in each, and
    no ascent is given up early. So does every search where what is known leaves such a gap; refuted, it goes on as others do. The result says
    whether it was ``sure``. before: groups made by earlier searches. follow: whether to make none where known columns and basins are violated by
    more than what the last fresh starts met beside them.
    """
    problem, n = run.problem, run.carrier.dimension
    assert state.columns is not None
    assert state.column_masses is not None
    heavy = state.column_masses > 1e-6 * float(state.column_masses.sum())
    basins = state.columns[:0] if state.basins is None else state.basins
    old = np.vstack([state.columns[heavy], state.columns[~heavy], basins])
    cost = 2.0 * ASCENT * problem.n_samples * (n + problem.n_outputs)
    share = 1.0 if state.trust == 1.0 else THRIFT
    count = int(share * np.clip(WORK / cost, LEAST_STARTS, MOST_STARTS))
    known = Known(state.columns[heavy], basins, old, run.rows, run.evener, run.rng)
    near = gap <= FAR or confirm
    x, level = reached(problem, run.rows, state.dual, old, ASCENT if near else MOVED, run.watch.over, state.threads)
    high, steps, enough = x[level > 1.0], ASCENT if near else BRIEF, ENOUGH if near else MOST_NEW
    here = _gap(run, state, level)
    sure = confirm or (near and here <= run.options.tolerance)
    groups = min(max(before // 2, GROUPS), WIDER * len(KINDS)) if sure else GROUPS
    state.settled = math.inf
    if follow and near and not sure and here > state.unknown:
        state.settled, groups = here, 0
    top_new, made = np.zeros(1), 0
    while made < groups:
        fresh, kinds = starts(known, Yields() if sure else run.yields, count)
        ends, top = reached(problem, run.rows, state.dual, fresh, steps, run.watch.over, state.threads, race=not sure)
        new = _new(run, high, ends, top)
        met = _learn(run, new, ends, kinds, enough)
        x, level, top_new = np.vstack([x, ends]), np.concatenate([level, top]), np.append(top_new, top[new])
        made += 1
        if sure and _gap(run, state, level) > run.options.tolerance:
            sure, groups = False, 0 if confirm else GROUPS
        if (met >= enough and not sure) or run.watch.over():
            break
    if made:
        state.unknown = _gap(run, state, top_new) if near else 1.0
    order = np.argsort(-level, kind="stable")
    order = order[level[order] > LOW]
    high = different(x[order], min(MOST_BASINS, MOST_VALUES // problem.n_samples), SAME, run.lengths)
    value = levels_at(problem, run.carrier, state.dual, high)
    order = np.argsort(-value, kind="stable")
    state.basins = high[value <= 1.0]
    # columns pay by the accuracy of their tops, and the gap is that of the best: these in double precision
    best, new = high[order[:BEST]], order[BEST : BEST + MOST_NEW]
    new = new[value[new] > 1.0]
    parts = [(high, value)]
    if near:
        parts.append(ascend(problem, run.rows, state.dual, best, EXACT, (), None, state.threads))
    else:
        new = np.concatenate([order[:BEST], new])
    if new.size:
        further, _ = sweep(problem, run.rows, state.dual, high[new], SHORT, run.watch.over, state.threads)
        parts.append((further, levels_at(problem, run.carrier, state.dual, further)))
    x, level = np.vstack([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    order = np.argsort(-level, kind="stable")
    sure = sure and made == groups and not run.watch.over()  # a search that was cut short confirms nothing
    return Found(x[order], level[order], x[:0], sure), made


def _gap(run: Run, state: State, level: Array) -> float:
    """The relative gap at the present dual point if these are all levels."""
    lower = lower_estimate(run.problem, state.dual, float(level.max(initial=0.0)))
    return relative_gap(state.energy, lower)


def _new(run: Run, old: Array, x: Array, level: Array) -> NDArray[np.intp]:
    """Which of the ends x, at these levels, are violated basins beside the old ones."""
    high = np.flatnonzero(level > 1.0 + 2.0 * run.options.tolerance)
    ends = unit_rows(x[high] @ run.lengths)
    near = (ends @ unit_rows(old @ run.lengths).T).max(axis=1, initial=-1.0)
    return np.asarray(high[near < 1.0 - 0.5 * NEW**2])


def _learn(run: Run, new: NDArray[np.intp], x: Array, kinds: NDArray[np.int64], enough: int) -> int:
    """Which kinds of starts, that ended at x, met the ``new`` violated basins; how many different ones they met, up to ``enough``."""
    hits = kinds[new]
    LOGGER.debug("starts %s met %s", np.bincount(kinds, minlength=len(KINDS)), np.bincount(hits, minlength=len(KINDS)))
    if hits.size:
        run.yields.learn(kinds, hits)
    return len(different(x[new], enough, NEW, run.lengths))


def _estimate(run: Run, state: State, found: Found) -> float:
    """The relative gap at the present dual point, which becomes the best if it is better; the best is judged by what was found too."""
    lower = lower_estimate(run.problem, state.dual, found.top)
    if state.best_dual is state.dual:
        state.lower = min(lower, state.lower)
        return relative_gap(state.energy, state.lower)
    if state.best_dual is not None:
        x = found.x[:1000]
        level = levels_at(run.problem, run.carrier, state.best_dual, x)
        state.lower = min(state.lower, lower_estimate(run.problem, state.best_dual, float(level.max(initial=0.0))))
    # known basins alone, or a search that was cut short, say little about the present dual point
    searched = math.isinf(state.settled) and not run.watch.over()
    if searched and (state.best_dual is None or lower > state.lower):
        state.lower, state.best_dual = lower, state.dual
    return relative_gap(state.energy, lower)


def _slide(run: Run, state: State, gap: float) -> Particles:
    """The best atoms, slid; near ones merged. Far from the end long slides with round kinks lower the energy soonest; near it dual points matter."""
    few = merge(run.problem, run.carrier, prune(run.carrier, state.particles, 1e-4), 3e-2)
    cost = few.count * run.problem.n_samples * (run.carrier.dimension + run.problem.n_outputs)
    steps = min(STEPS if gap > FAR else STEPS // 2, max(LEAST_STEPS, int(SLIDE_WORK / max(cost, 1))))
    moved = glide(
        run.problem, run.carrier, run.rows, few,
        eps=min(1e-2, 0.1 * gap), iterations=steps, watch=run.watch.over,
        threads=state.threads,
    )  # fmt: skip
    return merge(run.problem, run.carrier, prune(run.carrier, moved, 1e-6), 5e-3)

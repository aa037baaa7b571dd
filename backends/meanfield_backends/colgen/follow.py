"""Known basins followed from one dual point to the next: their maxima made exact, a master on them, again, before the next search.

A search costs as much as several masters, and most of what it finds at a dual point that is not yet optimal on the basins known are those basins,
a little moved. Newton's method from where they were finds them again for a tenth of that. What is found here is no estimate of the gap: only
``pricing`` looks for basins that nobody knows.
"""

from __future__ import annotations

import logging
import math

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.backend import SolveOptions
from meanfield_opt.problem import TwoLayerProblem

from .ascent import sharpen
from .basins import MOST_BASINS, different, memorable, ranked
from .bound import lower_estimate, relative_gap
from .carrier import Carrier
from .look import roundings
from .pool import master, master_accuracy, worth
from .search import evening, levels_at
from .state import State, Stopwatch
from .work import in_use, masters_a_search

Array = NDArray[np.float64]

LOGGER = logging.getLogger(__name__)

#: masters in a row, at most; together they may cost as much as this many searches
STEPS, SEARCHES = 4, 2.0
#: level above which a basin may come up in the next masters, and how many are followed
NEAR, MOST_FOLLOWED, FOLLOWED = 0.93, 200, 1.0
#: how far below 1 the levels reach, at least, of basins followed after the first master
LEAST = 0.01
#: columns added at once
MOST_NEW, NEW = 100, 0.5
#: share of the tolerance, and of the gap of the search before, to which known basins are settled
SETTLED, SHARE = 0.3, 0.05


def follow(
    problem: TwoLayerProblem,
    carrier: Carrier,
    state: State,
    gap: float,
    options: SolveOptions,
    watch: Stopwatch,
    steps: int = STEPS,
) -> None:
    """Masters until the basins known are violated by little, beside ``gap`` (of the search before) or the tolerance; for pools.

    Nothing is done where masters cost as much as searches, which find known basins too.
    """
    assert state.columns is not None
    assert state.column_masses is not None
    lengths = evening(carrier.geometry)[1]
    rows = carrier.patterns(np.eye(carrier.dimension)).T
    state.settled = math.inf
    wanted = max(SETTLED * options.tolerance, SHARE * gap)
    bar, here = NEAR, gap
    used = in_use(state.column_masses)
    most_followed, most_new = max(MOST_FOLLOWED, int(FOLLOWED * used)), max(MOST_NEW, int(NEW * used))
    for _ in range(int(min(steps, SEARCHES * masters_a_search(problem, carrier, state.column_masses)))):
        known = state.columns if state.basins is None else np.vstack([state.columns, state.basins])
        level = levels_at(problem, carrier, state.dual, known)
        order = np.argsort(-level, kind="stable")
        most = most_followed if here < 0.02 else most_followed // 3
        near = different(known[order[level[order] > bar]], most, float(np.clip(here, 1e-2, 0.05)), lengths)
        if near.shape[0] == 0 or watch.over():
            return
        sharp = sharpen(
            problem, rows, state.dual, near, roundings(carrier, 2, max(here, options.tolerance)), state.threads
        )
        x, level = ranked([(sharp, levels_at(problem, carrier, state.dual, sharp)), (known, level)])
        state.basins = memorable(carrier, x, level, MOST_BASINS)
        here = relative_gap(state.energy, lower_estimate(problem, state.dual, float(level[0])))
        LOGGER.debug("followed %d basins: gap %.2e beside %.2e", near.shape[0], here, wanted)
        if here <= wanted:
            state.settled = here
            return
        bar = max(NEAR, 1.0 - max(LEAST, 3.0 * here))  # levels move by about as much as they are violated
        new = different(x[level > 1.0 + worth(carrier, here, options.tolerance)], most_new, min(0.05, here), lengths)
        if not master(
            problem, carrier, state, new, master_accuracy(problem, carrier, state, here, options.tolerance), here
        ):
            return

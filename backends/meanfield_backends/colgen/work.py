"""What searches and masters in few dimensions cost, about, in multiplications: which of them to spend more on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.problem import TwoLayerProblem

from .carrier import Carrier
from .search import spread

Array = NDArray[np.float64]

#: multiplications spent on first-order ascent in one search, and on Newton's method in one group of starts
WORK = 1e10
#: first-order steps of one ascent, beside one for every two dimensions
STEPS = 55
#: ratio of input scales above which the first columns are drawn, not slid, and masters are as exact as can be
UNEVEN = 300.0
#: random starts of a search in one dimension, by which masters are judged cheap
STARTS = 128


def steps_of(carrier: Carrier) -> int:
    """First-order steps of one ascent, at most."""
    return STEPS + carrier.dimension // 2


def start_work(problem: TwoLayerProblem, carrier: Carrier) -> float:
    """Multiplications of one first-order ascent, about."""
    return 4.0 * steps_of(carrier) * problem.n_samples * (carrier.dimension + problem.n_outputs)


def master_work(problem: TwoLayerProblem, columns: int) -> float:
    """Multiplications of a master on so many columns, about."""
    return 40.0 * max(columns, 1) * min(columns, problem.n_samples * problem.n_outputs) ** 2 + 1.0


def fresh_starts(problem: TwoLayerProblem, carrier: Carrier, starts: int) -> int:
    """Random starts of one search, of which there are ``starts`` in one dimension."""
    return int(min(starts * max(1.0, 3.0 * carrier.dimension), max(WORK / start_work(problem, carrier), starts)))


def in_use(masses: Array) -> int:
    """How many columns carry mass that counts."""
    return int((masses > 1e-4 * float(masses.sum())).sum())


def masters_a_search(problem: TwoLayerProblem, carrier: Carrier, masses: Array) -> float:
    """How many masters on the columns that carry mass cost as much as a search; none where inputs of uneven scales make each one delicate."""
    if spread(carrier.geometry) > UNEVEN:
        return 0.0
    return start_work(problem, carrier) * fresh_starts(problem, carrier, STARTS) / master_work(problem, in_use(masses))

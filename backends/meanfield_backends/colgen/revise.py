"""A sampled gap judged again by the basins that searches under neighbouring penalties have met since.

On a path each penalty's search makes few starts, because what one of them meets serves the later ones. It serves the earlier ones too: a basin
that some ten thousand starts meet once is met by one of several searches sooner than by each of them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.problem import TwoLayerProblem

from .ascent import sharpen
from .basins import different, unlike
from .bound import lower_estimate
from .carrier import choose_carrier
from .look import roundings
from .memory import comparable
from .pool import REMEMBERED, SLIDING
from .search import evening, levels_at
from .sweep import reached

Array = NDArray[np.float64]

LOGGER = logging.getLogger(__name__)

#: level above which a basin of another penalty may be a violated one here, and how many are followed
NEAR, MOST = 0.9, 200
#: angle within which basins of other penalties are one
SAME = 2e-2
#: steps of an ascent in many dimensions
STEPS = 60


def usable(problem: TwoLayerProblem, memory: dict[str, Any]) -> bool:
    """Whether ``memory`` is of a run on the same inputs and targets, whose basins may be followed to another penalty."""
    known = memory.get("problem")
    return memory.keys() >= REMEMBERED and isinstance(known, TwoLayerProblem) and comparable(known, problem)


def reconsidered(
    problem: TwoLayerProblem,
    dual: Array,
    memory: dict[str, Any],
    others: Sequence[dict[str, Any]],
    tolerance: float,
    threads: int,
) -> tuple[float, Array]:
    """The lower estimate at the dual point as far as basins of the others tell that are not in ``memory``, and where these lie here (N, n)."""
    carrier = choose_carrier(problem.geometry, problem.activation)
    lengths, rows = evening(carrier.geometry)[1], carrier.patterns(np.eye(carrier.dimension)).T
    x = np.vstack([_all(memory)[:0], *(_all(other) for other in others if usable(problem, other))])
    x = x[unlike(x, _all(memory), lengths)]
    level = levels_at(problem, carrier, dual, x)
    order = np.argsort(-level, kind="stable")
    x = different(x[order[level[order] > NEAR]], MOST, SAME, lengths)
    if x.shape[0] == 0:
        return math.inf, x
    if carrier.dimension > SLIDING:
        x = reached(problem, rows, dual, x, STEPS, lambda: False, threads)[0]
    else:
        x = sharpen(problem, rows, dual, x, roundings(carrier, 2, tolerance), threads)
    top = float(levels_at(problem, carrier, dual, x).max(initial=0.0))
    LOGGER.debug("%d basins of other penalties: highest level %.6f", x.shape[0], top)
    return lower_estimate(problem, dual, top), x


def _all(memory: dict[str, Any]) -> Array:
    """Columns and basins."""
    return np.vstack([memory["columns"]] + ([] if memory["basins"] is None else [memory["basins"]]))

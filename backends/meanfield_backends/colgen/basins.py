"""Sets of weights where the level has local maxima: told apart, ordered, remembered."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .ascent import unit_rows
from .carrier import Carrier
from .search import evening, spread
from .work import UNEVEN

Array = NDArray[np.float64]

#: basins remembered
MOST_BASINS = 2048
#: levels below which basins are remembered only if they are far from each other, and not at all
HIGH, LOW = 0.98, 0.5
#: and not at all on uneven inputs
NEAR = 0.9


def different(x: Array, limit: int, angle: float, lengths: Array) -> Array:
    """Up to ``limit`` of the weights x (N, n), the first ones, scaled to length 1.

    No two have patterns x lengths within ``angle`` (at least 5e-6) of each other. lengths (n, n): A^T A to the power 1/2, up to a factor.
    """
    from .apart import apart  # compiled on first use

    if x.shape[0] == 0:
        return x
    most = 1.0 - max(1e-11, 0.5 * angle * angle)
    chosen = apart(unit_rows(x @ lengths), most, limit)
    return unit_rows(x[chosen])


def ranked(parts: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Weights and their levels, several sets of them as one, best first."""
    level = np.concatenate([level for _, level in parts])
    order = np.argsort(-level, kind="stable")
    return np.vstack([x for x, _ in parts])[order], level[order]


def unlike(x: Array, met: Array, lengths: Array) -> NDArray[np.bool_]:
    """Whether the weights x (N, n) are not where any of ``met`` (M, n) is, within an angle of 0.02; lengths: see ``different``."""
    from .apart import away  # compiled on first use

    return away(unit_rows(x @ lengths), unit_rows(met @ lengths), 1.0 - 2e-4)


def copied(x: Array, met: Array, lengths: Array, angle: float = 0.0) -> NDArray[np.bool_]:
    """Whether the weights x (N, n) are also among ``met`` (M, n), up to rounding, scale and ``angle``; lengths: see ``different``."""
    from .apart import away  # compiled on first use

    return ~away(unit_rows(x @ lengths), unit_rows(met @ lengths), 1.0 - max(4e-15, 0.5 * angle * angle))


def memorable(carrier: Carrier, x: Array, level: Array, most: int) -> Array:
    """Up to ``most`` of the weights x, best first, to begin with at other dual points: of those that are not high only such as are far apart.

    Where the penalty falls by a third, levels rise by up to two fifths; copies of the highest on flat ridges would fill any list. But
    where one input counts far more than others, basins that matter look alike.
    """
    lengths = evening(carrier.geometry)[1]
    if spread(carrier.geometry) > UNEVEN:
        return different(x[level > NEAR], most, 1e-2, lengths)
    high = different(x[level > HIGH], most, 1e-2, lengths)
    apart = different(x[level > LOW], max(1, most // 2), 0.1, lengths)
    return np.vstack([high[: most - apart.shape[0]], apart])

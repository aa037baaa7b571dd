"""What the input and the output view share: powers-of-two normal forms, and the replay of a partition at its level."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CertificateError
from ..problem import TwoLayerProblem
from ..rounding import down, up
from .bounds import tau_bounds
from .codec import decode_float
from .cone_tree import decode_tree
from .cones import LeafTest, check_partition

Array = NDArray[np.float64]

#: a partition begins with 2^r orthants, each with every row: what a file may ask for
MOST_DIMENSIONS, MOST_ROOT_PAIRS = 14, 2**26


def exponent(array: Array) -> int:
    """k with max |array| in [2^(k-1), 2^k), 0 for a zero array."""
    return int(math.frexp(float(np.abs(array).max(initial=0.0)))[1])


def scaled_back(problem: TwoLayerProblem, bound: float, shift: int) -> float:
    """sigma = 2^shift bound / sqrt(tau), rounded up; math.inf where it overflows or tau underflows."""
    root = float(down(math.sqrt(tau_bounds(problem)[0])))
    if not root > 0:
        return math.inf
    try:
        # divided before it is scaled back: a scaling that ends among the denormal numbers is inexact, and comes last
        return float(up(math.ldexp(float(up(bound / root * (1.0 + 2.0**-50))), shift)))
    except OverflowError:
        return math.inf


def replay_partition(
    view: str,
    artefact: dict[str, Any],
    claimed: float,
    shape: tuple[int, ...],
    sigma_at: Callable[[float, int], float],
    test_at: Callable[[float], LeafTest],
) -> float:
    """Regenerate the partition of R^r, prove every cone at the artefact's level, and return the sigma that follows.

    shape: (n, r) of the vectors along which cones are cut. sigma_at(level, depth), test_at(level): the view's own.
    """
    level = decode_float(artefact["level"], "the level")
    if shape[1] > MOST_DIMENSIONS or shape[0] << shape[1] > MOST_ROOT_PAIRS:
        raise CertificateError(f"a partition of R^{shape[1]} for {shape[0]} rows is out of range.")
    tree = decode_tree(shape[1], artefact, shape[0])
    sigma = sigma_at(level, tree.depth)
    if not sigma <= claimed:
        raise CertificateError(f"the {view}-view proof can give {sigma!r} at best, not {claimed!r}.")
    if not check_partition(tree, test_at(level)):
        raise CertificateError("a cone of the partition does not pass the test.")
    return sigma

"""The exponential cone {(x, y, z): y > 0, y exp(x / y) <= z} and its limits {x <= 0, y = 0, z >= 0}, and its dual cone.

The dual cone: {(u, v, w): u < 0, -u exp(v / u) <= e w} and its limits {u = 0, v >= 0, w >= 0}. Clarabel, SCS and CVXPY
list (x, y, z); MOSEK and the CBF format (z, y, x).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def violation(point: Array) -> float:
    """How far one coordinate has to move for (x, y, z) to lie in the cone, nearly; <= 0 inside."""
    x, y, z = (float(value) for value in point)
    if y <= 0.0:
        return max(x, -y, -z)
    return max(-z, min(_exceeds(y, x / y, z), x - y * math.log(z / y) if z > 0 else math.inf))


def dual_violation(point: Array) -> float:
    """The same for (u, v, w) and the dual cone."""
    u, v, w = (float(value) for value in point)
    if u >= 0.0:
        return max(u, -v, -w)
    return max(-w, min(_exceeds(-u, v / u - 1.0, w), u * (1.0 + math.log(w / -u)) - v if w > 0 else math.inf))


def _exceeds(factor: float, power: float, bound: float) -> float:
    """factor exp(power) - bound, infinite where that overflows."""
    return factor * math.exp(power) - bound if power < 700.0 else math.inf

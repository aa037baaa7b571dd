"""Replay of the Shor bound: relu neurons, K_X = A A^T of any rank, a bound that is always valid and cheap to check.

For a direction w in output space let q >= (Z^T w)_+ entry by entry. With a = relu(A theta) >= 0 we have
w . Z a <= q . a, and a_p (a_p - A_p theta) = 0. For D > 0 with s = sum q_p^2 / D_p < 1, completing the square in a gives

    (q . a)^2 <= t |theta|^2   wherever   t I - (A^T D A + b b^T / (1 - s)) / 4  is PSD,   b = A^T q.

Directions w_i whose consecutive cones cover the plane give |v| <= max_i w_i . v / c with c^2 = (n + m) / 2, n the least
|w_i|^2 and m <= n the least w_i . w_(i+1): if v = x w_i + y w_(i+1) has length 1, then max >= 1 / (x + y) and
1 >= (n - m) (x^2 + y^2) + m (x + y)^2 >= c^2 (x + y)^2. Outputs are taken in pairs, and the squares of the pairs add up.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CertificateError
from ..geometry import FactorGeometry
from ..problem import TwoLayerProblem
from ..rounding import down, matmul_bounds, sum_upper, up
from .bounds import tau_bounds
from .codec import decode_array
from .definite import proved_psd
from .slopes import left_slope

Array = NDArray[np.float64]


def directions_of(outputs: int, count: int) -> Array:
    """Directions (N, outputs), outputs 1 or 2: both signs, or ``count`` evenly spread over the circle."""
    if outputs == 1:
        return np.array([[1.0], [-1.0]])
    angles = 2.0 * np.pi * np.arange(count) / count
    return np.column_stack([np.cos(angles), np.sin(angles)])


def cover(directions: Array) -> float:
    """Lower bound on c^2 with |v| <= max_i w_i . v / c for all v; CertificateError unless the cones cover the space."""
    if directions.shape[1] == 1:
        if directions.shape[0] == 2 and directions[0, 0] > 0 > directions[1, 0]:
            return float(down(down(np.abs(directions).min() ** 2)))
        raise CertificateError("the directions do not cover the line.")
    following = np.roll(directions, -1, axis=0)
    turn = directions[:, 0] * following[:, 1] - directions[:, 1] * following[:, 0]
    slack = 4 * 2.0**-53 * (np.abs(directions[:, 0] * following[:, 1]) + np.abs(directions[:, 1] * following[:, 0]))
    inner = down((directions * following).sum(axis=1) - slack - 2.0**-50 * np.abs(directions * following).sum(axis=1))
    norms = down((directions**2).sum(axis=1) * (1 - 2.0**-50))
    angle = np.arctan2(turn, (directions * following).sum(axis=1)).sum()
    # every step turns left by less than a right angle, and together they make at least one whole turn: no gap is left
    if not ((turn > slack).all() and (inner > 0).all() and angle > 2.0 * np.pi - 1e-6):
        raise CertificateError("the directions do not cover the plane.")
    least, across = float(norms.min()), float(inner.min())
    return least if least < across else float(down(0.5 * down(least + across)))


def positive_part(dual: Array, direction: Array) -> Array:
    """q >= (Z^T w)_+ entry by entry, shape (P,)."""
    _, high = matmul_bounds(direction[None, :], dual)
    return np.asarray(np.maximum(high[0], 0.0))


def square_bound(factor: Array, q: Array, multipliers: Array) -> float:
    """A proved t with (q . relu(A theta))^2 <= t |theta|^2; math.inf if these multipliers prove none."""
    if not np.isfinite(q).all():  # a NaN would compare false below and drop its sample
        return math.inf
    used = q > 0
    if not used.any():
        return 0.0
    a, d, q = factor[used], multipliers[used], q[used]
    if not (np.isfinite(d).all() and (d > 0).all()):
        return math.inf
    s = float(sum_upper(up(up(q * q) / d)))
    room = float(down(1.0 - s))
    if not room > 0:
        return math.inf
    scaled = a * d[:, None]  # rounded once: an error of at most u |a| d, paid below
    lo, hi = matmul_bounds(a.T, scaled)
    _, extra = matmul_bounds(np.abs(a).T, up(np.abs(scaled) * 2.0**-52))
    b_lo, b_hi = matmul_bounds(q[None, :], a)
    b = np.maximum(np.abs(b_lo), np.abs(b_hi))[0]
    mid_b = 0.5 * (b_lo + b_hi)[0]
    rad_b = up(np.maximum(b_hi[0] - mid_b, mid_b - b_lo[0]))
    rank_one = np.outer(mid_b, mid_b) / room
    # |b b^T - mid mid^T| <= rad |b| + |b| rad; the quotient and products round a few times
    rad_one = up((np.outer(rad_b, b) + np.outer(b, rad_b)) / room) + 16 * 2.0**-53 * np.abs(rank_one)
    middle = 0.5 * (lo + hi) + rank_one
    middle = 0.5 * (middle + middle.T)
    radius = up(up(hi - lo) + extra + 2 * rad_one + 2.0**-48 * np.abs(middle) + 2.0**-1000)
    radius = np.maximum(radius, radius.T)
    if not (np.isfinite(middle).all() and np.isfinite(radius).all()):
        return math.inf
    top = float(np.linalg.eigvalsh(middle)[-1]) + float(radius.sum(axis=1).max())
    for slack in (1e-12, 1e-10, 1e-8, 1e-6):
        level = top * (1 + slack)
        shifted = level * np.eye(middle.shape[0]) - middle
        if proved_psd(shifted, up(radius + 2.0**-52 * np.abs(shifted))):
            return float(up(0.25 * up(level)))
    return math.inf


def shor_sigma(problem: TwoLayerProblem, dual: Array, groups: list[tuple[list[int], Array, Array]]) -> float:
    """The sigma that multipliers prove. groups: (outputs, directions (N, 1 or 2), multipliers (N, P)) for each pair."""
    geometry = problem.geometry
    if not isinstance(geometry, FactorGeometry) or left_slope(problem) != 0.0 or problem.width is not None:
        raise CertificateError("the Shor bound is for relu neurons of free mass and inputs given by a factor.")
    if sorted(k for outputs, _, _ in groups for k in outputs) != list(range(problem.n_outputs)):
        raise CertificateError("the groups of outputs do not make up all outputs.")
    total = 0.0
    for outputs, directions, multipliers in groups:
        if directions.shape[1] != len(outputs) or len(outputs) not in (1, 2):
            raise CertificateError("outputs are taken one or two at a time.")
        if multipliers.shape != (directions.shape[0], problem.n_samples):
            raise CertificateError("the multipliers do not fit the directions and samples.")
        worst = 0.0
        for w, d in zip(directions, multipliers):
            worst = max(worst, square_bound(geometry.factor, positive_part(dual[outputs], w), d))
        squared = cover(directions)
        if not 2.0**-900 < squared < 2.0**900:  # an under- or overflowing constant would divide the bound away
            raise CertificateError("the directions are of no ordinary length.")
        total = float(up(total + up(worst / squared)))
    tau, _ = tau_bounds(problem)
    if not (tau > 0 and math.isfinite(total)):
        return math.inf
    return float(up(math.sqrt(float(up(total / tau)))))


def replay(problem: TwoLayerProblem, dual: Array, claimed: float, artefact: dict[str, Any]) -> float:
    """The sigma of a "shor" proof."""
    groups = []
    for entry in artefact["groups"]:
        outputs = entry["outputs"]
        if not (isinstance(outputs, list) and all(type(k) is int and 0 <= k < problem.n_outputs for k in outputs)):
            raise CertificateError("a group of outputs is malformed.")
        directions = decode_array(entry["directions"], "directions", ndim=2)
        groups.append((outputs, directions, decode_array(entry["multipliers"], "multipliers", ndim=2)))
    return shor_sigma(problem, dual, groups)

"""What is known of phi(t) - phi(u) gives sup (phi(t) - phi(u))^2 / (a (t + u)^2 + b (t - u)^2) in closed form.

With v = t + u, y = t - u, d = phi(t) - phi(u) and x = |v / y| these follow, each by maximising over x:

    steepness   |d| <= m |y|                                        m^2 / b
    oscillation |d| <= m min(|y|, max(|t|, |u|))                    m^2 times W(x = b / a at most 1)
    threshold   0 <= phi(t) <= m t, and phi(t) = 0 for t <= 0       m^2 (a + b) / (4 a b)
    signed      0 <= phi(t) / t <= m                                m^2 max(1 / b, W(x = b / a at least 1))
    size        |phi(t)| <= m |t|                                   m^2 / min(a, b)
    two slopes  phi(t) = r t (t >= 0), l t (t <= 0)                 exactly the supremum

where max(|t|, |u|) = (|v| + |y|) / 2 and W is the supremum of ((1 + x) / 2)^2 / (a x^2 + b): (a + b) / (4 a b) where b / a is
allowed, else its value at x = 1, 1 / (a + b). phi oscillates by at most m x on every [-x, x]: relu, |t|, softplus, every
monotone phi of slope <= 1 and phi = 0 on t <= 0. The oscillation rule gives the constant of relu, the threshold rule
that of a step, the signed one for b <= 3 a that of a linear phi: these are the published candidates (docs/map.md).
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from ..activation import Activation, Piece
from ..activations.gated import Softplus
from .slopes import two_slopes


def largest_ratio(phi: Activation, a: Fraction, b: Fraction) -> Fraction | None:
    """The least of the bounds that apply, exactly; None where none does. a and b are positive."""
    found: list[Fraction] = []
    pair = two_slopes(phi)
    if pair is not None:
        return _of_two_slopes(*pair, a, b)
    everywhere = np.array([-math.inf, -math.inf, 0.0]), np.array([math.inf, 0.0, math.inf])
    slopes = phi.slope_bound_on(everywhere[0][:1], everywhere[1][:1])
    steep = max(abs(float(slopes[0][0])), abs(float(slopes[1][0])))
    mixed, edge = (a + b) / (4 * a * b), 1 / (a + b)
    if math.isfinite(steep):
        found.append(Fraction(steep) ** 2 / b)
        wide = oscillation(phi)
        if wide is not None:
            found.append(max(Fraction(steep), wide) ** 2 * (edge if b >= a else mixed))
    size = phi.ratio_bound()
    if math.isfinite(size):
        low, high = phi.bound_on(*everywhere)
        below, above = (float(low[1]), float(high[1])), (float(low[2]), float(high[2]))
        square = Fraction(size) ** 2
        found.append(square / min(a, b))
        if below == (0.0, 0.0) and above[0] >= 0.0:
            found.append(square * mixed)
        elif below[1] <= 0.0 <= above[0]:
            found.append(square * max(1 / b, mixed if b >= a else edge))
    return min(found, default=None)


def _of_two_slopes(left: Fraction, right: Fraction, a: Fraction, b: Fraction) -> Fraction:
    """t and u on the same side of 0: x >= 1, best at 1. On different sides: ((r - l) x / 2 + (r + l) / 2)^2, -1 <= x <= 1."""
    same = max(left**2, right**2) / (a + b)
    rise, level = (right - left) / 2, (right + left) / 2
    if abs(rise) * b > abs(level) * a:  # the best x lies beyond an end, where one of t and u is 0
        return same
    return rise**2 / a + level**2 / b


def oscillation(phi: Activation) -> Fraction | None:
    """m such that phi oscillates by at most m x on [-x, x], for every x >= 0; None where none is known."""
    if type(phi) is Softplus:
        return Fraction(1)  # increasing, with phi(x) - phi(-x) = x
    pieces = phi.pieces
    if pieces is None:
        return None
    # between the sizes of kinks the oscillation is a maximum of linear functions: convex, so the ends decide
    sizes = sorted({abs(p.right) for p in pieces if p.right is not None} - {Fraction(0)})
    ratios = [_width(pieces, x) / x for x in (*sizes, *([sizes[0] / 2] if sizes else [Fraction(1)]))]
    # beyond the last kink it grows by the steeper end, or by both
    left, right = pieces[0].slope, pieces[-1].slope
    return max(*ratios, abs(left), abs(right), abs(left + right))


def _width(pieces: tuple[Piece, ...], x: Fraction) -> Fraction:
    """max - min of phi on [-x, x]."""
    at = [t for p in pieces for t in (p.left, p.right) if t is not None and -x < t < x]
    values = [_value(pieces, t) for t in (-x, x, *at)]
    return max(values) - min(values)


def _value(pieces: tuple[Piece, ...], t: Fraction) -> Fraction:
    piece = next(p for p in pieces if (p.left is None or p.left <= t) and (p.right is None or t <= p.right))
    return piece.slope * t + piece.intercept

"""cvxpy constraints that approximate the copositive and the completely positive cone from inside or outside."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..errors import InputError
from ..validate import integer, one_of, shown

CONES = ("copositive", "completely_positive")
SIDES = ("inner", "outer")
KINDS = ("psd", "polyhedral")
MOST_LEVEL = 100


def constraint(X: Any, level: int = 1, *, cone: str = "copositive", side: str = "", kind: str = "psd") -> list[Any]:
    """Constraints on a square cvxpy expression X (n, n), symmetric; pass them to ``cvxpy.Problem``.

    cone "copositive", side "inner" (the default side): sufficient for copositivity. kind "psd": level 0 is PSD + N,
    level 1 Parrilo's cone K^1 (in the form of Bomze and de Klerk 2002). kind "polyhedral": all coefficients of
    (sum x)^level x^T X x nonnegative (de Klerk and Pasechnik 2002), linear, any level.
    cone "copositive", side "outer": v^T X v >= 0 on the grid {v in the simplex : (level + 2) v integer}; kind "polyhedral".
    cone "completely_positive", side "outer" (the default side): the duals of the above: level 0 is doubly nonnegative,
    level 1 asks for a nonnegative symmetric third-order tensor with PSD slices that sum to X; "polyhedral": any level.
    cone "completely_positive", side "inner": X is a nonnegative combination of v v^T over that grid; kind "polyhedral".
    """
    import cvxpy

    one_of(cone, "cone", CONES)
    if isinstance(side, str) and not side:
        side = "inner" if cone == "copositive" else "outer"
    one_of(side, "side", SIDES)
    one_of(kind, "kind", KINDS)
    level = integer(level, "level", least=0, most=MOST_LEVEL)
    try:
        x = X if isinstance(X, cvxpy.Expression) else cvxpy.Constant(np.asarray(X))
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"X must be a cvxpy expression, not {shown(X)}.") from error
    if x.is_complex():
        raise InputError("X is complex; copositivity is about real symmetric matrices.")
    if x.ndim != 2 or x.shape[0] != x.shape[1]:
        raise InputError(f"X must be a square matrix expression; its shape is {x.shape}.")
    n = int(x.shape[0])
    natural = (cone == "copositive") == (side == "inner")
    if not natural and kind == "psd":
        raise InputError(
            f"the {side} approximation of the {cone.replace('_', ' ')} cone is polyhedral; pass kind='polyhedral'."
        )
    if kind == "psd" and level > 1:
        raise InputError("semidefinite approximations are offered at levels 0 and 1; use kind='polyhedral' beyond.")
    if not natural:
        return _grid(cvxpy, x, n, level + 2, dual=cone == "completely_positive")
    if kind == "polyhedral":
        return _polya(cvxpy, x, n, level) if cone == "copositive" else _polya_dual(cvxpy, x, n, level)
    if level == 0:
        return _level_zero(cvxpy, x, n, cone)
    return _parrilo(cvxpy, x, n) if cone == "copositive" else _parrilo_dual(cvxpy, x, n)


def _level_zero(cvxpy: Any, x: Any, n: int, cone: str) -> list[Any]:
    if cone == "completely_positive":
        return [x >> 0, x >= 0, x == x.T]
    p = cvxpy.Variable((n, n), PSD=True)
    return [x - p >= 0, x == x.T]


def _parrilo(cvxpy: Any, x: Any, n: int) -> list[Any]:
    s = [cvxpy.Variable((n, n), symmetric=True) for _ in range(n)]
    out = [x == x.T]
    for i in range(n):
        out += [x - s[i] >> 0, s[i][i, i] == 0]
        out += [s[i][j, j] + 2 * s[j][i, j] == 0 for j in range(n) if j != i]
    out += [s[i][j, k] + s[j][i, k] + s[k][i, j] >= 0 for i, j, k in itertools.combinations(range(n), 3)]
    return out


def _parrilo_dual(cvxpy: Any, x: Any, n: int) -> list[Any]:
    place = {k: t for t, k in enumerate(itertools.combinations_with_replacement(range(n), 3))}
    tensor = cvxpy.Variable(len(place), nonneg=True)

    def entry(i: int, j: int, k: int) -> Any:
        a, b, c = sorted((i, j, k))
        return tensor[place[a, b, c]]

    slices = [cvxpy.bmat([[entry(i, j, k) for k in range(n)] for j in range(n)]) for i in range(n)]
    return [*(piece >> 0 for piece in slices), x == sum(slices[1:], slices[0])]


def _grid(cvxpy: Any, x: Any, n: int, steps: int, *, dual: bool) -> list[Any]:
    points = np.array([v for v in _compositions(n, steps)], dtype=float) / steps
    if dual:
        weights = cvxpy.Variable(len(points), nonneg=True)
        return [x == points.T @ cvxpy.diag(weights) @ points]
    return [cvxpy.sum(cvxpy.multiply(np.outer(v, v), x)) >= 0 for v in points] + [x == x.T]


def _compositions(n: int, total: int) -> Any:
    if n == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _compositions(n - 1, total - first):
            yield (first, *rest)


def _polya_rows(n: int, level: int) -> list[np.ndarray]:
    """For each exponent m of degree level + 2 the matrix C with coefficient <C, X> (up to a positive factor).

    The coefficient of x^m in (sum x)^r x^T X x is r! / prod m! times (m^T X m - sum m_i X_ii).
    """
    out = []
    for m in _compositions(n, level + 2):
        v = np.array(m, dtype=float)
        out.append((np.outer(v, v) - np.diag(v)) / ((level + 2) * (level + 1)))
    return out


def _polya(cvxpy: Any, x: Any, n: int, level: int) -> list[Any]:
    return [cvxpy.sum(cvxpy.multiply(c, x)) >= 0 for c in _polya_rows(n, level)] + [x == x.T]


def _polya_dual(cvxpy: Any, x: Any, n: int, level: int) -> list[Any]:
    rows = _polya_rows(n, level)
    weights = cvxpy.Variable(len(rows), nonneg=True)
    flat = np.array([c.ravel() for c in rows])
    return [cvxpy.vec(x, order="C") == flat.T @ weights]

"""Replay of the copositive lift (theory section 3.1): one positive semidefiniteness test of an interval matrix.

With h = a - b, a, b >= 0, a_p b_p = 0 and phi(h) = a - s b (s the slope on the left of 0; s = 0 for relu), a bound
sigma^2 tau = t holds if for some diagonal D and entrywise nonnegative N

    t c(h)  >=  |Z (a - s b)|^2 - 2 a^T D b + (a, b)^T N (a, b)      for all h = a - b in range K_X, a and b of any sign,

because a^T D b = 0 and the N-form is >= 0 on the patterns that matter. The right-hand side is a quadratic form W in
(a, b) = (h + b, b). Put h = K u, so that c(h) = u^T K u: no inverse of K_X is formed, and the claim is that

    [[ t K - K W_hh K,  -K W_hb ],
     [ -W_bh K,         -W_bb   ]]      is positive semidefinite,

    W_hh = X = G + N_aa,   W_hb = X + E,   W_bb = X + E + E^T + s^2 G + N_bb,   E = N_ab - D - s G,   G = Z^T Z.

Reduced form: for relu and K_X = diag + w b b^T with all entries of b of one sign, the off-diagonal entries of K_X^-1
are <= 0, so that b = 0 costs least and t K - K (G + N) K positive semidefinite, of order P, is enough.

Inputs given by a factor A (P, r) with r < P: h = A theta, c(h) <= |theta|^2 with equality for some theta, and the claim is
the same with A in the place of K and t I in the place of t K: a matrix of order r + P.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CertificateError
from ..geometry import DenseGeometry, DiagonalPlusLowRank, FactorGeometry
from ..problem import TwoLayerProblem
from ..rounding import up
from .ball import Ball
from .bounds import tau_bounds
from .codec import decode_array, decode_float, expect_keys
from .definite import proved_psd
from .slopes import left_slope

Array = NDArray[np.float64]


def kernel_ball(problem: TwoLayerProblem) -> Ball:
    """K_X, enclosed."""
    geometry = problem.geometry
    if isinstance(geometry, DenseGeometry):
        return Ball.exact(geometry.kernel)
    if isinstance(geometry, FactorGeometry):
        factor = Ball.exact(geometry.factor)
        return factor @ factor.transpose
    if isinstance(geometry, DiagonalPlusLowRank):
        columns = Ball.exact(geometry.columns)
        return Ball.exact(np.diag(geometry.diagonal)) + columns.scaled(geometry.weight) @ columns.transpose
    raise CertificateError(f"the lift does not know geometries of class {type(geometry).__name__}.")


def reducible(problem: TwoLayerProblem) -> bool:
    """Whether the reduced form of order P is valid: relu, and K_X^-1 has no positive off-diagonal entry."""
    g = problem.geometry
    if left_slope(problem) != 0.0 or not isinstance(g, DiagonalPlusLowRank) or g.weight.size > 1:
        return False
    return bool((g.columns >= 0).all() or (g.columns <= 0).all())


def lift_sigma(problem: TwoLayerProblem, dual: Array, t: float, diagonal: Array | None, slack: Array) -> float:
    """sigma if the lift proves sup |Z phi(h)|^2 / c(h) <= t, else inf.

    diagonal: D (P,) and slack: N (2P, 2P); or None and N (P, P) for the reduced form. N symmetric, entrywise >= 0.
    """
    n = problem.n_samples
    slope = left_slope(problem)
    if slope is None or not (math.isfinite(t) and t >= 0):
        return math.inf
    order = n if diagonal is None else 2 * n
    if slack.shape != (order, order) or not (slack >= 0).all() or not np.array_equal(slack, slack.T):
        return math.inf
    if diagonal is None and not reducible(problem):
        return math.inf
    with np.errstate(all="ignore"):
        basis, cost = _coordinates(problem)
        z = Ball.exact(dual)
        gram = z.transpose @ z
        x = gram + Ball.exact(slack[:n, :n])
        form = cost.times(t) - basis.transpose @ (x @ basis)
        if diagonal is not None:
            if diagonal.shape != (n,) or not np.isfinite(diagonal).all():
                return math.inf
            e = Ball.exact(slack[:n, n:]) - Ball.exact(np.diag(diagonal))
            corner = x + Ball.exact(slack[n:, n:])
            if slope != 0.0:
                e = e - gram.times(slope)
                corner = corner + gram.times(slope).times(slope)
            cross = basis.transpose @ (x + e)
            form = Ball.blocks([[form, -cross], [-cross.transpose, -(corner + (e + e.transpose))]])
        form = form.symmetric()
        if not proved_psd(form.mid, form.rad):
            return math.inf
    tau, _ = tau_bounds(problem)
    if not tau > 0:
        return math.inf
    with np.errstate(over="ignore"):
        return float(up(np.sqrt(up(np.float64(t) / tau))))


def _coordinates(problem: TwoLayerProblem) -> tuple[Ball, Ball]:
    """(B, C) with h = B u and c(h) = u^T C u: B = C = K_X, or B = A and C = I where that is smaller."""
    geometry = problem.geometry
    if isinstance(geometry, FactorGeometry) and geometry.n_parameters < geometry.n_samples:
        return Ball.exact(geometry.factor), Ball.exact(np.eye(geometry.n_parameters))
    kernel = kernel_ball(problem)
    return kernel, kernel


def replay_lift(problem: TwoLayerProblem, dual: Array, claimed: float, artefact: dict[str, Any]) -> float:
    """The checker's side of the copositive engine."""
    expect_keys(artefact, {"t", "diagonal", "slack"}, "the copositive proof")
    t = decode_float(artefact["t"], "t")
    diagonal = None if artefact["diagonal"] is None else decode_array(artefact["diagonal"], "the diagonal D", ndim=1)
    triangle = decode_array(artefact["slack"], "the matrix N", ndim=1)
    order = problem.n_samples * (1 if diagonal is None else 2)
    if triangle.size != order * (order - 1) // 2:
        raise CertificateError(f"the matrix N of order {order} has {triangle.size} entries above its diagonal.")
    return lift_sigma(problem, dual, t, diagonal, unpack(triangle, order))


def pack(matrix: Array) -> Array:
    """The entries above the diagonal (that of N is zero: it never helps)."""
    return np.asarray(matrix[np.triu_indices(matrix.shape[0], 1)])


def unpack(triangle: Array, order: int) -> Array:
    """The inverse of ``pack``."""
    out = np.zeros((order, order))
    out[np.triu_indices(order, 1)] = triangle
    return out + out.T

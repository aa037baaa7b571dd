"""Free mass by two proofs: an excess for neurons of some cost, and a homogeneous function for smaller ones.

Let kappa bound the excess |Z phi(h)|^2 / (4 l2) - l1 c(h) over all h, and d > 0. Where c(h) >= d

    |Z phi(h)|^2 <= tau c + 4 l2 kappa <= tau c (1 + kappa / (l1 d)).

Where c(h) < d, |h_p| <= sqrt((K_X)_pp d) <= e. With a base psi (relu or linear), a slope m and |phi(t) - m psi(t)| <= w |t| for
|t| <= e (difference quotients from phi(0) = 0),

    |Z phi(h)| <= |m| |Z psi(h)| + w |Z|_2 |h| <= sqrt(tau c) (|m| sigma_psi + w |Z|_2 (|K_X| / tau)^(1/2)).

The larger of both is sigma. The same base, slope and proofs hold for every width, because free mass includes it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..activation import Activation
from ..activations.piecewise import Linear, ReLU
from ..errors import CertificateError
from ..geometry import DiagonalPlusLowRank, FactorGeometry, Geometry
from ..problem import TwoLayerProblem
from ..rounding import down, gram_norm_upper, square_interval, sum_upper, up
from .bounds import tau_bounds
from .codec import decode_float, expect_keys

Array = NDArray[np.float64]

BASES: dict[str, type[Activation]] = {"relu": ReLU, "linear": Linear}


def diagonal_upper(geometry: Geometry) -> float:
    """A bound on the largest (K_X)_pp: |h_p|^2 <= (K_X)_pp c(h)."""
    if isinstance(geometry, FactorGeometry):
        _, squares = square_interval(geometry.factor, geometry.factor)
        return float(np.max(sum_upper(squares, axis=1)))
    if isinstance(geometry, DiagonalPlusLowRank):
        _, squares = square_interval(geometry.columns, geometry.columns)
        return float(np.max(up(geometry.diagonal + sum_upper(up(squares * np.maximum(geometry.weight, 0.0)), axis=1))))
    return geometry.norm_bound()


def based_on(problem: TwoLayerProblem, base: str) -> TwoLayerProblem:
    """The free-mass problem with the base in the place of phi."""
    if base not in BASES:
        raise CertificateError(f"a base for small neurons is one of {', '.join(BASES)}, not {base!r}.")
    return replace(problem, activation=BASES[base](), width=None, known_=None, recipe_=None)


def with_unit_width(problem: TwoLayerProblem) -> TwoLayerProblem:
    """The problem under a width: what an excess is proved for (it does not depend on the width)."""
    return replace(problem, width=1.0, known_=None, recipe_=None)


def deviation(phi: Activation, base: str, slope: float, reach: float) -> float:
    """w with |phi(t) - slope psi(t)| <= w |t| for |t| <= reach; math.inf where nothing is known."""
    if not math.isfinite(phi.ratio_bound()):  # with finite slopes this means phi(0) = 0, exactly
        return math.inf
    low, high = _side_slopes(phi, reach)
    sides = np.array([0.0 if base == "relu" else slope, slope])
    w = float(np.max(up(np.maximum(high - sides, sides - low))))
    return w if w >= 0 else math.inf


def _side_slopes(phi: Activation, reach: float) -> tuple[Array, Array]:
    """Ranges of the slopes of phi on (-reach, 0) and on (0, reach): (2,) and (2,). Exact pieces know kinks at 0 to be ends."""
    if phi.pieces is None:
        return phi.slope_bound_on(np.array([-reach, 0.0]), np.array([0.0, reach]))
    sides: tuple[list[float], list[float]] = [], []
    for piece in phi.pieces:
        slope = float(piece.slope)
        if Fraction(slope) != piece.slope:
            return np.full(2, -math.inf), np.full(2, math.inf)
        left = -math.inf if piece.left is None else piece.left
        right = math.inf if piece.right is None else piece.right
        for side, (a, b) in zip(sides, ((-reach, 0.0), (0.0, reach))):
            if left < b and right > a:
                side.append(slope)
    return np.array([min(side) for side in sides]), np.array([max(side) for side in sides])


def two_scales_sigma(
    problem: TwoLayerProblem, dual: Array, base: str, slope: float, least: float, kappa: float, sigma: float
) -> float:
    """sigma of the module's docstring: least is d, kappa the proved excess, sigma that of the base; inf where none follows."""
    if not (least > 0 and kappa >= 0 and sigma >= 0 and math.isfinite(slope) and math.isfinite(least)):
        return math.inf
    tau, _ = tau_bounds(problem)
    if not tau > 0:
        return math.inf
    with np.errstate(all="ignore"):
        large = float(up(np.sqrt(up(1.0 + up(kappa / down(problem.lambda1 * least))))))
        reach = float(up(np.sqrt(up(diagonal_upper(problem.geometry) * least))))
        w = deviation(problem.activation, base, slope, reach)
        norm = float(up(gram_norm_upper(dual.T) * problem.geometry.norm_bound()))
        crude = float(up(np.sqrt(up(norm / tau))))
        small = float(up(up(abs(slope) * sigma) + up(w * crude)))
    worst = max(large, small)
    return worst if worst >= large and worst >= small else math.inf  # NaN in either


def replay_two_scales(problem: TwoLayerProblem, dual: Array, claimed: float, artefact: dict[str, Any]) -> float:
    """sigma from the two proofs inside."""
    from .replays import supremum  # which holds the replays that call this

    expect_keys(artefact, {"base", "slope", "least", "excess", "small"}, "the proof at two scales")
    base = artefact["base"]
    kappa = supremum(with_unit_width(problem), dual, artefact["excess"])
    sigma = supremum(based_on(problem, base), dual, artefact["small"])
    slope, least = decode_float(artefact["slope"], "the slope"), decode_float(artefact["least"], "the least cost")
    return two_scales_sigma(problem, dual, base, slope, least, kappa, sigma)

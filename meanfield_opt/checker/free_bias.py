"""Replay for an unpenalised hidden bias: a proof for the problem with the bias column c 1 on inputs X' = fl(X - 1 m).

phi(t) = l t for t <= 0 and r t for t >= 0, and Z 1 = 0 exactly. Let R >= max_p |x'_p|. Where |b| > R |w| all entries of
X' w + b 1 have one sign, so that Z phi is l Z X' w or r Z X' w, as at |b| = R |w|. Elsewhere the neuron (w, b / c) of the
surrogate costs |w|^2 + (b / c)^2 <= |w|^2 (1 + (R / c)^2). Hence with the surrogate's sigma

    |Z phi(X' w + b 1)| <= sigma sqrt(1 + (R / c)^2) sqrt(tau) |w|     for all (w, b);

w = 0 gives Z phi = 0. And |x'_pj - (x_pj - m_j)| <= 2^-53 |x'_pj| + 2^-1074 with b' = b + m.w moves a pattern by at most
|X' + tiny|_F 2^-53 |w|, so that |Z phi| moves by at most |Z|_F max(|l|, |r|) times that.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CertificateError
from ..geometry import FactorGeometry, FreeBiasGeometry
from ..problem import TwoLayerProblem
from ..rounding import down, square_interval, sum_upper, up
from .bounds import tau_bounds
from .codec import decode_array, decode_float
from .slopes import float_slopes

Array = NDArray[np.float64]


def surrogate_of(problem: TwoLayerProblem, centre: Array, column: float) -> TwoLayerProblem:
    """The problem with inputs [X - m, c 1] (P, d_X + 1), a penalised bias, and free mass."""
    space = problem.geometry
    assert isinstance(space, FreeBiasGeometry)
    factor = np.hstack([space.inputs - centre, np.full((space.n_samples, 1), column)])
    return replace(problem, geometry=FactorGeometry(factor), width=None, known_=None, recipe_=None, symmetry=None)


def _norm_upper(array: Array) -> float:
    """An upper bound on the Frobenius norm."""
    _, squares = square_interval(array, array)
    return float(up(np.sqrt(sum_upper(squares.ravel()))))


def free_bias_sigma(problem: TwoLayerProblem, dual: Array, centre: Array, column: float, sigma: float) -> float:
    """sup |Z phi(h)| / sqrt(tau c(h)) of the problem from a bound on the surrogate's; math.inf where nothing follows."""
    space, slopes = problem.geometry, float_slopes(problem)
    if not isinstance(space, FreeBiasGeometry) or slopes is None or not 0.0 < column < math.inf:
        return math.inf
    if centre.shape != (space.inputs.shape[1],) or not np.isfinite(centre).all() or not math.isfinite(sigma):
        return math.inf
    if any(math.fsum(row) != 0.0 for row in dual):  # correctly rounded, so zero only if exactly zero
        return math.inf
    with np.errstate(all="ignore"):
        moved = space.inputs - centre
        _, squares = square_interval(moved, moved)
        square = up(np.max(sum_upper(squares, axis=1)) / down(column * column))
        stretch = up(np.sqrt(up(1.0 + square)))
        drift = up(2.0**-53 * _norm_upper(moved)) + 2.0**-1000
        size = up(up(_norm_upper(dual) * max(abs(s) for s in slopes)) * drift)
        root = down(math.sqrt(tau_bounds(problem)[0]))
        total = float(up(up(stretch * sigma) + up(size / root))) if root > 0 else math.inf
    return total if total >= 0 else math.inf


def decode(artefact: dict[str, Any]) -> tuple[Array, float, dict[str, Any]]:
    """(m, c, the surrogate's proof) of an artefact."""
    if set(artefact) != {"centre", "column", "proof"}:
        raise CertificateError("the proof for a free bias needs a centre, a column and the surrogate's proof.")
    centre = decode_array(artefact["centre"], "the centre", ndim=1)
    return centre, decode_float(artefact["column"], "the column"), artefact["proof"]

"""Replay of sign-cell proofs: sigma as a copositivity question for each sign pattern of h, one pattern an orbit.

K_X of full rank, phi(t) = t for t >= 0 and slope t for t <= 0. On the cell {h = S u, u >= 0}, S = diag(signs), the claim
t c(h) >= |Z phi(h)|^2 is the copositivity of M_S = t S K^-1 S - F Z^T Z F, F = diag(1 or -slope). The 2^P closed cells
cover everything. A permutation g of the samples with a signed permutation of the outputs that fixes K_X and Z, exactly,
carries a cell onto another with the same supremum; the checker tests this itself, entry by entry in rationals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import flint
import numpy as np
from numpy.typing import NDArray

from ..errors import CertificateError
from ..geometry import DenseGeometry, DiagonalPlusLowRank, FactorGeometry
from ..problem import TwoLayerProblem
from .codec import decode_float, expect_keys
from .copositive import replay as replay_copositive
from .exact import is_psd, rational, rational_matrix
from .slopes import left_slope
from .symmetric import sqrt_upper, tau_exact

Array = NDArray[np.float64]

MOST_SAMPLES = 10


def exact_kernel(problem: TwoLayerProblem) -> flint.fmpq_mat:
    """K_X in exact rationals."""
    space = problem.geometry
    if isinstance(space, DenseGeometry):
        return rational_matrix(space.kernel)
    if isinstance(space, FactorGeometry):
        factor = rational_matrix(space.factor)
        return factor * factor.transpose()
    if isinstance(space, DiagonalPlusLowRank):
        columns, p = rational_matrix(space.columns), space.n_samples
        weight, diagonal = [rational(w) for w in space.weight], [rational(v) for v in space.diagonal]
        r = range(len(weight))
        return flint.fmpq_mat(
            p, p, [
                sum((columns[i, k] * weight[k] * columns[j, k] for k in r), diagonal[i] * int(i == j))
                for i in range(p) for j in range(p)
            ],
        )  # fmt: skip
    raise CertificateError(f"sign cells do not know geometries of class {type(space).__name__}.")


class Cells:
    """The matrices M_S of a problem at a dual point, as primitive integer matrices."""

    def __init__(self, problem: TwoLayerProblem, dual: Array, t: float) -> None:
        slope, p = left_slope(problem), problem.n_samples
        if slope is None or problem.width is not None or p > MOST_SAMPLES or not (math.isfinite(t) and t > 0):
            raise CertificateError(
                "sign cells need free mass, a piecewise linear activation with its kink at 0, few samples."
            )
        self.kernel = exact_kernel(problem)
        if not is_psd(self.kernel):
            raise CertificateError("K_X is not positive semidefinite.")
        z = rational_matrix(dual)
        self.gram = z.transpose() * z
        try:
            self.inverse = self.kernel.inv()
        except ZeroDivisionError as error:
            raise CertificateError("sign cells need K_X of full rank.") from error
        self.t, self.slope, self.samples = rational(t), rational(slope), p

    def matrix(self, code: int) -> list[list[int]]:
        """M_S for the cell whose p-th sign is - where bit p of ``code`` is set."""
        p = self.samples
        sign = [-1 if code >> i & 1 else 1 for i in range(p)]
        f = [-self.slope if s < 0 else rational(1) for s in sign]
        form = flint.fmpq_mat(
            p, p, [
                self.t * self.inverse[i, j] * (sign[i] * sign[j]) - f[i] * self.gram[i, j] * f[j]
                for i in range(p) for j in range(p)
            ],
        )  # fmt: skip
        numerators, _ = form.numer_denom()
        rows = [[int(v) for v in row] for row in numerators.tolist()]
        divisor = math.gcd(*(v for row in rows for v in row)) or 1
        return [[v // divisor for v in row] for row in rows]

    def ratio(self, code: int, u: Sequence[Fraction]) -> Fraction:
        """|Z phi(h)|^2 / c(h) at h = S u."""
        p = self.samples
        sign = [-1 if code >> i & 1 else 1 for i in range(p)]
        h = flint.fmpq_mat(p, 1, [rational(v) * s for v, s in zip(u, sign)])
        f = flint.fmpq_mat(p, 1, [rational(v) * (-self.slope if s < 0 else 1) for v, s in zip(u, sign)])
        value = (f.transpose() * self.gram * f)[0, 0] / (h.transpose() * self.inverse * h)[0, 0]
        return Fraction(int(value.p), int(value.q))


def cell_permutation(kernel: flint.fmpq_mat, dual: Array, generator: Any) -> NDArray[np.int64]:
    """The map of cell codes under a generator {"samples", "outputs", "signs"}; CertificateError unless it fixes K_X and Z."""
    expect_keys(generator, {"samples", "outputs", "signs"}, "a generator")
    (d, p), s, o, signs = dual.shape, generator["samples"], generator["outputs"], generator["signs"]
    for index, size in ((s, p), (o, d)):
        if any(type(v) is not int for v in index) or sorted(index) != list(range(size)):
            raise CertificateError("a generator is not a permutation.")
    if len(signs) != d or any(type(v) is not int or v not in (-1, 1) for v in signs):
        raise CertificateError("the signs of a generator are not +1 or -1.")
    if any(kernel[s[i], s[j]] != kernel[i, j] for i in range(p) for j in range(p)):
        raise CertificateError("a generator does not fix K_X.")
    if not np.array_equal(np.array(signs, dtype=np.float64)[:, None] * dual[o][:, s], dual):
        raise CertificateError("a generator does not fix the dual point.")
    codes = np.arange(1 << p, dtype=np.int64)
    image = np.zeros_like(codes)
    for i in range(p):
        image |= ((codes >> s[i]) & 1) << i
    return image


def orbits(samples: int, maps: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The least code of the orbit of every cell."""
    least = np.arange(1 << samples, dtype=np.int64)
    while True:
        before = least.copy()
        for image in maps:
            np.minimum.at(least, image, before)
            least = np.minimum(least, least[image])
        if np.array_equal(least, before):
            return least


def cells_sigma(problem: TwoLayerProblem, t: float) -> float:
    """sigma that follows from t, rounded up."""
    return sqrt_upper(Fraction(t) / tau_exact(problem))


def replay(problem: TwoLayerProblem, dual: Array, claimed: float, artefact: dict[str, Any]) -> float:
    """The sigma that the artefact proves: a copositivity proof for one cell of every orbit."""
    expect_keys(artefact, {"t", "generators", "proofs"}, "the proof by sign cells")
    t = decode_float(artefact["t"], "t")
    dual = np.asarray(dual, dtype=np.float64)
    if dual.shape != problem.targets.shape:
        raise CertificateError("the dual point has the wrong shape.")
    cells = Cells(problem, dual, t)
    try:
        maps = [cell_permutation(cells.kernel, dual, g) for g in artefact["generators"]]
        proofs = {int(code): proof for code, proof in artefact["proofs"].items()}
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise CertificateError(f"the proof by sign cells is malformed: {error!r}") from error
    least = orbits(cells.samples, maps)
    if any(not 0 <= code < least.size for code in proofs):
        raise CertificateError("a proof belongs to no sign cell.")
    if set(least.tolist()) != {int(least[code]) for code in proofs}:
        raise CertificateError("some orbit of sign cells has no proof.")
    for code, proof in proofs.items():
        replay_copositive(cells.matrix(code), proof)
    return cells_sigma(problem, t)

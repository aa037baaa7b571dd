"""Replay of the invariant certificate for hypercube tasks: 2 x 2 blocks in exact rationals.

Write h = a - b with a, b >= 0 and a_p b_p = 0, so that phi(h) = r a - l b (slopes r and l on the two sides of 0).
With Q = (K_X + e I)^-1 <= K_X^+ (e = 0 unless K_X is singular) and t = sigma^2 tau, the bound sigma holds if

    t [[Q, -Q], [-Q, Q]] + t [[0, delta I], [delta I, 0]] - t N  -  [[r^2, -r l], [-r l, l^2]] (x) Z^T Z   is PSD

for some entrywise nonnegative N, because a^T b = 0. Every matrix here is invariant under the translations of the cube
and under permutations of equal samples, so the characters chi_S turn it into one 2 x 2 block for each set S of labels.
N is antipodal (nu11, nu22) on the diagonal blocks and a mixture of translations by ``flips`` off them.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CertificateError
from ..problem import TwoLayerProblem
from .hypercube import Hypercube, hypercube_of, scales_of
from .slopes import two_slopes

Array = NDArray[np.float64]

_RATIONAL = re.compile(r"-?[0-9]{1,4000}(/[0-9]{1,4000})?")


def encode_fraction(x: Fraction) -> str:
    """An exact rational as text."""
    return f"{x.numerator}/{x.denominator}" if x.denominator != 1 else str(x.numerator)


def decode_fraction(text: Any, what: str) -> Fraction:
    """The inverse of ``encode_fraction``; CertificateError for anything else."""
    if not isinstance(text, str) or not _RATIONAL.fullmatch(text):
        raise CertificateError(f"{what} is not a rational number.")
    try:
        return Fraction(text)
    except ZeroDivisionError as error:
        raise CertificateError(f"{what} has denominator zero.") from error


def psd2(x: Fraction, y: Fraction, z: Fraction) -> bool:
    """Whether [[x, y], [y, z]] is positive semidefinite."""
    return x >= 0 and z >= 0 and x * z >= y * y


def largest_multiple(x: Fraction, y: Fraction, z: Fraction, u: tuple[Fraction, Fraction]) -> Fraction | None:
    """The largest t with [[x, y], [y, z]] - t u u^T PSD, for a PSD matrix; None where t is unbounded (u = 0)."""
    if u[0] == 0 and u[1] == 0:
        return None
    det = x * z - y * y
    if det > 0:
        return det / (z * u[0] ** 2 - 2 * y * u[0] * u[1] + x * u[1] ** 2)
    trace = x + z  # rank one at most: M = v v^T / ..., and u must lie in its range
    if trace == 0 or u[0] * y != u[1] * x or u[0] * z != u[1] * y:
        return Fraction(0)
    return trace / (u[0] ** 2 + u[1] ** 2)


def sqrt_upper(x: Fraction) -> float:
    """A float at least sqrt(x), x >= 0, at most two units in the last place above it; inf on overflow."""
    if x == 0:
        return 0.0
    shift = 64 - (x.numerator.bit_length() - x.denominator.bit_length()) // 2
    scaled = x * Fraction(4) ** shift
    above = Fraction(math.isqrt(math.floor(scaled)) + 1) / Fraction(2) ** shift
    try:
        root = float(above)
    except OverflowError:
        return math.inf
    while root < above:
        root = math.nextafter(root, math.inf)
    return root


def tau_exact(problem: TwoLayerProblem) -> Fraction:
    """4 l1 l2."""
    return 4 * Fraction(problem.lambda1) * Fraction(problem.lambda2)


def replay_hypercube(problem: TwoLayerProblem, dual: Array, claimed: float, artefact: dict[str, Any]) -> float:
    """The sigma that the artefact proves, from the problem's own arrays; CertificateError if it proves none."""
    cube = hypercube_of(problem)
    if cube is None:
        raise CertificateError("the data are not a hypercube task, so its symmetry cannot be used.")
    zeta = scales_of(dual, problem.targets)
    if zeta is None:
        raise CertificateError("the dual point is not invariant: it is not diag(zeta) Y.")
    slopes = two_slopes(problem.activation)
    if slopes is None:
        raise CertificateError(f"the invariant lift does not cover the activation {problem.activation.name}.")
    flips = artefact["flips"]
    if not isinstance(flips, list) or len(flips) > 4096:
        raise CertificateError("the list of flips is malformed.")
    translations = []
    for mask, weight in flips:
        if isinstance(mask, bool) or not isinstance(mask, int) or not 0 < mask < 1 << cube.labels:
            raise CertificateError(f"{mask!r} is no translation of the cube.")
        translations.append((mask, decode_fraction(weight, "a flip's weight")))
    numbers = {name: decode_fraction(artefact[name], name) for name in ("extra", "nu11", "nu22", "delta")}
    return hypercube_sigma(cube, tau_exact(problem), zeta, slopes, translations, **numbers)


def hypercube_sigma(
    cube: Hypercube,
    tau: Fraction,
    zeta: tuple[float, ...],
    slopes: tuple[Fraction, Fraction],
    flips: list[tuple[int, Fraction]],
    *,
    extra: Fraction,
    nu11: Fraction,
    nu22: Fraction,
    delta: Fraction,
) -> float:
    """The least sigma for which all blocks are PSD; CertificateError where a block fails whatever sigma is."""
    if extra < 0 or cube.ridge + extra <= 0:
        raise CertificateError("K_X is singular and the certificate adds no multiple of the identity to it.")
    if nu11 < 0 or nu22 < 0 or any(weight < 0 for _, weight in flips):
        raise CertificateError("N has a negative entry.")
    q0, q1, q2 = cube.inverse_eigenvalues(extra)
    total = sum((weight for _, weight in flips), Fraction(0))
    if not psd2(q0 - nu11, delta - q0 - total, q0 - nu22):
        raise CertificateError("the block of the constants is not PSD.")
    # functions that differ between equal samples: N is zero there
    if cube.copies > 1 and not psd2(q2, delta - q2, q2):
        raise CertificateError("the block of equal samples is not PSD.")
    # |S| >= 2: the flips that chi_S changes weigh something in [0, total]; the block is affine in that weight,
    # so its two ends suffice. The antipode acts by (-1)^|S|.
    for sign in (1, -1) if cube.labels > 1 else ():
        for changed in (Fraction(0), total):
            if not psd2(q2 - sign * nu11, delta - q2 - total + 2 * changed, q2 - sign * nu22):
                raise CertificateError("the block of a higher character is not PSD.")
    left, right = slopes
    squared = Fraction(0)
    for i, (q, scale) in enumerate(zip(q1, zeta)):
        changed = sum((weight for mask, weight in flips if mask >> i & 1), Fraction(0))
        x, y, z = q + nu11, delta - q - total + 2 * changed, q + nu22
        if not psd2(x, y, z):
            raise CertificateError(f"the block of label {i} is not PSD.")
        most = largest_multiple(x, y, z, (right, -left))
        strength = Fraction(scale) ** 2 * cube.samples / tau
        if strength == 0 or most is None:
            continue
        if most == 0:
            return math.inf
        squared = max(squared, strength / most)
    return sqrt_upper(squared)

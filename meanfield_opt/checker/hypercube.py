"""Recognise, exactly, that the data of a problem are a hypercube task: the symmetry is verified here, never believed.

The data qualify when Y holds signs only, every sign vector is the label of exactly n samples (in any order), and
K_X = s I + w_0 1 1^T + sum_i w_i v_i v_i^T with v_i the rows of Y. Then the translations of the cube, with their sign
changes of outputs, and the permutations of samples of equal label leave K_X and K_Y fixed.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ..geometry import DiagonalPlusLowRank, FactorGeometry
from ..problem import TwoLayerProblem

Array = NDArray[np.float64]

MOST_LABELS = 24
#: entries compared at a time, few enough to stay in a cache
RUN = 2**14


@dataclass(frozen=True)
class Hypercube:
    """K_X = ridge I + constant 1 1^T + sum_i weights[i] v_i v_i^T over n 2^d samples, all numbers exact."""

    labels: int
    copies: int
    ridge: Fraction
    constant: Fraction
    weights: tuple[Fraction, ...]

    @property
    def samples(self) -> int:
        """P = n 2^d."""
        return self.copies << self.labels

    def inverse_eigenvalues(self, extra: Fraction) -> tuple[Fraction, tuple[Fraction, ...], Fraction]:
        """Eigenvalues of (K_X + extra I)^-1 on 1, on each v_i, and on everything orthogonal to them."""
        s, p = self.ridge + extra, self.samples
        return 1 / (s + p * self.constant), tuple(1 / (s + p * w) for w in self.weights), 1 / s


_SEEN: weakref.WeakKeyDictionary[TwoLayerProblem, Hypercube | None] = weakref.WeakKeyDictionary()


def hypercube_of(problem: TwoLayerProblem) -> Hypercube | None:
    """The hypercube structure of a problem's arrays, or None. Entries are compared exactly."""
    if problem not in _SEEN:
        _SEEN[problem] = _recognise(problem)
    return _SEEN[problem]


def _recognise(problem: TwoLayerProblem) -> Hypercube | None:
    y = problem.targets
    copies = sign_classes(y)
    if copies is None:
        return None
    space = problem.geometry
    if isinstance(space, DiagonalPlusLowRank):
        ridge = Fraction(float(space.diagonal[0]))
        if not (space.diagonal == space.diagonal[0]).all():
            return None
        columns, weights = space.columns, [Fraction(float(w)) for w in space.weight]
    elif isinstance(space, FactorGeometry):
        ridge, columns, weights = Fraction(0), space.factor, [Fraction(1)] * space.factor.shape[1]
    else:
        return None
    constant, along = Fraction(0), [Fraction(0)] * y.shape[0]
    # a few samples tell the labels apart before whole rows are compared
    probe = np.unique(np.concatenate([2 ** np.arange(y.shape[1].bit_length() - 1), np.arange(min(64, y.shape[1]))]))
    few = y[:, probe]
    for column, weight in zip(columns.T, weights):
        column = np.ascontiguousarray(column)
        first = float(column[0])
        share = weight * Fraction(first) ** 2
        if (column == first).all():
            constant += share
            continue
        for i, row in enumerate(y):
            # signs times a float are exact, so this comparison is exact
            at_first = first * float(row[0])
            if np.array_equal(column[probe], at_first * few[i]) and (column == at_first * row).all():
                along[i] += share
                break
        else:
            return None
    return Hypercube(y.shape[0], copies, ridge, constant, tuple(along))


def sign_classes(targets: Array) -> int | None:
    """n if every sign vector is a column of ``targets`` (d, P) exactly n times and nothing else is; otherwise None."""
    d, p = targets.shape
    if d > MOST_LABELS or p % (1 << d):
        return None
    code = np.zeros(p, dtype=np.int32)
    for i, row in enumerate(targets):
        negative = row == -1.0
        if not (negative | (row == 1.0)).all():
            return None
        code |= negative.astype(np.int32) << i
    counts = np.bincount(code, minlength=1 << d)
    n = p >> d
    return n if (counts == n).all() else None


def scales_of(dual: Array, targets: Array) -> tuple[float, ...] | None:
    """zeta with Z = diag(zeta) Y exactly, for a sign matrix Y; None if there is none."""
    if dual.shape != targets.shape:
        return None
    scales = []
    for z, y in zip(dual, targets):
        zeta = float(z[0] * y[0])
        if not all((z[k : k + RUN] == zeta * y[k : k + RUN]).all() for k in range(0, z.size, RUN)):
            return None
        scales.append(zeta)
    return tuple(scales)

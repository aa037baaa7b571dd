"""Symmetries that a problem declares: exact actions on samples and, orthogonally, on outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from .signed import SignedPermutation

if TYPE_CHECKING:
    from ..problem import TwoLayerProblem

Array = NDArray[np.float64]


class Symmetry(ABC):
    """A group that permutes samples and acts orthogonally on outputs, leaving K_X, K_Y and the loss unchanged.

    By convexity some optimum is invariant, and averaging a dual point over the group never lowers its value. A declared
    symmetry is a proposal: ``preserves`` tests it, and no bound rests on it.
    """

    @property
    @abstractmethod
    def generators(self) -> tuple[SignedPermutation, ...]:
        """Permutations of the samples with signed permutations of the outputs that generate the group."""

    @abstractmethod
    def average_dual(self, dual: Array) -> Array:
        """The mean over the group of the transformed dual points, shape (d_Y, P)."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """The group in words and numbers, as JSON values."""

    @final
    def preserves(self, problem: TwoLayerProblem) -> bool:
        """Whether every generator leaves K_X and Y of a problem fixed, exactly."""
        return all(generator.preserves(problem) for generator in self.generators)


def average_over_hypercube(problem: TwoLayerProblem, dual: Array) -> Array | None:
    """The average of a dual point over the symmetries of a hypercube task, found from the data; None for other data.

    It is diag(zeta) Y, zeta_i = <Z_i, v_i> / P, with equal zeta for labels of equal weight in K_X (the permutations of
    such labels are symmetries too).
    """
    from ..checker.hypercube import hypercube_of

    cube = hypercube_of(problem)
    if cube is None:
        return None
    zeta = np.array([float((z * y).sum()) for z, y in zip(dual, problem.targets)]) / problem.n_samples
    for weight in set(cube.weights):
        alike = [i for i, w in enumerate(cube.weights) if w == weight]
        zeta[alike] = zeta[alike].mean()
    return np.asarray(zeta[:, None] * problem.targets)

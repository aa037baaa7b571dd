"""Symmetries that a problem declares: exact actions on samples and, orthogonally, on outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Symmetry(ABC):
    """A group that permutes samples and acts orthogonally on outputs, leaving K_X, K_Y and the loss unchanged.

    By convexity some optimum is invariant, and averaging a dual point over the group never lowers its value.
    """

    @abstractmethod
    def average_dual(self, dual: Array) -> Array:
        """The mean over the group of the transformed dual points, shape (d_Y, P)."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """The group in words and numbers, as JSON values."""

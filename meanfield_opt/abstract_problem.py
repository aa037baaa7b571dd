"""What a problem is to everything that is not about two layers: a name, a fingerprint, an energy and a dual."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .measure import Measure

Array = NDArray[np.float64]


@dataclass(frozen=True)
class KnownAnswer:
    """A published or derived answer: the optimal energy, where it is known from, and how far it is to be trusted.

    provenance: "proved", "published", "self-certified" or "conjectured".
    measure: builds an optimal measure, where known.
    """

    energy: float
    reference: str
    provenance: str
    measure: Callable[[], Measure] | None = None
    kernel: Callable[[], Array] | None = None


@dataclass(frozen=True)
class Recipe:
    """How to rebuild a problem by name: a registered family and its JSON parameters."""

    family: str
    parameters: Mapping[str, Any]


class MeanFieldProblem(ABC):
    """An energy E[rho] over positive measures on patterns; immutable, solver-free, identified by its fingerprint.

    Weak duality: dual_value(Z) <= inf E whenever the first variation of Z is nonnegative everywhere.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """A short human name."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 of everything that defines the problem."""

    @property
    @abstractmethod
    def recipe(self) -> Recipe | None:
        """How to rebuild it by name, or None."""

    @property
    @abstractmethod
    def known(self) -> KnownAnswer | None:
        """The known answer, or None."""

    @abstractmethod
    def energy(self, measure: Measure) -> float:
        """E[rho] in floating point."""

    @abstractmethod
    def dual_point(self, measure: Measure) -> Array:
        """The dual point that the optimality conditions assign to a measure."""

    @abstractmethod
    def dual_value(self, dual: Array) -> float:
        """The dual objective in floating point (a bound only where feasibility of the dual point is proved)."""

    @abstractmethod
    def first_variation(self, dual: Array, atoms: Array) -> Array:
        """g(h) for each row h of ``atoms`` (J, P): the energy's derivative when mass is put on h."""

    @abstractmethod
    def trivial_above(self) -> float:
        """The penalty scale beyond which the zero measure is optimal (math.inf where never)."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """The problem in JSON values, for reports."""

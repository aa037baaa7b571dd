"""What a backend returns: two separate witnesses, primal and dual, and what the solver said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .measure import Measure
from .problem import MeanFieldProblem, TwoLayerProblem

Array = NDArray[np.float64]

KERNEL_LIMIT = 20_000


class Status(Enum):
    """How a solve ended, as a sentence. No bound is ever taken from it."""

    SOLVED = "solved to the tolerance asked for"
    INACCURATE = "solved to less than the tolerance asked for"
    ITERATION_LIMIT = "stopped at the iteration limit with the best found so far"
    TIME_LIMIT = "stopped at the time limit with the best found so far"
    INTERRUPTED = "interrupted by the user with the best found so far"
    INFEASIBLE = "the program has no feasible point"
    UNBOUNDED = "the program is unbounded"
    FAILED = "the solver failed numerically"


@dataclass(frozen=True, eq=False)
class Solution:
    """A candidate optimum of ``problem``. ``energy`` is recomputed from the measure, not taken from the solver."""

    problem: MeanFieldProblem
    measure: Measure
    dual: Array
    status: Status
    backend: str
    stats: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def energy(self) -> float:
        """E of the measure, in floating point."""
        return self.problem.energy(self.measure)

    @property
    def features(self) -> Array:
        """sqrt(m_j) phi(h_j), shape (J, P): kernel = features.T @ features."""
        problem = self.two_layer
        return np.asarray(np.sqrt(self.measure.masses)[:, None] * problem.features(self.measure.atoms))

    @cached_property
    def kernel(self) -> Array:
        """K = int phi(h) phi(h)^T d rho, shape (P, P); use ``features`` where P is large."""
        if self.measure.atoms.shape[1] > KERNEL_LIMIT:
            raise InputError(
                f"the kernel would be {self.measure.atoms.shape[1]} x {self.measure.atoms.shape[1]}; use solution.features "
                "(kernel = features.T @ features) instead."
            )
        f = self.features
        return np.asarray(f.T @ f)

    @property
    def two_layer(self) -> TwoLayerProblem:
        """The problem, if it is a two-layer one; InputError otherwise."""
        if not isinstance(self.problem, TwoLayerProblem):
            raise InputError(f"{self.problem.name} is not a two-layer network problem.")
        return self.problem

    def to_torch(self) -> Any:
        """The measure as a torch.nn.Module (needs the torch extra)."""
        from .validation.networks import network_from_measure

        return network_from_measure(self.two_layer, self.measure)

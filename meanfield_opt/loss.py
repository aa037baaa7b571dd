"""What a loss is: a convex function of the outputs F (d_Y, P), its conjugate, and rigorous bounds of both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from .activation import field_values

Array = NDArray[np.float64]


class Loss(ABC):
    """A convex loss L(F; Y), summed over samples, with no factor 1/2 and no 1/P (the project's convention).

    Dual points are Z = -grad_F L; the dual objective is D(Z) = -L*(-Z) (theory section 2).
    Laws: L(F) + L*(S) >= <F, S>, with equality at S = grad L(F); D is concave; D(0) = min L.
    """

    name: str

    @abstractmethod
    def value(self, outputs: Array, targets: Array) -> float:
        """L(F; Y)."""

    @abstractmethod
    def gradient(self, outputs: Array, targets: Array) -> Array:
        """A (sub)gradient of L in F, shape (d_Y, P)."""

    @abstractmethod
    def conjugate(self, slopes: Array, targets: Array) -> float:
        """L*(S; Y) = sup_F <F, S> - L(F; Y); math.inf outside its domain."""

    @abstractmethod
    def project_dual(self, dual: Array, targets: Array) -> Array:
        """A point of dom D near Z (Z itself where D is finite everywhere)."""

    @abstractmethod
    def curvature(self) -> float:
        """A Lipschitz constant of the gradient (math.inf for a nonsmooth loss)."""

    @abstractmethod
    def value_upper(self, lo: Array, hi: Array, targets: Array) -> float:
        """Rigorous upper bound on L(F; Y) over all F in [lo, hi] entry by entry."""

    @abstractmethod
    def dual_lower(self, dual: Array, targets: Array, scale: float) -> float:
        """Rigorous lower bound on D(scale Z), scale >= 0 (-math.inf where it cannot be told finite)."""

    @abstractmethod
    def check_targets(self, targets: Array) -> None:
        """Raise InputError unless these targets make sense for the loss."""

    @abstractmethod
    def expression(self, outputs: Any, targets: Array) -> Any:
        """The loss as a cvxpy expression of a (d_Y, P) cvxpy expression."""

    @abstractmethod
    def torch_twin(self) -> Callable[[Any, Any], Any]:
        """The loss on torch tensors F (..., d_Y, P) and Y (d_Y, P), summed over the last two axes."""

    @abstractmethod
    def best_scale(self, dual: Array, targets: Array, limit: float) -> float:
        """An s in [0, limit] (limit may be inf) that nearly maximises the concave D(s Z)."""

    @property
    @final
    def parameters(self) -> dict[str, Any]:
        """Constructor arguments that rebuild this loss by name: the fields of the dataclass (JSON values)."""
        return field_values(self)

    @final
    def dual_value(self, dual: Array, targets: Array) -> float:
        """D(Z) = -L*(-Z)."""
        return -self.conjugate(-dual, targets)


def golden_scale(loss: Loss, dual: Array, targets: Array, ceiling: float) -> float:
    """Golden-section maximiser of D(s Z) over s in [0, ceiling]; for losses without a formula of their own."""
    lo, hi = 0.0, ceiling
    golden = 0.5 * (5**0.5 - 1)
    for _ in range(120):
        a, b = hi - golden * (hi - lo), lo + golden * (hi - lo)
        if loss.dual_value(a * dual, targets) >= loss.dual_value(b * dual, targets):
            hi = b
        else:
            lo = a
    return max((0.5 * (lo + hi), ceiling), key=lambda s: loss.dual_value(s * dual, targets))

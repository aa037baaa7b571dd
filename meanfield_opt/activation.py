"""What an activation is: a scalar function with rigorous bounds, and declared properties that tests hold it to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Piece:
    """One affine piece: phi(t) = slope t + intercept on (left, right); None stands for an infinite end."""

    left: Fraction | None
    right: Fraction | None
    slope: Fraction
    intercept: Fraction


@dataclass(frozen=True)
class Limit:
    """A homogeneous limit of phi: (phi(s t) - offset) / s -> left t (t < 0), right t (t > 0) as s -> 0 or s -> inf.

    where: "zero" or "infinity". offset: phi(0), a constant that free mass at h = 0 provides at no cost.
    Free mass escapes to such a limit when no finite pattern is as cheap (docs/activations.md).
    """

    where: str
    left: float
    right: float
    offset: float = 0.0


@dataclass(frozen=True)
class Asymptote:
    """|phi(t) - psi(t)| <= distance for all t, with psi(t) = left t for t <= 0 and right t for t >= 0: proved."""

    left: float
    right: float
    distance: float


def field_values(value: Any) -> dict[str, Any]:
    """The fields of a frozen dataclass as a dictionary of JSON values (empty for a class without fields).

    A field that is itself an activation or a loss becomes its name and its own fields.
    """
    out: dict[str, Any] = {}
    for field in fields(value):
        if field.metadata.get("hidden") or not field.init:
            continue
        item = getattr(value, field.name)
        out[field.name] = {"name": item.name, "parameters": item.parameters} if hasattr(item, "parameters") else item
    return out


class Activation(ABC):
    """A scalar activation phi.

    Subclasses are frozen dataclasses whose fields are the parameters. The declared properties (degree, odd, pieces,
    bounds) are promises: the conformance laws test them and certificates rest on ``bound_on`` and ``pieces``.
    """

    name: str
    #: k with phi(c t) = c^k phi(t) for all c > 0, or None where there is no such k
    degree: float | None = None
    #: phi(-t) = -phi(t)
    odd: bool = False
    #: whether bound_on, slope_bound_on, ratio_bound and pieces are proved; without that nothing is ever "proved"
    rigorous: bool = True
    #: where |phi(t)/t| tends to its supremum without reaching it; empty where a free-mass optimum exists
    escapes: tuple[Limit, ...] = ()
    #: the homogeneous function that phi stays near, for activations that grow; bounds on ever larger neurons rest on it
    asymptote: Asymptote | None = None
    #: rows (left, right, value) if phi takes finitely many values: phi is ``value`` only inside the closed [left, right]
    levels: tuple[tuple[float, float, float], ...] | None = None

    @abstractmethod
    def value(self, h: Array) -> Array:
        """phi, elementwise, any shape."""

    @abstractmethod
    def derivative(self, h: Array) -> Array:
        """phi', elementwise; any element of the Clarke subdifferential at a kink."""

    @abstractmethod
    def bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        """Rigorous (outward rounded) range of phi on each interval [lo, hi]; infinite ends allowed."""

    @abstractmethod
    def ratio_bound(self) -> float:
        """A proved upper bound on sup_t |phi(t)| / |t| (math.inf where there is none, as for a step at 0)."""

    @property
    @abstractmethod
    def pieces(self) -> tuple[Piece, ...] | None:
        """The exact affine pieces from left to right if phi is continuous and piecewise linear, else None."""

    @abstractmethod
    def slope_bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        """Rigorous range of the difference quotients of phi on each [lo, hi]; (-inf, inf) where unknown."""

    @property
    @final
    def parameters(self) -> dict[str, Any]:
        """Constructor arguments that rebuild this activation by name: the fields of the dataclass (JSON values)."""
        return field_values(self)

    @abstractmethod
    def torch_twin(self) -> Callable[[Any], Any]:
        """The same function on torch tensors (torch is imported inside)."""

    def __call__(self, h: Array) -> Array:
        return self.value(np.asarray(h, dtype=np.float64))

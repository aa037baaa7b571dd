"""What a loss is: a convex function of the outputs F (d_Y, P), its conjugate, and rigorous bounds of both."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from .activation import field_values

Array = NDArray[np.float64]
Index = NDArray[np.int64]


class Loss(ABC):
    """A convex loss L(F; Y), summed over samples, with no factor 1/2 and no 1/P (the project's convention).

    Dual points are Z = -grad_F L; the dual objective is D(Z) = -L*(-Z) (theory section 2).
    Laws: L(F) + L*(S) >= <F, S>, with equality at S = grad L(F); D is concave; D(0) = min L.
    """

    name: str
    #: L is a sum over the entries (k, p) of one function of (F_kp, Y_kp): a promise that reductions rest on
    entrywise: bool = False
    #: whether value_upper and dual_lower are proved; without that nothing is ever "proved"
    rigorous: bool = True

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


class Proximal(ABC):
    """A loss with a proximal operator: what a nonsmooth loss needs so that its output weights can be found."""

    @abstractmethod
    def proximal(self, outputs: Array, targets: Array, step: Array | float) -> Array:
        """argmin_G L(G; Y) + |G - F|^2 / (2 step), entry by entry; ``step`` > 0 may be an array like F."""


class SecondOrder(ABC):
    """A smooth loss, sum over entries or samples, with second derivatives: masters and atoms are then found by Newton's method."""

    @abstractmethod
    def curvature_roots(self, outputs: Array, targets: Array) -> Array | None:
        """Roots of the second derivatives at F, one of both where they jump: s (d_Y, P), whose squares they are, or where a sample's outputs
        are coupled C (d_Y, d_Y, P), its Hessian being C_p C_p^T. None for a loss built from one that has none."""


@dataclass(frozen=True, eq=False)
class ResidualForm:
    """Terms that linear and second-order cones hold: with t = slope f + intercept, entry by entry,

        l(f) = weight * min_q [ q^2 + above max(t - q, 0) + below max(q - t, 0) ]    (q = 0 where not ``quadratic``).

    All arrays (d_Y, P); weight > 0; above, below >= 0, math.inf where t = q is demanded (only where quadratic).
    Squared: above = below = inf. Hinge: not quadratic, above 1, below 0. Huber: above = below = 2 delta.
    """

    slope: Array
    intercept: Array
    quadratic: bool
    above: float
    below: float
    weight: Array

    def parts(self, outputs: Array) -> tuple[Array, Array, Array]:
        """(q, max(t - q, 0), max(q - t, 0)) of the minimum at F."""
        t = self.slope * outputs + self.intercept
        q = np.clip(t, -0.5 * self.below, 0.5 * self.above) if self.quadratic else np.zeros_like(t)
        return q, np.maximum(t - q, 0.0), np.maximum(q - t, 0.0)

    def value(self, outputs: Array) -> Array:
        """The terms, shape (d_Y, P)."""
        q, over, under = self.parts(outputs)
        linear = sum(
            c * np.where(u > 0, u, 0.0) for c, u in ((self.above, over), (self.below, under)) if math.isfinite(c)
        )
        return np.asarray(self.weight * (q**2 + linear))

    def curvature_roots(self, outputs: Array) -> Array:
        """See ``SecondOrder``; inside where they jump."""
        t = self.slope * outputs + self.intercept
        inside = self.quadratic & (t >= -0.5 * self.below) & (t <= 0.5 * self.above)
        return np.asarray(np.where(inside, np.sqrt(2.0 * self.weight) * np.abs(self.slope), 0.0))


class ConicTerms(ABC):
    """A loss whose terms are residual forms: conic backends and relaxations take it without a modelling language."""

    @abstractmethod
    def residual_form(self, targets: Array) -> ResidualForm | None:
        """The form, or None where there is none (for a loss built from another one that has none)."""


@dataclass(frozen=True, eq=False)
class ExponentialForm:
    """Terms that exponential cones hold: term t is weight[t] log sum_i exp(e_i) over its exponents, e = slope F, F flattened.

    term (m,): the term of each exponent; rows, entries, slopes: triplets of the (m, d_Y P) matrix; weight (terms,) > 0.
    """

    term: Index
    rows: Index
    entries: Index
    slopes: Array
    weight: Array

    def exponents(self, outputs: Array) -> Array:
        """e (m,) at F."""
        out = np.zeros(self.term.size)
        np.add.at(out, self.rows, self.slopes * outputs.ravel()[self.entries])
        return out

    def logarithms(self, exponents: Array) -> Array:
        """log sum exp of each term, without overflow."""
        top = np.full(self.weight.size, -math.inf)
        np.maximum.at(top, self.term, exponents)
        return np.asarray(top + np.log(np.bincount(self.term, np.exp(exponents - top[self.term]))))

    def value(self, outputs: Array) -> float:
        """The sum of the terms."""
        return float(self.weight @ self.logarithms(self.exponents(outputs)))


class ExponentialTerms(ABC):
    """A loss whose terms are logarithms of sums of exponentials: solvers with an exponential cone take it."""

    @abstractmethod
    def exponential_form(self, targets: Array) -> ExponentialForm | None:
        """The form, or None where there is none (for a loss built from another one that has none)."""


class SummedLoss(Loss):
    """A loss that is a sum of terms, one an entry (m = d_Y) or one a sample (m = 1).

    Terms can be weighted (``losses.weighted``), and everything a ``Loss`` owes follows from them.
    """

    #: the terms couple the outputs of a sample (m = 1), so that only sample weights make sense
    columnwise: bool = False

    @abstractmethod
    def terms(self, outputs: Array, targets: Array) -> Array:
        """The terms, shape (m, P)."""

    @abstractmethod
    def conjugate_terms(self, slopes: Array, targets: Array) -> Array:
        """The conjugates of the terms, shape (m, P); math.inf outside their domain."""

    @abstractmethod
    def terms_upper(self, lo: Array, hi: Array, targets: Array) -> Array:
        """Rigorous upper bounds of the terms over all F in [lo, hi], shape (m, P)."""

    @abstractmethod
    def dual_terms_lower(self, dual: Array, lo: Array, hi: Array, targets: Array) -> Array:
        """Rigorous lower bounds of -conjugate(-s Z), shape (m, P), valid for every s in [lo, hi], 0 <= lo <= hi.

        The factors broadcast against (m, P) and are one number a term. -math.inf where finiteness is not proved.
        """

    @abstractmethod
    def settle(self, dual: Array, targets: Array) -> Array:
        """Z with linear constraints of dom D restored exactly (the identity where there are none)."""

    @abstractmethod
    def scale_limit(self, dual: Array, targets: Array) -> float:
        """The largest s (rounded down, may be inf) with s Z in dom D."""

    @abstractmethod
    def expression_terms(self, outputs: Any, targets: Array) -> Any:
        """The terms as a cvxpy expression of shape (d_Y, P), or (P,) for a columnwise loss."""

    @abstractmethod
    def torch_terms(self, outputs: Any, targets: Any) -> Any:
        """The terms of torch tensors F (..., d_Y, P) and Y (d_Y, P): (..., m, P)."""

    @final
    def value(self, outputs: Array, targets: Array) -> float:
        return float(np.sum(self.terms(outputs, targets)))

    @final
    def conjugate(self, slopes: Array, targets: Array) -> float:
        return float(np.sum(self.conjugate_terms(slopes, targets)))

    @final
    def value_upper(self, lo: Array, hi: Array, targets: Array) -> float:
        return upper_sum(self.terms_upper(lo, hi, targets))

    @final
    def dual_lower(self, dual: Array, targets: Array, scale: float) -> float:
        if not 0 <= scale < math.inf:
            return -math.inf
        s = np.asarray(scale)
        return -upper_sum(-self.dual_terms_lower(dual, s, s, targets))

    @final
    def torch_twin(self) -> Callable[[Any, Any], Any]:
        return lambda outputs, targets: self.torch_terms(outputs, targets).sum((-2, -1))

    @final
    def best_scale(self, dual: Array, targets: Array, limit: float) -> float:
        return golden_scale(self, dual, targets, min(limit, self.scale_limit(dual, targets)))


def upper_sum(terms: Array) -> float:
    """An upper bound on the sum of numbers, each an upper bound itself; math.inf for anything not finite."""
    flat = np.ravel(terms)
    if not np.isfinite(flat).all():
        return math.inf
    try:
        return math.nextafter(math.fsum(flat), math.inf)
    except OverflowError:
        return math.inf


def golden_scale(loss: Loss, dual: Array, targets: Array, ceiling: float) -> float:
    """Nearly the maximiser of the concave D(s Z) over s in [0, ceiling], ceiling possibly infinite."""

    def value(s: float) -> float:
        out = loss.dual_value(s * dual, targets)
        return out if not math.isnan(out) else -math.inf

    if ceiling <= 0 or not dual.any():
        return 0.0
    if math.isinf(ceiling):
        ceiling = 1.0
        while ceiling < 1e150 and value(2.0 * ceiling) > value(ceiling):
            ceiling *= 2.0
        ceiling *= 2.0
    golden = 0.5 * (5**0.5 - 1)
    lo, hi = 0.0, ceiling
    a, b = hi - golden * (hi - lo), lo + golden * (hi - lo)
    at_a, at_b = value(a), value(b)
    for _ in range(60):
        if at_a >= at_b:
            hi, b, at_b = b, a, at_a
            a = hi - golden * (hi - lo)
            at_a = value(a)
        else:
            lo, a, at_a = a, b, at_b
            b = lo + golden * (hi - lo)
            at_b = value(b)
    return max((0.5 * (lo + hi), ceiling, min(1.0, ceiling)), key=value)

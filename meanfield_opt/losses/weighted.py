"""Weights on samples and on outputs, for any loss that is a sum of terms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import InputError, RefusalError
from ..loss import (
    Array,
    ConicTerms,
    ExponentialForm,
    ExponentialTerms,
    Loss,
    Proximal,
    ResidualForm,
    SecondOrder,
    SummedLoss,
)
from ..rounding import down, up
from ..validate import positive, shown
from .squared import Squared, SquaredTerms


def find_base(spec: Any) -> Loss:
    """A loss from a Loss, a name, or {"name": ..., "parameters": ...} (as ``parameters`` writes it)."""
    from ..plugins import loss

    if isinstance(spec, Mapping):
        if not isinstance(spec.get("name"), str) or not isinstance(spec.get("parameters", {}), Mapping):
            raise InputError(f"a base loss given as a mapping needs a name and parameters, not {shown(spec)}.")
        return loss(spec["name"], **spec.get("parameters", {}))
    return loss(spec)


def _weights(values: Any, name: str) -> tuple[float, ...] | None:
    if values is None:
        return None
    if isinstance(values, (str, bytes)) or not np.iterable(values):
        raise InputError(f"{name} must be a sequence of positive numbers, not {shown(values)}.")
    weights = tuple(positive(v, name) for v in values)
    if not weights or max(weights) / min(weights) > 1e12 or not 1e-100 < min(weights) <= max(weights) < 1e100:
        raise InputError(f"{name} must hold positive numbers within a factor of 1e12 of each other.")
    return weights


@dataclass(frozen=True)
class Weighted(SummedLoss, Proximal, ConicTerms, ExponentialTerms, SecondOrder):
    """sum over terms of weight x term; the weight is sample_weights[p] * output_weights[k] (rounded once).

    base: a loss (or its name) that is a sum of terms. sample_weights: P positive numbers; output_weights: d_Y of them.
    A sample of weight 2 counts like the sample given twice. Conjugate: sum w l*(s / w).
    """

    base: Any = "squared"
    sample_weights: tuple[float, ...] | None = None
    output_weights: tuple[float, ...] | None = None
    name = "weighted"

    def __post_init__(self) -> None:
        base = find_base(self.base)
        if not isinstance(base, (SummedLoss, Squared)):
            raise InputError(f"the {base.name} loss is not a sum of terms, so that weights on them make no sense.")
        object.__setattr__(self, "base", base)
        for name in ("sample_weights", "output_weights"):
            object.__setattr__(self, name, _weights(getattr(self, name), name))
        if self.inner.columnwise and self.output_weights is not None:
            raise InputError(f"the {base.name} loss couples the outputs of a sample; only sample_weights apply to it.")
        object.__setattr__(self, "columnwise", self.inner.columnwise)

    @property
    def inner(self) -> SummedLoss:
        """The base loss as a sum of terms."""
        return SquaredTerms() if isinstance(self.base, Squared) else self.base

    def weights(self, targets: Array) -> Array:
        """The weights of the terms, shape (d_Y, P) or (1, P)."""
        rows = 1 if self.inner.columnwise else targets.shape[0]
        out = np.ones((rows, targets.shape[1]))
        if self.sample_weights is not None:
            out = out * np.array(self.sample_weights)
        if self.output_weights is not None:
            out = out * np.array(self.output_weights)[:, None]
        return out

    def terms(self, outputs: Array, targets: Array) -> Array:
        return np.asarray(self.weights(targets) * self.inner.terms(outputs, targets))

    def gradient(self, outputs: Array, targets: Array) -> Array:
        return np.asarray(self.weights(targets) * self.inner.gradient(outputs, targets))

    def curvature_roots(self, outputs: Array, targets: Array) -> Array | None:
        inner = self.inner.curvature_roots(outputs, targets) if isinstance(self.inner, SecondOrder) else None
        return None if inner is None else np.asarray(np.sqrt(self.weights(targets)) * inner)

    def conjugate_terms(self, slopes: Array, targets: Array) -> Array:
        w = self.weights(targets)
        return np.asarray(w * self.inner.conjugate_terms(slopes / w, targets))

    def project_dual(self, dual: Array, targets: Array) -> Array:
        w = self.weights(targets)
        inside = self.inner.project_dual(dual / w, targets) * (1.0 - 2.0**-48)
        return self.inner.settle(np.asarray(w * inside), targets)

    def settle(self, dual: Array, targets: Array) -> Array:
        return self.inner.settle(dual, targets)

    def scale_limit(self, dual: Array, targets: Array) -> float:
        limit = self.inner.scale_limit(dual / self.weights(targets), targets)
        return limit if limit == math.inf else float(down(limit * (1.0 - 2.0**-50)))

    def curvature(self) -> float:
        top = max(self.sample_weights or (1.0,)) * max(self.output_weights or (1.0,))
        return top * self.inner.curvature()

    def terms_upper(self, lo: Array, hi: Array, targets: Array) -> Array:
        w = self.weights(targets)
        terms = self.inner.terms_upper(lo, hi, targets)
        return np.where((w == 1.0) | (terms == 0.0), terms, up(w * terms))

    def dual_terms_lower(self, dual: Array, lo: Array, hi: Array, targets: Array) -> Array:
        w = self.weights(targets)
        low = np.where(w == 1.0, lo, np.maximum(down(lo / w), 0.0))
        high = np.where(w == 1.0, hi, up(hi / w))
        terms = self.inner.dual_terms_lower(dual, low, high, targets)
        return np.where(w == 1.0, terms, down(w * terms))

    def proximal(self, outputs: Array, targets: Array, step: Array | float) -> Array:
        if not isinstance(self.inner, Proximal):
            raise RefusalError(f"the {self.base.name} loss has no proximal operator here.")
        return self.inner.proximal(outputs, targets, step * self.weights(targets))

    def check_targets(self, targets: Array) -> None:
        self.base.check_targets(targets)
        for name, axis in (("output_weights", 0), ("sample_weights", 1)):
            weights = getattr(self, name)
            if weights is not None and len(weights) != targets.shape[axis]:
                raise InputError(f"{name} has {len(weights)} entries; Y has {targets.shape[axis]} on that axis.")

    def residual_form(self, targets: Array) -> ResidualForm | None:
        inner = self.inner.residual_form(targets) if isinstance(self.inner, ConicTerms) else None
        if inner is None:
            return None
        return replace(inner, weight=inner.weight * self.weights(targets))

    def exponential_form(self, targets: Array) -> ExponentialForm | None:
        inner = self.inner.exponential_form(targets) if isinstance(self.inner, ExponentialTerms) else None
        if inner is None:
            return None
        return replace(inner, weight=inner.weight * self.weights(targets).ravel())

    def expression(self, outputs: Any, targets: Array) -> Any:
        import cvxpy

        return cvxpy.sum(self.expression_terms(outputs, targets))

    def expression_terms(self, outputs: Any, targets: Array) -> Any:
        import cvxpy

        terms = self.inner.expression_terms(outputs, targets)
        w = self.weights(targets)
        return cvxpy.multiply(w[0] if self.inner.columnwise else w, terms)

    def torch_terms(self, outputs: Any, targets: Any) -> Any:
        import torch

        w = torch.as_tensor(self.weights(np.empty(tuple(targets.shape))), dtype=outputs.dtype, device=outputs.device)
        return w * self.inner.torch_terms(outputs, targets)

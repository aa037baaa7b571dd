"""Losses made by users: from exact residual slopes, or from numpy functions."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import InputError, RefusalError
from ..loss import Array, Loss, Proximal, SecondOrder, golden_scale
from ..validate import positive
from .residual import Residual

Entry = Callable[[Array, Array], Array]


def loss_from(
    value: Entry | None = None,
    *,
    gradient: Entry | None = None,
    conjugate: Entry | None = None,
    curvature: float = math.inf,
    above: float | None = None,
    below: float | None = None,
    quadratic: bool = False,
    margin: bool = False,
    name: str = "user",
) -> Loss:
    """A loss from one definition, checked against the laws of a loss.

    above, below (with quadratic, margin): slopes of a residual, see ``losses.residual.Residual``; exact, can be proved
      with. loss_from(above=0.1, below=0.9) is the quantile loss at level 0.9.
    value, gradient, conjugate: numpy functions of (f, y), (f, y) and (s, y), entry by entry; the conjugate is sup_f s f -
      value(f, y), and may be inf. ``curvature``: a Lipschitz constant of the gradient, needed to solve. Solved with, but
      never proved with: a sampled law proves nothing, so certificates stay "open".

    A law that sampling refutes (finiteness, gradient, convexity, curvature, Fenchel-Young) raises InputError by name.
    """
    if above is not None or below is not None:
        if value is not None or gradient is not None or conjugate is not None:
            raise InputError("give either slopes (above, below) or numpy functions, not both.")
        return Residual(0.0 if above is None else above, 0.0 if below is None else below, quadratic, margin)
    if value is None or gradient is None or conjugate is None:
        raise InputError("loss_from needs value, gradient and conjugate, or the slopes above and below of a residual.")
    made = NumpyLoss(str(name), _digest(value, gradient, conjugate), float(curvature), value, gradient, conjugate)
    check_loss(made)
    return made


def _digest(*functions: Entry) -> str:
    f, y = (grid.ravel() for grid in np.meshgrid(np.linspace(-7.0, 7.0, 113), (-1.0, 0.0, 0.5, 1.0)))
    hasher = hashlib.sha256()
    for function in functions:
        with np.errstate(all="ignore"):
            hasher.update(np.ascontiguousarray(function(f.copy(), y.copy()), dtype="<f8").tobytes())
        code = getattr(function, "__code__", None)
        if code is not None:
            hasher.update(code.co_code + repr((code.co_consts, code.co_names)).encode())
    return hasher.hexdigest()


@dataclass(frozen=True)
class NumpyLoss(Loss, Proximal, SecondOrder):
    """A sum over entries of a user's numpy functions. It can be solved with; nothing about it is ever proved.

    digest: of the functions' values on a fixed grid and of their code; it is what fingerprints depend on.
    """

    label: str = "user"
    digest: str = ""
    smoothness: float = math.inf
    f_value: Any = field(default=None, compare=False, metadata={"hidden": True})
    f_gradient: Any = field(default=None, compare=False, metadata={"hidden": True})
    f_conjugate: Any = field(default=None, compare=False, metadata={"hidden": True})
    name = "numpy_loss"
    entrywise = True
    rigorous = False

    def __post_init__(self) -> None:
        if self.smoothness != math.inf:
            positive(self.smoothness, "curvature")

    def _call(self, function: Any, first: Array, targets: Array) -> Array:
        if function is None:
            raise InputError(f"the numpy loss {self.label!r} is not known here; pass the problem that defines it.")
        f, y = np.broadcast_arrays(np.asarray(first, dtype=np.float64), np.asarray(targets, dtype=np.float64))
        out = np.asarray(function(f, y), dtype=np.float64)
        if out.shape != f.shape:
            raise InputError(
                f"a function of the loss {self.label!r} gives shape {out.shape} for entries of shape {f.shape}."
            )
        return out

    def entries(self, outputs: Array, targets: Array) -> Array:
        """The terms, entry by entry, (d_Y, P)."""
        return self._call(self.f_value, outputs, targets)

    def value(self, outputs: Array, targets: Array) -> float:
        return float(np.sum(self.entries(outputs, targets)))

    def proximal(self, outputs: Array, targets: Array, step: Array | float) -> Array:
        """By bisection: G + step * slope(G) rises through F, at the latest one step along the slope at F."""
        other = outputs - step * self.gradient(outputs, targets)
        low, high = np.minimum(outputs, other), np.maximum(outputs, other)
        for _ in range(80):
            middle = 0.5 * (low + high)
            above = middle + step * self.gradient(middle, targets) > outputs
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return np.asarray(0.5 * (low + high))

    def gradient(self, outputs: Array, targets: Array) -> Array:
        return self._call(self.f_gradient, outputs, targets)

    def curvature_roots(self, outputs: Array, targets: Array) -> Array:
        """Central differences of the gradient, which need not be exact: steps rest on them, no result does."""
        step = 1e-5 * np.maximum(1.0, np.abs(outputs))
        ends = [self.gradient(outputs + h, targets) for h in (step, -step)]
        return np.sqrt(np.clip((ends[0] - ends[1]) / (2.0 * step), 0.0, self.smoothness))

    def conjugate(self, slopes: Array, targets: Array) -> float:
        return float(np.sum(self._call(self.f_conjugate, slopes, targets)))

    def project_dual(self, dual: Array, targets: Array) -> Array:
        """Z itself: where D is finite is not declared."""
        return dual

    def curvature(self) -> float:
        return self.smoothness

    def value_upper(self, lo: Array, hi: Array, targets: Array) -> float:
        """Nothing is known rigorously."""
        return math.inf

    def dual_lower(self, dual: Array, targets: Array, scale: float) -> float:
        """Nothing is known rigorously."""
        return -math.inf

    def check_targets(self, targets: Array) -> None:
        if not np.isfinite(self._call(self.f_value, np.zeros_like(targets), targets)).all():
            raise InputError(f"the loss {self.label!r} is not finite at these targets.")

    def expression(self, outputs: Any, targets: Array) -> Any:
        raise RefusalError(f"the numpy loss {self.label!r} has no cvxpy expression; use the column_generation backend.")

    def torch_twin(self) -> Callable[[Any, Any], Any]:
        import torch

        class Twin(torch.autograd.Function):  # type: ignore[misc]
            @staticmethod
            def forward(ctx: Any, outputs: Any, targets: Any) -> Any:
                ctx.save_for_backward(outputs, targets)
                terms = self._call(self.f_value, outputs.detach().cpu().numpy(), targets.detach().cpu().numpy())
                return torch.as_tensor(terms, dtype=outputs.dtype, device=outputs.device)

            @staticmethod
            def backward(ctx: Any, grad: Any) -> Any:
                outputs, targets = ctx.saved_tensors
                slope = self.gradient(outputs.detach().cpu().numpy(), targets.detach().cpu().numpy())
                return grad * torch.as_tensor(slope, dtype=outputs.dtype, device=outputs.device), None

        return lambda outputs, targets: Twin.apply(outputs, targets).sum((-2, -1))

    def best_scale(self, dual: Array, targets: Array, limit: float) -> float:
        return golden_scale(self, dual, targets, limit)


def check_loss(loss: NumpyLoss) -> None:
    """InputError naming the first law that sampling refutes; silence proves nothing but finds slips."""
    rng = np.random.default_rng(20252)
    f, g = rng.normal(0.0, 3.0, (2, 400))
    y = rng.choice([-1.0, 1.0], 400)
    with np.errstate(all="ignore"):
        terms = {name: loss._call(loss.f_value, x, y) for name, x in (("f", f), ("g", g), ("mid", 0.5 * (f + g)))}
        slope, other = (loss._call(loss.f_gradient, x, y) for x in (f, g))
        up, down = (loss._call(loss.f_value, f + h, y) for h in (1e-5, -1e-5))
        conjugate = loss._call(loss.f_conjugate, slope, y)
    size = 1.0 + np.abs(terms["f"]) + np.abs(terms["g"]) + np.abs(f * slope) + np.abs(g * slope)

    def refuse(bad: Any, law: str) -> None:
        if np.any(bad):
            at = int(np.flatnonzero(bad)[0])
            raise InputError(f"the loss {loss.label!r} breaks a law: {law} at f = {f[at]:.6g}, y = {y[at]:g}.")

    refuse(~np.isfinite(terms["f"]), "its value is not finite")
    refuse(~np.isfinite(slope), "its gradient is not finite")
    rate = (up - down) / 2e-5
    between = np.minimum(*(loss._call(loss.f_gradient, f + h, y) for h in (-1e-4, 1e-4)))
    beyond = np.maximum(*(loss._call(loss.f_gradient, f + h, y) for h in (-1e-4, 1e-4)))
    slack = 1e-5 * (1.0 + np.abs(rate) + np.abs(terms["f"]))
    refuse((rate < between - slack) | (rate > beyond + slack), "its gradient does not match differences")
    refuse(terms["mid"] > 0.5 * (terms["f"] + terms["g"]) + 1e-9 * size, "it is not convex")
    refuse((slope - other) * (f - g) < -1e-9 * size, "its gradient is not monotone")
    if math.isfinite(loss.smoothness):
        refuse(np.abs(slope - other) > loss.smoothness * np.abs(f - g) * (1 + 1e-9) + 1e-9, "its curvature is larger")
    refuse(~np.isfinite(conjugate), "its conjugate is not finite at its own gradient")
    refuse(terms["g"] + conjugate < g * slope - 1e-8 * size, "the Fenchel-Young inequality fails")
    refuse(np.abs(terms["f"] + conjugate - f * slope) > 1e-7 * size, "Fenchel-Young is no equality at its gradient")

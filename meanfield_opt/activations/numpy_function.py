"""An activation that is a numpy function and nothing more: it can be solved with, never proved with."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..activation import Activation, Array
from ..errors import InputError
from .check import check_activation


@dataclass(frozen=True)
class NumpyActivation(Activation):
    """A numpy function without rigorous ranges. It can be solved with; nothing about it is ever proved.

    digest: of the values on a fixed grid and of the function's code; it is what fingerprints depend on.
    """

    label: str = "user"
    digest: str = ""
    degree: float | None = None
    odd: bool = False
    function: Any = field(default=None, compare=False, metadata={"hidden": True})
    slope: Any = field(default=None, compare=False, metadata={"hidden": True})
    name: str = field(default="numpy_function", init=False)
    rigorous = False

    @staticmethod
    def of(
        function: Callable[[Array], Array],
        slope: Callable[[Array], Array] | None,
        degree: float | None,
        odd: bool,
        label: str,
    ) -> NumpyActivation:
        """The activation of a function, after testing its declarations."""
        if not callable(function):
            raise InputError(f"an activation needs a function of an array, not {function!r}.")
        grid = np.concatenate([np.linspace(-12, 12, 4801), np.geomspace(1e-9, 1e3, 200), -np.geomspace(1e-9, 1e3, 200)])
        try:
            with np.errstate(all="ignore"):
                values = np.asarray(function(grid.copy()), dtype=np.float64)
                function(grid[:0])
        except Exception as error:
            raise InputError(
                f"the function does not take an array of numbers ({' '.join(str(error).split())[:80]}); wrap a function of "
                "one number in np.vectorize(function, otypes=[float]), or give its formula as expression=..."
            ) from error
        if values.shape != grid.shape or not np.isfinite(values).all():
            raise InputError("the function must map an array to finite values of the same shape.")
        hasher = hashlib.sha256(np.ascontiguousarray(values, dtype="<f8").tobytes())
        code = getattr(function, "__code__", None)
        if code is not None:
            hasher.update(code.co_code + repr((code.co_consts, code.co_names)).encode())
        made = NumpyActivation(str(label), hasher.hexdigest(), degree, bool(odd), function, slope)
        check_activation(made)
        return made

    def _known(self) -> Callable[[Array], Array]:
        if self.function is None:
            raise InputError(f"the numpy function {self.label!r} is not known here; pass the problem that defines it.")
        known: Callable[[Array], Array] = self.function
        return known

    def value(self, h: Array) -> Array:
        return np.asarray(self._known()(np.asarray(h, dtype=np.float64)), dtype=np.float64)

    def derivative(self, h: Array) -> Array:
        if self.slope is not None:
            return np.asarray(self.slope(np.asarray(h, dtype=np.float64)), dtype=np.float64)
        step = 1e-6 * np.maximum(1.0, np.abs(h))
        return (self.value(h + step) - self.value(h - step)) / (2.0 * step)

    def bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        """Nothing is known rigorously."""
        return np.full(np.shape(lo), -np.inf), np.full(np.shape(lo), np.inf)

    def slope_bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        """Nothing is known rigorously."""
        return np.full(np.shape(lo), -np.inf), np.full(np.shape(lo), np.inf)

    def ratio_bound(self) -> float:
        return math.inf

    @property
    def pieces(self) -> None:
        return None

    def torch_twin(self) -> Callable[[Any], Any]:
        import torch

        class Twin(torch.autograd.Function):  # type: ignore[misc]
            @staticmethod
            def forward(ctx: Any, h: Any) -> Any:
                ctx.save_for_backward(h)
                return torch.as_tensor(self.value(h.detach().cpu().numpy()), dtype=h.dtype, device=h.device)

            @staticmethod
            def backward(ctx: Any, grad: Any) -> Any:
                (h,) = ctx.saved_tensors
                slope = self.derivative(h.detach().cpu().numpy())
                return grad * torch.as_tensor(slope, dtype=h.dtype, device=h.device)

        return lambda h: Twin.apply(h)

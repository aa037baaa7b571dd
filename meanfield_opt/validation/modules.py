"""torch modules. This file imports torch at the top, so it is itself imported only inside functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..activation import Activation


class TwoLayerNetwork(torch.nn.Module):  # type: ignore[misc]
    """f(x) = W2 (n * phi(W1 x + b)): exactly the network of the problem, without an output bias.

    W1 (M, d_X), b (M,) or None, W2 (d_Y, M). ``multiplicity`` n (M,) counts identical copies of a neuron; it is all
    ones for an ordinary network and fractional only for a measure that no finite network of that width realises.
    """

    def __init__(
        self,
        weight: Any,
        bias: Any | None,
        readout: Any,
        phi: Activation,
        multiplicity: Any | None = None,
    ) -> None:
        super().__init__()
        self.W1 = torch.nn.Parameter(torch.as_tensor(weight).clone())
        self.b = None if bias is None else torch.nn.Parameter(torch.as_tensor(bias).clone())
        self.W2 = torch.nn.Parameter(torch.as_tensor(readout).clone())
        self.phi = phi
        self._twin: Callable[[Any], Any] = phi.torch_twin()
        count = torch.ones_like(self.W1[:, 0]) if multiplicity is None else torch.as_tensor(multiplicity).clone()
        self.register_buffer("multiplicity", count.detach())

    def hidden(self, X: Any) -> Any:
        """phi(W1 x + b), shape (P, M)."""
        pre = X @ self.W1.T
        return self._twin(pre if self.b is None else pre + self.b)

    def forward(self, X: Any) -> Any:
        """(P, d_X) -> (P, d_Y)."""
        return (self.hidden(X) * self.multiplicity) @ self.W2.T

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        del state["_twin"]  # a closure; rebuilt from phi
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._twin = self.phi.torch_twin()


class Elementwise(torch.nn.Module):  # type: ignore[misc]
    """A function of tensors as a module."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        """function(x)."""
        return self.function(x)

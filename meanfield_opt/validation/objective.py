"""What is trained: the energies of many networks at once, as a function of flat parameters (S, n)."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ..problem import TwoLayerProblem
from .networks import import_torch

Array = NDArray[np.float64]


class Objective(ABC):
    """Energies of S networks with parameters x (S, n), one row a network; a seed's energy depends on its row alone."""

    @property
    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter array of one network, in the order in which a row stores them."""

    @property
    @abstractmethod
    def targets(self) -> Array:
        """Y (d_Y, P)."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Identifies the objective, widths included; a checkpoint resumes only the same."""

    @abstractmethod
    def energies(self, x: Any, index: Any | None, label_noise: Any | None) -> Any:
        """(S,) energies of x (S, n). index (S, B): a batch a network, its loss scaled by P/B. label_noise (S, d_Y, P)."""

    @property
    @final
    def fan_in(self) -> dict[str, int]:
        """The number of inputs of each parameter array: initial entries are N(0, scale^2 / fan_in)."""
        return {name: shape[1] for name, shape in self.shapes.items()}

    @property
    @final
    def n_samples(self) -> int:
        """P, what a batch is drawn from."""
        return int(self.targets.shape[1])

    @property
    @final
    def n_outputs(self) -> int:
        """d_Y."""
        return int(self.targets.shape[0])

    @property
    @final
    def size(self) -> int:
        """n."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @final
    def unpack(self, x: Any) -> dict[str, Any]:
        """Views (S, *shape) of x (S, n) by name; x is a tensor or an array."""
        out, at = {}, 0
        for name, shape in self.shapes.items():
            size = math.prod(shape)
            out[name] = x[:, at : at + size].reshape(x.shape[0], *shape)
            at += size
        return out

    @final
    def initial(self, seeds: list[int], scale: float) -> Array:
        """Parameters (S, n) drawn by each seed alone: row s does not depend on the other seeds."""
        rows = []
        for seed in seeds:
            rng = np.random.default_rng([seed, 20_011])
            parts = [
                rng.standard_normal(math.prod(shape)) * (scale / math.sqrt(self.fan_in[name]))
                for name, shape in self.shapes.items()
            ]
            rows.append(np.concatenate(parts))
        return np.array(rows)


@final
@dataclass(frozen=True, eq=False)
class TwoLayerObjective(Objective):
    """E(theta, V) = L(V phi(theta A^T); Y) + l1 |theta|^2 + l2 |V|^2: the problem's weight-space objective."""

    problem: TwoLayerProblem
    width: int

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            "theta": (self.width, self.problem.geometry.n_parameters),
            "readout": (self.problem.n_outputs, self.width),
        }

    @property
    def targets(self) -> Array:
        return self.problem.targets

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"two-layer {self.problem.fingerprint} {self.width}".encode()).hexdigest()

    @cached_property
    def _factor(self) -> Array:
        return np.ascontiguousarray(self.problem.geometry.preactivation(np.eye(self.problem.geometry.n_parameters)).T)

    @cached_property
    def _cache(self) -> dict[str, Any]:
        return {}

    def _tensors(self, like: Any) -> tuple[Any, Any, Any, Any]:
        torch = import_torch()
        key = f"{like.dtype} {like.device}"
        if key not in self._cache:
            self._cache[key] = (
                torch.as_tensor(self._factor, dtype=like.dtype, device=like.device),
                torch.as_tensor(np.array(self.problem.targets), dtype=like.dtype, device=like.device),
                self.problem.activation.torch_twin(),
                self.problem.loss.torch_twin(),
            )
        found: tuple[Any, Any, Any, Any] = self._cache[key]
        return found

    def energies(self, x: Any, index: Any | None, label_noise: Any | None) -> Any:
        factor, targets, phi, loss = self._tensors(x)
        part = self.unpack(x)
        theta, readout = part["theta"], part["readout"]
        share = 1.0
        if index is not None:
            share = self.n_samples / index.shape[1]
            factor = factor[index]
            targets = targets[:, index].transpose(0, 1)
        if label_noise is not None:
            targets = targets + label_noise[..., : targets.shape[-1]]
        outputs = readout @ phi(theta @ factor.mT)
        paid = theta[..., : theta.shape[-1] - self.problem.geometry.free_parameters]
        penalty = self.problem.lambda1 * paid.square().sum((-2, -1))
        penalty = penalty + self.problem.lambda2 * readout.square().sum((-2, -1))
        return share * loss(outputs, targets) + penalty

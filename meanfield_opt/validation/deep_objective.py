"""Deep and recurrent networks as objectives of the batched trainer."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from .deep import DeepProblem, RecurrentProblem
from .networks import import_torch
from .objective import Objective

Array = NDArray[np.float64]


def _digest(*parts: Any) -> str:
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return hasher.hexdigest()


class _Cache:
    """Constant arrays as tensors of the dtype and device in use."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[Any, ...]] = {}

    def get(self, like: Any, arrays: tuple[Array, ...]) -> tuple[Any, ...]:
        torch = import_torch()
        key = f"{like.dtype} {like.device}"
        if key not in self.held:
            self.held[key] = tuple(torch.as_tensor(np.array(a), dtype=like.dtype, device=like.device) for a in arrays)
        return self.held[key]


@final
@dataclass(frozen=True, eq=False)
class DeepObjective(Objective):
    """The weight-space objective of a DeepProblem with ``width`` units in every hidden layer."""

    problem: DeepProblem
    width: int

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        m, p = self.width, self.problem
        out: dict[str, tuple[int, ...]] = {"theta": (m, p.geometry.n_parameters)}
        for k in range(2, p.layers + 1):
            out[f"W{k}"] = (m, m + (p.bias != "none"))
        out["readout"] = (p.targets.shape[0], m)
        return out

    @property
    def targets(self) -> Array:
        return self.problem.targets

    @cached_property
    def fingerprint(self) -> str:
        p = self.problem
        return _digest(
            "deep",
            p.geometry.fingerprint,
            p.targets,
            p.penalty,
            p.layers,
            p.bias,
            p.activation.name,
            p.loss.name,
            self.width,
        )

    @cached_property
    def _constants(self) -> tuple[Array, ...]:
        space = self.problem.geometry
        return np.ascontiguousarray(space.preactivation(np.eye(space.n_parameters)).T), self.problem.targets

    @cached_property
    def _cache(self) -> _Cache:
        return _Cache()

    def energies(self, x: Any, index: Any | None, label_noise: Any | None) -> Any:
        torch = import_torch()
        factor, targets = self._cache.get(x, self._constants)
        p = self.problem
        part = self.unpack(x)
        share = 1.0
        if index is not None:
            share = self.n_samples / index.shape[1]
            factor, targets = factor[index], targets[:, index].transpose(0, 1)
        if label_noise is not None:
            targets = targets + label_noise[..., : targets.shape[-1]]
        phi = p.activation.torch_twin()
        below = phi(part["theta"] @ factor.mT)
        norm = part["theta"].square().sum((-2, -1)) + part["readout"].square().sum((-2, -1))
        for k in range(2, p.layers + 1):
            w = part[f"W{k}"]
            if p.bias == "none":
                below = phi(w @ below)
                norm = norm + w.square().sum((-2, -1))
            else:
                below = phi(torch.baddbmm(w[..., -1:], w[..., :-1], below))
                norm = norm + (w[..., :-1] if p.bias == "free" else w).square().sum((-2, -1))
        return share * p.loss.torch_twin()(part["readout"] @ below, targets) + p.penalty * norm

    def weights(self, x: Array) -> list[Array]:
        """The weight list of one row x (n,), as ``DeepProblem.weights`` orders it."""
        return [np.asarray(w[0]) for w in self.unpack(x[None]).values()]


@final
@dataclass(frozen=True, eq=False)
class RecurrentObjective(Objective):
    """The weight-space objective of a RecurrentProblem with ``width`` units."""

    problem: RecurrentProblem
    width: int

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        m, p = self.width, self.problem
        return {"recurrent": (m, m), "feed": (m, p.drive[0].shape[1]), "readout": (p.targets.shape[0], m)}

    @property
    def targets(self) -> Array:
        return self.problem.targets

    @cached_property
    def fingerprint(self) -> str:
        p = self.problem
        return _digest("recurrent", *p.drive, p.targets, p.penalty, p.activation.name, p.loss.name, self.width)

    @cached_property
    def _cache(self) -> _Cache:
        return _Cache()

    def energies(self, x: Any, index: Any | None, label_noise: Any | None) -> Any:
        p = self.problem
        *drive, targets = self._cache.get(x, (*p.drive, p.targets))
        part = self.unpack(x)
        share = 1.0
        if index is not None:
            share = self.n_samples / index.shape[1]
            drive, targets = [a[index] for a in drive], targets[:, index].transpose(0, 1)
        if label_noise is not None:
            targets = targets + label_noise[..., : targets.shape[-1]]
        phi = p.activation.torch_twin()
        state = None
        for a in drive:
            h = part["feed"] @ a.mT
            state = phi(h if state is None else h + part["recurrent"] @ state)
        norm = sum(part[name].square().sum((-2, -1)) for name in ("recurrent", "feed", "readout"))
        return share * p.loss.torch_twin()(part["readout"] @ state, targets) + p.penalty * norm

"""What training looks like on the way: K(t), parallelism(t), alignment(t) and the certified gap(t)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UndefinedMetricError
from ..metrics import cka, parallelism_score, relative_frobenius
from ..problem import TwoLayerProblem
from .objective import Objective

Array = NDArray[np.float64]

#: samples up to which K(t) is kept (512: 2 MB a record)
MOST_SAMPLES = 512
#: what a row holds
COLUMNS = ("steps", "energy", "parallelism", "cka", "distance", "kernels")


def or_nan(compute: Any) -> float:
    """The value of a metric, NaN where it is undefined (a figure to be plotted, never compared with a bound)."""
    try:
        return float(compute())
    except UndefinedMetricError:
        return math.nan


@dataclass(frozen=True, eq=False)
class Dynamics:
    """Rows are times, columns seeds. energy, gap ((E - lower)/E), parallelism, cka and distance (both to K*): (T, S).

    kernels (T, P, P): K(t) of the first seed; (T, 0, 0) beyond MOST_SAMPLES samples, where they would fill the memory.
    """

    steps: NDArray[np.int64]
    energy: Array
    gap: Array
    parallelism: Array
    cka: Array
    distance: Array
    kernels: Array


@dataclass(eq=False)
class Recorder:
    """An observer for ``train`` on a two-layer objective."""

    problem: TwoLayerProblem
    objective: Objective
    reference: Array
    lower: float
    rows: list[tuple[int, Array, Array, Array, Array, Array]] = field(default_factory=list)

    def __call__(self, step: int, x: Array) -> None:
        part = self.objective.unpack(x)
        phi = self.problem.features(
            self.problem.geometry.preactivation(part["theta"].reshape(-1, part["theta"].shape[2]))
        )
        phi = phi.reshape(x.shape[0], -1, self.problem.n_samples)
        energy = np.array([self._energy(part["theta"][s], part["readout"][s], phi[s]) for s in range(x.shape[0])])
        parallel, near, far = (np.full(x.shape[0], np.nan) for _ in range(3))
        kept = np.zeros((0, 0))
        for row, hidden in enumerate(phi):  # one kernel at a time: (S, P, P) may not fit
            kernel = hidden.T @ hidden
            parallel[row] = or_nan(lambda k=kernel: _parallel(k, self.problem.targets))
            near[row] = or_nan(lambda k=kernel: cka(k, self.reference))
            far[row] = or_nan(lambda k=kernel: relative_frobenius(k, self.reference))
            if row == 0 and self.problem.n_samples <= MOST_SAMPLES:
                kept = kernel
        if self.rows and self.rows[-1][0] == step:
            self.rows.pop()
        self.rows.append((step, energy, parallel, near, far, kept))

    def _energy(self, theta: Array, readout: Array, phi: Array) -> float:
        p = self.problem
        penalty = p.lambda1 * float(p.geometry.neuron_cost(theta).sum()) + p.lambda2 * float(np.square(readout).sum())
        return penalty + p.loss.value(readout @ phi, p.targets)

    def state(self) -> dict[str, Array]:
        """The rows as arrays, for a checkpoint."""
        return {n: np.array(c) for n, c in zip(COLUMNS, zip(*self.rows))} if self.rows else {}

    def restore(self, state: dict[str, Array]) -> None:
        """Take up what ``state`` gave."""
        columns = [np.asarray(state[name]) for name in COLUMNS] if state else [np.zeros(0)] * len(COLUMNS)
        self.rows = [(int(step), e, p, c, d, k) for step, e, p, c, d, k in zip(*columns)]

    def result(self) -> Dynamics:
        """Everything recorded so far."""
        steps, energy, parallel, near, far, kernels = (np.array(c) for c in zip(*self.rows))
        relative = (energy - self.lower) / np.maximum(np.abs(energy), 1e-300)
        return Dynamics(steps, energy, relative, parallel, near, far, kernels)


def _parallel(kernel: Array, targets: Array) -> float:
    if not np.isin(targets, (-1.0, 1.0)).all():
        raise UndefinedMetricError("the parallelism score needs sign labels.")
    return parallelism_score(kernel, targets)

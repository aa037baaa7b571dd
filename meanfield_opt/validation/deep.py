"""Deep and recurrent networks layer by layer: the energy as a function of one measure (or kernel) a layer.

Nothing here is convex in all measures together. What is proved is said where it is proved (``layerwise``); known
answers of deep problems are conjectures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from ..activation import Activation
from ..errors import InputError
from ..fit import best_readout
from ..geometry import Geometry
from ..loss import Loss
from ..measure import Measure
from ..validate import integer, positive

Array = NDArray[np.float64]

BIASES = ("none", "regularised", "free")


@dataclass(frozen=True, eq=False)
class DeepAnswer:
    """A conjectured optimum of a deep problem: K_k = constant_k 1 1^T + strength_k K_Y, and measures that realise it."""

    energy: float
    constant: tuple[float, ...]
    strength: tuple[float, ...]
    measures: tuple[Measure, ...]
    reference: str
    provenance: str = "conjectured"


@final
@dataclass(frozen=True, eq=False)
class DeepProblem:
    """L(V phi(h_L); Y) + l (sum_k |W_k|^2 + |V|^2), h_1 = A theta, h_k = W_k phi(h_{k-1}) [+ b_k], k = 2 .. layers.

    geometry: the input kernel, first bias included. bias: of the deeper hidden layers: "none", "regularised" (penalised
    like a weight) or "free" (not penalised). One penalty l on every weight matrix.
    """

    activation: Activation
    loss: Loss
    geometry: Geometry
    targets: Array
    penalty: float
    layers: int
    bias: str = "none"
    label: str = "deep problem"
    known: DeepAnswer | None = None

    def __post_init__(self) -> None:
        positive(self.penalty, "lambda")
        integer(self.layers, "layers", least=1)
        if self.bias not in BIASES:
            raise InputError(f"bias must be one of {', '.join(BIASES)}, not {self.bias!r}.")
        if self.targets.shape[1] != self.geometry.n_samples:
            raise InputError("Y and the inputs have different numbers of samples.")
        self.loss.check_targets(self.targets)

    def hidden(self, measure: Measure) -> Array:
        """sqrt(m_j) phi(h_j), (J, P): the layer's kernel is its Gram matrix."""
        return np.asarray(np.sqrt(measure.masses)[:, None] * self.activation(measure.atoms))

    def kernel(self, measure: Measure) -> Array:
        """K_k (P, P)."""
        phi = self.hidden(measure)
        return np.asarray(phi.T @ phi)

    def costs(self, layer: int, measures: Sequence[Measure]) -> Array:
        """Minimal squared weight norm of each atom of ``layer`` (0-based) given the layer below; inf if unreachable."""
        atoms = measures[layer].atoms
        if layer == 0:
            return self.geometry.cost(atoms)
        return minimal_costs(atoms, self.hidden(measures[layer - 1]).T, self.bias)

    def energy(self, measures: Sequence[Measure]) -> float:
        """sum_k l int h^T Q_{k-1}^+ h d rho_k + R(K_L), Q = K (+ 1 1^T under a regularised bias)."""
        self._check(measures)
        total = 0.0
        for k, rho in enumerate(measures):
            total += self.penalty * float(rho.masses @ self.costs(k, measures))
        phi = self.hidden(measures[-1])
        v = best_readout(self.loss, phi, self.targets, self.penalty)
        return total + self.loss.value(v @ phi, self.targets) + self.penalty * float(np.square(v).sum())

    def weights(self, measures: Sequence[Measure]) -> list[Array]:
        """Minimal-norm weights [theta, (W_2, b_2), ..., V] that realise the measures, a neuron an atom.

        Degree-1 activations absorb mass (atoms times its root); others need masses of 1. Biases are last columns.
        """
        self._check(measures)
        if self.activation.degree != 1.0 and any((m.masses != 1.0).any() for m in measures):
            raise InputError(f"only masses of 1 are networks for {self.activation.name}.")
        out: list[Array] = []
        for k, rho in enumerate(measures):
            h = np.sqrt(rho.masses)[:, None] * rho.atoms
            out.append(
                self.geometry.weights(h) if k == 0 else minimal_weights(h, self.hidden(measures[k - 1]).T, self.bias)
            )
        out.append(best_readout(self.loss, self.hidden(measures[-1]), self.targets, self.penalty))
        return out

    def measures(self, weights: Sequence[Array]) -> list[Measure]:
        """One measure a layer, a neuron an atom of mass 1, from weights as ``weights`` returns them."""
        out: list[Measure] = []
        below: Array | None = None
        for k, w in enumerate(weights[:-1]):
            h = self.geometry.preactivation(w) if k == 0 else w @ self._with_bias(below)
            out.append(Measure(h, np.ones(h.shape[0])))
            below = self.activation(h)
        return out

    def weight_energy(self, weights: Sequence[Array]) -> float:
        """The training objective at explicit weights."""
        below = self.activation(self.geometry.preactivation(weights[0]))
        total = float(np.square(weights[0]).sum())
        for w in weights[1:-1]:
            total += float(np.square(w[:, :-1] if self.bias == "free" else w).sum())
            below = self.activation(w @ self._with_bias(below))
        total += float(np.square(weights[-1]).sum())
        return self.penalty * total + self.loss.value(weights[-1] @ below, self.targets)

    def _with_bias(self, below: Array | None) -> Array:
        assert below is not None
        return below if self.bias == "none" else np.vstack([below, np.ones(below.shape[1])])

    def _check(self, measures: Sequence[Measure]) -> None:
        if len(measures) != self.layers:
            raise InputError(f"{len(measures)} measures were given for {self.layers} hidden layers.")


def minimal_weights(patterns: Array, below: Array, bias: str) -> Array:
    """Least-norm (J, M [+ 1]) weights with W below^T (+ b 1) = patterns; below (P, M). The bias is the last column."""
    if bias == "regularised":
        below = np.hstack([below, np.ones((below.shape[0], 1))])
    if bias != "free":
        return np.asarray(patterns @ np.linalg.pinv(below, rcond=1e-9).T)
    centred = below - below.mean(axis=0)
    w = (patterns - patterns.mean(axis=1, keepdims=True)) @ np.linalg.pinv(centred, rcond=1e-9).T
    offset = (patterns - w @ below.T).mean(axis=1, keepdims=True)
    return np.hstack([w, offset])


def minimal_costs(patterns: Array, below: Array, bias: str, tolerance: float = 1e-6) -> Array:
    """Squared norms of ``minimal_weights`` (a free bias not counted); inf for patterns out of reach."""
    w = minimal_weights(patterns, below, bias)
    reach = np.hstack([below, np.ones((below.shape[0], 1))]) if bias != "none" else below
    miss = np.linalg.norm(w @ reach.T - patterns, axis=1)
    counted = w[:, :-1] if bias == "free" else w
    cost = np.square(counted).sum(axis=1)
    return np.where(miss <= tolerance * np.maximum(np.linalg.norm(patterns, axis=1), 1e-12), cost, np.inf)


@final
@dataclass(frozen=True, eq=False)
class RecurrentProblem:
    """h_t = W phi(h_{t-1}) + U a_t, output V phi(h_T), penalty l (|W|^2 + |U|^2 + |V|^2), phi(h_0) = 0.

    drive: a_t (P, r) for t = 1 .. T, bias column included. A neuron's pattern is (h_1, .., h_T) in R^(T P) and its cost
    is h^T Q^+ h with Q_tt' = K_{t-1,t'-1} + a_t a_t'^T: the states' own kernel enters, so the energy is a fixed-point
    relation in rho and not convex.
    """

    activation: Activation
    loss: Loss
    drive: tuple[Array, ...]
    targets: Array
    penalty: float

    @property
    def steps(self) -> int:
        """T."""
        return len(self.drive)

    def states(self, recurrent: Array, feed: Array) -> list[Array]:
        """Preactivations h_1 .. h_T, each (M, P)."""
        out: list[Array] = []
        for a in self.drive:
            h = feed @ a.T
            if out:
                h = h + recurrent @ self.activation(out[-1])
            out.append(h)
        return out

    def weight_energy(self, recurrent: Array, feed: Array, readout: Array) -> float:
        """The training objective."""
        last = self.activation(self.states(recurrent, feed)[-1])
        norms = sum(float(np.square(w).sum()) for w in (recurrent, feed, readout))
        return self.penalty * norms + self.loss.value(readout @ last, self.targets)

    def energy(self, states: Sequence[Array]) -> float:
        """The same as a function of the neurons' patterns alone, h_t (M, P) for each t: least-norm W and U, best V."""
        recurrent, feed = self.minimal_weights(states)
        last = self.activation(states[-1])
        v = best_readout(self.loss, last, self.targets, self.penalty)
        norms = sum(float(np.square(w).sum()) for w in (recurrent, feed, v))
        return self.penalty * norms + self.loss.value(v @ last, self.targets)

    def minimal_weights(self, states: Sequence[Array]) -> tuple[Array, Array]:
        """Least-norm (W, U) that realise the states; InputError if none does."""
        m = states[0].shape[0]
        rows = []
        for t, a in enumerate(self.drive):
            before = np.zeros((a.shape[0], m)) if t == 0 else self.activation(states[t - 1]).T
            rows.append(np.hstack([before, a]))
        stacked, wanted = np.vstack(rows), np.hstack(list(states))
        w = wanted @ np.linalg.pinv(stacked, rcond=1e-9).T
        if np.linalg.norm(w @ stacked.T - wanted) > 1e-6 * max(1.0, float(np.linalg.norm(wanted))):
            raise InputError("no recurrent weights realise these states.")
        return w[:, :m], w[:, m:]

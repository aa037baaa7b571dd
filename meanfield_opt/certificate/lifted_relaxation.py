"""The lifted relaxation of a whole problem at first order: a dual point and the multipliers that prove a bound at it.

With h = A theta = a - b, a, b >= 0, a_p b_p = 0 and phi(h) = a - s b, the free-mass problem is bounded below by

    min  L(F B'; Y) + l2 tr R + l1 tr X_theta      over  [[R, F], [F', X]] positive semidefinite,
         B (theta, b) = a - s b,   W = T X T' entrywise nonnegative and zero at the pairs (a_p, b_p),   T (theta, b) = (a, b),

X standing for the second moments of (theta, b) under the measure. The dual variables of that cone program are a dual point
Z = -grad L and multipliers N >= 0 (signs) and D (pairs); all a proof at Z needs is N and D (``checker.lift``), converged or
not, so that every iteration proves something.

The alternating direction method of multipliers splits the variables on the graph of the two linear maps. Projecting on that
graph is exact and cheap, since T' T = V diag(m) V' diagonalises its normal equations: one eigenvalue decomposition of order
d_Y + k + P and a few products an iteration. The loss enters through its gradient and its curvature bound (a linearised
step, exact for the squared loss). Compare Parikh and Boyd, "Block splitting for distributed optimization", 2014.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..loss import Loss

Array = NDArray[np.float64]

#: weight of the moments against W in the graph projection, over-relaxation, first penalty
BALANCE, RELAXATION, PENALTY = 5.0, 1.6, 100.0
#: iterations between two changes of the penalty
ADAPT = 10


class LiftedRelaxation:
    """The relaxation for A (P, k) of full column rank, left slope s and a smooth loss.

    Everything inside is in units where the rows of A have length 1 (or 0), l1 = l2 = 1 and the loss at zero outputs is 1.
    """

    def __init__(self, factor: Array, slope: float, loss: Loss, targets: Array, l1: float, l2: float) -> None:
        p, k = factor.shape
        norms = np.linalg.norm(factor, axis=1)
        self.rows = np.where(norms > 0, norms, 1.0)
        self.factor, self.slope, self.loss, self.targets = factor / self.rows[:, None], slope, loss, targets
        self.tau = 4.0 * l1 * l2
        zero = np.zeros_like(targets)
        self.energy_unit = loss.value(zero, targets)
        pull = float(np.linalg.norm(loss.gradient(zero, targets)))
        self.output_unit = 2.0 * self.energy_unit / pull
        self.curvature = loss.curvature() * self.output_unit**2 / self.energy_unit
        self.lift = np.block([[self.factor, np.eye(p)], [np.zeros((p, k)), np.eye(p)]])
        read = np.hstack([self.factor, (1.0 - slope) * np.eye(p)]) * self.rows[:, None]
        self.read = read * (self.energy_unit / (self.output_unit * math.sqrt(l1 * l2)))
        self.weight = 1.0 / float(np.mean(np.sum(self.read**2, axis=1)))
        m, self.basis = np.linalg.eigh(self.lift.T @ self.lift)
        self.normal = BALANCE + np.outer(m, m)
        small = self.weight * self.read.T @ self.read + 2.0 * BALANCE * np.eye(k + p)
        self.inverse = np.linalg.inv(small)
        d = targets.shape[0]
        self.cost = np.zeros(d + k + p)
        self.cost[: d + k] = 1.0
        self.pairs = np.arange(p), p + np.arange(p)
        self.moments, self.signs, self.outputs = np.zeros((d + k + p,) * 2), np.zeros((2 * p, 2 * p)), zero
        self.drifts = (np.zeros_like(self.moments), np.zeros_like(self.signs), zero)
        self.penalty, self.iterations, self.residual = PENALTY, 0, math.inf

    def run(self, iterations: int) -> tuple[Array, Array, Array]:
        """``iterations`` more; then a dual point Z (d_Y, P) and D (P,), N (2P, 2P), all in the problem's own units."""
        for _ in range(iterations):
            self._iterate()
        signs, wanted = self._nearest_signs()
        raw = self.penalty * (signs - wanted)
        raw = 0.5 * (raw + raw.T)
        i, j = self.pairs
        diagonal = -raw[i, j]
        slack = np.maximum(raw, 0.0)
        slack[i, j] = slack[j, i] = 0.0
        np.fill_diagonal(slack, 0.0)
        outputs = self._nearest_outputs() * self.output_unit
        dual = self.loss.project_dual(-self.loss.gradient(outputs, self.targets), self.targets)
        return dual, self.tau * diagonal / self.rows**2, self.tau * slack / np.outer(*[np.tile(self.rows, 2)] * 2)

    def energy(self) -> float:
        """The relaxation's value, once converged."""
        loss = self.loss.value(self.outputs * self.output_unit, self.targets)
        return loss + self.energy_unit * float(self.cost @ np.diagonal(self.moments))

    def _nearest_signs(self) -> tuple[Array, Array]:
        """The nearest admissible W, and the point it was projected from."""
        wanted = self.signs - self.drifts[1]
        signs = np.maximum(wanted, 0.0)
        i, j = self.pairs
        signs[i, j] = signs[j, i] = 0.0
        return signs, wanted

    def _nearest_outputs(self) -> Array:
        """The linearised proximal step of the loss."""
        slope = self.loss.gradient(self.outputs * self.output_unit, self.targets)
        slope = slope * (self.output_unit / self.energy_unit)
        pull = self.penalty * self.weight
        wanted = self.outputs - self.drifts[2]
        return np.asarray((self.curvature * self.outputs - slope + pull * wanted) / (self.curvature + pull))

    def _nearest_moments(self) -> Array:
        """The proximal step of the trace on the positive semidefinite cone."""
        point = self.moments - self.drifts[0]
        index = np.arange(self.cost.size)
        point[index, index] -= self.cost / (BALANCE * self.penalty)
        values, vectors = np.linalg.eigh(point)
        kept = values > 0
        return np.asarray((vectors[:, kept] * values[kept]) @ vectors[:, kept].T)

    def _on_graph(self, moments: Array, signs: Array, outputs: Array) -> tuple[Array, Array, Array]:
        """The nearest (moments, W, outputs) that satisfy both linear maps."""
        d, v = self.targets.shape[0], self.basis
        new = np.empty_like(moments)
        new[:d, :d] = moments[:d, :d]
        right = BALANCE * moments[d:, d:] + self.lift.T @ signs @ self.lift
        inner = v @ ((v.T @ right @ v) / self.normal) @ v.T
        new[d:, d:] = 0.5 * (inner + inner.T)
        new[:d, d:] = (2.0 * BALANCE * moments[:d, d:] + self.weight * outputs @ self.read) @ self.inverse
        new[d:, :d] = new[:d, d:].T
        return new, self.lift @ new[d:, d:] @ self.lift.T, new[:d, d:] @ self.read.T

    def _iterate(self) -> None:
        near = (self._nearest_moments(), self._nearest_signs()[0], self._nearest_outputs())
        old = (self.moments, self.signs, self.outputs)
        ahead = tuple(
            RELAXATION * x + (1.0 - RELAXATION) * y + u for x, y, u in zip(near, old, self.drifts, strict=True)
        )
        new = self._on_graph(*ahead)
        self.drifts = (ahead[0] - new[0], ahead[1] - new[1], ahead[2] - new[2])
        self.iterations += 1
        if self.iterations % ADAPT == 0:
            primal = self._size(near, new)
            self.residual = primal / max(self._size(new, (0 * new[0], 0 * new[1], 0 * new[2])), 1e-300)
            self._adapt(primal, self.penalty * self._size(new, old))
        self.moments, self.signs, self.outputs = new

    def _size(self, one: tuple[Array, Array, Array], other: tuple[Array, Array, Array]) -> float:
        weights = (BALANCE, 1.0, self.weight)
        return math.sqrt(sum(w * float(np.sum((x - y) ** 2)) for w, x, y in zip(weights, one, other, strict=True)))

    def _adapt(self, primal: float, dual: float) -> None:
        """Residual balancing; the scaled multipliers keep their meaning."""
        factor = 1.3 if primal > 2.0 * dual else 1 / 1.3 if dual > 2.0 * primal else 1.0
        self.penalty *= factor
        self.drifts = (self.drifts[0] / factor, self.drifts[1] / factor, self.drifts[2] / factor)


def least_bound(factor: Array, dual: Array, slope: float, diagonal: Array, slack: Array) -> float:
    """The least t with t |theta|^2 >= |Z (a - s b)|^2 - 2 a' D b + (a, b)' N (a, b) (Schur complement); inf: none."""
    p = diagonal.size
    gram = dual.T @ dual
    aa = gram + slack[:p, :p]
    ab = slack[:p, p:] - slope * gram - np.diag(diagonal)
    bb = slack[p:, p:] + slope**2 * gram
    try:
        root: Any = np.linalg.cholesky(-(aa + ab + ab.T + bb))
        inner = np.linalg.solve(root, (aa + ab).T @ factor)
        top = np.linalg.eigvalsh(factor.T @ aa @ factor + inner.T @ inner)[-1]
    except np.linalg.LinAlgError:
        return math.inf
    return float(top) if math.isfinite(top) else math.inf

"""The problem on a dictionary of patterns, as a second-order cone program (theory section 1, "finite dictionary")."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..measure import Measure
from ..problem import TwoLayerProblem
from ..validate import real_array
from .base import Formulation, Lifted, squared_only
from .program import Affine, Builder, ConicAnswer, ConicProgram

Array = NDArray[np.float64]

#: masses below this share of the largest are a solver's noise and are dropped
NEGLIGIBLE = 1e-7


@dataclass(frozen=True, eq=False)
class GroupLasso(Formulation):
    """min |Y - V Phi^T|^2 + 2 sqrt(l1 l2) sum_j sqrt(c_j) |v_j|; under a width the masses appear explicitly.

    atoms: (J, P) patterns, none of cost zero. Its optimum is an upper bound of inf E.
    """

    atoms: Array
    name: str = field(default="group_lasso", init=False)
    bound: str = field(default="upper", init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "atoms", real_array(self.atoms, "the dictionary", ndim=2))

    def refusal(self, problem: TwoLayerProblem) -> str | None:
        if self.atoms.shape[1] != problem.n_samples:
            return f"the dictionary is over {self.atoms.shape[1]} samples, the problem over {problem.n_samples}."
        return squared_only(problem)

    def lower(self, problem: TwoLayerProblem) -> ConicProgram:
        """Variables: v' (J, d_Y) scaled to unit cost, then per atom t (or u, m under a width), then e.

        |Y|^2 e >= |Y - F|^2 is (e + 1, e - 1, 2 (Y - F)/|Y|) in the cone, after a QR factorisation of the features
        where P > J; the part of Y outside their span is the offset.
        """
        y = problem.targets
        d, j = y.shape[0], self.atoms.shape[0]
        scale = self._scale(problem)
        features = problem.features(self.atoms) / scale[:, None]
        weight, right, rest = _compressed(features, y)
        builder = Builder(f"group lasso on {j} atoms", offset=rest)
        v = builder.variables(j * d).reshape(j, d)
        norm2 = max(float(np.vdot(right, right)), 1e-300)
        if problem.width is None:
            t = builder.variables(j)
            builder.cost(t, 2.0 * math.sqrt(problem.lambda1 * problem.lambda2))
            rows = np.arange(j * (d + 1)).reshape(j, d + 1)
            builder.second_order(
                Affine.make(np.zeros(j * (d + 1)), rows, np.concatenate([t[:, None], v], axis=1), 1.0), d + 1
            )
        else:
            u, m = builder.variables(j), builder.variables(j)
            builder.cost(u, problem.lambda2)
            builder.cost(m, problem.lambda1)  # masses in units of cost: m' = c m
            builder.nonnegative(Affine.make([problem.width], 0, m, -1.0 / scale**2))
            # u m' >= |v'|^2: (u + m', u - m', 2 v')
            rows = np.arange(j * (d + 2)).reshape(j, d + 2)
            builder.second_order(
                Affine.make(
                    np.zeros(j * (d + 2)),
                    np.concatenate([rows[:, [0, 0, 1, 1]].ravel(), rows[:, 2:].ravel()]),
                    np.concatenate([np.stack([u, m, u, m], axis=1).ravel(), v.ravel()]),
                    np.concatenate([np.tile([1.0, 1.0, 1.0, -1.0], j), np.full(j * d, 2.0)]),
                ),
                d + 2,
            )
        e = builder.variables(1)
        builder.cost(e, norm2)
        q = weight.shape[1]
        root = math.sqrt(norm2)
        constant = np.concatenate([[1.0, -1.0], (2.0 / root * right).ravel()])
        # row 2 + k q + i: right[k, i] - sum_j v[j, k] weight[j, i]
        rows = 2 + np.arange(d)[:, None, None] * q + np.arange(q)[None, None, :]
        columns = v.T[:, :, None]
        rows, columns, values = np.broadcast_arrays(rows, columns, -2.0 / root * weight[None, :, :])
        builder.second_order(
            Affine.make(
                constant,
                np.concatenate([[0, 1], rows.ravel()]),
                np.concatenate([[e[0], e[0]], columns.ravel()]),
                np.concatenate([[1.0, 1.0], values.ravel()]),
            ),
            2 + d * q,
        )
        return builder.build()

    def embed(self, problem: TwoLayerProblem, measure: Measure) -> Array:
        if not np.array_equal(measure.atoms, self.atoms):
            raise InputError("the group lasso holds measures on its own dictionary only.")
        scale = self._scale(problem)
        readout = problem.readout(measure)
        v = (readout * measure.masses * scale).T
        residual = problem.targets - (readout * measure.masses) @ problem.features(self.atoms)
        _, right, rest = _compressed(problem.features(self.atoms) / scale[:, None], problem.targets)
        norm2 = max(float(np.vdot(right, right)), 1e-300)
        e = (float(np.vdot(residual, residual)) - rest) / norm2
        if problem.width is None:
            # the energy of any other masses on these v is larger: only balanced masses are held
            return np.concatenate([v.ravel(), np.linalg.norm(v, axis=1), [e]])
        m = measure.masses * scale**2
        u = np.divide((v**2).sum(axis=1), m, out=np.zeros_like(m), where=m > 0)
        return np.concatenate([v.ravel(), u, m, [e]])

    def lift(self, problem: TwoLayerProblem, answer: ConicAnswer) -> Lifted:
        """Free mass: m_j = sqrt(l2/(l1 c_j)) |v_j|. Z = 2 (Y - F), F from the multipliers of the residual cone."""
        if answer.x is None:
            return Lifted(None, None, f"the solver returned no point ({answer.words}).")
        d, j = problem.n_outputs, self.atoms.shape[0]
        scale = self._scale(problem)
        v = answer.x[: j * d].reshape(j, d)
        norms = np.linalg.norm(v, axis=1)
        if problem.width is None:
            masses = math.sqrt(problem.lambda2 / problem.lambda1) * norms / scale**2
        else:
            masses = np.maximum(answer.x[j * d + j : j * d + 2 * j], 0.0) / scale**2
            total = float(masses.sum())
            if total > problem.width:
                masses *= problem.width / total
        keep = masses > NEGLIGIBLE * max(float(masses.max(initial=0.0)), 1e-300)
        readout = (v[keep] / scale[keep, None] / masses[keep, None]).T
        measure = Measure(self.atoms[keep], masses[keep], None, readout)
        dual = None
        if answer.y is not None and np.isfinite(answer.y).all():
            features = problem.features(self.atoms) / scale[:, None]
            dual = _dual(features, problem.targets, answer.y)
        return Lifted(measure, dual)

    def _scale(self, problem: TwoLayerProblem) -> Array:
        cost = problem.geometry.cost(self.atoms)
        if not (cost > 0).all():
            raise InputError("the dictionary has patterns of cost zero; leave them out.")
        return np.asarray(np.sqrt(cost))


def _compressed(features: Array, targets: Array) -> tuple[Array, Array, float]:
    """(R (J, q), Y' (d_Y, q), rest): |Y - V Phi|^2 = |Y' - V R|^2 + rest for all V, q = min(J, P)."""
    j, p = features.shape
    if p <= j:
        return features, targets, 0.0
    basis, r = np.linalg.qr(features.T)
    right = targets @ basis
    outside = targets - right @ basis.T
    return np.asarray(r.T), np.asarray(right), float(np.vdot(outside, outside))


def _dual(features: Array, targets: Array, y: Array) -> Array:
    """Z from the residual cone's multipliers: s_u = 2 (Y' - F')/|Y'|, so dL/dF' = 2 y_u |Y'|^-1 and Z = -2 y_u / |Y'|."""
    weight, right, _ = _compressed(features, targets)
    d, q = right.shape
    root = math.sqrt(max(float(np.vdot(right, right)), 1e-300))
    inner = -2.0 / root * y[y.size - d * q :].reshape(d, q)
    if weight is features:
        return np.asarray(inner)
    basis, _ = np.linalg.qr(features.T)
    return np.asarray(inner @ basis.T + 2.0 * (targets - right @ basis.T))

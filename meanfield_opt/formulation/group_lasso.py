"""The problem on a dictionary of patterns, as a second-order cone program (theory section 1, "finite dictionary")."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..losses.squared import Squared
from ..measure import Measure
from ..problem import TwoLayerProblem
from ..validate import real_array
from .base import Formulation, Lifted
from .loss_terms import add_loss, loss_point, loss_refusal
from .program import Affine, Builder, ConicAnswer, ConicProgram

Array = NDArray[np.float64]
Index = NDArray[np.int64]

#: masses below this share of the largest are a solver's noise and are dropped
NEGLIGIBLE = 1e-7


@dataclass(frozen=True, eq=False)
class GroupLasso(Formulation):
    """min L(V Phi; Y) + 2 sqrt(l1 l2) sum_j sqrt(c_j) |v_j|; under a width the masses appear explicitly.

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
        return loss_refusal(problem)

    def lower(self, problem: TwoLayerProblem) -> ConicProgram:
        """Variables: v' (J, d_Y) scaled to unit cost, then per atom t (or u, m under a width), then those of the loss.

        Squared loss: |Y|^2 e >= |Y - F|^2 is (e + 1, e - 1, 2 (Y - F)/|Y|) in the cone, after a QR factorisation of the features
        where P > J; the part of Y outside their span is the offset. Other losses: F = V Phi
        as variables, and ``add_loss``.
        """
        y = problem.targets
        d, j = y.shape[0], self.atoms.shape[0]
        scale = self._scale(problem)
        features = problem.features(self.atoms) / scale[:, None]
        builder = Builder(f"group lasso on {j} atoms")
        v = builder.variables(j * d).reshape(j, d)
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
        if isinstance(problem.loss, Squared):
            _squared_fit(builder, features, y, v)
        else:
            f = builder.variables(d * y.shape[1]).reshape(y.shape)
            _link(builder, features, v, f)
            add_loss(builder, problem, f)
        return builder.build()

    def embed(self, problem: TwoLayerProblem, measure: Measure) -> Array:
        if not np.array_equal(measure.atoms, self.atoms):
            raise InputError("the group lasso holds measures on its own dictionary only.")
        scale = self._scale(problem)
        readout = problem.readout(measure)
        v = (readout * measure.masses * scale).T
        fit = self._fit_point(problem, (readout * measure.masses) @ problem.features(self.atoms), scale)
        if problem.width is None:
            # the energy of any other masses on these v is larger: only balanced masses are held
            return np.concatenate([v.ravel(), np.linalg.norm(v, axis=1), fit])
        m = measure.masses * scale**2
        u = np.divide((v**2).sum(axis=1), m, out=np.zeros_like(m), where=m > 0)
        return np.concatenate([v.ravel(), u, m, fit])

    def _fit_point(self, problem: TwoLayerProblem, outputs: Array, scale: Array) -> Array:
        """Values of the variables of the fit at F."""
        if not isinstance(problem.loss, Squared):
            return np.concatenate([outputs.ravel(), loss_point(problem, outputs)])
        residual = problem.targets - outputs
        _, right, rest = _compressed(problem.features(self.atoms) / scale[:, None], problem.targets)
        return np.array([(float(np.vdot(residual, residual)) - rest) / max(float(np.vdot(right, right)), 1e-300)])

    def lift(self, problem: TwoLayerProblem, answer: ConicAnswer) -> Lifted:
        """Free mass: m_j = sqrt(l2/(l1 c_j)) |v_j|. Z from the multipliers of the fit."""
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
            if isinstance(problem.loss, Squared):
                dual = _dual(problem.features(self.atoms) / scale[:, None], problem.targets, answer.y)
            else:
                dual = -answer.y[: problem.targets.size].reshape(problem.targets.shape)
        return Lifted(measure, dual)

    def _scale(self, problem: TwoLayerProblem) -> Array:
        cost = problem.geometry.cost(self.atoms)
        if not (cost > 0).all():
            raise InputError("the dictionary has patterns of cost zero; leave them out.")
        return np.asarray(np.sqrt(cost))


def _squared_fit(builder: Builder, features: Array, y: Array, v: Index) -> None:
    """|Y - V Phi|^2 with one second-order cone; the last block of its kind, so that ``_dual`` finds it."""
    d = y.shape[0]
    weight, right, rest = _compressed(features, y)
    builder.offset += rest
    norm2 = max(float(np.vdot(right, right)), 1e-300)
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


def _link(builder: Builder, features: Array, v: Index, f: Index) -> None:
    """F = V Phi: the first rows of the zero cone, so that ``lift`` finds their multipliers, the gradient of L."""
    (j, p), d = features.shape, v.shape[1]
    rows = np.arange(d * p).reshape(d, p)
    k, atom, q = np.meshgrid(np.arange(d), np.arange(j), np.arange(p), indexing="ij")
    builder.zero(
        Affine.make(
            np.zeros(d * p),
            np.concatenate([rows.ravel(), rows[k, q].ravel()]),
            np.concatenate([f.ravel(), v[atom, k].ravel()]),
            np.concatenate([np.ones(d * p), -features[atom, q].ravel()]),
        )
    )


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

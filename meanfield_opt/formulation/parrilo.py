"""The relaxation one level above the doubly nonnegative one (Parrilo 2000, level 1), on the same lift."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from ..measure import Measure
from ..problem import TwoLayerProblem
from .base import Formulation, KernelEntries, Lifted, add_fit, fit_dual, fit_point, relu_relaxation_refusal
from .extract import atoms_from_patterns, signed_columns
from .lifted import SignedLift, lift_refusal, signed_lift
from .program import Affine, Builder, ConicAnswer, ConicProgram
from .symmetric import lower_indices, svec_weights

Array = NDArray[np.float64]
Index = NDArray[np.int64]

MOST_POINTS = 24


@dataclass(frozen=True, eq=False)
class ParriloLift(Formulation):
    """The lift with W = sum_i T_i, T a symmetric nonnegative 3-tensor with PSD slices T_i: a lower bound of inf E.

    The dual cone of Parrilo's K1 (M with sum M_ij x_i^2 x_j^2 |x|^2 a sum of squares) written for moments:
    T_ijk = int z_i z_j z_k / (1 . z). At least as tight as ``DNNLift``; n PSD blocks of order n - 1 for the n = 2P entries
    of z (fewer where samples are parallel), so P <= 12. The variable is the tensor tau of the coordinates zeta of the
    lift (``lifted``), T its image under V; a slice T_i lives where z_i > 0, on all coordinates but one.
    """

    reduced: bool = False
    name: str = field(default="parrilo", init=False)
    bound: str = field(default="lower", init=False)

    def refusal(self, problem: TwoLayerProblem) -> str | None:
        n = (1 if self.reduced else 2) * problem.n_samples
        if n > MOST_POINTS:
            return f"the level-1 lift has n PSD blocks of order n = {n}; {MOST_POINTS} is the limit."
        reason = relu_relaxation_refusal(problem, "the level-1 lift", n)
        return lift_refusal(problem, reduced=self.reduced) if reason is None else reason

    def lower(self, problem: TwoLayerProblem) -> ConicProgram:
        lift = signed_lift(problem, reduced=self.reduced)
        n, order = lift.size, lift.order
        triples, place = _triples(order)
        builder = Builder(f"Parrilo level 1 of order {n}")
        t = builder.variables(triples.shape[0])[place]
        total = lift.matrix.sum(axis=0)  # W = sum_i T_i is tau applied to V^T 1
        builder.cost(t.ravel(), (problem.lambda1 * np.multiply.outer(total, lift.cost)).ravel())
        add_fit(builder, problem, _kernel_entries(lift, t, total))
        for i in range(n):
            kept = np.delete(np.arange(order), lift.dropped[i : i + 1][lift.dropped[i : i + 1] >= 0])
            r, c = lower_indices(kept.size)
            variables = t[lift.support[i][None, :], kept[r][:, None], kept[c][:, None]]
            values = lift.weights[i][None, :] * svec_weights(kept.size)[:, None]
            builder.psd(Affine.make(np.zeros(r.size), np.arange(r.size)[:, None], variables, values), kept.size)
        _add_signs(builder, lift, t)
        return builder.build()

    def embed(self, problem: TwoLayerProblem, measure: Measure) -> Array:
        lift = signed_lift(problem, reduced=self.reduced)
        zeta = lift.points(measure.atoms)
        triples, _ = _triples(lift.order)
        weights = measure.masses / (zeta @ lift.matrix.T).sum(axis=1)
        tensor = weights @ (zeta[:, triples[:, 0]] * zeta[:, triples[:, 1]] * zeta[:, triples[:, 2]])
        features = np.maximum(measure.atoms, 0.0)
        return np.concatenate([tensor, fit_point(problem, (features.T * measure.masses) @ features)])

    def lift(self, problem: TwoLayerProblem, answer: ConicAnswer) -> Lifted:
        if answer.x is None or answer.y is None:
            return Lifted(None, None, f"the solver returned no point ({answer.words}).")
        lift = signed_lift(problem, reduced=self.reduced)
        program = self.lower(problem)
        dual = fit_dual(problem, program, answer.y)
        _, place = _triples(lift.order)
        slices = np.einsum("ia,abc->ibc", lift.matrix, answer.x[place])
        suggestions = [lift.moment_of_samples(m) for m in (slices.sum(axis=0), *slices)]
        patterns = np.vstack([signed_columns(m, problem.n_samples) for m in suggestions])
        measure, reason = atoms_from_patterns(problem, patterns, dual, program.objective(answer.x))
        return Lifted(measure, dual, reason)


def _kernel_entries(lift: SignedLift, t: Index, total: Array) -> KernelEntries:
    """K = E[a a^T] over the samples with W = sum_i T_i."""
    rows, columns = np.tril_indices(lift.samples)
    i, j = lift.place[rows], lift.place[columns]
    every = np.arange(lift.order)
    variables = t[every, lift.support[i][:, :, None, None], lift.support[j][:, None, :, None]]
    values = lift.weights[i][:, :, None, None] * lift.weights[j][:, None, :, None] * total
    values = values * (lift.factor[rows] * lift.factor[columns])[:, None, None, None]
    return KernelEntries.each(rows, columns, variables, values)


def _add_signs(builder: Builder, lift: SignedLift, t: Index) -> None:
    """T_ijk >= 0; z_i z_j zeta_k integrates to 0 for ``pairs`` (i, j)."""
    paired = np.zeros((lift.size, lift.size), dtype=bool)
    for low, high in lift.pairs:
        paired[low, high] = paired[high, low] = True
    if lift.pairs:
        i, j = np.array(lift.pairs, dtype=np.int64).T
        variables = t[lift.support[i][:, :, None, None], lift.support[j][:, None, :, None], np.arange(lift.order)]
        values = (lift.weights[i][:, :, None] * lift.weights[j][:, None, :])[..., None]
        rows = np.arange(i.size * lift.order).reshape(i.size, 1, 1, lift.order)
        builder.zero(Affine.make(np.zeros(rows.size), rows, variables, values))
    # T_iij >= 0 follows from T_j PSD, but interior point methods end better with it
    i, j, k = np.array(list(combinations_with_replacement(range(lift.size), 3)), dtype=np.int64).T
    free = ~(paired[i, j] | paired[i, k] | paired[j, k])
    i, j, k = i[free], j[free], k[free]
    if i.size:
        s, w = lift.support, lift.weights
        variables = t[s[i][:, :, None, None], s[j][:, None, :, None], s[k][:, None, None, :]]
        values = w[i][:, :, None, None] * w[j][:, None, :, None] * w[k][:, None, None, :]
        rows = np.arange(i.size)[:, None, None, None]
        builder.nonnegative(Affine.make(np.zeros(i.size), rows, variables, values))


def _triples(n: int) -> tuple[Index, Index]:
    """(sorted triples (t, 3), place (n, n, n)): which variable holds T_ijk."""
    triples = np.array(list(combinations_with_replacement(range(n), 3)), dtype=np.int64)
    place = np.zeros((n, n, n), dtype=np.int64)
    k = np.arange(triples.shape[0])
    for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        place[triples[:, order[0]], triples[:, order[1]], triples[:, order[2]]] = k
    return triples, place

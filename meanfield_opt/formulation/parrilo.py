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
from .lifted import signed_lift
from .program import Affine, Builder, ConicAnswer, ConicProgram
from .symmetric import lower_indices, svec_weights

Array = NDArray[np.float64]
Index = NDArray[np.int64]

MOST_POINTS = 24


@dataclass(frozen=True, eq=False)
class ParriloLift(Formulation):
    """The lift with W = sum_i T_i, T a symmetric nonnegative 3-tensor with PSD slices T_i: a lower bound of inf E.

    The dual cone of Parrilo's K1 (M with sum M_ij x_i^2 x_j^2 |x|^2 a sum of squares) written for moments:
    T_ijk = int z_i z_j z_k / (1 . z). At least as tight as ``DNNLift``; n PSD blocks of order n = 2P, so P <= 12.
    """

    reduced: bool = False
    name: str = field(default="parrilo", init=False)
    bound: str = field(default="lower", init=False)

    def refusal(self, problem: TwoLayerProblem) -> str | None:
        n = (1 if self.reduced else 2) * problem.n_samples
        if n > MOST_POINTS:
            return f"the level-1 lift has n PSD blocks of order n = {n}; {MOST_POINTS} is the limit."
        reason = relu_relaxation_refusal(problem, "the level-1 lift", n)
        if reason is None and self.reduced:
            from .dnn_lift import DNNLift

            reason = DNNLift(reduced=True).refusal(problem)
        return reason

    def lower(self, problem: TwoLayerProblem) -> ConicProgram:
        lift = signed_lift(problem, reduced=self.reduced)
        p, n = problem.n_samples, lift.order
        triples, place = _triples(n)
        builder = Builder(f"Parrilo level 1 of order {n}")
        t = builder.variables(triples.shape[0])
        # <C, W> with W_jk = sum_i T_ijk
        every = np.arange(n)
        i, j, k = np.meshgrid(every, every, every, indexing="ij")
        builder.cost(t[place[i, j, k].ravel()], (problem.lambda1 * lift.cost)[j.ravel(), k.ravel()])
        rows, columns = np.tril_indices(p)
        first, at = np.meshgrid(every, np.arange(rows.size), indexing="ij")
        variables = t[place[first, rows[at], columns[at]].ravel()]
        add_fit(
            builder,
            problem,
            KernelEntries(rows[at].ravel(), columns[at].ravel(), variables, np.ones(variables.size)),
        )
        r, c = lower_indices(n)
        for slice_ in range(n):
            builder.psd(Affine.make(np.zeros(r.size), np.arange(r.size), t[place[slice_, r, c]], svec_weights(n)), n)
        zero = np.zeros(t.size, dtype=bool)
        for a, b in lift.pairs:
            zero[place[a, b, :]] = True
        dead, free = t[zero], t[~zero]
        builder.zero(Affine.make(np.zeros(dead.size), np.arange(dead.size), dead, 1.0))
        builder.nonnegative(Affine.make(np.zeros(free.size), np.arange(free.size), free, 1.0))
        if lift.equations.size:
            e, j, k = np.meshgrid(np.arange(lift.equations.shape[0]), every, every, indexing="ij")
            height = e.size
            block = np.arange(height).reshape(e.shape)
            builder.zero(
                Affine.make(
                    np.zeros(height),
                    np.broadcast_to(block[..., None], (*e.shape, n)),
                    t[place[every, j[..., None], k[..., None]]],
                    lift.equations[e][..., :] + np.zeros(n),
                )
            )
        return builder.build()

    def embed(self, problem: TwoLayerProblem, measure: Measure) -> Array:
        lift = signed_lift(problem, reduced=self.reduced)
        z = lift.points(measure.atoms)
        triples, _ = _triples(lift.order)
        weights = measure.masses / z.sum(axis=1)
        tensor = weights @ (z[:, triples[:, 0]] * z[:, triples[:, 1]] * z[:, triples[:, 2]])
        p = problem.n_samples
        features = np.maximum(measure.atoms, 0.0)
        kernel = (features.T * measure.masses) @ features
        assert kernel.shape == (p, p)
        return np.concatenate([tensor, fit_point(problem, kernel)])

    def lift(self, problem: TwoLayerProblem, answer: ConicAnswer) -> Lifted:
        if answer.x is None or answer.y is None:
            return Lifted(None, None, f"the solver returned no point ({answer.words}).")
        n = (1 if self.reduced else 2) * problem.n_samples
        program = self.lower(problem)
        dual = fit_dual(problem, program, answer.y)
        _, place = _triples(n)
        tensor = answer.x[place]
        suggestions = [tensor.sum(axis=0), *tensor]
        patterns = np.vstack([signed_columns(m, problem.n_samples) for m in suggestions])
        measure, reason = atoms_from_patterns(problem, patterns, dual, program.objective(answer.x))
        return Lifted(measure, dual, reason)


def _triples(n: int) -> tuple[Index, Index]:
    """(sorted triples (t, 3), place (n, n, n)): which variable holds T_ijk."""
    triples = np.array(list(combinations_with_replacement(range(n), 3)), dtype=np.int64)
    place = np.zeros((n, n, n), dtype=np.int64)
    k = np.arange(triples.shape[0])
    for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        place[triples[:, order[0]], triples[:, order[1]], triples[:, order[2]]] = k
    return triples, place

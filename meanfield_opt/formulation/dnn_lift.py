"""The doubly nonnegative relaxation of the ReLU problem (theory section 3, "conic lower bounds (a)")."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..measure import Measure
from ..problem import TwoLayerProblem
from .base import (
    Formulation,
    KernelEntries,
    Lifted,
    add_fit,
    fit_dual,
    fit_point,
    relu_relaxation_refusal,
)
from .extract import atoms_from_patterns, signed_columns
from .lifted import moment_of, signed_lift
from .program import Affine, Builder, ConicAnswer, ConicProgram, SymmetricVariable
from .symmetric import lower_indices, smat, svec, svec_size

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DNNLift(Formulation):
    """min l1 <C, W> + R(W_aa) over W PSD and entrywise >= 0 of order 2P with diag(W_ab) = 0: a lower bound of inf E.

    reduced: order P with b = 0, where K_X^-1 has no positive off-diagonal entry (whitened inputs with a bias).
    """

    reduced: bool = False
    name: str = field(default="dnn_lift", init=False)
    bound: str = field(default="lower", init=False)

    def refusal(self, problem: TwoLayerProblem) -> str | None:
        factor = 1 if self.reduced else 2
        reason = relu_relaxation_refusal(problem, "the lifted relaxation", factor * problem.n_samples)
        if reason is None and self.reduced:
            from .lifted import reduced_refusal

            lift = signed_lift(problem, reduced=False)
            p = problem.n_samples
            reason = reduced_refusal(lift.cost[:p, :p], lift.equations)
        return reason

    def lower(self, problem: TwoLayerProblem) -> ConicProgram:
        lift = signed_lift(problem, reduced=self.reduced)
        p, n = problem.n_samples, lift.order
        builder = Builder(f"doubly nonnegative lift of order {n}")
        w = builder.symmetric(n)
        variables, values = w.functional(problem.lambda1 * lift.cost)
        builder.cost(variables, values)
        rows, columns = np.tril_indices(p)
        rows, columns = rows.astype(np.int64), columns.astype(np.int64)
        entries, factors = w.entries(rows, columns)
        add_fit(builder, problem, KernelEntries(rows, columns, entries, factors))
        builder.psd_variable(w)
        add_signs(builder, w, lift.pairs)
        add_equations(builder, w, lift.equations)
        return builder.build()

    def embed(self, problem: TwoLayerProblem, measure: Measure) -> Array:
        moment = moment_of(signed_lift(problem, reduced=self.reduced), measure)
        p = problem.n_samples
        return np.concatenate([svec(moment), fit_point(problem, moment[:p, :p])])

    def lift(self, problem: TwoLayerProblem, answer: ConicAnswer) -> Lifted:
        if answer.x is None or answer.y is None:
            return Lifted(None, None, f"the solver returned no point ({answer.words}).")
        n = (1 if self.reduced else 2) * problem.n_samples
        program = self.lower(problem)
        dual = fit_dual(problem, program, answer.y)
        moment = smat(answer.x[: svec_size(n)])
        measure, reason = atoms_from_patterns(
            problem, signed_columns(moment, problem.n_samples), dual, program.objective(answer.x)
        )
        return Lifted(measure, dual, reason)


def add_signs(builder: Builder, w: SymmetricVariable, pairs: tuple[tuple[int, int], ...]) -> None:
    """Every entry is nonnegative; those of ``pairs`` are zero."""
    rows, columns = lower_indices(w.order)
    zero = np.zeros(w.indices.size, dtype=bool)
    if pairs:
        i, j = np.array(pairs, dtype=np.int64).T
        at, _ = w.entries(i, j)
        zero[at - w.first] = True
        builder.zero(Affine.make(np.zeros(at.size), np.arange(at.size), at, 1.0))
    free = w.indices[~zero & (rows != columns)]  # the diagonal is nonnegative because W is PSD
    builder.nonnegative(Affine.make(np.zeros(free.size), np.arange(free.size), free, 1.0))


def add_equations(builder: Builder, w: SymmetricVariable, equations: Array) -> None:
    """E W = 0 for the linear equations E z = 0."""
    k, n = equations.shape
    if k == 0:
        return
    # row (e, j): sum_i E[e, i] W[i, j]
    i, j = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    variables, factors = w.entries(i, j)
    rows = np.arange(k)[:, None] * n + j.ravel()[None, :]
    values = equations[:, i.ravel()] * factors[None, :]
    builder.zero(Affine.make(np.zeros(k * n), rows, np.broadcast_to(variables, rows.shape), values))

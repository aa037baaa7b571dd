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
from .lifted import SignedLift, lift_refusal, moment_of, signed_lift
from .program import Affine, Builder, ConicAnswer, ConicProgram, SymmetricVariable
from .symmetric import smat, svec, svec_size

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DNNLift(Formulation):
    """min l1 <C, W> + R(W_aa) over W PSD and entrywise >= 0 of order 2P with diag(W_ab) = 0: a lower bound of inf E.

    Singular K_X: the PSD variable is the moment matrix of coordinates of which z is a linear map (``lifted``), W is its
    image: the same optimum, and an interior.
    reduced: order P with b = 0, where K_X^-1 has no positive off-diagonal entry (whitened inputs with a bias).
    """

    reduced: bool = False
    name: str = field(default="dnn_lift", init=False)
    bound: str = field(default="lower", init=False)

    def refusal(self, problem: TwoLayerProblem) -> str | None:
        factor = 1 if self.reduced else 2
        reason = relu_relaxation_refusal(problem, "the lifted relaxation", factor * problem.n_samples)
        return lift_refusal(problem, reduced=self.reduced) if reason is None else reason

    def lower(self, problem: TwoLayerProblem) -> ConicProgram:
        lift = signed_lift(problem, reduced=self.reduced)
        builder = Builder(f"doubly nonnegative lift of order {lift.order}")
        w = builder.symmetric(lift.order)
        variables, values = w.functional(problem.lambda1 * lift.cost)
        builder.cost(variables, values)
        add_fit(builder, problem, kernel_entries(lift, w))
        builder.psd_variable(w)
        add_signs(builder, lift, w)
        return builder.build()

    def embed(self, problem: TwoLayerProblem, measure: Measure) -> Array:
        lift = signed_lift(problem, reduced=self.reduced)
        moment = moment_of(lift, measure)
        p = problem.n_samples
        return np.concatenate([svec(moment), fit_point(problem, lift.moment_of_samples(moment)[:p, :p])])

    def lift(self, problem: TwoLayerProblem, answer: ConicAnswer) -> Lifted:
        if answer.x is None or answer.y is None:
            return Lifted(None, None, f"the solver returned no point ({answer.words}).")
        lift = signed_lift(problem, reduced=self.reduced)
        program = self.lower(problem)
        dual = fit_dual(problem, program, answer.y)
        moment = lift.moment_of_samples(smat(answer.x[: svec_size(lift.order)]))
        measure, reason = atoms_from_patterns(
            problem, signed_columns(moment, problem.n_samples), dual, program.objective(answer.x)
        )
        return Lifted(measure, dual, reason)


def kernel_entries(lift: SignedLift, w: SymmetricVariable) -> KernelEntries:
    """K = E[a a^T] over the samples, from the moment matrix w."""
    rows, columns = np.tril_indices(lift.samples)
    variables, values = lift.products(w, lift.place[rows], lift.place[columns])
    values = values * (lift.factor[rows] * lift.factor[columns])[:, None]
    return KernelEntries.each(rows, columns, variables, values)


def add_signs(builder: Builder, lift: SignedLift, w: SymmetricVariable) -> None:
    """E[z_i z_j] >= 0 for all i, j; = 0 for those of ``pairs``."""
    i, j = np.tril_indices(lift.size, -1)  # the diagonal is nonnegative because the moment matrix is PSD
    zero = np.zeros((lift.size, lift.size), dtype=bool)
    for low, high in lift.pairs:
        zero[high, low] = True
    for chosen, add in ((zero[i, j], builder.zero), (~zero[i, j], builder.nonnegative)):
        count = int(chosen.sum())
        if count:
            variables, values = lift.products(w, i[chosen], j[chosen])
            add(Affine.make(np.zeros(count), np.arange(count)[:, None], variables, values))

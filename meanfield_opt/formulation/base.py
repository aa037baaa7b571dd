"""What a formulation is: a way to write a problem as a conic program, and to read the answer back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..fit import best_readout
from ..losses.squared import Squared
from ..measure import Measure
from ..problem import TwoLayerProblem
from .loss_terms import add_loss, loss_point, loss_refusal
from .program import Affine, Builder, ConicAnswer, ConicProgram, SymmetricVariable
from .symmetric import ROOT2, position, smat, svec

Array = NDArray[np.float64]
Index = NDArray[np.int64]

#: programs with a PSD block beyond this order are refused: no interior point method here would finish
MOST_ORDER = 200


@dataclass(frozen=True, eq=False)
class Lifted:
    """A conic answer read back. ``reason`` says why ``measure`` is missing, or is not of the program's value."""

    measure: Measure | None
    dual: Array | None
    reason: str | None = None


class Formulation(ABC):
    """problem -> ConicProgram -> measure and dual point. A frozen dataclass; holds no problem.

    Laws: ``embed`` maps a measure that the formulation can hold to a feasible point of the same objective; ``lift``
    of an answer is feasible for the problem; the optimum stands to inf E as ``bound`` says.
    """

    name: str
    #: "upper": the optimum is >= inf E (a restriction to a dictionary); "lower": <= inf E (a relaxation);
    #: "none": neither is promised. All in exact arithmetic: a solver's value certifies nothing.
    bound: str

    @abstractmethod
    def refusal(self, problem: TwoLayerProblem) -> str | None:
        """None if the problem can be written this way, otherwise the reason."""

    @abstractmethod
    def lower(self, problem: TwoLayerProblem) -> ConicProgram:
        """The conic program."""

    @abstractmethod
    def embed(self, problem: TwoLayerProblem, measure: Measure) -> Array:
        """A feasible x whose objective is the energy of ``measure``; InputError if the formulation cannot hold it."""

    @abstractmethod
    def lift(self, problem: TwoLayerProblem, answer: ConicAnswer) -> Lifted:
        """Measure and dual point of an answer."""


def relu_relaxation_refusal(problem: TwoLayerProblem, what: str, order: int) -> str | None:
    """Refusals common to the relaxations of the ReLU problem."""
    if problem.activation.name != "relu":
        return f"{what} is for relu; the activation is {problem.activation.name}."
    if problem.width is not None:
        return f"{what} is for free mass; a width was given."
    if order > MOST_ORDER:
        return f"{what} would have a PSD block of order {order}; {MOST_ORDER} is the limit here."
    return loss_refusal(problem)


@dataclass(frozen=True, eq=False)
class KernelEntries:
    """K_ij (rows i >= columns j) = sum of value * x[variable] over triplets that share (i, j)."""

    rows: Index
    columns: Index
    variables: Index
    values: Array

    @staticmethod
    def each(rows: NDArray[np.intp], columns: NDArray[np.intp], variables: Index, values: Array) -> KernelEntries:
        """For every entry (i, j) its own variables and values, those of entry k in variables[k] and values[k] (any shape)."""
        count = variables[0].size
        return KernelEntries(
            np.repeat(rows, count).astype(np.int64),
            np.repeat(columns, count).astype(np.int64),
            variables.ravel(),
            values.ravel(),
        )


def add_fit(builder: Builder, problem: TwoLayerProblem, kernel: KernelEntries) -> SymmetricVariable:
    """R(K) as min tr T, with the first PSD block of the program, so that ``fit_dual`` finds it.

    Squared loss: R(K) = l2 tr (l2 I + K)^-1 K_Y with [[T, sqrt(l2) Y], [sqrt(l2) Y^T, l2 I + K]] PSD. Otherwise
    R(K) = min_F L(F) + l2 tr F K^+ F^T with variables F and [[T, sqrt(l2) F], [sqrt(l2) F^T, K]] PSD.
    """
    y, l2 = problem.targets, problem.lambda2
    d, p = y.shape
    t = builder.symmetric(d)
    variables, values = t.functional(np.eye(d))
    builder.cost(variables, values)
    corner = np.zeros((d + p, d + p))
    squared = isinstance(problem.loss, Squared)
    if squared:
        corner[d:, :d] = np.sqrt(l2) * y.T
        corner[np.arange(d, d + p), np.arange(d, d + p)] = l2
    i, j = np.tril_indices(d)
    t_variables, _ = t.entries(i, j)  # svec to svec: factors cancel
    t_rows = position(d + p, i.astype(np.int64), j.astype(np.int64))
    k_rows = position(d + p, kernel.rows + d, kernel.columns + d)
    k_values = kernel.values * np.where(kernel.rows == kernel.columns, 1.0, ROOT2)
    rows, columns = [t_rows, k_rows], [t_variables, kernel.variables]
    factors = [np.ones(t_rows.size), k_values]
    if not squared:
        f = builder.variables(d * p).reshape(d, p)
        k, q = np.meshgrid(np.arange(d), np.arange(p), indexing="ij")
        rows.append(position(d + p, q.ravel() + d, k.ravel()))
        columns.append(f.ravel())
        factors.append(np.full(d * p, ROOT2 * np.sqrt(l2)))
    builder.psd(
        Affine.make(svec(corner), np.concatenate(rows), np.concatenate(columns), np.concatenate(factors)), d + p
    )
    if not squared:
        add_loss(builder, problem, f)
    return t


def fit_point(problem: TwoLayerProblem, kernel: Array) -> Array:
    """The best values of the variables of ``add_fit`` at a kernel K: svec T, and for other losses F and its terms."""
    y, l2 = problem.targets, problem.lambda2
    if not isinstance(problem.loss, Squared):
        values, vectors = np.linalg.eigh(kernel)
        used = values > 1e-14 * max(float(values[-1]), 1e-300)
        root = np.sqrt(values[used])[:, None] * vectors[:, used].T  # K = root^T root, F = V root
        v = best_readout(problem.loss, root, y, l2)
        t, f = l2 * v @ v.T, v @ root
        return np.concatenate([svec(0.5 * (t + t.T)), f.ravel(), loss_point(problem, f)])
    inner = kernel + l2 * np.eye(kernel.shape[0])
    t = l2 * y @ np.linalg.solve(inner, y.T)
    return svec(0.5 * (t + t.T))


def fit_dual(problem: TwoLayerProblem, program: ConicProgram, y: Array) -> Array:
    """Z (d_Y, P) from the multiplier S of the first PSD block: S_TT = I, Z = -2 sqrt(l2) S_TK.

    Squared loss: the Lagrangian is <Z, Y> - l2 tr S_KK with S_KK >= Z^T Z / (4 l2) = G, theory section 2.
    """
    rows = next(rows for kind, rows, _ in program.cones.blocks() if kind == "psd")
    s = smat(y[rows])
    d = problem.n_outputs
    return np.asarray(-2.0 * np.sqrt(problem.lambda2) * s[:d, d:])

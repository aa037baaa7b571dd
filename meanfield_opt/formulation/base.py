"""What a formulation is: a way to write a problem as a conic program, and to read the answer back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..measure import Measure
from ..problem import TwoLayerProblem
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


def squared_only(problem: TwoLayerProblem) -> str | None:
    """The reason why only the squared loss is held, or None."""
    if problem.loss.name != "squared":
        return (
            f"the {problem.loss.name} loss is not written in the zero, nonnegative, second-order and PSD cones; "
            "the cvxpy backend takes it through its own expression."
        )
    return None


def relu_relaxation_refusal(problem: TwoLayerProblem, what: str, order: int) -> str | None:
    """Refusals common to the relaxations of the ReLU problem."""
    if problem.activation.name != "relu":
        return f"{what} is for relu; the activation is {problem.activation.name}."
    if problem.width is not None:
        return f"{what} is for free mass; a width was given."
    if order > MOST_ORDER:
        return f"{what} would have a PSD block of order {order}; {MOST_ORDER} is the limit here."
    return squared_only(problem)


@dataclass(frozen=True, eq=False)
class KernelEntries:
    """K_ij (rows i >= columns j) = sum of value * x[variable] over triplets that share (i, j)."""

    rows: Index
    columns: Index
    variables: Index
    values: Array


def add_fit(builder: Builder, problem: TwoLayerProblem, kernel: KernelEntries) -> SymmetricVariable:
    """R(K) = l2 tr (l2 I + K)^-1 K_Y as min tr T with [[T, sqrt(l2) Y], [sqrt(l2) Y^T, l2 I + K]] PSD.

    The first PSD block of the program, so that ``fit_dual`` finds it. Squared loss.
    """
    y, l2 = problem.targets, problem.lambda2
    d, p = y.shape
    t = builder.symmetric(d)
    variables, values = t.functional(np.eye(d))
    builder.cost(variables, values)
    corner = np.zeros((d + p, d + p))
    corner[d:, :d] = np.sqrt(l2) * y.T
    corner[np.arange(d, d + p), np.arange(d, d + p)] = l2
    i, j = np.tril_indices(d)
    t_variables, _ = t.entries(i, j)  # svec to svec: factors cancel
    t_rows = position(d + p, i.astype(np.int64), j.astype(np.int64))
    k_rows = position(d + p, kernel.rows + d, kernel.columns + d)
    k_values = kernel.values * np.where(kernel.rows == kernel.columns, 1.0, ROOT2)
    builder.psd(
        Affine.make(
            svec(corner),
            np.concatenate([t_rows, k_rows]),
            np.concatenate([t_variables, kernel.variables]),
            np.concatenate([np.ones(t_rows.size), k_values]),
        ),
        d + p,
    )
    return t


def fit_point(problem: TwoLayerProblem, kernel: Array) -> Array:
    """svec of the optimal T at a kernel K."""
    y, l2 = problem.targets, problem.lambda2
    inner = kernel + l2 * np.eye(kernel.shape[0])
    t = l2 * y @ np.linalg.solve(inner, y.T)
    return svec(0.5 * (t + t.T))


def fit_dual(problem: TwoLayerProblem, program: ConicProgram, y: Array) -> Array:
    """Z (d_Y, P) from the multiplier S of the first PSD block: S_TT = I, Z = -2 sqrt(l2) S_TK.

    The Lagrangian is <Z, Y> - l2 tr S_KK with S_KK >= Z^T Z / (4 l2) = G, theory section 2.
    """
    rows = next(rows for kind, rows, _ in program.cones.blocks() if kind == "psd")
    s = smat(y[rows])
    d = problem.n_outputs
    return np.asarray(-2.0 * np.sqrt(problem.lambda2) * s[:d, d:])

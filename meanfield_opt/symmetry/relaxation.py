"""The doubly nonnegative relaxation of the ReLU problem, reduced by the coherent closure of (K_X, K_Y).

min l1 <[[Q, -Q], [-Q, Q]], W> + R(W_aa) over W PSD and entrywise >= 0 of order 2P with diag(W_ab) = 0 (theory section 3).
Class means keep all constraints and the objective does not grow under them (R is convex and invariant), so W_aa, W_ab
and W_bb may be taken in the closure's algebra: one number a class, one semidefinite block a module instead of order 2P.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RefusalError
from ..problem import TwoLayerProblem
from .blocks import block_diagonalise
from .coherent import LARGEST_ORDER, Configuration, coherent_closure
from .propose import propose

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ReducedRelaxation:
    """``value``: the relaxation's optimum as the solver found it (a lower bound on inf E up to the solver's accuracy;
    ``certify(problem, dual)`` turns ``dual`` (d_Y, P) into a proved one). ``kernel``: W_aa (P, P). ``classes``: rank of
    the algebra. ``blocks``: orders of its modules (the semidefinite blocks have twice that order)."""

    value: float
    kernel: Array
    dual: Array
    classes: int
    blocks: tuple[int, ...]


def data_matrices(problem: TwoLayerProblem) -> tuple[Array, Array]:
    """(K_X, K_Y), P <= 2000, every entry computed in a way that ignores the order of samples, labels and columns.

    Two entries that symmetry makes equal get equal floats: the terms of each sum are sorted first.
    """
    p = problem.n_samples
    if p > LARGEST_ORDER:
        raise RefusalError(f"symmetry is detected from P x P matrices up to P = {LARGEST_ORDER}, not {p}.")
    space: Any = problem.geometry
    if hasattr(space, "kernel"):
        k_x = np.array(space.kernel)
    elif hasattr(space, "factor"):
        k_x = gram(space.factor.T)
    elif hasattr(space, "columns"):
        k_x = gram(space.columns.T, space.weight)
        k_x[np.diag_indices(p)] += space.diagonal
    else:
        k_x = space.apply(np.eye(p))
    return k_x, gram(problem.targets)


def gram(rows: Array, weight: Array | None = None) -> Array:
    """sum_k w_k r_k r_k^T for the rows r_k (d, P), with terms sorted before they are added up."""
    d, p = rows.shape
    out = np.empty((p, p))
    w = np.ones(d) if weight is None else weight
    for i in range(p):
        terms = np.sort(w[:, None] * (rows[:, i : i + 1] * rows), axis=0)
        total = np.zeros(p)
        for term in terms:
            total += term
        out[i] = total
    return out


def data_closure(problem: TwoLayerProblem, *, most_classes: int | None = None) -> Configuration | None:
    """The coherent closure of (K_X, K_Y)."""
    return coherent_closure(data_matrices(problem), most_classes=most_classes)


def reduced_relaxation(problem: TwoLayerProblem, configuration: Configuration | None = None) -> ReducedRelaxation:
    """Solve the relaxation in the algebra of ``configuration`` (by default the closure of the data).

    RefusalError unless the problem is ReLU, squared loss, free mass, nonsingular K_X.
    """
    import cvxpy

    if problem.activation.name != "relu" or problem.loss.name != "squared" or problem.width is not None:
        raise RefusalError("the reduced relaxation is for relu, squared loss and free mass.")
    k_x, k_y = data_matrices(problem)
    if np.linalg.eigvalsh(k_x)[0] <= 1e-10 * np.abs(k_x).max():
        raise RefusalError("the reduced relaxation needs a nonsingular kernel K_X.")
    algebra = coherent_closure([k_x, k_y]) if configuration is None else configuration
    assert algebra is not None
    blocks = block_diagonalise(algebra)
    q, target = algebra.values(np.asarray(np.linalg.inv(k_x), dtype=np.float64)), algebra.values(k_y)
    r, l1, l2 = algebra.rank, problem.lambda1, problem.lambda2
    aa, ab, bb = (cvxpy.Variable(r, nonneg=True) for _ in range(3))
    flip = algebra.transposes
    constraints = [aa == aa[flip], bb == bb[flip], ab[algebra.diagonal] == 0]
    objective = l1 * ((algebra.sizes * q) @ (aa + bb - 2 * ab))
    for block in blocks:
        s = block.basis.shape[1]
        flat = block.classes.reshape(r, s * s).T

        def part(values: Any, flat: Array = flat, s: int = s) -> Any:
            return cvxpy.reshape(flat @ values, (s, s), order="C")

        a, c, b = part(aa), part(ab), part(bb)
        lifted = cvxpy.bmat([[a, c], [c.T, b]])
        constraints.append(0.5 * (lifted + lifted.T) >> 0)
        wanted, vectors = np.linalg.eigh(block.of(target))
        keep = wanted > 1e-10 * max(1.0, float(np.abs(k_y).max()))
        if not keep.any():
            continue
        root = np.sqrt(wanted[keep])[:, None] * vectors[:, keep].T
        fit = cvxpy.Variable((int(keep.sum()), int(keep.sum())), symmetric=True)
        constraints.append(cvxpy.bmat([[fit, root], [root.T, l2 * np.eye(s) + 0.5 * (a + a.T)]]) >> 0)
        objective = objective + l2 * block.multiplicity * cvxpy.trace(fit)
    program = cvxpy.Problem(cvxpy.Minimize(objective), constraints)
    propose(program, "reduced relaxation")
    kernel = np.asarray(aa.value)[algebra.classes]
    kernel = 0.5 * (kernel + kernel.T)
    dual = 2 * l2 * np.linalg.solve(l2 * np.eye(problem.n_samples) + kernel, problem.targets.T).T
    return ReducedRelaxation(float(program.value), kernel, dual, r, tuple(block.basis.shape[1] for block in blocks))

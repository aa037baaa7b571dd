"""Column generation with exact pricing for problems on few kinds of samples (``exchange.quotient``).

Patterns may be taken nonnegative there, so that on each support |Z h|^2 / c(h) is a Rayleigh quotient: its leading
eigenvector, for every support, prices exactly. The master is a group lasso on the atoms found so far, by Clarabel.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.backend import Progress, SolveOptions
from meanfield_opt.measure import Measure
from meanfield_opt.problem import TwoLayerProblem
from meanfield_opt.solution import Solution, Status
from meanfield_opt.symmetry.propose import propose

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

MOST_KINDS = 10
ROUNDS, COLUMNS = 60, 12


def price(inverse: Array, supports: Flags, dual: Array, tau: float) -> tuple[Array, Array]:
    """For every support its best nonnegative pattern (S, T), of cost 1, and |Z h|^2 / (tau c(h)) (S,)."""
    cost = np.where(supports[:, :, None] & supports[:, None, :], inverse, 0.0)
    diagonal = np.arange(inverse.shape[0])
    cost[:, diagonal, diagonal] += ~supports
    root = np.linalg.inv(np.linalg.cholesky(cost))
    rows = dual[None] * supports[:, None, :] @ root.transpose(0, 2, 1)
    _, vectors = np.linalg.eigh(rows.transpose(0, 2, 1) @ rows)
    tables = np.einsum("ski,sk->si", root, vectors[:, :, -1])
    tables = np.maximum(np.where(tables.sum(axis=1, keepdims=True) < 0, -tables, tables), 0.0)
    size = np.einsum("si,ij,sj->s", tables, inverse, tables)
    tables = tables / np.sqrt(np.where(size > 0, size, 1.0))[:, None]
    return tables, ((dual @ tables.T) ** 2).sum(axis=0) / tau


def group_lasso(problem: TwoLayerProblem, atoms: Array) -> Array:
    """argmin_V |Y - V Phi|^2 + 2 sqrt(l1 l2) sum_j |v_j| for nonnegative atoms of cost 1: V (d_Y, J)."""
    import cvxpy

    y = problem.targets
    scale = max(float(np.abs(y).max()), 1e-300)
    v = cvxpy.Variable((y.shape[0], atoms.shape[0]))
    weight = 2 * np.sqrt(problem.lambda1 * problem.lambda2) / scale
    fit = cvxpy.sum_squares(y / scale - v @ atoms) + weight * cvxpy.sum(cvxpy.norm(v, 2, axis=0))
    propose(cvxpy.Problem(cvxpy.Minimize(fit), []), "group lasso on kinds of samples")
    return np.asarray(v.value, dtype=np.float64) * scale


def solve_kinds(problem: TwoLayerProblem, options: SolveOptions, backend: str) -> Solution:
    """Solve a quotient problem with at most MOST_KINDS kinds."""
    begin = time.perf_counter()
    y, t = problem.targets, problem.n_samples
    inverse = np.asarray(np.linalg.inv(problem.geometry.apply(np.eye(t))), dtype=np.float64)
    inverse = 0.5 * (inverse + inverse.T)
    supports = (np.arange(1, 1 << t)[:, None] >> np.arange(t)) & 1 == 1
    atoms, v, dual = np.zeros((0, t)), np.zeros((y.shape[0], 0)), 2.0 * y
    status, worst, rounds = Status.ITERATION_LIMIT, np.inf, 0
    best: tuple[float, Array, Array, Array] = (np.inf, atoms, v, dual)
    weight = 2 * np.sqrt(problem.lambda1 * problem.lambda2)
    limit = ROUNDS if options.max_iterations is None else options.max_iterations
    for rounds in range(1, limit + 1):
        tables, ratios = price(inverse, supports, dual, problem.tau)
        worst = float(ratios.max(initial=0.0))
        factor = max(worst, 1.0) ** -0.5
        energy = float(((y - v @ atoms) ** 2).sum() + weight * np.linalg.norm(v, axis=0).sum())
        lower = problem.dual_value(factor * dual)
        gap = (energy - lower) / max(abs(energy), 1e-300)
        if gap < best[0]:
            best = (gap, atoms, v, dual)
        if options.progress is not None:
            options.progress(
                Progress("kinds of samples", rounds, energy, lower, time.perf_counter() - begin, atoms.shape[0])
            )
        if gap <= options.tolerance or worst <= 1 + 1e-13:
            status = Status.SOLVED
            break
        if time.perf_counter() - begin > options.time_limit:
            status = Status.TIME_LIMIT
            break
        order = np.argsort(-ratios)[:COLUMNS]
        fresh = tables[order[ratios[order] > 1 + 1e-13]]
        kept = np.linalg.norm(v, axis=0) > 1e-10 * max(1.0, float(np.linalg.norm(v, axis=0).max(initial=0.0)))
        atoms = np.unique(np.round(np.vstack([atoms[kept], fresh]), 14), axis=0)
        atoms = atoms / np.sqrt(np.einsum("si,ij,sj->s", atoms, inverse, atoms))[:, None]
        v = group_lasso(problem, atoms)
        dual = 2.0 * (y - v @ atoms)
    gap, atoms, v, dual = best
    if status is Status.ITERATION_LIMIT and gap <= options.tolerance:
        status = Status.SOLVED
    norms = np.linalg.norm(v, axis=0)
    used = norms > 1e-9 * float(norms.max(initial=0.0))
    atoms, v, norms = atoms[used], v[:, used], norms[used]
    masses = np.sqrt(problem.lambda2 / problem.lambda1) * norms
    stats: dict[str, Any] = {"rounds": rounds, "estimated_gap": gap, "seconds": time.perf_counter() - begin}
    measure = Measure(atoms, masses, None, v / masses) if masses.size else Measure.zero(t)
    return Solution(problem, measure, dual, status, backend, stats)

"""The copositive lift as a proof engine: a semidefinite program proposes, ``checker.lift`` accepts.

The proposal minimises t over D free and N >= 0 with [[t Q - G - N_aa, -t Q + D + s G - N_ab], [., t Q - s^2 G - N_bb]]
positive semidefinite (theory section 3.1). At its optimum that matrix is singular, so t and D are then raised until the
rigorous test passes: the slack shows in the bound.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checker.bounds import tau_bounds
from ..checker.codec import encode_array, encode_float
from ..checker.lift import kernel_ball, lift_sigma, pack, reducible
from ..checker.slopes import left_slope
from ..geometry import FactorGeometry
from ..rounding import up
from .engine import Limits, Outcome, ProofEngine, Question, SupremumProof
from .improve import best_ratio

Array = NDArray[np.float64]
log = logging.getLogger(__name__)

#: largest order of the semidefinite matrix: for the interior-point solver, and for the first-order one
INTERIOR_ORDER, LARGEST_ORDER = 72, 260


@dataclass(frozen=True)
class Proposal:
    """What the solver suggests: t, D (None in the reduced form), N; nothing here is believed."""

    t: float
    diagonal: Array | None
    slack: Array


@dataclass(frozen=True)
class CopositiveEngine(ProofEngine):
    """relu, leaky relu, |t| or linear neurons and a full-rank K_X: PSD + nonnegative decomposition of the lifted form."""

    name = "copositive"

    def refusal(self, question: Question) -> str | None:
        problem = question.problem
        if question.mode != "ratio":
            return "the copositive lift is for free mass."
        if left_slope(problem) is None:
            return f"the lift needs phi(t) = t for t >= 0 and s t for t <= 0; {problem.activation.name} is not of that form."
        if isinstance(problem.geometry, FactorGeometry) and problem.geometry.n_parameters < problem.n_samples:
            return "K_X does not have full rank; use the input view."
        largest = LARGEST_ORDER if reducible(problem) else INTERIOR_ORDER
        if _order(question) > largest:
            return f"a semidefinite program of order {_order(question)} is beyond {largest}; see the lift engine."
        return None

    def predicted_seconds(self, question: Question) -> float:
        order = _order(question)
        if order <= INTERIOR_ORDER:
            return 0.05 + 20 * (order / 64) ** 6
        return 30 * (order / 120) ** 3

    def tightness(self, question: Question) -> int:
        return 1 if _order(question) <= INTERIOR_ORDER else 2

    def prove(self, question: Question, limits: Limits) -> Outcome:
        attempts = [repair(question, proposal) for proposal in propose(question, limits.seconds)]
        found = min((a for a in attempts if a is not None), key=lambda a: a[0], default=None)
        if found is None:
            return Outcome(None, complete=False)
        sigma, accepted, slack = found
        order = _order(question)
        words = (
            f"copositive lift of order {order} = positive semidefinite + entrywise nonnegative "
            f"(interval Cholesky; slack {slack:.1e} in sigma^2)"
        )
        artefact: dict[str, Any] = {
            "t": encode_float(accepted.t),
            "diagonal": None if accepted.diagonal is None else encode_array(accepted.diagonal),
            "slack": encode_array(pack(accepted.slack)),
        }
        proof = SupremumProof("copositive", words, sigma, artefact)
        return Outcome(proof, complete=sigma <= 1 + 10 * limits.target, stats={"order": order, "slack": slack})


def _order(question: Question) -> int:
    return question.problem.n_samples * (1 if reducible(question.problem) else 2)


def propose(question: Question, seconds: float) -> list[Proposal]:
    """Solve the semidefinite program in floating point, in units where K_X has a unit diagonal and t is about 1.

    Returned are the solver's point and the same with its kernel made exact (``polished``).
    """
    problem = question.problem
    n, slope = problem.n_samples, left_slope(problem)
    assert slope is not None
    kernel = kernel_ball(problem).mid
    scale = np.sqrt(np.diagonal(kernel))
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        return []
    try:
        q = np.linalg.inv(kernel / np.outer(scale, scale))
    except np.linalg.LinAlgError:
        return []
    q = 0.5 * (q + q.T)
    z = question.dual * scale
    largest = float(np.max(np.abs(z), initial=0.0))
    short = reducible(problem)
    if not (math.isfinite(largest) and np.isfinite(q).all()):
        return []
    if largest == 0.0:
        return [Proposal(0.0, None if short else np.zeros(n), np.zeros((n, n) if short else (2 * n, 2 * n)))]
    z = z / largest
    gram = z.T @ z
    unit = float(np.max(np.linalg.eigvals(kernel / np.outer(scale, scale) @ gram).real, initial=0.0))
    if not (math.isfinite(unit) and unit > 0 and 1e-290 < unit * largest * largest < 1e290):
        return []
    gram, unit = gram / unit, unit * largest * largest
    if short:
        base, fixed = q, gram
    else:
        base = np.block([[q, -q], [-q, q]])
        fixed = np.block([[gram, -slope * gram], [-slope * gram, slope**2 * gram]])
    first = solve_split(base, fixed, 0 if short else n, seconds)
    if first is None:
        return []
    points = [first, polished(base, fixed, first)]
    # the value at the best pattern known, where it agrees with the solver's, is the exact optimum up to rounding
    attained = best_ratio(problem, question.dual) / unit
    if attained > 0 and abs(attained - first[0]) < 1e-4 * attained:
        points.append(polished(base, fixed, (attained, first[1], first[2]), fixed_t=True))
    outer = np.outer(scale, scale) if short else np.outer(np.tile(scale, 2), np.tile(scale, 2))
    return [
        Proposal(t * unit, None if short else diagonal * unit / scale**2, np.maximum(slack, 0.0) * unit / outer)
        for t, diagonal, slack in points
    ]


def polished(
    base: Array, fixed: Array, point: tuple[float, Array, Array], *, fixed_t: bool = False
) -> tuple[float, Array, Array]:
    """The nearest (t, D, N), N on its support, whose matrix vanishes on the near-kernel V of the solver's.

    Interior-point solutions are off by about 1e-9 in every direction; where the optimal matrix is singular (on the
    optimal patterns) that costs as much slack, and making S V = 0 exactly removes it. Least squares, twice.
    """
    t, diagonal, slack = point
    order, free = base.shape[0], diagonal.size
    index = np.arange(free)
    i, j = np.nonzero(np.triu(slack > 1e-6 * np.max(slack, initial=0.0), 1))
    kept = np.zeros_like(slack)
    kept[i, j] = kept[j, i] = slack[i, j]
    for _ in range(3):
        matrix = t * base - fixed - kept
        matrix[index, free + index] += diagonal
        matrix[free + index, index] += diagonal
        values, vectors = np.linalg.eigh(matrix)
        v = vectors[:, values < 1e-5 * values[-1]]
        if v.shape[1] == 0 or v.shape[1] * order * (1 + free + i.size) > 60_000_000:
            return point
        k = v.shape[1]
        # columns: the derivative of (matrix @ v).ravel() in t, D and N
        jacobian = np.zeros((order, k, 1 + free + i.size))
        if not fixed_t:
            jacobian[:, :, 0] = base @ v
        jacobian[index, :, 1 + index] = v[free + index]
        jacobian[free + index, :, 1 + index] = v[index]
        at = 1 + free + np.arange(i.size)
        jacobian[i, :, at] -= v[j]
        jacobian[j, :, at] -= v[i]
        step = np.linalg.lstsq(jacobian.reshape(order * k, -1), -(matrix @ v).ravel(), rcond=1e-11)[0]
        t, diagonal = t + float(step[0]), diagonal + step[1 : 1 + free]
        kept[i, j] = kept[j, i] = np.maximum(kept[i, j] + step[1 + free :], 0.0)
    return t, diagonal, kept


def solve_split(base: Array, fixed: Array, free: int, seconds: float) -> tuple[float, Array, Array] | None:
    """min t: t base + D - fixed - N PSD, N >= 0 off the diagonal. D couples i with free + i for i < free."""
    from scipy import sparse

    order = base.shape[0]
    interior = order <= INTERIOR_ORDER
    if interior:  # clarabel: upper triangle, column by column
        col, row = np.tril_indices(order)
    else:  # scs: lower triangle, column by column
        col, row = np.triu_indices(order)
    weight = np.where(row == col, 1.0, math.sqrt(2.0))
    position = np.zeros((order, order), dtype=np.intp)
    position[row, col] = position[col, row] = np.arange(row.size)
    coupled = np.zeros((order, order), dtype=bool)
    index = np.arange(free)
    coupled[index, free + index] = coupled[free + index, index] = True
    pair_i, pair_j = np.triu_indices(order, 1)
    keep = ~coupled[pair_i, pair_j]
    pair_i, pair_j = pair_i[keep], pair_j[keep]
    pairs, m = pair_i.size, row.size
    variables = 1 + free + pairs
    diagonal_at = position[index, free + index]
    pairs_at = position[pair_i, pair_j]
    root = math.sqrt(2.0)
    a = sparse.csc_matrix(
        (
            np.concatenate([-weight * base[row, col], np.full(free, -root), np.full(pairs, root), -np.ones(pairs)]),
            (
                np.concatenate([np.arange(m), diagonal_at, pairs_at, m + np.arange(pairs)]),
                np.concatenate(
                    [
                        np.zeros(m, dtype=np.intp),
                        1 + index,
                        1 + free + np.arange(pairs),
                        1 + free + np.arange(pairs),
                    ]
                ),
            ),
        ),
        shape=(m + pairs, variables),
    )
    b = np.concatenate([-weight * fixed[row, col], np.zeros(pairs)])
    cost = np.zeros(variables)
    cost[0] = 1.0
    x = solve_cone(a, b, cost, order, m, pairs, seconds) if interior else _scs(a, b, cost, order, m, pairs, seconds)
    if x is None or not np.isfinite(x).all():
        return None
    slack = np.zeros((order, order))
    slack[pair_i, pair_j] = slack[pair_j, pair_i] = x[1 + free :]
    return float(x[0]), x[1 : 1 + free], slack


def solve_cone(a: Any, b: Array, cost: Array, order: int, m: int, pairs: int, seconds: float) -> Array | None:
    """min cost . x with b - A x in (PSD triangle of ``order``) x (nonnegative ``pairs``), by an interior-point method."""
    import clarabel
    from scipy import sparse

    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.time_limit = max(seconds, 1.0)
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-12
    settings.max_iter = 200
    cones = [clarabel.PSDTriangleConeT(order), clarabel.NonnegativeConeT(pairs)]
    solver = clarabel.DefaultSolver(sparse.csc_matrix((cost.size, cost.size)), cost, a, b, cones, settings)
    solution = solver.solve()
    log.info("clarabel on order %d: %s after %d iterations", order, solution.status, solution.iterations)
    return np.asarray(solution.x, dtype=np.float64)


def _scs(a: Any, b: Array, cost: Array, order: int, m: int, pairs: int, seconds: float) -> Array | None:
    import scs
    from scipy import sparse

    # scs wants its nonnegative cone before the semidefinite one
    swap = np.concatenate([m + np.arange(pairs), np.arange(m)])
    data = {"A": sparse.csc_matrix(a[swap]), "b": b[swap], "c": cost}
    solver = scs.SCS(
        data,
        {"l": pairs, "s": [order]},
        eps_abs=1e-9,
        eps_rel=1e-9,
        max_iters=20000,
        time_limit_secs=max(seconds, 1.0),
        verbose=False,
    )
    solution = solver.solve()
    log.info("scs on order %d: %s", order, solution["info"]["status"])
    return np.asarray(solution["x"], dtype=np.float64)


def repair(question: Question, proposal: Proposal) -> tuple[float, Proposal, float] | None:
    """The least slack (by factors of 2) with which the rigorous test accepts: (sigma, what was accepted, slack)."""
    problem, dual = question.problem, question.dual
    kernel = kernel_ball(problem).mid
    top = max(float(np.linalg.norm(kernel, 2)), 1e-300)
    tau, _ = tau_bounds(problem)
    floor = max(proposal.t, 0.0)
    if not floor > 0:
        floor = max(1e-30 * tau, float(np.max(np.abs(proposal.slack), initial=0.0)))

    def attempt(slack: float) -> tuple[float, Proposal]:
        t = float(up(floor * (1.0 + slack)))
        diagonal = None if proposal.diagonal is None else proposal.diagonal + slack * floor / top
        trial = Proposal(t, diagonal, proposal.slack)
        return lift_sigma(problem, dual, t, diagonal, proposal.slack), trial

    low, high, best = None, 1e-14, None
    while high < 16.0:
        sigma, trial = attempt(high)
        if math.isfinite(sigma):
            best = (sigma, trial, high)
            break
        low, high = high, high * 8.0
    if best is None:
        return None
    for _ in range(4):  # between the last refused and the first accepted
        if low is None:
            break
        middle = math.sqrt(low * best[2])
        sigma, trial = attempt(middle)
        if math.isfinite(sigma):
            best = (sigma, trial, middle)
        else:
            low = middle
    return best


ENGINE = CopositiveEngine()

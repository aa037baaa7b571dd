"""The copositive lift as a proof engine: a semidefinite program proposes, ``checker.lift`` accepts.

The proposal minimises t over D free and N >= 0 with [[t Q - G - N_aa, -t Q + D + s G - N_ab], [., t Q - s^2 G - N_bb]]
positive semidefinite (theory section 3.1). At its optimum that matrix is singular, so t and D are then raised until the
rigorous test passes: the slack shows in the bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..checker.lift import kernel_ball, reducible
from ..checker.slopes import left_slope
from .engine import Limits, Outcome, ProofEngine, Question
from .improve import best_ratio
from .lift_program import INTERIOR_ORDER, polished, solve_split
from .lift_repair import Proposal, best_proof, refusal_of_lift

Array = NDArray[np.float64]

#: largest order of the semidefinite matrix for the first-order solver
LARGEST_ORDER = 260


@dataclass(frozen=True)
class CopositiveEngine(ProofEngine):
    """relu, leaky relu, |t| or linear neurons and a full-rank K_X: PSD + nonnegative decomposition of the lifted form."""

    name = "copositive"

    def refusal(self, question: Question) -> str | None:
        reason = refusal_of_lift(question)
        if reason is not None:
            return reason
        largest = LARGEST_ORDER if reducible(question.problem) else INTERIOR_ORDER
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
        order = _order(question)
        words = (
            f"copositive lift of order {order} = positive semidefinite + entrywise nonnegative "
            "(interval Cholesky; slack {slack} in sigma^2)"
        )
        found = best_proof(question, propose(question, limits.seconds), words)
        if found is None:
            return Outcome(None, complete=False)
        proof, slack = found
        complete = proof.bound <= 1 + 10 * limits.target
        return Outcome(proof, complete=complete, stats={"order": order, "slack": slack})


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


ENGINE = CopositiveEngine()

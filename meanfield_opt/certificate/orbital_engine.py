"""The copositive lift proposed in the algebra of a coherent configuration: small programs for symmetric data.

Where (K_X, K_Y) has few classes and the dual point is (nearly) invariant, t, D and N may be taken constant on classes:
one number a class and one semidefinite block a module, in place of a semidefinite matrix of order 2P with P^2 unknowns.
Acceptance is the copositive engine's, on the full matrix and the dual point as given: no invariance is believed, and
what the dual point lacks of it is paid for as slack in the bound.
"""

from __future__ import annotations

import logging
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checker.exchange import types_of
from ..checker.lift import kernel_ball, reducible
from ..checker.slopes import left_slope
from ..errors import SolveError
from ..problem import TwoLayerProblem
from ..symmetry.blocks import Block, block_diagonalise
from ..symmetry.coherent import Configuration
from ..symmetry.propose import propose
from .engine import Limits, Outcome, ProofEngine, Question
from .lift_program import polished
from .lift_repair import Proposal, best_proof, deficient, refusal_of_lift

Array = NDArray[np.float64]
log = logging.getLogger(__name__)

LARGEST_SAMPLES, MOST_CLASSES, LARGEST_POLISHED = 128, 200, 96
#: relative distance of Z^T Z from its class means up to which a dual point counts as nearly invariant
NEARLY = 1e-4

_ALGEBRAS: weakref.WeakKeyDictionary[TwoLayerProblem, Configuration | None] = weakref.WeakKeyDictionary()


def algebra_of(problem: TwoLayerProblem) -> Configuration | None:
    """The coherent closure of (K_X, K_Y) if it is worth using: P <= 128, at most 200 classes and P^2 / 3."""
    if problem not in _ALGEBRAS:
        from ..symmetry.relaxation import data_closure

        p = problem.n_samples
        closure = None
        if 1 < p <= LARGEST_SAMPLES:
            closure = data_closure(problem, most_classes=min(MOST_CLASSES, p * p // 3))
        _ALGEBRAS[problem] = closure
    return _ALGEBRAS[problem]


def average_over_classes(problem: TwoLayerProblem, dual: Array) -> Array | None:
    """Y C with C the class means of Y^+ Z: the group average of Z where Z = Y C and the classes are a group's orbitals.

    None where the lift does not apply, the closure does not help, or the rows of Z leave the span of those of Y.
    """
    if problem.width is not None or left_slope(problem) is None or deficient(problem):
        return None
    closure = algebra_of(problem)
    if closure is None:
        return None
    y = problem.targets
    inverse = np.linalg.pinv(y)
    means = closure.values(np.asarray(inverse @ dual, dtype=np.float64))[closure.classes]
    averaged = np.asarray(y @ means)
    # a symmetric optimum is only a little way off; anything else is not what this is for
    return averaged if np.abs(averaged - dual).max() <= 1e-2 * np.abs(dual).max() else None


@dataclass(frozen=True)
class OrbitalEngine(ProofEngine):
    """relu, leaky relu, |t| or linear neurons on data with symmetry and a full-rank K_X."""

    name = "orbital"

    def refusal(self, question: Question) -> str | None:
        problem = question.problem
        reason = refusal_of_lift(question)
        if reason is not None:
            return reason
        if types_of(problem, question.dual) is not None:
            return "the samples are exchangeable; the engine 'exchange' proves the same at a smaller order."
        closure = algebra_of(problem)
        if closure is None:
            return "the data have too little symmetry, or too many samples, for the coherent closure to help."
        gram = question.dual.T @ question.dual
        distance = np.abs(gram - closure.values(gram)[closure.classes]).max()
        if not distance <= NEARLY * np.abs(gram).max():
            return "the dual point is not invariant under the symmetry of the data."
        return None

    def predicted_seconds(self, question: Question) -> float:
        closure = algebra_of(question.problem)
        assert closure is not None
        return float(0.1 + (closure.rank / 60) ** 3 + 20 * (question.problem.n_samples / 128) ** 3)

    def tightness(self, question: Question) -> int:
        return 1

    def prove(self, question: Question, limits: Limits) -> Outcome:
        closure = algebra_of(question.problem)
        assert closure is not None
        try:
            proposals, orders = propose_invariant(question, closure)
        except SolveError as error:
            log.info("no invariant proposal: %s", error)
            return Outcome(None, complete=False)
        words = (
            f"symmetry: copositive lift = positive semidefinite + entrywise nonnegative, constant on the {closure.rank} classes "
            f"of the data's coherent closure (blocks of orders {', '.join(map(str, orders))} for {closure.order} samples; "
            "interval Cholesky; slack {slack} in sigma^2)"
        )
        found = best_proof(question, proposals, words)
        if found is None:
            return Outcome(None, complete=False)
        proof, slack = found
        complete = proof.bound <= 1 + 10 * limits.target
        return Outcome(proof, complete=complete, stats={"classes": closure.rank, "slack": slack})


ENGINE = OrbitalEngine()


def propose_invariant(question: Question, closure: Configuration) -> tuple[list[Proposal], tuple[int, ...]]:
    """Solve the reduced program in floating point, in units where K_X has diagonal about 1 and t is about 1."""
    problem = question.problem
    slope, short = left_slope(problem), reducible(problem)
    assert slope is not None
    kernel = kernel_ball(problem).mid
    size = float(np.diagonal(kernel).max())
    try:
        q = np.linalg.inv(kernel / size)
    except np.linalg.LinAlgError as error:
        raise SolveError("K_X is numerically singular.") from error
    gram = question.dual.T @ question.dual * size
    unit = float(np.max(np.linalg.eigvals(kernel / size @ gram).real, initial=0.0))
    if not unit > 0:
        raise SolveError("the dual point is zero.")
    blocks = block_diagonalise(closure)
    q_values, g_values = closure.values(np.asarray(q, dtype=np.float64)), closure.values(gram / unit)
    t, diagonal, aa, ab, bb = _solve(closure, blocks, q_values, g_values, slope, short)
    q, gram = q_values[closure.classes], g_values[closure.classes]
    if short:
        base, fixed, slack = q, gram, aa[closure.classes]
    else:
        base = np.block([[q, -q], [-q, q]])
        fixed = np.block([[gram, -slope * gram], [-slope * gram, slope**2 * gram]])
        slack = np.block([[aa[closure.classes], ab[closure.classes]], [ab[closure.classes].T, bb[closure.classes]]])
    slack = 0.5 * (slack + slack.T)
    np.fill_diagonal(slack, 0.0)
    spread = np.zeros(0) if short else diagonal[np.diagonal(closure.classes)]
    points = [(t, spread, slack)]
    if base.shape[0] <= LARGEST_POLISHED:
        points.append(polished(base, fixed, points[0]))
    proposals = [
        Proposal(float(v * unit), None if short else d * unit / size, np.maximum(s, 0.0) * unit / size)
        for v, d, s in points
    ]
    return proposals, tuple(block.basis.shape[1] for block in blocks)


def _solve(
    closure: Configuration, blocks: list[Block], q: Array, g: Array, slope: float, short: bool
) -> tuple[float, Array, Array, Array, Array]:
    """min t over class values of D and N: (t, D, N_aa, N_ab, N_bb), each by class."""
    import cvxpy

    r = closure.rank
    t = cvxpy.Variable()
    aa, ab, bb = (cvxpy.Variable(r, nonneg=True) for _ in range(3))
    d = cvxpy.Variable(r)
    flip, diagonal = closure.transposes, closure.diagonal
    off = np.setdiff1d(np.arange(r), diagonal)
    constraints = [aa == aa[flip], bb == bb[flip], aa[diagonal] == 0, bb[diagonal] == 0, ab[diagonal] == 0]
    if off.size:
        constraints.append(d[off] == 0)
    upper, cross, lower = t * q - g - aa, -t * q + d + slope * g - ab, t * q - slope**2 * g - bb
    for block in blocks:
        s = block.basis.shape[1]
        flat = block.classes.reshape(r, s * s).T

        def part(values: Any, flat: Array = flat, s: int = s) -> Any:
            return cvxpy.reshape(flat @ values, (s, s), order="C")

        if short:
            matrix = part(upper)
        else:
            matrix = cvxpy.bmat([[part(upper), part(cross)], [part(cross).T, part(lower)]])
        constraints.append(0.5 * (matrix + matrix.T) >> 0)
    propose(cvxpy.Problem(cvxpy.Minimize(t), constraints), "invariant lift")
    values = [np.asarray(v.value, dtype=np.float64) for v in (d, aa, ab, bb)]
    return float(t.value), values[0], values[1], values[2], values[3]

"""The copositive lift proposed at first order: for data that no exact engine can hold."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..checker.bounds import best_rigorous_scale
from ..checker.codec import encode_array, encode_float
from ..checker.lift import kernel_ball, pack
from ..checker.slopes import left_slope
from ..geometry import DenseGeometry, DiagonalPlusLowRank, FactorGeometry
from ..problem import TwoLayerProblem
from .engine import Limits, Outcome, ProofEngine, Question, SupremumProof
from .lift_repair import Proposal, repair
from .lifted_relaxation import LiftedRelaxation, least_bound

Array = NDArray[np.float64]

#: largest number of samples; most iterations, and iterations between two looks at the bound
LARGEST, ITERATIONS, LOOK = 800, 4000, 25
#: looks without a gain that matters, once nearly feasible, after which it stops
PATIENCE = 16
#: shifts of D tried at each look, in units of its mean
SHIFTS = (0.0, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class LiftEngine(ProofEngine):
    """relu, leaky relu, |t| or linear neurons, inputs of any rank: the lifted relaxation, of order P + rank.

    A relaxation has a better dual point than the problem's own, so the proof is at the relaxation's where the question
    is movable and that bounds the energy better.
    """

    name = "lift"

    def refusal(self, question: Question) -> str | None:
        problem = question.problem
        if question.mode != "ratio":
            return "the lifted relaxation is for free mass."
        if left_slope(problem) is None:
            return f"the lift needs phi(t) = t for t >= 0 and s t for t <= 0; {problem.activation.name} is not of that form."
        if not isinstance(problem.geometry, FactorGeometry | DenseGeometry | DiagonalPlusLowRank):
            return f"the lift does not know geometries of class {type(problem.geometry).__name__}."
        if not math.isfinite(problem.loss.curvature()):
            return f"its first-order method needs a smooth loss, not {problem.loss.name}."
        if problem.n_samples > LARGEST:
            return f"{problem.n_samples} samples are beyond {LARGEST}."
        return None

    def predicted_seconds(self, question: Question) -> float:
        return 1000 * 0.035 * (question.problem.n_samples / 200) ** 3

    def tightness(self, question: Question) -> int:
        return 2

    def prove(self, question: Question, limits: Limits) -> Outcome:
        deadline = time.monotonic() + 0.9 * limits.seconds
        with np.errstate(all="ignore"):
            found = self._propose(question, limits, deadline)
            if found is None:
                return Outcome(None, complete=False)
            target, proposal, iterations = found
            repaired = repair(target, proposal)
        if repaired is None:
            return Outcome(None, complete=False, stats={"iterations": iterations})
        sigma, accepted, slack = repaired
        assert accepted.diagonal is not None
        order = question.problem.n_samples + _root(question.problem).shape[1]
        words = (
            f"copositive lift in (theta, h-) of order {order} = positive semidefinite + entrywise nonnegative "
            f"(interval Cholesky; slack {slack:.1e} in sigma^2)"
        )
        artefact = {
            "t": encode_float(accepted.t),
            "diagonal": encode_array(accepted.diagonal),
            "slack": encode_array(pack(accepted.slack)),
        }
        stats = {"order": order, "slack": slack, "iterations": iterations}
        proof = SupremumProof("copositive", words, sigma, artefact)
        return Outcome(proof, complete=sigma <= 1 + 10 * limits.target, stats=stats, dual=target.dual)

    def _propose(self, question: Question, limits: Limits, deadline: float) -> tuple[Question, Proposal, int] | None:
        """The dual point and multipliers with the best bound met; None where the numbers do not allow a start."""
        problem = question.problem
        slope = left_slope(problem)
        assert slope is not None
        try:
            inner = _root(problem)
            if inner.shape[1] == 0:
                return None
            relaxation = LiftedRelaxation(inner, slope, problem.loss, problem.targets, problem.lambda1, problem.lambda2)
        except (np.linalg.LinAlgError, ZeroDivisionError):
            return None  # numbers out of range, or targets that zero outputs fit
        best: tuple[float, Question, Proposal] | None = None
        stale = 0
        while relaxation.iterations < ITERATIONS and stale < PATIENCE:
            stale += relaxation.residual < 1e-3
            try:
                dual, diagonal, slack = relaxation.run(LOOK)
            except np.linalg.LinAlgError:
                break  # the iteration left the range of numbers: what was met before still stands
            for point in (question.dual, dual) if question.movable else (question.dual,):
                found = _bounded(Question(problem, point), inner, slope, diagonal, slack)
                if found is not None and (best is None or found[0] > best[0]):
                    gained = best is None or found[0] - best[0] > 1e-6 * abs(found[0])
                    best, stale = found, 0 if gained else stale
            if best is not None:
                if limits.progress is not None:
                    limits.progress(math.sqrt(max(best[2].t, 0.0) / problem.tau), 0.0, 1)
                if relaxation.residual < 1e-4 and best[0] >= (1 - 1e-4) * relaxation.energy():
                    break
            if time.monotonic() > deadline:
                break
        return None if best is None else (best[1], best[2], relaxation.iterations)


def _root(problem: TwoLayerProblem) -> Array:
    """B (P, k) with K_X = B B', without the directions that the data hardly see (floating point)."""
    geometry = problem.geometry
    if isinstance(geometry, FactorGeometry) and geometry.n_parameters < geometry.n_samples:
        left, values, _ = np.linalg.svd(geometry.factor, full_matrices=False)
        return np.asarray((left * values)[:, values > 1e-10 * values[0]])
    values, vectors = np.linalg.eigh(kernel_ball(problem).mid)
    seen = values > 1e-14 * values[-1]
    return np.asarray(vectors[:, seen] * np.sqrt(values[seen]))


def _bounded(
    question: Question, inner: Array, slope: float, diagonal: Array, slack: Array
) -> tuple[float, Question, Proposal] | None:
    """(lower bound in floating point, question, proposal) with the best shift of D; None where nothing follows."""
    problem = question.problem
    level = float(np.abs(diagonal).mean())
    bounds = [least_bound(inner, question.dual, slope, diagonal + shift * level, slack) for shift in SHIFTS]
    t = min(bounds)
    if not (math.isfinite(t) and t > 0):
        return None
    sigma = math.sqrt(t / problem.tau)
    scale = best_rigorous_scale(problem, question.dual, sigma)
    lower = problem.dual_value(scale * question.dual)
    shifted = diagonal + SHIFTS[bounds.index(t)] * level
    return (lower, question, Proposal(t, shifted, slack)) if math.isfinite(lower) else None


ENGINE = LiftEngine()

"""From proposals of the copositive lift to a proof: raised until ``checker.lift`` accepts, with the best one kept."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checker.bounds import tau_bounds
from ..checker.codec import encode_array, encode_float
from ..checker.lift import kernel_ball, lift_sigma, pack
from ..checker.slopes import left_slope
from ..geometry import FactorGeometry
from ..problem import TwoLayerProblem
from ..rounding import up
from .engine import Question, SupremumProof

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Proposal:
    """What the solver suggests: t, D (None in the reduced form), N; nothing here is believed."""

    t: float
    diagonal: Array | None
    slack: Array


def refusal_of_lift(question: Question) -> str | None:
    """Why the copositive lift does not apply to a question at all, or None."""
    if question.mode != "ratio":
        return "the copositive lift is for free mass."
    if left_slope(question.problem) is None:
        name = question.problem.activation.name
        return f"the lift needs phi(t) = t for t >= 0 and s t for t <= 0; {name} is not of that form."
    if deficient(question.problem):
        return "K_X does not have full rank; use the input view."
    return None


def deficient(problem: TwoLayerProblem) -> bool:
    """Whether K_X is given by fewer columns than samples."""
    space = problem.geometry
    return isinstance(space, FactorGeometry) and space.n_parameters < problem.n_samples


def best_proof(question: Question, proposals: Iterable[Proposal], words: str) -> tuple[SupremumProof, float] | None:
    """The proof with the least sigma that some proposal leads to, and its slack; ``words`` say what was proposed."""
    attempts = [repair(question, proposal) for proposal in proposals]
    found = min((a for a in attempts if a is not None), key=lambda a: a[0], default=None)
    if found is None:
        return None
    sigma, accepted, slack = found
    artefact: dict[str, Any] = {
        "t": encode_float(accepted.t),
        "diagonal": None if accepted.diagonal is None else encode_array(accepted.diagonal),
        "slack": encode_array(pack(accepted.slack)),
    }
    return SupremumProof("copositive", words.format(slack=f"{slack:.1e}"), sigma, artefact), slack


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

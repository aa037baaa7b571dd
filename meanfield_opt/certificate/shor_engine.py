"""The fallback for inputs of any rank: a Shor relaxation for each direction in output space (see ``checker.shor``)."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ..checker.document import encode_array
from ..checker.shor import directions_of, positive_part, shor_sigma
from ..geometry import FactorGeometry
from ..problem import TwoLayerProblem
from .engine import Limits, Outcome, ProofEngine, Question, SupremumProof

Array = NDArray[np.float64]

DIRECTIONS = 32
STEPS = 120


@dataclass(frozen=True)
class ShorEngine(ProofEngine):
    """relu neurons, inputs of any rank: diagonal multipliers of a (a - A theta) = 0, optimised for each direction."""

    name = "shor"

    def refusal(self, question: Question) -> str | None:
        problem = question.problem
        if question.mode != "ratio":
            return "the Shor bound is for free mass."
        if problem.activation.name != "relu":
            return f"the Shor bound is for relu neurons, not {problem.activation.name}."
        if not isinstance(problem.geometry, FactorGeometry):
            return "the Shor bound needs inputs given by a factor A."
        return None

    def predicted_seconds(self, question: Question) -> float:
        p, r = question.problem.n_samples, question.problem.geometry.n_parameters
        groups = (question.problem.n_outputs + 1) // 2
        return float(groups * DIRECTIONS * STEPS * (5e-10 * p * r * r + 5e-9 * r**3 + 1e-4))

    def tightness(self, question: Question) -> int:
        return 9  # it drops the negative parts; the lift keeps them

    def prove(self, question: Question, limits: Limits) -> Outcome:
        problem, dual = question.problem, question.dual
        assert isinstance(problem.geometry, FactorGeometry)
        factor = problem.geometry.factor
        # numbers near the ends of the floating range give useless multipliers, which the replay then refuses
        with np.errstate(all="ignore"):
            return self._prove(problem, dual, factor, limits)

    def _prove(self, problem: TwoLayerProblem, dual: Array, factor: Array, limits: Limits) -> Outcome:
        deadline = time.monotonic() + limits.seconds
        groups, complete = [], True
        for first in range(0, problem.n_outputs, 2):
            outputs = list(range(first, min(first + 2, problem.n_outputs)))
            directions = directions_of(len(outputs), DIRECTIONS)
            rows = []
            for w in directions:
                steps = STEPS if time.monotonic() < deadline else 0
                complete = complete and steps > 0
                rows.append(multipliers(factor, positive_part(dual[outputs], w), steps))
            groups.append((outputs, directions, np.array(rows)))
        sigma = shor_sigma(problem, dual, groups)
        if not math.isfinite(sigma):
            return Outcome(None, complete=False)
        artefact = {
            "groups": [
                {"outputs": outputs, "directions": encode_array(w), "multipliers": encode_array(d)}
                for outputs, w, d in groups
            ]
        }
        words = f"Shor relaxation with diagonal multipliers, in {sum(len(w) for _, w, _ in groups)} output directions"
        return Outcome(SupremumProof("shor", words, sigma, artefact), complete=complete)


def multipliers(factor: Array, q: Array, steps: int) -> Array:
    """D (P,) that nearly minimises the largest eigenvalue of A^T D A + b b^T / (1 - sum q^2 / D); ones where q = 0."""
    out = np.ones(q.size)
    used = q > 1e-12 * q.max(initial=0.0)
    rest = (q > 0) & ~used
    if not used.any():
        return out
    a, weight = factor[used], q[used]
    norm = np.maximum(np.linalg.norm(a, axis=1), 1e-12 * np.abs(a).max(initial=1e-300))
    start = weight / norm
    start *= 2.0 * float((weight**2 / start).sum())  # the sum of q^2 / D starts at one half
    b = a.T @ weight
    if not (np.isfinite(np.log(start)).all() and np.isfinite(b).all()):
        return out

    def objective(log_d: Array) -> tuple[float, Array]:
        d = np.exp(log_d)
        s = float((weight**2 / d).sum())
        if not s < 1.0 - 1e-9:
            return 1e300, np.zeros_like(d)
        matrix = a.T @ (a * d[:, None]) + np.outer(b, b) / (1.0 - s)
        values, vectors = np.linalg.eigh(matrix)
        # a smooth maximum of the eigenvalues: kinks where they cross would stall the descent
        sharp = 50.0 / values[-1]
        share = np.exp(sharp * (values - values[-1]))
        total = float(share.sum())
        share /= total
        # d/dD of b b^T / (1 - s): s falls as D grows
        falling = float(np.square(b @ vectors) @ share) / (1.0 - s) ** 2
        gradient = np.square(a @ vectors) @ share - falling * (weight / d) ** 2
        return float(values[-1] + math.log(total) / sharp), gradient * d

    scale = float(objective(np.log(start))[0])
    result = (
        optimize.minimize(
            lambda x: tuple(part / scale for part in objective(x)),
            np.log(start),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": steps},
        )
        if steps > 0 and 0 < scale < 1e299
        else None
    )
    out[used] = start if result is None else np.exp(result.x)
    # entries that are positive only by rounding: a multiplier large enough for q^2 / D to vanish
    out[rest] = 1e12 * q[rest] / np.maximum(np.linalg.norm(factor[rest], axis=1), 1e-300)
    return np.where(np.isfinite(out) & (out > 0), out, 1.0)


ENGINE = ShorEngine()

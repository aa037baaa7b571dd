"""What the order-2P relaxations of the ReLU problem share: h = a - b with a, b >= 0, a_p b_p = 0, and its cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..measure import Measure
from ..problem import TwoLayerProblem

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SignedLift:
    """Lifted points z = (a, b) (or z = a alone, when b = 0 is known to be optimal).

    cost: matrix C (n, n) with c(h) = z^T C z; equations: rows e with e . z = 0 (h in range K_X);
    pairs: (i, j) with z_i z_j = 0.
    """

    samples: int
    cost: Array
    equations: Array
    pairs: tuple[tuple[int, int], ...]

    @property
    def order(self) -> int:
        """n: 2P, or P in the reduced form."""
        return int(self.cost.shape[0])

    def points(self, patterns: Array) -> Array:
        """z for each pattern h (J, P)."""
        positive, negative = np.maximum(patterns, 0.0), np.maximum(-patterns, 0.0)
        if self.order == self.samples:
            if negative.any():
                raise InputError("the reduced lift holds patterns h >= 0 only.")
            return positive
        return np.hstack([positive, negative])


def signed_lift(problem: TwoLayerProblem, *, reduced: bool) -> SignedLift:
    """The lift of a problem; InputError if ``reduced`` is asked for where K_X^-1 has positive off-diagonal entries."""
    p = problem.n_samples
    theta = problem.geometry.weights(np.eye(p))
    q = theta @ theta.T
    q = 0.5 * (q + q.T)
    kernel = problem.geometry.apply(np.eye(p))
    values, vectors = np.linalg.eigh(0.5 * (kernel + kernel.T))
    null = vectors[:, values <= 1e-10 * values[-1]].T
    if reduced:
        reason = reduced_refusal(q, null)
        if reason is not None:
            raise InputError(reason)
        return SignedLift(p, q, np.zeros((0, p)), ())
    cost = np.block([[q, -q], [-q, q]])
    return SignedLift(p, cost, np.hstack([null, -null]), tuple((i, p + i) for i in range(p)))


def reduced_refusal(q: Array, null: Array) -> str | None:
    """Why b = 0 is not known to be optimal: it is if K_X^-1 exists and its off-diagonal entries are <= 0."""
    if null.size:
        return "the reduced lift needs K_X of full rank."
    off = q - np.diag(np.diag(q))
    if off.max() > 1e-12 * np.abs(q).max():
        return "the reduced lift needs K_X^-1 with no positive off-diagonal entry."
    return None


def moment_of(lift: SignedLift, measure: Measure) -> Array:
    """W = sum m z z^T."""
    z = lift.points(measure.atoms)
    return np.asarray((z.T * measure.masses) @ z)

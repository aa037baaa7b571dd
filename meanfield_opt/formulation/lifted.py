"""What the lifted relaxations of the ReLU problem share: h = a - b with a, b >= 0, a_p b_p = 0, and its cost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..measure import Measure
from ..problem import TwoLayerProblem
from .arrangement import parallel_rows
from .program import SymmetricVariable

Array = NDArray[np.float64]
Index = NDArray[np.int64]

#: below this share of its largest eigenvalue an eigenvalue of K_X makes it singular here
SINGULAR = 1e-10

#: entries of the sign constraints (before equal ones are added up) beyond which the program is refused
MOST_ENTRIES = 20_000_000

#: singular values of a factor of K_X below this share of the largest count as zero
NEGLIGIBLE = 1e-12


@dataclass(frozen=True, eq=False)
class SignedLift:
    """Lifted points z = (a, b) (or a alone, when b = 0 is known to be optimal) as linear forms of coordinates zeta (N,):
    z_i = sum_k weights[i, k] zeta[support[i, k]].

    K_X of full rank: zeta = z. Singular K_X = A A^T: zeta = (theta, s), h = A theta, z = (s + h, s - h) / 2, where
    theta runs over the row space of A only and s = |h| over one row of A of each line through the origin (facial
    reduction): so moment matrices of zeta have an interior, which those of z have not.

    cost: (N, N), c(h) = zeta^T cost zeta. pairs: (i, j) with z_i z_j = 0. place, factor: sample p's a_p, then b_p, is
    factor * z[place]. dropped: the coordinate of zeta that the others determine where z_i > 0 (-1: none).
    """

    samples: int
    cost: Array
    support: Index
    weights: Array
    place: Index
    factor: Array
    pairs: tuple[tuple[int, int], ...]
    dropped: Index
    coordinates: Array | None = None  # (P, rank): theta = h @ coordinates
    lines: Array | None = None  # (L, rank): h on the kept rows is theta @ lines.T

    @property
    def order(self) -> int:
        """N, the number of coordinates."""
        return int(self.cost.shape[0])

    @property
    def size(self) -> int:
        """n, the number of entries of z."""
        return int(self.support.shape[0])

    @cached_property
    def matrix(self) -> Array:
        """V (n, N): z = V zeta."""
        out = np.zeros((self.size, self.order))
        np.put_along_axis(out, self.support, self.weights, axis=1)
        return out

    def points(self, patterns: Array) -> Array:
        """zeta for each pattern h (J, P)."""
        if self.coordinates is not None and self.lines is not None:
            theta = patterns @ self.coordinates
            return np.hstack([theta, np.abs(theta @ self.lines.T)])
        positive, negative = np.maximum(patterns, 0.0), np.maximum(-patterns, 0.0)
        if self.order == self.samples:
            if negative.any():
                raise InputError("the reduced lift holds patterns h >= 0 only.")
            return positive
        return np.hstack([positive, negative])

    def products(self, w: SymmetricVariable, i: Index, j: Index) -> tuple[Index, Array]:
        """(variables, values), each (m, k k): E[z_i z_j] as a row over the moment matrix w of zeta."""
        left, right = self.support[i][:, :, None], self.support[j][:, None, :]
        variables, factors = w.entries(left, right)
        values = self.weights[i][:, :, None] * self.weights[j][:, None, :]
        return variables.reshape(i.size, -1), values.reshape(i.size, -1) * factors.reshape(i.size, -1)

    def moment_of_samples(self, moment: Array) -> Array:
        """The moment matrix of (a_1, ..., a_P, b_1, ..., b_P) (of a alone in the reduced form) from that of zeta."""
        full = self.factor[:, None] * self.matrix[self.place]
        return np.asarray(full @ moment @ full.T)


def signed_lift(problem: TwoLayerProblem, *, reduced: bool) -> SignedLift:
    """The lift of a problem; InputError if ``reduced`` is asked for where K_X^-1 has positive off-diagonal entries."""
    p = problem.n_samples
    kernel = problem.geometry.apply(np.eye(p))
    values = np.linalg.eigvalsh(0.5 * (kernel + kernel.T))
    if values[0] <= SINGULAR * values[-1]:
        if reduced:
            raise InputError("the reduced lift needs K_X of full rank.")
        return _factored(problem)
    theta = problem.geometry.weights(np.eye(p))
    q = theta @ theta.T
    q = 0.5 * (q + q.T)
    if reduced:
        if _off_diagonal(q):
            raise InputError("the reduced lift needs K_X^-1 with no positive off-diagonal entry.")
        return _plain(p, q, ())
    return _plain(p, np.block([[q, -q], [-q, q]]), tuple((i, p + i) for i in range(p)))


def _off_diagonal(q: Array) -> bool:
    """Whether b = 0 is not known to be optimal: it is if K_X^-1 exists and its off-diagonal entries are <= 0."""
    off = q - np.diag(np.diag(q))
    return bool(off.max() > 1e-12 * np.abs(q).max())


def _plain(samples: int, cost: Array, pairs: tuple[tuple[int, int], ...]) -> SignedLift:
    """zeta = z."""
    n = cost.shape[0]
    every = np.arange(n, dtype=np.int64)
    dropped = np.roll(every, samples) if pairs else np.full(n, -1, dtype=np.int64)
    return SignedLift(samples, cost, every[:, None], np.ones((n, 1)), every, np.ones(n), pairs, dropped)


def _factored(problem: TwoLayerProblem) -> SignedLift:
    """zeta = (theta, s)."""
    geometry = problem.geometry
    factor = geometry.preactivation(np.eye(geometry.n_parameters)).T
    left, sigma, right = np.linalg.svd(factor, full_matrices=False)
    rank = int((sigma > NEGLIGIBLE * sigma[0]).sum())
    kept, line, ratio = parallel_rows(factor)
    lines = factor[kept] @ right[:rank].T
    count = kept.size
    theta = np.broadcast_to(np.arange(rank), (2 * count, rank))
    sign = np.repeat([0.5, -0.5], count)
    support = np.hstack([np.tile(rank + np.arange(count), 2)[:, None], theta]).astype(np.int64)
    weights = np.hstack([np.full((2 * count, 1), 0.5), sign[:, None] * np.vstack([lines, lines])])
    positive, negative = np.where(ratio >= 0, line, count + line), np.where(ratio >= 0, count + line, line)
    return SignedLift(
        geometry.n_samples,
        np.diag(np.concatenate([np.ones(rank), np.zeros(count)])),
        support,
        weights,
        np.concatenate([positive, negative]),
        np.abs(np.tile(ratio, 2)),
        tuple((i, count + i) for i in range(count)),
        np.tile(rank + np.arange(count), 2),
        left[:, :rank] / sigma[:rank],
        lines,
    )


def lift_refusal(problem: TwoLayerProblem, *, reduced: bool) -> str | None:
    """Why there is no such lift, or why it is not known to be a bound; None if all is well."""
    try:
        lift = signed_lift(problem, reduced=reduced)
    except InputError as error:
        return str(error)
    entries = lift.size * (lift.size - 1) // 2 * lift.support.shape[1] ** 2
    if entries > MOST_ENTRIES:
        return f"the lift of this singular K_X would have {entries} matrix entries; {MOST_ENTRIES} is the limit."
    return None


def moment_of(lift: SignedLift, measure: Measure) -> Array:
    """The moment matrix of zeta: sum m zeta zeta^T."""
    zeta = lift.points(measure.atoms)
    return np.asarray((zeta.T * measure.masses) @ zeta)

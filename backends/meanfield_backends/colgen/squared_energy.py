"""The energy in the masses for the squared loss, in closed form.

    E(m) = l1 sum_j m_j + tr Y K(m)^-1 Y^T ,   K(m) = I + Phi^T diag(m) Phi / l2

With R = Y K^-1, q_j = R phi_j and N = Phi K^-1 Phi^T its Hessian is (2 / l2^2) <q_i, q_j> N_ij. Dense linear algebra in the smaller of J and P
unknowns for E, and for the Newton system in the smaller of J and P d_Y (the Hessian is a Gram matrix of J vectors q_j x w_j, N_ij = <w_i, w_j>).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from meanfield_opt.threads import share

from .blocked import STRIP, cholesky, gram, lower_solver, whole
from .energies import MassEnergy, Point, Trial, dense, outer

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SquaredEnergy(MassEnergy):
    """E for the squared loss. ``fit`` of a trial is the right-hand side solved with its Cholesky factor; ``half`` of a point is w: N = gram - w^T w
    where atoms are few (J, J), otherwise w^T w (P, J). Where atoms are no more than the samples only gram (J, J) and cross (d, J) are used, otherwise only
    features (J, P).
    """

    features: Array
    targets: Array
    gram: Array
    cross: Array
    none: float
    l1: float
    l2: float
    threads: int

    @property
    def few(self) -> bool:
        """Whether there are no more atoms than samples."""
        return bool(self.gram.size > 0)

    def value(self, m: Array) -> Trial:
        root = np.sqrt(m / self.l2)
        if self.few:
            inner = self.gram * root[:, None] * root
            right = (self.cross * root).T
        else:
            inner = gram((self.features * root[:, None]).T, self.threads)
            right = self.targets.T
        inner.reshape(-1)[:: inner.shape[0] + 1] += 1.0
        factor = cholesky(inner, self.threads)
        right = linalg.solve_triangular(factor, right, lower=True, check_finite=False)
        fit = float(np.vdot(right, right))
        return Trial(self.l1 * float(m.sum()) + (self.none - fit if self.few else fit), factor, right)

    def point(self, m: Array, known: Trial | None = None) -> Point:
        known = self.value(m) if known is None else known
        factor, right = known.factor, known.fit
        root, solve_lower = np.sqrt(m / self.l2), lower_solver(factor)
        w = np.empty((factor.shape[0], m.size))

        def work(part: slice) -> None:
            w[:, part] = solve_lower(self.gram[:, part] * root[:, None] if self.few else self.features[part].T)

        share(work, m.size, STRIP, self.threads)
        q = right.T @ w  # right to rounding even where inputs are huge
        return Point(known.value, self.cross - q if self.few else q, w)

    def system(self, at: Point, diagonal: Array) -> Callable[[Array], Array]:
        q, count = at.responses, diagonal.size
        d, samples = self.targets.shape
        if self.few or count <= 1.5 * d * samples:
            return dense(self._hessian(q, at.half), diagonal, self.threads)
        return outer(
            (q[:, None, :] * at.half[None, :, :] * (np.sqrt(2.0) / self.l2)).reshape(d * samples, count),
            diagonal,
            self.threads,
        )

    def _hessian(self, q: Array, w: Array) -> Array:
        """(2 / l2^2) <q_i, q_j> N_ij, at least its lower triangle."""
        count = q.shape[1]
        out, scaled = np.zeros((count, count)), q * (2.0 / self.l2**2)

        def work(part: slice) -> None:
            n = w[:, part].T @ w[:, : part.stop]
            if self.few:
                np.subtract(self.gram[part, : part.stop], n, out=n)
            np.multiply(n, scaled[:, part].T @ q[:, : part.stop], out=out[part, : part.stop])

        share(work, count, STRIP, self.threads)
        return out


def squared_energy(features: Array, targets: Array, l1: float, l2: float, threads: int = 1) -> SquaredEnergy:
    """E on atoms of cost 1 and these features (J, P)."""
    square, none = float(np.vdot(targets, targets)), np.zeros((0, 0))
    if features.shape[0] > features.shape[1]:
        return SquaredEnergy(features, targets, none, none, square, l1, l2, threads)
    return SquaredEnergy(none, targets, whole(gram(features, threads)), targets @ features.T, square, l1, l2, threads)

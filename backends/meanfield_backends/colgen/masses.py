"""The master in the masses alone, by an interior-point method: accurate duals on thousands of samples and near-parallel atoms.

For the squared loss the readouts can be eliminated (theory section 1). On atoms of cost 1 with features Phi (J, P)

    E(m) = l1 sum_j m_j + tr Y K(m)^-1 Y^T ,   K(m) = I + Phi^T diag(m) Phi / l2 ,   m >= 0

is smooth and convex. With R = Y K^-1, q_j = R phi_j and N = Phi K^-1 Phi^T its gradient is l1 - |q_j|^2 / l2, its Hessian
(2 / l2^2) <q_i, q_j> N_ij, and the readouts are V_j = m_j q_j / l2. Dense linear algebra in the smaller of J and P unknowns for E,
and for the Newton system in the smaller of J and P d_Y (the Hessian is a Gram matrix of J vectors q_j x w_j, N_ij = <w_i, w_j>).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from meanfield_opt.threads import share

from .blocked import STRIP, cholesky, gram, lower_solver, solve, whole

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Centre:
    """Masses m (J,), readouts V (d_Y, J), slacks s (J,) ~ gradient of E, and the energy."""

    masses: Array
    readouts: Array
    slacks: Array
    energy: float


@dataclass(frozen=True)
class Point:
    """E at m with the responses q (d, J), and the resolvent's factor w: N = gram - w^T w where atoms are few (J, J), otherwise w^T w (P, J)."""

    value: float
    responses: Array
    half: Array


@dataclass(frozen=True)
class Energy:
    """E on fixed atoms. Where they are no more than the samples only gram (J, J) and cross (d, J) are used, otherwise only features (J, P)."""

    features: Array
    targets: Array
    gram: Array
    cross: Array
    square: float
    l1: float
    l2: float
    threads: int

    @property
    def few(self) -> bool:
        """Whether there are no more atoms than samples."""
        return bool(self.gram.size > 0)

    def value(self, m: Array) -> tuple[float, Array, Array]:
        """E(m), the Cholesky factor and the right-hand side solved with it."""
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
        return self.l1 * float(m.sum()) + (self.square - fit if self.few else fit), factor, right

    def point(self, m: Array, known: tuple[float, Array, Array] | None = None) -> Point:
        """E(m) with the responses and w. From w responses are right to rounding even where inputs are huge."""
        value, factor, right = self.value(m) if known is None else known
        root, solve_lower = np.sqrt(m / self.l2), lower_solver(factor)
        w = np.empty((factor.shape[0], m.size))

        def work(part: slice) -> None:
            w[:, part] = solve_lower(self.gram[:, part] * root[:, None] if self.few else self.features[part].T)

        share(work, m.size, STRIP, self.threads)
        q = right.T @ w
        return Point(value, self.cross - q if self.few else q, w)

    def system(self, at: Point, diagonal: Array) -> Callable[[Array], Array]:
        """slope -> -(Hessian + diagonal)^-1 slope, factored once."""
        q, count = at.responses, diagonal.size
        d, samples = self.targets.shape
        w = at.half
        if self.few or count <= 1.5 * d * samples:
            hessian = self._hessian(q, w)
            hessian.reshape(-1)[:: count + 1] += diagonal
            dense = _factor(hessian, self.threads)
            return lambda slope: -solve(dense, slope)
        scale = 1.0 / np.sqrt(diagonal)
        u = (q[:, None, :] * (w * (scale * (np.sqrt(2.0) / self.l2)))[None, :, :]).reshape(d * samples, count)
        inner = gram(u, self.threads)
        inner.reshape(-1)[:: d * samples + 1] += 1.0
        factor = _factor(inner, self.threads)

        def direction(slope: Array) -> Array:
            g = slope * scale
            return np.asarray((u.T @ solve(factor, u @ g) - g) * scale)

        return direction

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


def energy_of(features: Array, targets: Array, l1: float, l2: float, threads: int = 1) -> Energy:
    """E on atoms of cost 1 and these features (J, P)."""
    square, none = float(np.vdot(targets, targets)), np.zeros((0, 0))
    if features.shape[0] > features.shape[1]:
        return Energy(features, targets, none, none, square, l1, l2, threads)
    return Energy(none, targets, whole(gram(features, threads)), targets @ features.T, square, l1, l2, threads)


def _factor(matrix: Array, threads: int = 1) -> Array:
    """Cholesky's factor; where rounding leaves the matrix indefinite, of one with a slightly larger diagonal: any such step descends."""
    diagonal = matrix.reshape(-1)[:: matrix.shape[0] + 1]
    add = 1e-15 * float(diagonal.max())
    for _ in range(4):
        try:
            return cholesky(matrix, threads)
        except linalg.LinAlgError:
            diagonal += add
            add *= 100.0
    return cholesky(matrix, threads)


def _longest(x: Array, dx: Array, part: float) -> float:
    """The longest step up to 1 that leaves x + t dx positive."""
    return 1.0 / max(1.0, float((-dx / x).max()) / part)


def interior_point(
    features: Array,
    targets: Array,
    l1: float,
    l2: float,
    start: Array,
    tolerance: float,
    steps: int = 80,
    near: float = 1.0,
    threads: int = 1,
) -> Centre | None:
    """Minimise E on these atoms over m >= 0, see ``minimise``.

    features: (J, P), of atoms of cost 1.
    """
    return minimise(energy_of(features, targets, l1, l2, threads), start, tolerance, steps, near)


def minimise(energy: Energy, start: Array, tolerance: float, steps: int = 80, near: float = 1.0) -> Centre | None:
    """Minimise E over m >= 0 from ``start`` (J,) to a duality gap of about ``tolerance`` times the energy at m = 0.

    near: about how far the energy of ``start`` is from the optimum, as a fraction of the energy at m = 0. None where linear algebra
    breaks down.
    """
    square, l1, l2 = energy.square, energy.l1, energy.l2
    count = start.size
    if count == 0 or square == 0.0:
        return None
    # a cold start from large masses, where the gradient is positive; a warm one from slightly interior masses
    total = float(start.sum())
    central = near * square / count
    m = (
        np.maximum(start, min(0.1 * total / count, central / l1))
        if total > 0
        else np.full(count, square / (l1 * count))
    )
    try:
        at = energy.point(m)
        s = np.maximum(l1 - np.einsum("kj,kj->j", at.responses, at.responses) / l2, np.minimum(0.1 * l1, central / m))
        for step in range(steps):
            gradient = l1 - np.einsum("kj,kj->j", at.responses, at.responses) / l2
            gap, mismatch = float(m @ s), float(np.abs(gradient - s).max())
            # a mismatch raises the level of columns, and so the gap relative to the energy, by its share of l1
            if gap <= tolerance * square and mismatch <= tolerance * l1 * max(10.0, square / at.value):
                break
            direction = energy.system(at, s / m)
            mu, dm, ds, t, u = _direction(direction, m, s, gradient, gap, step == 0)
            before = at.value - mu * float(np.log(m).sum())
            new = m + t * dm
            trial = energy.value(new)
            after = trial[0] - mu * float(np.log(new).sum())
            if after > before + 1e-13 * square:  # the corrections are too bold: a plain step, searched along
                mu = 0.15 * gap / count
                slope = gradient - mu / m
                dm = direction(slope)
                ds = mu / m - s - (s / m) * dm
                t, u = _longest(m, dm, 0.99), _longest(s, ds, 0.99)
                before, decrease = at.value - mu * float(np.log(m).sum()), float(slope @ dm)
                for _backtrack in range(20):
                    new = m + t * dm
                    trial = energy.value(new)
                    after = trial[0] - mu * float(np.log(new).sum())
                    if after <= before + 1e-4 * t * decrease + 1e-13 * square:
                        break
                    t *= 0.5
            m, at = new, energy.point(new, trial)
            s = s + u * ds
    except linalg.LinAlgError:
        return None
    return Centre(m, at.responses * (m / l2), s, at.value)


def _direction(
    solve: Callable[[Array], Array], m: Array, s: Array, gradient: Array, gap: float, first: bool
) -> tuple[float, Array, Array, float, float]:
    """mu, the directions of masses and slacks, and their longest steps: predictor, corrector (Mehrotra 1992), and centring (Gondzio 1996).

    A system costs far more than solving with it again.
    """
    mean = gap / m.size
    dm = solve(gradient)
    ds = -s - (s / m) * dm
    ahead = float((m + _longest(m, dm, 1.0) * dm) @ (s + _longest(s, ds, 1.0) * ds))
    mu = mean * min(0.5, max((ahead / gap) ** 3, 0.15 if first else 1e-4))
    aim = mu - np.clip(dm * ds, -5.0 * mean, 5.0 * mean)
    dm = solve(gradient - aim / m)
    ds = aim / m - s - (s / m) * dm
    t, u = _longest(m, dm, 0.99), _longest(s, ds, 0.99)
    for _ in range(2):
        if min(t, u) > 0.95:
            break
        product = (m + min(1.0, 1.1 * t + 0.2) * dm) * (s + min(1.0, 1.1 * u + 0.2) * ds)
        other = aim + np.maximum(np.clip(product, 0.1 * mu, 10.0 * mu) - product, -10.0 * mu)
        dm2 = solve(gradient - other / m)
        ds2 = other / m - s - (s / m) * dm2
        t2, u2 = _longest(m, dm2, 0.99), _longest(s, ds2, 0.99)
        if t2 + u2 <= 1.02 * (t + u):
            break
        aim, dm, ds, t, u = other, dm2, ds2, t2, u2
    return mu, dm, ds, t, u

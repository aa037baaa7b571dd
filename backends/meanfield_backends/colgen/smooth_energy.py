"""The energy in the masses for smooth losses that are sums over entries, its inner minimum found by Newton's method.

With K = Phi^T diag(m) Phi / (2 l2) the fit at fixed masses is F = A K, which minimises L(A K) + <A, A K> / 2; at the minimum A = Z = -grad L(F).
Where there are fewer atoms than samples the unknowns are B = A Psi^T, Psi = sqrt(m / (2 l2)) Phi: L(B Psi) + |B|^2 / 2. A step solves, for each
output k with its curvatures H_k = diag(L''), a system in I + S K S, S = H_k^(1/2), or in I + Psi H_k Psi^T: well conditioned whatever the
curvatures, also where they vanish (the numerics of Rasmussen and Williams 2006, section 3.4). The Hessian of E is

    (1 / l2^2) sum_k q_ki q_kj N_kij ,   N_k = Phi (H_k^-1 + K)^-1 Phi^T .
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.loss import Loss, SecondOrder

from .blocked import cholesky, gram, lower_solver, solve, whole
from .energies import MassEnergy, Point, Trial, dense, outer

Array = NDArray[np.float64]

#: Newton steps of one fit, at most, and trials of one line search
STEPS, HALVINGS = 50, 30
#: squared Newton decrement, relative to E(0), at which a fit is exact: the next step would change it by rounding
EXACT = 1e-18


def curved(loss: Loss, targets: Array) -> bool:
    """Whether E can be had for the loss: smooth, with second derivatives entry by entry, and above zero without atoms."""
    if not isinstance(loss, SecondOrder) or not math.isfinite(loss.curvature()):
        return False
    zero = np.zeros_like(targets)
    return loss.curvatures(zero, targets) is not None and loss.value(zero, targets) > 0.0


@dataclass
class SmoothEnergy(MassEnergy):
    """E for a loss with ``curvatures``. ``factor`` (d_Y, n, n) and ``fit`` F of a trial; ``half`` of a point is N (d_Y, J, J) where atoms are
    ``few``, otherwise w_k (P, J) with N_k = w_k^T w_k.

    dual: Z of the last fit, where the next one begins.
    """

    loss: Loss
    features: Array
    targets: Array
    none: float
    l1: float
    l2: float
    threads: int
    dual: Array

    @property
    def few(self) -> bool:
        """Whether there are no more atoms than samples."""
        return self.features.shape[0] <= self.features.shape[1]

    def value(self, m: Array) -> Trial:
        psi = self.features * np.sqrt(m / (2.0 * self.l2))[:, None]
        kernel = psi if self.few else whole(gram(psi.T, self.threads))
        coefficients, fit = self._begin(psi, kernel)
        here = self._value(coefficients, fit)
        for _ in range(STEPS):
            gradient, bend = self.loss.gradient(fit, self.targets), self._bend(fit)
            factor = self._factor(kernel, bend)
            # what is left of the conditions, not the new coefficients: these would lose digits where K is large
            left = coefficients + (gradient @ kernel.T if self.few else gradient)
            step = self._newton(kernel, bend, factor, left)
            move = step @ kernel
            slope = float(np.vdot(gradient, move) + np.vdot(coefficients, step if self.few else move))
            if slope >= -EXACT * self.none:  # the last step, which squares what is left
                coefficients, fit = coefficients + step, fit + move
                break
            t, ahead = self._search(coefficients, fit, step, move, here, slope)
            if t == 0.0:
                break
            coefficients, fit, here = coefficients + t * step, fit + t * move, ahead
        else:
            factor = self._factor(kernel, self._bend(fit))
        self.dual = -self.loss.gradient(fit, self.targets)
        return Trial(self.l1 * float(m.sum()) + here, factor, fit)

    def point(self, m: Array, known: Trial | None = None) -> Point:
        known = self.value(m) if known is None else known
        root = np.sqrt(self._bend(known.fit))
        responses = 0.5 * (-self.loss.gradient(known.fit, self.targets)) @ self.features.T
        size = np.sqrt(m / (2.0 * self.l2))
        half = []
        for s, factor in zip(root, known.factor, strict=True):
            scaled = self.features * s
            if self.few:
                inner = whole(gram(scaled, self.threads))
                w = lower_solver(factor)(size[:, None] * inner)
                half.append(inner - w.T @ w)
            else:
                half.append(lower_solver(factor)(np.ascontiguousarray(scaled.T)))
        return Point(known.value, responses, np.array(half))

    def system(self, at: Point, diagonal: Array) -> Callable[[Array], Array]:
        q, count = at.responses / self.l2, diagonal.size
        if not self.few and count > 1.5 * self.targets.size:
            return outer((q[:, None, :] * at.half).reshape(-1, count), diagonal, self.threads)
        hessian = np.zeros((count, count))
        for row, part in zip(q, at.half, strict=True):
            hessian += np.outer(row, row) * part if self.few else gram((row * part).T, self.threads)
        return dense(hessian, diagonal, self.threads)

    def _begin(self, psi: Array, kernel: Array) -> tuple[Array, Array]:
        """Coefficients and fit of the last Z at these masses, or zeros where these are better."""
        coefficients = self.dual @ psi.T if self.few else self.dual
        fit = coefficients @ kernel
        if self._value(coefficients, fit) <= self.none:
            return coefficients, fit
        return np.zeros_like(coefficients), np.zeros_like(fit)

    def _value(self, coefficients: Array, fit: Array) -> float:
        """The loss of a fit and the readouts' penalty."""
        return self.loss.value(fit, self.targets) + 0.5 * float(
            np.vdot(coefficients, coefficients if self.few else fit)
        )

    def _bend(self, fit: Array) -> Array:
        assert isinstance(self.loss, SecondOrder)
        bend = self.loss.curvatures(fit, self.targets)
        assert bend is not None
        return bend

    def _factor(self, kernel: Array, bend: Array) -> Array:
        """Cholesky's factors of I + Psi H_k Psi^T or I + S K S, for each output."""
        out = []
        for s in np.sqrt(bend):
            inner = gram(kernel * s, self.threads) if self.few else kernel * s[:, None] * s
            inner.reshape(-1)[:: inner.shape[0] + 1] += 1.0
            out.append(cholesky(inner, self.threads))
        return np.array(out)

    def _newton(self, kernel: Array, bend: Array, factors: Array, left: Array) -> Array:
        """The change of the coefficients at which the linearised conditions hold, of which ``left`` is left now."""
        if self.few:
            return np.array([-solve(factor, r) for factor, r in zip(factors, left, strict=True)])
        parts = zip(np.sqrt(bend), factors, left, strict=True)
        return np.array([s * solve(factor, s * (kernel @ r)) - r for s, factor, r in parts])

    def _search(
        self, coefficients: Array, fit: Array, step: Array, move: Array, here: float, slope: float
    ) -> tuple[float, float]:
        """The first of 1, 1/2, ... that descends enough, and the value there; 0 where rounding leaves none."""
        t = 1.0
        for _ in range(HALVINGS):
            ahead = self._value(coefficients + t * step, fit + t * move)
            if ahead <= here + 1e-4 * t * slope + 1e-15 * self.none:
                return t, ahead
            t *= 0.5
        return 0.0, here


def smooth_energy(loss: Loss, features: Array, targets: Array, l1: float, l2: float, threads: int = 1) -> SmoothEnergy:
    """E on atoms of cost 1 and these features (J, P), for a loss that is ``curved``."""
    zero = np.zeros_like(targets)
    none, dual = loss.value(zero, targets), -loss.gradient(zero, targets)
    return SmoothEnergy(loss, features, targets, none, l1, l2, threads, dual)

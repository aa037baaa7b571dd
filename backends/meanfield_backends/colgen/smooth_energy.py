"""The energy in the masses for smooth losses, its inner minimum found by Newton's method.

With K = Phi^T diag(m) Phi / (2 l2) the fit at fixed masses is F = A K, which minimises L(A K) + <A, A K> / 2; at the minimum A = Z = -grad L(F).
Where there are fewer atoms than samples the unknowns are B = A Psi^T, Psi = sqrt(m / (2 l2)) Phi: L(B Psi) + |B|^2 / 2. With the Hessian
H = C C^T of the loss (``Loss.curvature_roots``) a step solves a system in I + C^T K C or in I + Psi H Psi^T: well conditioned whatever the
curvatures, also where they vanish (the numerics of Rasmussen and Williams 2006, section 3.4). The Hessian of E is

    (1 / l2^2) <q_i, N_ij q_j> ,   N_ij = phi_i (H^-1 + K)^-1 phi_j   (d_Y, d_Y) .

For a sum over entries all of this falls into one part for each output. An output bias b of penalty p is one more feature, 1 / sqrt(2 p), whose
readout costs |B|^2 / 2 like those of the rows of Psi; a free one has a penalty so small that it changes nothing that is asked for.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.loss import Loss, SecondOrder
from meanfield_opt.losses.output_bias import OutputBias

from .blocked import cholesky, gram, lower_solver, solve, whole
from .energies import MassEnergy, Point, Trial, dense, outer

Array = NDArray[np.float64]

#: Newton steps of one fit, at most, and trials of one line search
STEPS, HALVINGS = 50, 30
#: squared Newton decrement, relative to E(0), at which a fit is exact: the next step would change it by rounding
EXACT = 1e-13
#: unknowns of a system, at most, where the outputs of a sample are coupled: outputs times the fewer of atoms and samples
MOST_COUPLED = 1200
#: penalty of a free output bias, beside the curvature of all samples
FREE = 1e-10


@dataclass
class SmoothEnergy(MassEnergy):
    """E for a loss with second derivatives. ``fit`` of a trial is F, its ``factor`` that of the systems.

    loss: without its output bias. constant: the feature (1 or 0, P) of that bias, see above, and offset (d_Y, 1): a free
    one is fitted beside the best bias of no atoms, which may be large. dual: Z of the last fit, where the next one begins.
    """

    loss: Loss
    features: Array
    targets: Array
    none: float
    l1: float
    l2: float
    threads: int
    constant: Array
    offset: Array
    dual: Array

    @property
    def few(self) -> bool:
        """Whether the unknowns are those of the atoms: where these are no more than the samples, or K would be huge for a free output bias."""
        return bool(self.features.shape[0] <= self.features.shape[1] or self.constant.size)

    @abstractmethod
    def factored(self, kernel: Array, roots: Array) -> Array:
        """Cholesky's factors of I + Psi H Psi^T (``few``) or I + C^T K C; kernel: Psi or K."""

    @abstractmethod
    def change(self, kernel: Array, roots: Array, factor: Array, left: Array) -> Array:
        """The change of the coefficients at which the linearised conditions hold, of which ``left`` is left now."""

    def value(self, m: Array) -> Trial:
        psi = self.rows(m)
        kernel = psi if self.few else whole(gram(psi.T, self.threads))
        coefficients, fit = self._begin(psi, kernel)
        here = self._value(coefficients, fit)
        for _ in range(STEPS):
            gradient, roots = self.gradient(fit), self.roots(fit)
            factor = self.factored(kernel, roots)
            # what is left of the conditions, not the new coefficients: these would lose digits where K is large
            left = coefficients + (gradient @ kernel.T if self.few else gradient)
            step = self.change(kernel, roots, factor, left)
            move = step @ kernel
            slope = float(np.vdot(gradient, move) + np.vdot(coefficients, step if self.few else move))
            if slope >= -EXACT * self.none:  # the last step, which squares what is left
                coefficients, fit = coefficients + step, fit + move
                break
            t, ahead = self._search(coefficients, fit, step, move, here, slope)
            if t == 0.0:
                break
            coefficients, fit, here = coefficients + t * step, fit + t * move, ahead
        self.dual = -self.gradient(fit)
        return Trial(self.l1 * float(m.sum()) + here, factor, fit)

    def rows(self, m: Array) -> Array:
        """Psi, with the feature of an output bias."""
        return np.vstack([self.features * np.sqrt(m / (2.0 * self.l2))[:, None], self.constant])

    def roots(self, fit: Array) -> Array:
        """C, or s of a sum over entries, at a fit."""
        assert isinstance(self.loss, SecondOrder)
        roots = self.loss.curvature_roots(fit + self.offset, self.targets)
        assert roots is not None
        return roots

    def gradient(self, fit: Array) -> Array:
        """That of the loss (d_Y, P) at a fit."""
        return self.loss.gradient(fit + self.offset, self.targets)

    def responses(self, fit: Array) -> Array:
        """q (d_Y, J) at a fit."""
        return np.asarray(-0.5 * self.gradient(fit) @ self.features.T)

    def _begin(self, psi: Array, kernel: Array) -> tuple[Array, Array]:
        """Coefficients and fit of the last Z at these masses, or zeros where these are better."""
        coefficients = self.dual @ psi.T if self.few else self.dual
        fit = coefficients @ kernel
        zero = np.zeros_like(coefficients), np.zeros_like(fit)
        return (coefficients, fit) if self._value(coefficients, fit) <= self._value(*zero) else zero

    def _value(self, coefficients: Array, fit: Array) -> float:
        """The loss of a fit and the readouts' penalty."""
        value = self.loss.value(fit + self.offset, self.targets)
        return value + 0.5 * float(np.vdot(coefficients, coefficients if self.few else fit))

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


class EntrywiseEnergy(SmoothEnergy):
    """For a sum over entries: a system of J or P unknowns for each output.

    ``half`` of a point is N (d_Y, J, J) where atoms are ``few``, otherwise w_k (P, J) with N_k = w_k^T w_k.
    """

    def factored(self, kernel: Array, roots: Array) -> Array:
        out = []
        for s in roots:
            inner = gram(kernel * s, self.threads) if self.few else kernel * s[:, None] * s
            inner.reshape(-1)[:: inner.shape[0] + 1] += 1.0
            out.append(cholesky(inner, self.threads))
        return np.array(out)

    def change(self, kernel: Array, roots: Array, factor: Array, left: Array) -> Array:
        if self.few:
            return np.array([-solve(part, r) for part, r in zip(factor, left, strict=True)])
        parts = zip(roots, factor, left, strict=True)
        return np.array([s * solve(part, s * (kernel @ r)) - r for s, part, r in parts])

    def point(self, m: Array, known: Trial | None = None) -> Point:
        known = self.value(m) if known is None else known
        rows = self.rows(m)
        half = []
        for s, factor in zip(self.roots(known.fit), known.factor, strict=True):
            scaled = self.features * s
            if self.few:
                w = lower_solver(factor)((rows * s) @ scaled.T)
                half.append(whole(gram(scaled, self.threads)) - w.T @ w)
            else:
                half.append(lower_solver(factor)(np.ascontiguousarray(scaled.T)))
        return Point(known.value, self.responses(known.fit), np.array(half))

    def system(self, at: Point, diagonal: Array) -> Callable[[Array], Array]:
        q, count = at.responses / self.l2, diagonal.size
        if not self.few and count > 1.5 * self.targets.size:
            return outer((q[:, None, :] * at.half).reshape(-1, count), diagonal, self.threads)
        hessian = np.zeros((count, count))
        for row, part in zip(q, at.half, strict=True):
            hessian += np.outer(row, row) * part if self.few else gram((row * part).T, self.threads)
        return dense(hessian, diagonal, self.threads)


class CoupledEnergy(SmoothEnergy):
    """Where the outputs of a sample are coupled: one system of d_Y J or d_Y P unknowns, outputs first.

    ``half`` of a point is the Hessian of E (J, J) where atoms are ``few``, otherwise w (d_Y P, J), of which it is the Gram matrix.
    """

    def factored(self, kernel: Array, roots: Array) -> Array:
        d, n = roots.shape[0], kernel.shape[0]
        inner = np.empty((d, n, d, n))
        for a in range(d):
            for b in range(a + 1):
                # (C C^T)_ab of every sample, or the entries of C^T K C
                if self.few:
                    inner[a, :, b] = (kernel * np.einsum("cp,cp->p", roots[a], roots[b])) @ kernel.T
                else:
                    inner[a, :, b] = (roots[:, a].T @ roots[:, b]) * kernel
        inner.reshape(-1)[:: d * n + 1] += 1.0
        return cholesky(inner.reshape(d * n, d * n), self.threads)

    def change(self, kernel: Array, roots: Array, factor: Array, left: Array) -> Array:
        if self.few:
            return np.asarray(-solve(factor, left.ravel())).reshape(left.shape)
        right = np.einsum("kap,kp->ap", roots, left @ kernel)
        return np.asarray(np.einsum("kap,ap->kp", roots, solve(factor, right.ravel()).reshape(left.shape)) - left)

    def point(self, m: Array, known: Trial | None = None) -> Point:
        known = self.value(m) if known is None else known
        roots, responses = self.roots(known.fit), self.responses(known.fit)
        # C^T (phi_j x q_j) / l2, of every sample and atom
        u = np.einsum("kap,kj->apj", roots, responses / self.l2) * self.features.T
        if not self.few:
            return Point(known.value, responses, lower_solver(known.factor)(u.reshape(-1, m.size)))
        rows = self.rows(m)
        pulled = [rows @ part for part in np.einsum("kap,apj->kpj", roots, u)]
        w = lower_solver(known.factor)(np.concatenate(pulled))
        flat = u.reshape(-1, m.size)
        return Point(known.value, responses, flat.T @ flat - w.T @ w)

    def system(self, at: Point, diagonal: Array) -> Callable[[Array], Array]:
        if not self.few and diagonal.size > 1.5 * self.targets.size:
            return outer(at.half.copy(), diagonal, self.threads)
        return dense(at.half.copy() if self.few else gram(at.half.T, self.threads), diagonal, self.threads)


def curved(loss: Loss, targets: Array) -> bool:
    """Whether E can be had for the loss: smooth, with second derivatives, few coupled outputs, and above zero without atoms."""
    base: Loss = loss.base if isinstance(loss, OutputBias) else loss
    if not isinstance(base, SecondOrder) or not math.isfinite(loss.curvature()):
        return False
    zero = np.zeros_like(targets)
    roots = base.curvature_roots(zero, targets)
    if roots is None or (roots.ndim == 3 and targets.size > MOST_COUPLED):
        return False
    return bool(loss.value(zero, targets) > 0.0)


def smooth_energy(loss: Loss, features: Array, targets: Array, l1: float, l2: float, threads: int = 1) -> SmoothEnergy:
    """E on atoms of cost 1 and these features (J, P), for a loss that is ``curved``."""
    zero, samples = np.zeros_like(targets), targets.shape[1]
    none, dual = loss.value(zero, targets), -loss.gradient(zero, targets)
    constant, offset = np.zeros((0, samples)), np.zeros((targets.shape[0], 1))
    if isinstance(loss, OutputBias):
        if loss.penalty == 0.0:
            offset = loss.bias(zero, targets)[:, None]
        penalty = max(loss.penalty, FREE * samples * loss.curvature())
        loss, constant = loss.base, np.full((1, samples), 1.0 / math.sqrt(2.0 * penalty))
    assert isinstance(loss, SecondOrder)
    roots = loss.curvature_roots(zero, targets)
    kind = CoupledEnergy if roots is not None and roots.ndim == 3 else EntrywiseEnergy
    return kind(loss, features, targets, none, l1, l2, threads, constant, offset, dual)

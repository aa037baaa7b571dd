"""Tangent points for the envelope bound: at a point w of the output view the best one solves a smooth convex problem, the
concave-envelope relaxation of sup_h 2 w . Z phi(h) - tau c(h)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ..checker import envelope
from ..problem import TwoLayerProblem

Array = NDArray[np.float64]

#: what stands for the size of an activation that grows, where tangents are looked for
LARGE = 8.0
GRID = np.sinh(np.linspace(-6.0, 6.0, 321)) / np.sinh(6.0)


class Tangents:
    """Good tangent points g for many w at once."""

    def __init__(self, problem: TwoLayerProblem, dual: Array, cost: float | None = None) -> None:
        # patterns of larger cost do not matter, and |h_p|^2 <= (K_X)_pp c
        self.farthest = math.inf if cost is None else 1.1 * math.sqrt(cost * problem.geometry.norm_bound())
        self.dual = dual
        self.tau, self.delta = envelope.levels(problem)
        kernel = problem.geometry.apply(np.eye(problem.n_samples))
        self.kernel = 0.5 * (kernel + kernel.T)
        self.inverse = np.linalg.pinv(0.5 * (kernel + kernel.T), rcond=1e-12, hermitian=True)
        self.shifted = self.inverse - self.delta * np.eye(problem.n_samples)
        low, high = problem.activation.bound_on(np.array([-math.inf]), np.array([math.inf]))
        self.size = min(float(max(abs(low[0]), abs(high[0]))), LARGE)
        self.phi = problem.activation

    def find(self, w: Array) -> Array:
        """g (N, P) for the rows of w (N, d_Y), by a damped Newton method on the smoothed relaxation."""
        r = w @ self.dual
        h = np.zeros_like(r)
        a = self.tau * self.delta
        # beyond this |t| the quadratic has eaten all that phi can give
        reach = 2.0 * math.sqrt(4.0 * self.size * (float(np.abs(r).max()) + 1e-300) / self.tau) + 1.0
        reach = reach if math.isinf(self.farthest) else self.farthest
        t = reach * GRID
        base = 2.0 * r[:, :, None] * self.phi(t) - a * np.square(t)
        scale = np.maximum(2.0 * self.size * np.abs(r).max(axis=1), 1e-300)
        for level in (0.3, 0.05, 0.01, 2e-3, 4e-4, 1e-4):
            live = np.arange(r.shape[0])
            for _ in range(8):
                mu = (level * scale[live])[:, None]
                now, part = h[live], base[live]
                value, slope, spread = self._parts(now, part, t, mu)
                # (I + (2 tau / mu) Var S) dh = E[t] - h
                matrix = np.eye(r.shape[1]) + (2.0 * self.tau / mu * spread)[:, :, None] * self.shifted
                move = np.linalg.solve(matrix, slope[:, :, None])[:, :, 0]
                factor = np.ones((live.size, 1))
                for _ in range(6):
                    trial = self._parts(now + factor * move, part, t, mu)[0]
                    worse = trial > value + 1e-14 * np.abs(value)
                    if not worse.any():
                        break
                    factor[worse] *= 0.25
                better = trial <= value
                h[live] = np.where(better[:, None], now + factor * move, now)
                # a tangent need not be exact: what it loses is of second order
                going = better & (np.abs(factor * move).max(axis=1) > 1e-5 * (1.0 + np.abs(now).max(axis=1)))
                live = live[going]
                if live.size == 0:
                    break
        return np.asarray(h @ self.inverse)

    def polish(self, w: Array, g: Array) -> Array:
        """The tangent points g (N, P) moved to the nearest local maxima of 2 w . Z phi(h) - tau c(h) themselves.

        The grid of ``find`` places them to its own spacing; where the maximum decides the bound that is too coarse.
        """
        out = np.array(g)
        for k, (r, start) in enumerate(zip(w @ self.dual, g @ self.kernel)):

            def loss(h: Array, r: Array = r) -> tuple[float, Array]:
                x = self.inverse @ h
                value = self.tau * float(h @ x) - 2.0 * float(r @ self.phi(h))
                return value, 2.0 * self.tau * x - 2.0 * r * self.phi.derivative(h)

            found = optimize.minimize(loss, start, jac=True, method="BFGS", options={"maxiter": 60, "gtol": 1e-12})
            out[k] = self.inverse @ found.x
        return out

    def _parts(self, h: Array, base: Array, t: Array, mu: Array) -> tuple[Array, Array, Array]:
        """The smoothed objective (N,), E[t] - h and Var[t] (N, P)."""
        y = h @ self.shifted
        f = base - 2.0 * self.tau * y[:, :, None] * t
        top = f.max(axis=2, keepdims=True)
        weight = np.exp((f - top) / mu[:, :, None])
        total = weight.sum(axis=2)
        mean = (weight @ t) / total
        spread = np.maximum((weight @ np.square(t)) / total - np.square(mean), 0.0)
        value = self.tau * np.einsum("np,np->n", h, y) + (top[:, :, 0] + mu * np.log(total)).sum(axis=1)
        return value, mean - h, spread

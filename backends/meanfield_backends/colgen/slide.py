"""Sliding: atoms and readouts move together downhill, as the units of a network do.

    min over x_j, v_j, s_j:  L(sum_j s_j v_j phi(h_j)) + l1 sum_j s_j^2 c(x_j) + l2 sum_j |v_j|^2 ,   m_j = s_j^2, V_j = s_j v_j

s = 1 for positively homogeneous activations. Under a width M, s = sqrt(M) q / |(q_0, q)| keeps sum m <= M with a slack q_0.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.problem import TwoLayerProblem

from .carrier import Carrier
from .pieces import SmoothActivation
from .quasi_newton import minimise

Array = NDArray[np.float64]

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Particles:
    """Atoms x (J, n) in a carrier's coordinates, readouts V (d_Y, J) = m_j w_j, masses (J,)."""

    x: Array
    readouts: Array
    masses: Array

    @property
    def count(self) -> int:
        """J."""
        return int(self.masses.size)

    def take(self, keep: NDArray[np.intp] | NDArray[np.bool_]) -> Particles:
        """A subset."""
        return Particles(self.x[keep], self.readouts[:, keep], self.masses[keep])


def balanced(carrier: Carrier, problem: TwoLayerProblem, particles: Particles) -> Particles:
    """For degree 1: the same measure with unit masses and l1 c(x_j) = l2 |v_j|^2, atoms without readout dropped."""
    norm = np.sqrt(np.einsum("kj,kj->j", particles.readouts, particles.readouts))
    keep = norm > 0
    x, v, norm = particles.x[keep], particles.readouts[:, keep], norm[keep]
    root = np.sqrt(carrier.cost(x))
    # |V| root = |v||theta| with theta = x t, v = V / t
    t = np.sqrt(np.sqrt(problem.lambda2 / problem.lambda1) * norm / root)
    return Particles(x * t[:, None], v / t, np.ones(norm.size))


@dataclass(frozen=True)
class Layout:
    """How the unknowns lie in one flat vector: x (J, n), v (J, d), then q (J) or q_0, q (J + 1)."""

    atoms: int
    dimension: int
    outputs: int
    free_scale: bool
    width: float | None

    def pack(self, x: Array, v: Array, s: Array) -> Array:
        parts = [x.ravel(), v.ravel()]
        if self.free_scale:
            if self.width is not None:
                parts.append(np.array([np.sqrt(max(self.width - float(s @ s), 0.0))]))
            parts.append(s)
        return np.concatenate(parts)

    def split(self, flat: Array) -> tuple[Array, Array, Array]:
        """x, v and the raw scale unknowns."""
        a, b = self.atoms * self.dimension, self.atoms * self.outputs
        return flat[:a].reshape(self.atoms, -1), flat[a : a + b].reshape(self.atoms, -1), flat[a + b :]

    def scales(self, raw: Array) -> Array:
        """s (J,) from the raw unknowns."""
        if not self.free_scale:
            return np.ones(self.atoms)
        if self.width is None:
            return raw
        return np.asarray(np.sqrt(self.width) * raw[1:] / np.linalg.norm(raw))

    def pull_scales(self, raw: Array, slope: Array) -> Array:
        """Gradient in the raw unknowns from the gradient in s."""
        if not self.free_scale:
            return np.zeros(0)
        if self.width is None:
            return slope
        norm = float(np.linalg.norm(raw))
        unit = raw / norm
        full = np.concatenate([[0.0], slope]) * (np.sqrt(self.width) / norm)
        return np.asarray(full - unit * float(unit @ full))


def slide(
    problem: TwoLayerProblem,
    carrier: Carrier,
    particles: Particles,
    *,
    eps: float = 0.0,
    iterations: int = 500,
    tolerance: float = 1e-12,
    watch: Callable[[], bool] | None = None,
) -> Particles:
    """Quasi-Newton descent on all atoms and readouts together; never returns a worse (smoothed) energy.

    eps: rounding of the kinks, relative to the typical preactivation (0: exact; then the carrier's cells, where there are any, are kept). watch: stop when it says so.
    """
    if particles.count == 0:
        return particles
    homogeneous = problem.activation.degree == 1.0
    if homogeneous:
        particles = balanced(carrier, problem, particles)
        s = np.ones(particles.count)
        v = particles.readouts.T
    else:
        particles = particles.take(particles.masses > 0)
        s = np.sqrt(particles.masses)
        v = (particles.readouts / s).T
    if particles.count == 0:
        return particles
    layout = Layout(
        particles.count,
        carrier.dimension,
        problem.n_outputs,
        not homogeneous or problem.width is not None,
        problem.width,
    )
    if eps > 0.0:
        eps *= float(np.sqrt(np.mean(np.square(carrier.patterns(particles.x)))))
    phi = SmoothActivation(problem.activation, eps)
    targets, loss = problem.targets, problem.loss
    l1, l2 = problem.lambda1, problem.lambda2

    cells = carrier.cells(particles.x, problem.activation) if phi.exact else None

    def objective(flat: Array) -> tuple[float, Array]:
        x, v, raw = layout.split(flat)
        s = layout.scales(raw)
        if cells is None:
            value, slope = phi.both(carrier.patterns(x))
        else:  # at a face of its cell an atom keeps the slope of that cell, which phi' would not tell
            value, slope = cells.slope * x + cells.intercept, cells.slope.copy()
        metric = carrier.metric(x)
        cost = np.einsum("jn,jn->j", x, metric)
        outputs = (v * s[:, None]).T @ value
        energy = loss.value(outputs, targets) + l1 * float(np.square(s) @ cost) + l2 * float(np.vdot(v, v))
        back = loss.gradient(outputs, targets)
        response = value @ back.T  # (J, d)
        grad_v = s[:, None] * response + 2.0 * l2 * v
        slope *= (v * s[:, None]) @ back
        grad_x = carrier.pull(slope) + (2.0 * l1) * np.square(s)[:, None] * metric
        grad_s = np.einsum("jd,jd->j", v, response) + 2.0 * l1 * s * cost
        return energy, np.concatenate([grad_x.ravel(), grad_v.ravel(), layout.pull_scales(raw, grad_s)])

    first = layout.pack(particles.x, v, s)
    lower = upper = None
    if cells is not None:
        free = np.full(first.size - cells.lower.size, np.inf)
        lower, upper = np.concatenate([cells.lower.ravel(), -free]), np.concatenate([cells.upper.ravel(), free])
    result = minimise(objective, first, lower, upper, steps=iterations, value_tolerance=tolerance, watch=watch)
    LOGGER.debug("slide: %d steps, gradient %.1e", result.steps, result.gradient)
    x, v, raw = layout.split(result.x)
    s = layout.scales(raw)
    return Particles(x.copy(), (v * s[:, None]).T.copy(), np.square(s))

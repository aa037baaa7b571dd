"""Sliding of many atoms in many dimensions: the slide of ``slide`` for degree 1, in single precision and by blocks shared among threads.

    min over x_j, v_j:  L(sum_j v_j phi_eps(A x_j)) + l1 sum_j |x_j|^2 + l2 sum_j |v_j|^2

An evaluation is three matrix products and two passes over the preactivations. The energy is correct to about 1e-7 of itself, which is
enough where atoms move on their way; the master that follows is exact.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.problem import TwoLayerProblem
from meanfield_opt.threads import share

from .carrier import Carrier
from .quasi_newton import descend
from .slide import Particles, balanced
from .sweep import ENTRIES, slopes

Array = NDArray[np.float64]

LOGGER = logging.getLogger(__name__)


def glide(
    problem: TwoLayerProblem,
    carrier: Carrier,
    rows: Array,
    particles: Particles,
    *,
    eps: float,
    iterations: int,
    watch: Callable[[], bool] | None = None,
    threads: int = 1,
) -> Particles:
    """Quasi-Newton descent on all atoms and readouts together, at most ``iterations`` steps.

    rows: A (P, n). eps: rounding of the kink, relative to the typical preactivation.
    """
    from .sweep_kernels import gather, scatter  # compiled on first use

    particles = balanced(carrier, problem, particles)
    count, n = particles.x.shape
    if count == 0:
        return particles
    typical = float(np.sqrt(np.einsum("jn,jn->", particles.x @ (rows.T @ rows), particles.x) / (count * rows.shape[0])))
    left, right, size = *slopes(problem), np.float32(eps * typical)
    a, at = np.ascontiguousarray(rows, dtype=np.float32), np.ascontiguousarray(rows.T, dtype=np.float32)
    h = np.empty((count, rows.shape[0]), dtype=np.float32)
    block = max(16, ENTRIES // rows.shape[0])
    targets, l1, l2 = problem.targets, problem.lambda1, problem.lambda2

    def objective(flat: Array) -> tuple[float, Array]:
        x, v = flat[: count * n].reshape(count, n), flat[count * n :].reshape(count, -1)
        xs, vs = x.astype(np.float32), v.astype(np.float32)
        parts: dict[int, NDArray[np.float32]] = {}

        def forward(part: slice) -> None:
            np.matmul(xs[part], at, out=h[part])
            outputs = np.zeros(targets.shape, dtype=np.float32)
            gather(h[part], vs[part], left, right, size, outputs)
            parts[part.start] = outputs

        share(forward, count, block, threads)
        # summed in a fixed order, so that the number of threads changes nothing
        outputs = np.asarray(np.sum([parts[begin] for begin in sorted(parts)], axis=0, dtype=np.float64))
        back = problem.loss.gradient(outputs, targets)
        single, response, pulled = back.astype(np.float32), np.empty_like(vs), np.empty_like(xs)

        def backward(part: slice) -> None:
            scatter(h[part], vs[part], left, right, size, single, response[part])
            np.matmul(h[part], a, out=pulled[part])

        share(backward, count, block, threads)
        energy = problem.loss.value(outputs, targets) + l1 * float(np.vdot(x, x)) + l2 * float(np.vdot(v, v))
        return energy, np.concatenate([(pulled + 2.0 * l1 * x).ravel(), (response + 2.0 * l2 * v).ravel()])

    first = np.concatenate([particles.x.ravel(), particles.readouts.T.ravel()])
    done = descend(objective, first, iterations, value_tolerance=1e-8, watch=watch)
    LOGGER.debug("glide: %d atoms, %d steps, energy %.10g", count, done.steps, done.value)
    end = done.x
    return Particles(
        end[: count * n].reshape(count, n).copy(), end[count * n :].reshape(count, -1).T.copy(), np.ones(count)
    )

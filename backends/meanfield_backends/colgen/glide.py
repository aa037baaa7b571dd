"""Sliding of many atoms in many dimensions: the slide of ``slide`` for degree 1, in single precision and by tiles shared among threads.

    min over x_j, v_j:  L(sum_j v_j phi_eps(A x_j)) + l1 sum_j |x_j|^2 + l2 sum_j |v_j|^2

For losses that are sums over samples: an evaluation is two matrix products and two passes over each tile of samples. The energy is correct to about 1e-7 of itself, which is enough where atoms move on their way; the master that follows is exact.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.loss import Loss
from meanfield_opt.losses.hinge import SquaredHinge
from meanfield_opt.losses.huber import Huber
from meanfield_opt.losses.softmax import Softmax
from meanfield_opt.losses.weighted import Weighted
from meanfield_opt.problem import TwoLayerProblem
from meanfield_opt.threads import share

from .carrier import Carrier
from .quasi_newton import descend
from .slide import Particles, balanced
from .sweep import ENTRIES, slopes

Array = NDArray[np.float64]

LOGGER = logging.getLogger(__name__)


def by_samples(loss: Loss) -> bool:
    """Whether some samples' outputs and targets tell their part of the loss: promised (``entrywise``), or known of it.

    Weights on samples and an output bias belong to all at once; of a user's own class that promises nothing the same is assumed.
    """
    if isinstance(loss, Weighted):
        return loss.sample_weights is None and by_samples(loss.base)
    return loss.entrywise or type(loss) in (Huber, SquaredHinge, Softmax)


def _power(x: Array) -> float:
    """A power of two about as large as the entries of x; 1 where there is none."""
    size = float(np.abs(x).max(initial=0.0))
    return 2.0 ** math.frexp(size)[1] if 0.0 < size < math.inf else 1.0


def glide(
    problem: TwoLayerProblem,
    carrier: Carrier,
    rows: Array,
    particles: Particles,
    *,
    eps: float,
    iterations: int,
    watch: Callable[[], bool] | None = None,
    enough: float = -math.inf,
    threads: int = 1,
) -> Particles:
    """Quasi-Newton descent on all atoms and readouts together, at most ``iterations`` steps.

    rows: A (P, n). eps: rounding of the kink, relative to the typical preactivation. enough: an energy below which no further step is taken.
    """
    from .sweep_kernels import gather, scatter  # compiled on first use

    particles = balanced(carrier, problem, particles)
    count, n = particles.x.shape
    if count == 0:
        return particles
    typical = float(np.sqrt(np.einsum("jn,jn->", particles.x @ (rows.T @ rows), particles.x) / (count * rows.shape[0])))
    # powers of two, which take inputs, targets and penalties of any size into the range of single precision and round nothing
    unit_x, unit_v, unit_a = (_power(z) for z in (particles.x, particles.readouts, rows))
    left, right, size = *slopes(problem), np.float32(eps * typical / (unit_x * unit_a))
    a = np.ascontiguousarray(rows / unit_a, dtype=np.float32)
    at = np.ascontiguousarray(a.T)
    targets, l1, l2 = problem.targets, problem.lambda1, problem.lambda2
    # tiles of samples, as many for any number of threads: the loss is a sum over samples, so that a tile is done while it is in the cache
    pairs = -(-count * rows.shape[0] // (2 * ENTRIES))
    tile = -(-rows.shape[0] // (2 * pairs))
    if not by_samples(problem.loss):
        tile = rows.shape[0]

    least = math.inf

    def objective(flat: Array) -> tuple[float, Array]:
        x, v = flat[: count * n].reshape(count, n), flat[count * n :].reshape(count, -1)
        xs, vs = (x / unit_x).astype(np.float32), (v / unit_v).astype(np.float32)
        parts: dict[int, tuple[float, Array, Array]] = {}

        def work(part: slice) -> None:
            h = xs @ at[:, part]
            outputs = np.zeros((vs.shape[1], h.shape[1]), dtype=np.float32)
            gather(h, vs, left, right, size, outputs)
            fit, aim = outputs.astype(np.float64) * (unit_x * unit_a * unit_v), targets[:, part]
            exact = problem.loss.gradient(fit, aim)
            unit = _power(exact)
            back = (exact / unit).astype(np.float32)
            response = np.empty_like(vs)
            scatter(h, vs, left, right, size, back, response)
            parts[part.start] = (
                problem.loss.value(fit, aim),
                response.astype(np.float64) * (unit * unit_x * unit_a),
                (h @ a[part]).astype(np.float64) * (unit * unit_v * unit_a),
            )

        share(work, rows.shape[0], tile, threads)
        # summed in a fixed order, so that the number of threads changes nothing
        order = sorted(parts)
        response = np.sum([parts[begin][1] for begin in order], axis=0)
        pulled = np.sum([parts[begin][2] for begin in order], axis=0)
        nonlocal least
        energy = sum(parts[begin][0] for begin in order) + l1 * float(np.vdot(x, x)) + l2 * float(np.vdot(v, v))
        least = min(least, energy)
        return energy, np.concatenate([(pulled + 2.0 * l1 * x).ravel(), (response + 2.0 * l2 * v).ravel()])

    def over() -> bool:
        return least <= enough or (watch is not None and watch())

    first = np.concatenate([particles.x.ravel(), particles.readouts.T.ravel()])
    done = descend(objective, first, iterations, value_tolerance=1e-8, watch=over)
    LOGGER.debug("glide: %d atoms, %d steps, energy %.10g", count, done.steps, done.value)
    end = done.x
    return Particles(
        end[: count * n].reshape(count, n).copy(), end[count * n :].reshape(count, -1).T.copy(), np.ones(count)
    )

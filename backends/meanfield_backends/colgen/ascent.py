"""Local maxima of the ratio in few dimensions: compiled ascent of many starts, shared among threads.

For degree 1 the maxima over theta of  |Z phi(A theta)| - |theta|^2 / 2  are those of |Z phi(A theta)| / |theta|. First-order ascent
(``climb``) finds basins. A maximum usually lies on kinks a_p . theta = 0, where it zigzags; with phi_eps, eps -> 0, Newton's method
(``sharp``) runs into it. Each start goes its own way, so that results do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.problem import TwoLayerProblem
from meanfield_opt.threads import share

Array = NDArray[np.float64]
#: numbers of steps, in order, and the levels that a start must have reached after them
Floors = tuple[tuple[int, float], ...]

#: starts that one thread takes at a time
BLOCK = 64


def unit_rows(x: Array) -> Array:
    """Rows scaled to length 1."""
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300))


def _slopes(problem: TwoLayerProblem) -> tuple[float, float]:
    pieces = problem.activation.pieces
    assert pieces is not None
    return float(pieces[0].slope), float(pieces[-1].slope)


def ascend(
    problem: TwoLayerProblem,
    rows: Array,
    dual: Array,
    theta: Array,
    steps: int,
    floors: Floors,
    watch: Callable[[], bool] | None = None,
    threads: int = 1,
) -> tuple[Array, Array]:
    """First-order ascent from ``theta`` (N, n) while ``watch`` allows: where it ends, of unit length, and the levels there.

    rows: A (P, n). floors: steps and the levels below which a start is given up after them, linear between. Starts that were not
    reached in time are left out; some always are.
    """
    from .climb import climb, padded  # compiled on first use

    squares = np.linalg.eigvalsh(rows.T @ rows)
    # single precision finds the basins, unless some input direction counts a thousand times less than another
    kind = np.float32 if squares[0] >= 1e-6 * squares[-1] else np.float64
    size, height = np.sqrt(max(float(squares[-1]), 1e-300)), max(float(np.abs(dual).max(initial=0.0)), 1e-300)
    at, z = padded(rows.T / size, 4, 16, kind), padded(dual / height, 4, 16, kind)
    unit = (size * height) ** 2 / problem.tau
    left, right = (kind(slope) for slope in _slopes(problem))
    bottom = np.zeros(steps + 1, kind)
    if floors:
        after, least_level = np.array(floors).T
        bottom[:] = np.interp(np.arange(steps + 1.0), after, least_level, left=0.0) / unit
    least = kind(1e-9 if kind is np.float64 else 1e-6)
    x, level = padded(unit_rows(theta), 1, 4, kind), np.zeros(theta.shape[0], kind)
    done = np.zeros(theta.shape[0], dtype=bool)

    def work(part: slice) -> None:
        climb(at, z, left, right, x[part], level[part], steps, bottom, least)
        done[part] = True

    share(work, x.shape[0], BLOCK, threads, watch)
    return unit_rows(x[done, : theta.shape[1]].astype(np.float64)), level[done].astype(np.float64) * unit


def sharpen(
    problem: TwoLayerProblem, rows: Array, dual: Array, theta: Array, epsilons: tuple[float, ...], threads: int = 1
) -> Array:
    """Local maxima (at most N, n), of unit length, near the starts ``theta`` (N, n); ``rows`` is A (P, n).

    epsilons: roundings relative to the typical preactivation, four Newton steps each. Starts that are clearly on the way to a
    maximum below the feasible level are dropped.
    """
    from .sharp import sharp  # compiled on first use

    (left, right), at, z = _slopes(problem), np.ascontiguousarray(rows.T), np.ascontiguousarray(dual)
    x, level = unit_rows(theta), np.zeros(theta.shape[0])
    relative = np.array(epsilons)

    def work(part: slice) -> None:
        sharp(at, z, left, right, x[part], level[part], relative, problem.tau)

    share(work, x.shape[0], BLOCK // 4, threads)
    return np.asarray(x[level >= 0.0])

"""First-order ascent of many starts at once where weights have many coordinates: matrix products of blocks, in single precision.

The iteration is that of ``climb``. With 65 weights and 1797 samples nearly all the work is in two matrix products a step, which a library does
an order of magnitude faster than a loop over samples. What is found is measured again in double precision by whoever uses it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.problem import TwoLayerProblem
from meanfield_opt.threads import share

Array = NDArray[np.float64]
Single = NDArray[np.float32]
Watch = Callable[[], bool]

#: entries of a block of preactivations: it stays in the processor's cache
ENTRIES = 350_000
#: starts of a block at least: with fewer the inputs are read more often than they are used (20,000 samples: half as fast with 17 as with 64)
LEAST_ROWS = 64
#: share of the last step that goes into the next one where the last one gained; what a step's length is multiplied by where it gained, or did not.
#: At a dual point of digits (64 inputs, reported gap 0.013) 3 of 4000 starts ended above 1.005 without momentum, after any number of steps, 95 with it
MOMENTUM, LONGER, SHORTER = np.float32(0.9), np.float32(1.1), np.float32(0.7)
#: length of the first step, where 1 would be the fixed point: longer ones overshoot and are made again, shorter
FIRST = np.float32(0.5)
#: relative gain of a step below which an ascent ends
GAIN = 1e-5
#: levels that an ascent must have reached after so many steps to go on, where ascents race. Digits, 64 inputs and 200 samples, 6000 starts: of 57
#: that would have ended above 1 with these first steps 49 do, for a quarter less time (41 with first steps of length 1, each floor four steps later)
RACE = ((16, 0.85), (26, 0.92), (36, 0.95))


def slopes(problem: TwoLayerProblem) -> tuple[np.float32, np.float32]:
    """phi' left and right of the kink at 0."""
    pieces = problem.activation.pieces
    assert pieces is not None
    return np.float32(float(pieces[0].slope)), np.float32(float(pieces[-1].slope))


def sweep(
    problem: TwoLayerProblem, rows: Array, dual: Array, theta: Array, steps: int, watch: Watch, threads: int = 1
) -> tuple[Array, Array]:
    """Ascent from ``theta`` (N, n) while ``watch`` allows: where it ends, of unit length, and about the levels there.

    rows: A (P, n). Starts that were not reached in time are left out; some always are reached.
    """
    x, level = reached(problem, rows, dual, theta, steps, watch, threads)
    done = level >= 0
    return x[done], level[done]


def reached(
    problem: TwoLayerProblem,
    rows: Array,
    dual: Array,
    theta: Array,
    steps: int,
    watch: Watch,
    threads: int = 1,
    race: bool = False,
) -> tuple[Array, Array]:
    """As ``sweep``, with all starts; the level of those that were not reached in time is negative. race: ascents far below 1 end early."""
    floors = {step: np.float32(level * problem.tau) for step, level in RACE} if race else {}
    left, right = slopes(problem)
    at, a, z = _single(rows.T), _single(rows), _single(dual)
    x = _single(theta / np.maximum(np.linalg.norm(theta, axis=1, keepdims=True), 1e-30))
    level = np.full(x.shape[0], -1.0, dtype=np.float32)

    def work(part: slice) -> None:
        x[part], level[part] = _block(at, a, z, left, right, x[part], steps, floors)

    share(work, x.shape[0], max(LEAST_ROWS, ENTRIES // rows.shape[0]), threads, watch)
    return x.astype(np.float64), level.astype(np.float64) / problem.tau


def _single(x: Array) -> Single:
    return np.ascontiguousarray(x, dtype=np.float32)


def _block(
    at: Single,
    a: Single,
    z: Single,
    left: np.float32,
    right: np.float32,
    x: Single,
    steps: int,
    floors: dict[int, np.float32],
) -> tuple[Single, Single]:
    """Rows of x at the end, and |Z phi|^2 there; rows whose gain or step has become small leave the block."""
    from .sweep_kernels import respond  # compiled on first use

    out, reached = x.copy(), np.full(x.shape[0], -1.0, dtype=np.float32)
    row, now, best = np.arange(x.shape[0]), x, reached.copy()
    gamma, up, trial = np.full(x.shape[0], FIRST), np.zeros_like(x), x
    room, values = np.empty((x.shape[0], at.shape[1]), dtype=np.float32), np.empty(x.shape[0], dtype=np.float32)
    for step in range(steps + 1):
        trial = trial / np.sqrt(np.maximum(np.einsum("ij,ij->i", trial, trial), np.float32(1e-30)))[:, None]
        h, value = room[: row.size], values[: row.size]
        np.matmul(trial, at, out=h)
        respond(h, z, left, right, value)
        better = value > best
        gained = value - best
        last = np.where(better[:, None], trial - now, np.float32(0.0))
        now, best = np.where(better[:, None], trial, now), np.where(better, value, best)
        if better.all():
            up = h @ a
        else:
            up[better] = h[better] @ a
        if step > 0:
            gamma *= np.where(better, LONGER, SHORTER)
            done = (better & (gained <= GAIN * best)) | (gamma < 1e-4)
            if step in floors:
                done |= best < floors[step]
            if done.any():
                out[row[done]], reached[row[done]] = now[done], best[done]
                on = ~done
                row, now, best, gamma, up, last = row[on], now[on], best[on], gamma[on], up[on], last[on]
                if row.size == 0:
                    break
        ahead = up / np.maximum(best, np.float32(1e-30))[:, None] - now
        trial = np.asarray(now + gamma[:, None] * ahead + MOMENTUM * last, dtype=np.float32)
    out[row], reached[row] = now, best
    return out, reached

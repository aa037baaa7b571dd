"""The search behind the engine ``neurons``: boxes of weights kept and cut from stage to stage, at an ever smaller claim."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ..checker.boxes import NeuronForm, box_bounds
from ..checker.neurons import MOST_WORK, boxes_at_once, halves, work_of

Array = NDArray[np.float64]

#: boxes held
MOST_LEAVES = 3_000_000


class NeuronSearch:
    """Boxes that cover all neurons that matter, a bound on each, and the best neuron met."""

    def __init__(self, form: NeuronForm, starts: Array, workers: int, deadline: float) -> None:
        self.form, self.workers, self.deadline = form, workers, deadline
        self.best, self.neuron = 0.0, np.zeros(form.rows.shape[1])
        self.work = 0
        for theta in starts:
            self._meet(theta)
        lo, hi = form.first
        self.lo, self.hi, self.bound = lo, hi, np.full(1, np.inf)

    @property
    def worst(self) -> float:
        """What all boxes together prove; math.inf where one of them proves nothing."""
        top = float(np.max(self.bound))
        return max(top, 0.0) if not np.isnan(top) else np.inf

    def lowered(self, claim: Callable[[float], float], report: Callable[[int], None]) -> float:
        """Cut boxes until each is below claim(best neuron's value), or until a limit stops it; the claim then.

        The claim grows where a better neuron is met: it can never be below what is attained.
        """
        top = claim(self.best)
        still = ~(self.bound <= top)
        done = [(self.lo[~still], self.hi[~still], self.bound[~still])]
        stack = [(self.lo[still], self.hi[still], self.bound[still])] if still.any() else []
        batch, count = boxes_at_once(self.form), self.bound.size
        with ThreadPoolExecutor(max(1, self.workers)) as pool, np.errstate(all="ignore"):
            while stack:
                if time.monotonic() > self.deadline or self.work > 0.8 * MOST_WORK or count > MOST_LEAVES:
                    break
                boxes = _taken(stack, batch * max(1, self.workers) // 2)
                cut = halves(self.form, boxes[0], boxes[1])
                if cut is None:
                    stack.append(boxes)
                    break
                lo, hi = cut
                parts = [slice(i, i + batch) for i in range(0, lo.shape[0], batch)]
                answers = list(
                    pool.map(lambda s, lo=lo, hi=hi, top=top: box_bounds(self.form, lo[s], hi[s], top), parts)
                )
                bound, value = (np.concatenate([a[k] for a in answers]) for k in (0, 1))
                self.work += work_of(self.form, lo.shape[0])
                count += lo.shape[0] // 2
                first = int(np.argmax(np.where(np.isfinite(value), value, -np.inf)))
                if value[first] > self.best:
                    self._meet(0.5 * lo[first] + 0.5 * hi[first])
                    top = max(top, claim(self.best))
                below = bound <= top
                done.append((lo[below], hi[below], bound[below]))
                if not below.all():
                    stack.append((lo[~below], hi[~below], bound[~below]))
                report(sum(part[2].size for part in stack))
        self.lo, self.hi, self.bound = (np.concatenate([part[k] for part in done + stack]) for k in range(3))
        return top

    def _meet(self, theta: Array) -> None:
        """Climb from a neuron; keep what is reached if it is the best."""
        form = self.form

        def loss(x: Array) -> tuple[float, Array]:
            h = form.rows @ x
            response = form.dual @ form.phi(h)
            pull = form.phi.derivative(h) * (form.dual.T @ response)
            return form.tau * float(x @ x) - float(response @ response), 2.0 * (form.tau * x - pull @ form.rows)

        with np.errstate(all="ignore"):
            found = optimize.minimize(loss, theta, jac=True, method="L-BFGS-B", options={"maxiter": 200, "gtol": 1e-12})
            for x in (theta, np.asarray(found.x)):
                value = -loss(x)[0]
                if value > self.best and np.isfinite(x).all():
                    self.best, self.neuron = value, x


def _taken(stack: list[tuple[Array, Array, Array]], count: int) -> tuple[Array, Array, Array]:
    """About ``count`` boxes off the stack."""
    parts, size = [], 0
    while stack and size < count:
        part = stack.pop()
        rest = count - size
        if part[2].size > rest:
            stack.append((part[0][rest:], part[1][rest:], part[2][rest:]))
            part = (part[0][:rest], part[1][:rest], part[2][:rest])
        parts.append(part)
        size += part[2].size
    return (
        np.concatenate([p[0] for p in parts]),
        np.concatenate([p[1] for p in parts]),
        np.concatenate([p[2] for p in parts]),
    )

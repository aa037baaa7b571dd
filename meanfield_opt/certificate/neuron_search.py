"""The search behind the engine ``neurons``: boxes of weights kept and cut from stage to stage, at an ever smaller claim."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ..checker.boxes import NeuronForm, box_bounds
from ..checker.frames import Cells, joined, placed
from ..checker.neurons import MOST_WORK, boxes_at_once, work_of

Array = NDArray[np.float64]

#: boxes held
MOST_LEAVES = 3_000_000


class NeuronSearch:
    """Boxes that cover all neurons that matter, a bound on each, and the best neuron met."""

    def __init__(self, form: NeuronForm, starts: Array, workers: int, deadline: float) -> None:
        self.form, self.workers, self.deadline = form, workers, deadline
        self.best, self.neuron = 0.0, np.zeros(form.rows.shape[1])
        self.work, self.stopped = 0, False
        for theta in starts:
            self._meet(theta)
        self.cells = form.first
        self.bound = np.full(self.cells.size, np.inf)

    def resume(self, cells: Cells) -> None:
        """Begin with these cells, which cover all neurons, in place of the first ones."""
        size = boxes_at_once(self.form)
        parts = [cells[slice(i, i + size)] for i in range(0, cells.size, size)]
        with ThreadPoolExecutor(max(1, self.workers)) as pool, np.errstate(all="ignore"):
            bounds = list(pool.map(lambda part: box_bounds(self.form, part)[0], parts))
        self.cells, self.bound = cells, np.concatenate(bounds)
        self.work += work_of(self.form, cells.size)

    @property
    def worst(self) -> float:
        """What all boxes together prove; math.inf where one of them proves nothing."""
        top = float(np.max(self.bound))
        return max(top, 0.0) if not np.isnan(top) else np.inf

    def lowered(self, claim: Callable[[float], float], report: Callable[[int], None], most: float) -> float:
        """Cut boxes until each is below claim(best neuron's value), or until a limit stops it; the claim then.

        The claim grows where a better neuron is met: it can never be below what is attained. One of more than ``most`` ends
        the search.
        """
        top = claim(self.best)
        still = ~(self.bound <= top)
        done = [(self.cells[~still], self.bound[~still])]
        stack = [(self.cells[still], self.bound[still])] if still.any() else []
        batch, count = boxes_at_once(self.form), self.bound.size
        with ThreadPoolExecutor(max(1, self.workers)) as pool, np.errstate(all="ignore"):
            while stack:
                self.stopped = time.monotonic() > self.deadline or self.work > 0.8 * MOST_WORK or count > MOST_LEAVES
                if self.stopped or self.best > most:
                    break
                boxes = _taken(stack, batch * max(1, self.workers) // 2)
                cells = boxes[0].halves(self.form.rows)
                if cells is None:
                    stack.append(boxes)
                    self.stopped = True
                    break
                parts = [cells[slice(i, i + batch)] for i in range(0, cells.size, batch)]
                answers = list(pool.map(lambda part, top=top: box_bounds(self.form, part, top), parts))
                bound, value = (np.concatenate([a[k] for a in answers]) for k in (0, 1))
                self.work += work_of(self.form, cells.size)
                count += cells.size // 2
                first = int(np.argmax(np.where(np.isfinite(value), value, -np.inf)))
                if value[first] > self.best:
                    self._meet(placed(cells[slice(first, first + 1)]).mid[0])
                    top = max(top, claim(self.best))
                below = bound <= top
                done.append((cells[below], bound[below]))
                if not below.all():
                    stack.append((cells[~below], bound[~below]))
                report(sum(part[1].size for part in stack))
        both = done + stack
        cells, bound = joined([part[0] for part in both]), np.concatenate([part[1] for part in both])
        # both at once, and only here: a search that is interrupted holds the boxes of the stage before, which cover all neurons
        self.cells, self.bound = cells, bound
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


def _taken(stack: list[tuple[Cells, Array]], count: int) -> tuple[Cells, Array]:
    """About ``count`` cells off the stack."""
    parts, size = [], 0
    while stack and size < count:
        cells, bound = stack.pop()
        rest = count - size
        if cells.size > rest:
            stack.append((cells[slice(rest, None)], bound[rest:]))
            cells, bound = cells[slice(rest)], bound[:rest]
        parts.append((cells, bound))
        size += cells.size
    return joined([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

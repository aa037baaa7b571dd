"""Limited-memory quasi-Newton descent under bounds, by two-metric projection (Bertsekas 1982).

Bounds that hold a variable in place take it out of the quasi-Newton model; the step is then projected as a whole, so that many bounds
may become active at once. (L-BFGS-B truncates its step at bounds, and stops far too early on the boxes that occur here.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy.linalg import lapack

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Descent:
    """Where the descent ended, after how many steps, and the largest entry of the projected gradient there."""

    x: Array
    value: float
    steps: int
    gradient: float


def minimise(
    objective: Callable[[Array], tuple[float, Array]],
    start: Array,
    lower: Array | None = None,
    upper: Array | None = None,
    *,
    steps: int = 500,
    gradient_tolerance: float = 1e-13,
    value_tolerance: float = 1e-15,
    memory: int = 20,
    watch: Callable[[], bool] | None = None,
) -> Descent:
    """Descend from ``start``. Stops when the projected gradient is small, or when ten steps together gain nothing.

    value_tolerance: relative gain over ten steps below which the descent ends.
    """
    if lower is None or upper is None:
        return _without_bounds(objective, start, steps, gradient_tolerance, value_tolerance, memory, watch)
    lo, hi = lower, upper
    x = np.clip(start, lo, hi)
    f, g = objective(x)
    pairs = Pairs(memory, x.size)
    recent: deque[float] = deque(maxlen=10)
    size, taken, gamma = np.inf, 0, 0.0
    for _ in range(steps):
        # held: a gradient step of natural length would end at the bound
        reach = gamma * g
        held = ((x - lo <= reach) & (g > 0)) | ((hi - x <= -reach) & (g < 0))
        free = np.where(held, 0.0, 1.0)
        pg = g * free
        snap = np.where(held, np.where(g > 0, lo, hi) - x, 0.0)
        size = float(np.abs(np.clip(x - g, lo, hi) - x).max(initial=0.0))
        if size <= gradient_tolerance or (watch is not None and watch()):
            break
        direction = pairs.direction(pg, free) if pairs.count else -pg
        if not float(direction @ pg) < 0:
            pairs.clear()
            direction = -pg
        direction = direction + snap
        t = 1.0 if pairs.count else min(1.0, 1e-2 * (1.0 + float(np.linalg.norm(x))) / float(np.linalg.norm(direction)))
        accepted = False
        for _backtrack in range(40):
            trial = np.clip(x + t * direction, lo, hi)
            move = trial - x
            f_new, g_new = objective(trial)
            expected = float(g @ move)
            if f_new <= f + 1e-4 * expected:
                accepted = True
                break
            curvature = f_new - f - expected
            t *= min(0.5, max(0.1, -0.5 * expected / curvature)) if curvature > 0 else 0.5
        if not accepted:
            if not pairs.count:
                break
            pairs.clear()
            continue
        change = g_new - g
        if float(move @ change) > 1e-12 * float(np.linalg.norm(move)) * float(np.linalg.norm(change)):
            pairs.append(move, change)
            gamma = float(move @ change) / float(change @ change)
        x, f, g = trial, f_new, g_new
        taken += 1
        recent.append(f)
        if len(recent) == 10 and recent[0] - f <= value_tolerance * abs(f):
            break
    return Descent(x, f, taken, size)


def descend(
    objective: Callable[[Array], tuple[float, Array]],
    start: Array,
    steps: int,
    *,
    value_tolerance: float,
    memory: int = 20,
    watch: Callable[[], bool] | None = None,
) -> Descent:
    """L-BFGS without bounds for many unknowns: the recursion runs on inner products, two passes over the memory a step (Chen et al. 2014).

    A step is one evaluation unless it does not lower the value. value_tolerance: as for ``minimise``.
    """
    x, (f, g) = start, objective(start)
    last = 2 * memory  # rows of the basis: steps, changes of the gradient, the gradient
    basis, products = np.zeros((last + 1, x.size)), np.zeros((last + 1, last + 1))
    basis[last], products[last, last] = g, float(g @ g)
    pairs: deque[int] = deque(maxlen=memory)
    recent: deque[float] = deque([f], maxlen=11)
    taken = 0
    while taken < steps and products[last, last] > 0 and not (watch is not None and watch()):
        weights = _weights(products, pairs, memory)
        slope = float(weights @ products[last])
        if not slope < 0:
            pairs.clear()
            continue
        direction = weights @ basis
        t = 1.0 if pairs else min(1.0, 1e-2 * (1.0 + float(np.linalg.norm(x))) / float(np.linalg.norm(g)))
        accepted = False
        for _ in range(20):
            trial = x + t * direction
            f_new, g_new = objective(trial)
            if f_new <= f + 1e-4 * t * slope:
                accepted = True
                break
            curvature = f_new - f - t * slope
            t *= min(0.5, max(0.1, -0.5 * t * slope / curvature)) if curvature > 0 else 0.5
        if not accepted:
            if not pairs:
                break
            pairs.clear()
            continue
        with_new = basis @ g_new
        with_step = t * (products @ weights)
        step_step, step_new = t * float(weights @ with_step), t * float(weights @ with_new)
        new_new, new_old = float(g_new @ g_new), float(with_new[last])
        with_change = with_new - products[:, last]
        change = g_new - g  # its products are small differences: these two not from others
        change_change, step_change = float(change @ change), t * float(direction @ change)
        # from products of others the square of a tiny step may come out negative
        if step_change > 1e-10 * np.sqrt(max(step_step, 0.0) * change_change) > 0:
            i = pairs[0] if len(pairs) == memory else len(pairs)
            pairs.append(i)
            basis[i], basis[memory + i] = t * direction, change
            for row, known in ((i, with_step), (memory + i, with_change)):
                products[row], products[:, row] = known, known
            products[i, i], products[memory + i, memory + i] = step_step, change_change
            products[i, memory + i] = products[memory + i, i] = step_change
            with_new[i], with_new[memory + i] = step_new, new_new - new_old
        basis[last], products[last], products[:, last] = g_new, with_new, with_new
        products[last, last] = new_new
        x, f, g = trial, f_new, g_new
        taken += 1
        recent.append(f)
        if len(recent) == 11 and recent[0] - f <= value_tolerance * abs(f):
            break
    return Descent(x, f, taken, float(np.abs(g).max(initial=0.0)))


def _weights(products: Array, pairs: deque[int], memory: int) -> Array:
    """The L-BFGS direction as a combination of the basis of ``descend``."""
    out = np.zeros(2 * memory + 1)
    out[2 * memory] = -1.0
    along: dict[int, float] = {}
    for i in reversed(pairs):
        along[i] = float(out @ products[i]) / products[i, memory + i]
        out[memory + i] -= along[i]
    if pairs:
        i = pairs[-1]
        out *= products[i, memory + i] / products[memory + i, memory + i]
    for i in pairs:
        out[i] += along[i] - float(out @ products[memory + i]) / products[i, memory + i]
    return out


def _without_bounds(
    objective: Callable[[Array], tuple[float, Array]],
    start: Array,
    steps: int,
    gradient_tolerance: float,
    value_tolerance: float,
    memory: int,
    watch: Callable[[], bool] | None,
) -> Descent:
    """SciPy's L-BFGS-B, whose line search is the better one where no bounds interfere."""

    def stop(intermediate_result: optimize.OptimizeResult) -> None:
        if watch is not None and watch():
            raise StopIteration

    options = {
        "maxiter": steps,
        "maxfun": 2 * steps,
        "ftol": 0.1 * value_tolerance,
        "gtol": gradient_tolerance,
        "maxcor": memory,
    }
    out = optimize.minimize(objective, start, jac=True, method="L-BFGS-B", options=options, callback=stop)
    return Descent(np.asarray(out.x), float(out.fun), int(out.nit), float(np.abs(out.jac).max(initial=0.0)))


class Pairs:
    """The last ``memory`` steps s and changes y of the gradient, oldest first, as rows of arrays of twice that size."""

    def __init__(self, memory: int, size: int) -> None:
        self.s, self.y = np.empty((2 * memory, size)), np.empty((2 * memory, size))
        self.memory, self.begin, self.end = memory, 0, 0

    @property
    def count(self) -> int:
        """How many there are."""
        return self.end - self.begin

    def clear(self) -> None:
        self.begin = self.end = 0

    def append(self, s: Array, y: Array) -> None:
        if self.end == 2 * self.memory:
            for array in (self.s, self.y):
                array[: self.memory] = array[self.memory :]
            self.begin, self.end = 0, self.memory
        self.s[self.end], self.y[self.end] = s, y
        self.end += 1
        self.begin = max(self.begin, self.end - self.memory)

    def direction(self, gradient: Array, free: Array) -> Array:
        """The L-BFGS direction on the free variables, where alone ``gradient`` is not zero (Nocedal and Wright, algorithm 7.4).

        With R_ij = s_i . y_j (i <= j) the two loops solve with R and R^T, so that all products are of matrices.
        """
        s, y = self.s[self.begin : self.end] * free, self.y[self.begin : self.end] * free
        right, squares = s @ y.T, y @ y.T
        lengths = np.einsum("ij,ij->i", s, s) * squares.diagonal()
        good = right.diagonal() > 1e-12 * np.sqrt(lengths)
        if not good.all():
            if not good.any():
                return -gradient
            s, y, right, squares = s[good], y[good], right[good][:, good], squares[good][:, good]
        gamma = right[-1, -1] / squares[-1, -1]
        first, _ = lapack.dtrtrs(right, -(s @ gradient))
        rest = right.diagonal() * first + gamma * (y @ gradient + squares @ first)
        second, _ = lapack.dtrtrs(right, rest, trans=1)
        return np.asarray(second @ s - gamma * (gradient + first @ y))

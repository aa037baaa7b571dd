"""The master as a saddle point, by an interior-point method: any loss that is a sum of linear and quadratic parts, any width.

    min_m max_Z  D(Z) + sum_j m_j (l1 c_j - |Z phi_j|^2 / (4 l2)) ,   m >= 0 , sum m <= M          (theory section 2)

has the dual  max D(Z) - M kappa  under  |Z phi_j|^2 / (4 l2) <= l1 c_j + kappa,  a quadratic program with quadratic constraints in
d_Y P unknowns. Its multipliers are the masses, the readouts are V_j = m_j Z phi_j / (2 l2). The dual point comes out interior among the
optimal ones, which matters for nonsmooth losses: there a subgradient at the outputs is not a dual point.

D is given by ``Parts``: Z = sum_k u_k, each u_k in a box with a linear and a quadratic term (one part: hinge, squared, Huber, quantile;
more: tangents of a user's loss).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from meanfield_opt.loss import ResidualForm

Array = NDArray[np.float64]

MOST_STEPS = 100


@dataclass(frozen=True)
class Parts:
    """D(Z) = max over Z = offset + sum_k u_k, low_k <= u_k <= high_k, of sum_k <linear_k, u_k> - curve_k u_k^2 / 2; all (K, d_Y, P).

    bias: None, or the penalty of an output bias (0: free), which costs |Z 1|^2 / (4 bias) or demands Z 1 = 0. offset: added to Z.
    """

    low: Array
    high: Array
    linear: Array
    curve: Array
    bias: float | None = None
    offset: float | Array = 0.0

    def dual(self, u: Array) -> Array:
        """Z (d_Y, P)."""
        return np.asarray(self.offset + u.sum(axis=0))


def of_form(form: ResidualForm, bias: float | None = None) -> Parts:
    """The dual of a residual form: l*(s) = w (u^2 / 4 where quadratic) - s b / a with u = s / (w a) in [-below, above], Z = -S."""
    ends = np.stack([-form.weight * form.slope * form.above, form.weight * form.slope * form.below])
    curve = 0.5 / (form.weight * np.square(form.slope)) if form.quadratic else np.zeros_like(form.weight)
    linear = -form.intercept / form.slope
    return Parts(ends.min(axis=0)[None], ends.max(axis=0)[None], linear[None], np.asarray(curve)[None], bias)


@dataclass(frozen=True)
class Saddle:
    """Dual point Z (d_Y, P), masses (J,), readouts V (d_Y, J) = m_j w_j, kappa, and the complementarity left."""

    dual: Array
    masses: Array
    readouts: Array
    kappa: float
    gap: float


@dataclass(frozen=True)
class Point:
    """u with box multipliers below, above (K, d_Y, P); masses m and slacks s (J,); kappa and its slack t; beta (d_Y or 0,) of Z 1 = 0.

    Also a direction in all of them.
    """

    u: Array
    below: Array
    above: Array
    m: Array
    s: Array
    kappa: float
    t: float
    beta: Array

    def moved(self, by: Point, length: float) -> Point:
        """This point, ``length`` of a direction further."""
        pairs = ((getattr(self, f.name), getattr(by, f.name)) for f in fields(self))
        return Point(*(value + length * change for value, change in pairs))


@dataclass(frozen=True)
class Program:
    """The saddle problem: see ``solve_saddle``."""

    parts: Parts
    features: Array
    price: Array
    lambda2: float
    width: float | None

    @cached_property
    def finite(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which ends of the boxes are finite."""
        return np.isfinite(self.parts.low), np.isfinite(self.parts.high)

    @cached_property
    def border(self) -> Array:
        """The equations Z 1 = 0 on a flat Z, one a row; none unless an output bias is free."""
        outputs, samples = self.parts.low.shape[1:]
        rows: Array = np.kron(np.eye(outputs), np.ones((1, samples))).astype(np.float64)
        return rows if self.parts.bias == 0.0 else rows[:0]

    @property
    def pairs(self) -> int:
        """How many complementary pairs there are."""
        return self.price.size + (self.width is not None) + int(self.finite[0].sum()) + int(self.finite[1].sum())

    def room(self, u: Array) -> tuple[Array, Array]:
        """Distances of u to the ends of its boxes, kept positive; 1 where there is no end."""
        low, high = self.parts.low, self.parts.high
        both = self.finite[0] & self.finite[1]
        least = 1e-14 * np.where(both, high - np.where(both, low, 0.0), 0.0) + 1e-300
        down = np.where(self.finite[0], np.maximum(u - low, least), 1.0)
        return down, np.where(self.finite[1], np.maximum(high - u, least), 1.0)

    def complementarity(self, at: Point) -> float:
        """The sum of all products that vanish at the optimum."""
        down, up = self.room(at.u)
        box = np.sum(at.below * down * self.finite[0] + at.above * up * self.finite[1])
        return float(at.m @ at.s) + at.kappa * at.t + float(box)

    def first(self, scale: float) -> Point:
        """An interior point, with all products alike."""
        parts = self.parts
        u = _inside(parts)
        q = parts.dual(u) @ self.features.T
        top = np.einsum("kj,kj->j", q, q) / (4.0 * self.lambda2)
        count = self.price.size
        mu = (0.1 if self.width is None else 1.0) * scale / (count + 1)
        kappa = 0.0
        if self.width is not None:
            kappa = max(scale / self.width, float((top - self.price).max(initial=0.0)))
        s = np.maximum(self.price + kappa - top, 0.1 * (self.price + kappa) + 1e-3 * top + 1e-300)
        down, up = self.room(u)
        t = 0.0 if self.width is None else mu / kappa
        beta = np.zeros(self.border.shape[0])
        return Point(u, mu * self.finite[0] / down, mu * self.finite[1] / up, mu / s, s, kappa, t, beta)


class Newton:
    """The linearised optimality conditions at a point, factored."""

    def __init__(self, program: Program, at: Point) -> None:
        parts, features, l2 = program.parts, program.features, program.lambda2
        self.program, self.at = program, at
        self.down, self.up = program.room(at.u)
        z = parts.dual(at.u)
        self.z = z
        outputs, samples = z.shape
        self.q = z @ features.T
        kernel = (features.T * (at.m / (2.0 * l2))) @ features
        if parts.bias:
            kernel += 0.5 / parts.bias
        pull = z @ kernel + (program.border.T @ at.beta).reshape(z.shape)
        self.slope = parts.curve * at.u - parts.linear - at.below + at.above + pull
        self.drop = np.einsum("kj,kj->j", self.q, self.q) / (4.0 * l2) - program.price - at.kappa + at.s
        self.spare = 0.0 if program.width is None else program.width - float(at.m.sum()) - at.t
        # the parts of Z in series, the kernel, and the constraints
        self.soft = 1.0 / np.maximum(parts.curve + at.below / self.down + at.above / self.up, 1e-300)
        self.series = self.soft.sum(axis=0)
        self.g = (self.q[:, None, :] * features.T[None, :, :]).reshape(z.size, -1) / (2.0 * l2)
        self.weight = at.m / at.s
        h = (self.g * self.weight) @ self.g.T
        for k in range(outputs):
            block = slice(k * samples, (k + 1) * samples)
            h[block, block] += kernel
        h.reshape(-1)[:: z.size + 1] += (1.0 / self.series).ravel()
        self.factor = linalg.cho_factor(h, lower=True, overwrite_a=True, check_finite=False)
        self.columns = program.border.T
        if program.width is not None:
            self.columns = np.hstack([self.columns, -(self.g @ self.weight)[:, None]])
        self.spread = linalg.cho_solve(self.factor, self.columns, check_finite=False)
        self.corner = -(self.columns.T @ self.spread)
        if program.width is not None:
            self.corner[-1, -1] += at.t / at.kappa + float(self.weight.sum())

    def amiss(self) -> float:
        """How far the equations are from holding, in units of the objective."""
        size = float(np.abs(self.slope).max()) * float(np.abs(self.z).mean())
        return max(size, float(self.at.m @ np.abs(self.drop)), abs(self.spare) * self.at.kappa)

    def direction(self, goal: float, first: Point | None) -> Point:
        """Towards products ``goal``, with the second-order terms of a first direction."""
        at, program, weight, soft = self.at, self.program, self.weight, self.soft
        zero = 0.0 * at.m
        s2, m2, b2, a2, k2 = zero, zero, 0.0 * at.u, 0.0 * at.u, 0.0
        if first is not None:
            dq = first.u.sum(axis=0) @ program.features.T
            s2 = np.einsum("kj,kj->j", dq, dq) / (4.0 * program.lambda2)
            m2, k2 = first.m * first.s, first.kappa * first.t
            b2, a2 = first.below * first.u, -first.above * first.u
        rb = np.where(program.finite[0], (goal - b2) / self.down - at.below, 0.0)
        ra = np.where(program.finite[1], (goal - a2) / self.up - at.above, 0.0)
        rm = (goal - m2) / at.s - at.m + weight * (self.drop + s2)  # dm = rm + weight (g . dz - dkappa)
        r = self.slope - rb + ra
        pulled = (r * soft).sum(axis=0)
        direct = linalg.cho_solve(self.factor, -(pulled / self.series).ravel() - self.g @ rm, check_finite=False)
        low = -(program.border @ self.z.ravel())
        if program.width is not None:
            low = np.append(low, (goal - k2) / at.kappa - at.t - self.spare + float(rm.sum()))
        y = np.linalg.solve(self.corner, low - self.columns.T @ direct) if low.size else low
        flat = direct - self.spread @ y
        dkappa = float(y[-1]) if program.width is not None else 0.0
        dm = rm + weight * (flat @ self.g - dkappa)
        ds = -self.drop - s2 - flat @ self.g + dkappa
        lift = (-pulled - flat.reshape(self.z.shape)) / self.series  # the change of the pull
        du = -(r + lift) * soft
        dt = self.spare - float(dm.sum()) if program.width is not None else 0.0
        below, above = rb - at.below * du / self.down, ra + at.above * du / self.up
        return Point(du, below, above, dm, ds, dkappa, dt, y[: program.border.shape[0]])

    def longest(self, by: Point) -> float:
        """The longest step up to 1 that stays inside."""
        at = self.at
        pairs = (
            (at.m, by.m), (at.s, by.s), (self.down, by.u * self.program.finite[0]), (self.up, -by.u * self.program.finite[1]),
            (at.below, by.below), (at.above, by.above), (at.kappa, by.kappa), (at.t, by.t),
        )  # fmt: skip
        length = 1.0
        for value, change in pairs:
            v, c = np.ravel(value), np.ravel(change)
            falling = c < 0
            length = min(length, float(np.min(-v[falling] / c[falling], initial=1.0)))
        return length


def solve_saddle(
    parts: Parts,
    features: Array,
    price: Array,
    lambda2: float,
    width: float | None,
    scale: float,
    tolerance: float = 1e-11,
) -> Saddle | None:
    """The saddle point for features (J, P) and prices l1 c_j (J,); None where there are no atoms or linear algebra breaks down.

    scale: the loss at zero outputs, the unit of the complementarity ``tolerance``.
    """
    if price.size == 0:
        return None
    program = Program(parts, features, price, lambda2, width)
    at = program.first(scale)
    best: Saddle | None = None
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for _ in range(MOST_STEPS):
            try:
                newton = Newton(program, at)
            except linalg.LinAlgError:
                break
            total, amiss = program.complementarity(at), newton.amiss()
            gap = (total + amiss) / scale
            if best is None or gap < best.gap:
                best = Saddle(newton.z, at.m, at.m * newton.q / (2.0 * lambda2), at.kappa, gap)
            if total <= tolerance * scale and amiss <= tolerance * scale:
                break
            try:
                first = newton.direction(0.0, None)
                length = newton.longest(first)
                after = max(program.complementarity(at.moved(first, length)), 0.0)
                mean = total / program.pairs
                if length < 0.1:
                    step = newton.direction(0.5 * mean, None)
                else:
                    step = newton.direction(mean * min(1.0, max(after / max(total, 1e-300), 1e-4)) ** 2, first)
            except np.linalg.LinAlgError:
                break
            length = 0.99 * newton.longest(step)
            if not np.isfinite(step.u).all() or length < 1e-10:
                break
            at = at.moved(step, length)
    return best


def _inside(parts: Parts) -> Array:
    """A tenth of the way from the end of each box nearest to zero to the best u by itself; of tangents where Z is small."""
    start = np.clip(np.zeros_like(parts.low), parts.low, parts.high)
    with np.errstate(divide="ignore", invalid="ignore"):
        alone = np.where(parts.curve > 0, parts.linear / parts.curve, np.sign(parts.linear) * np.inf)
        middle = 0.5 * (parts.low + parts.high)
    goal = np.clip(alone, parts.low, parts.high)
    goal = np.where(np.isfinite(goal) & (goal != start), goal, middle)
    goal = np.where(np.isfinite(goal), goal, start)
    room = parts.high - parts.low
    if np.ndim(parts.offset):  # tangents: the same share of each box, so that Z is near zero where it can be
        total = np.maximum(room.sum(axis=0), 1e-300)
        share = np.clip((-parts.offset - parts.low.sum(axis=0)) / total, 0.02, 0.98)
        return np.asarray(parts.low + share * room)
    u = start + 0.1 * (goal - start)
    with np.errstate(invalid="ignore"):
        margin = np.where(np.isfinite(room), 0.05 * room, 1e-3 * (1.0 + np.abs(u)))
    return np.clip(u, parts.low + margin, parts.high - margin)

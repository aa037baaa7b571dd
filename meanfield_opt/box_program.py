"""The inner problem of piecewise linear losses by its dual, a quadratic program over a box: an interior point method."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from .loss import ResidualForm

Array = NDArray[np.float64]

MOST_STEPS = 100
#: samples up to which the systems are solved in their own order
LARGE = 1000
#: complementarity, relative to the objective's scale, at which an iterate counts as optimal
ACCURACY = 1e-13


def dual_box(form: ResidualForm) -> tuple[Array, Array, Array]:
    """(linear, low, high), each (d_Y, P): D(Z) = <linear, Z> on low <= Z <= high for a form that is not quadratic.

    l(f) = w m(a f + b) has l*(s) = -w u b with u = s / (w a) in [-below, above], and Z = -S.
    """
    ends = np.stack([-form.weight * form.slope * form.above, form.weight * form.slope * form.below])
    return -form.intercept / form.slope, ends.min(axis=0), ends.max(axis=0)


def solve_inner(form: ResidualForm, phi: Array, ridge: Array) -> tuple[Array, Array]:
    """(V (d_Y, J), Z (d_Y, P)) of min_V L(V Phi) + sum_j ridge_j |v_j|^2 with Phi (J, P), ridge >= 0; one output a time."""
    linear, low, high = dual_box(form)
    used = ridge > 0
    root = phi[used] / np.sqrt(2.0 * ridge[used])[:, None]
    free = phi[~used]
    v = np.zeros((linear.shape[0], phi.shape[0]))
    z = np.zeros_like(linear)
    for k in range(linear.shape[0]):
        z[k], multipliers = _box_program(root, linear[k], low[k], high[k], free)
        v[k, used] = (phi[used] @ z[k]) / (2.0 * ridge[used])
        v[k, ~used] = -multipliers
    return v, z


def _box_program(root: Array, linear: Array, low: Array, high: Array, free: Array) -> tuple[Array, Array]:
    """(z, y) of min |root z|^2 / 2 - linear . z over low <= z <= high with free z = 0 (multipliers y): Mehrotra's method."""
    z = 0.5 * (low + high)
    scale = 1.0 + float(np.abs(linear).max(initial=0.0)) + float(np.abs(root.T @ (root @ z)).max(initial=0.0))
    below, above = np.full_like(z, scale), np.full_like(z, scale)
    y = np.zeros(free.shape[0])
    size = float(np.abs(linear) @ np.maximum(np.abs(low), np.abs(high))) + 1e-300
    room = 1e-14 * (high - low)
    for _ in range(MOST_STEPS):
        down, up = np.maximum(z - low, room), np.maximum(high - z, room)
        slope = root.T @ (root @ z) - linear - free.T @ y - below + above
        drift = free @ z
        gap = float(down @ below + up @ above)
        if gap <= ACCURACY * size and float(np.abs(slope).max(initial=0.0)) <= 1e-10 * scale:
            break
        try:
            solve = _factor(root, below / down + above / up, free)
        except linalg.LinAlgError:  # so near the boundary that the system is singular in floating point
            break
        target = np.zeros_like(z)
        # the predictor aims at the optimum, the corrector at the central path a little before it
        dz, dy, d_below, d_above = _step(solve, slope, drift, down, up, below, above, target, target)
        length = min(_reach(down, dz), _reach(up, -dz), _reach(below, d_below), _reach(above, d_above))
        after = float(
            (down + length * dz) @ (below + length * d_below) + (up - length * dz) @ (above + length * d_above)
        )
        mean = gap / (2 * z.size)
        centre = mean * min(1.0, max(after / gap, 0.0)) ** 3
        dz, dy, d_below, d_above = _step(
            solve, slope, drift, down, up, below, above, centre - dz * d_below, centre + dz * d_above
        )
        length = 0.995 * min(_reach(down, dz), _reach(up, -dz), _reach(below, d_below), _reach(above, d_above))
        if not np.isfinite(dz).all() or length < 1e-12:
            break
        z, y = z + length * dz, y + length * dy
        below, above = below + length * d_below, above + length * d_above
        z = np.clip(z, np.nextafter(low, high), np.nextafter(high, low))
    return z, y


def _step(
    solve: object,
    slope: Array,
    drift: Array,
    down: Array,
    up: Array,
    below: Array,
    above: Array,
    to_below: Array,
    to_above: Array,
) -> tuple[Array, Array, Array, Array]:
    """Newton's step to down * below = to_below, up * above = to_above."""
    assert callable(solve)
    right = -slope + (to_below / down - below) - (to_above / up - above)
    dz, dy = solve(right, -drift)
    d_below = to_below / down - below - below * dz / down
    d_above = to_above / up - above + above * dz / up
    return dz, dy, d_below, d_above


def _factor(root: Array, diagonal: Array, free: Array) -> object:
    """A solver of (root^T root + diag) dz - free^T dy = r, free dz = q; for many samples in the order of the features."""
    j, p = root.shape
    if p > LARGE and j < p:  # less exact near the end, where the diagonal spans thirty orders of magnitude
        small = np.eye(j) + (root / diagonal) @ root.T
        factor = linalg.cho_factor(small)

        def inverse(r: Array) -> Array:
            first = (r.T / diagonal).T
            return np.asarray(first - ((root.T @ linalg.cho_solve(factor, root @ first)).T / diagonal).T)

    else:
        whole = root.T @ root
        whole[np.diag_indices(p)] += diagonal
        large = linalg.cho_factor(whole)

        def inverse(r: Array) -> Array:
            return np.asarray(linalg.cho_solve(large, r))

    if free.shape[0] == 0:
        return lambda r, q: (inverse(r), np.zeros(0))
    spread = inverse(free.T)
    schur = free @ spread

    def both(r: Array, q: Array) -> tuple[Array, Array]:
        direct = inverse(r)
        dy = np.linalg.lstsq(schur, q - free @ direct, rcond=None)[0]
        return np.asarray(direct + spread @ dy), np.asarray(dy)

    return both


def _reach(value: Array, change: Array) -> float:
    """The longest step up to 1 that keeps value + step * change >= 0."""
    falling = change < 0
    return min(1.0, float(np.min(-value[falling] / change[falling], initial=1.0)))

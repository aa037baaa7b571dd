"""Upper bounds of G(theta) = |Z phi(A theta)|^2 - tau |theta|^2 on boxes of theta, in outward rounding.

On a box around m with radii rho, theta = m + d, h_p = a_p . m + s_p, s_p = a_p . d, two bounds compete.

* Apart: the range of Z phi(A theta) by that of each phi(h_p), less tau times the least |theta|^2.
* About the centre: phi(h_p) = phi(a_p . m) + b_p s_p + c_p s_p^2 / 2 + e_p with floats b_p, c_p and |e_p| <= E_p: where phi'' has
  a known range, b_p = phi'(a_p . m), c_p an end of that range and E_p its width times s_p^2 / 2; else c_p = 0, b_p and E_p
  the middle and the radius of the difference quotients. So Z phi = v + J d + w + e, J = Z diag(b) A, w_k = d.C_k d / 2,
  C_k = A^T diag(z_k c) A, and with R = Z^T v

      |Z phi|^2 <= |v|^2 + 2 v.J d + sum_k v_k d.C_k d + 2 sum_p R_p e_p + |J d|^2 + sum_k 2 |J d|_k f_k + f_k^2,   f = |w| + |e|.

  The end is chosen such that R_p e_p <= 0. What remains is a quadratic g.d + d.H d / 2 in the weights, and errors of third order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..activation import Activation
from ..activations.curvature import curvature_bound_on
from ..rounding import down, gamma, matmul_bounds, matmul_interval, square_interval, sum_lower, sum_upper, up
from .frames import VANISHED, Cells, Placed, placed
from .majorants import quadratic_upper, tent

Array = NDArray[np.float64]
Interval = tuple[Array, Array]

#: size of the patterns in the cube around 0, for activations that grow
INNER = 4.0


@dataclass(frozen=True, eq=False)
class NeuronForm:
    """G: phi; rows A (P, r); dual Z (d, P); tau, rounded down; the radius of a ball outside of which G <= 0."""

    phi: Activation
    rows: Array
    dual: Array
    tau: float
    radius: float

    @cached_property
    def first_order(self) -> Array:
        """z_kp a_pi (P, d r), rounded."""
        return np.asarray((self.dual.T[:, :, None] * self.rows[:, None, :]).reshape(self.rows.shape[0], -1))

    @cached_property
    def second_order(self) -> Array:
        """z_kp a_pi a_pj (P, d r r), rounded."""
        squares = self.rows[:, :, None] * self.rows[:, None, :]
        return np.asarray((self.dual.T[:, :, None, None] * squares[:, None]).reshape(self.rows.shape[0], -1))

    @property
    def first(self) -> Cells:
        """Boxes or cells that hold every neuron that matters, up to sign for odd phi.

        For a smooth bounded phi one box. For one that grows a cube that holds patterns of ordinary size, and the faces of
        all larger ones. Where phi is homogeneous near 0 the faces alone: of a neuron s theta inside, s < 1, with theta on
        the smallest face, G(s theta) = s^2 G(theta) <= max(0, G(theta)).
        """
        r, radius = self.rows.shape[1], self.radius
        size, small = float(np.max(np.abs(self.rows), initial=0.0)), homogeneous_below(self.phi)
        reach = float(np.max(sum_upper(np.abs(self.rows), axis=1), initial=0.0))
        inner = radius
        if small > 0 and reach > 0:
            inner = min(float(down(small / reach)), 0.5 * radius)
        elif self.phi.asymptote is not None and size > 0:
            inner = min(INNER / size, radius)
        lo, hi, face = [np.full(r, -inner)], [np.full(r, inner)], [-1]
        if self.phi.odd:
            lo[0][0] = 0.0
        if 0.0 < inner < radius:
            if small > 0:
                lo, hi, face = [], [], []
            for i in range(r):
                for side in (0,) if self.phi.odd else (0, 1):
                    below, above = -np.ones(r), np.ones(r)
                    below[i], above[i] = inner, radius
                    lo, hi, face = [*lo, below], [*hi, above], [*face, 2 * i + side]
        elif inner < radius:  # it underflowed
            lo, hi = [np.full(r, -radius)], [np.full(r, radius)]
        return Cells(np.array(lo), np.array(hi), np.array(face, dtype=np.int64))


def homogeneous_below(phi: Activation) -> float:
    """A size t0 with phi(s t) = s phi(t) for |t| <= t0, 0 <= s <= 1, from exact pieces; 0 where there is none."""
    pieces = phi.pieces
    if pieces is None or phi.degree is not None:
        return 0.0
    least = math.inf
    for piece in pieces:
        ends = [end for end in (piece.left, piece.right) if end is not None and end != 0]
        if (piece.left is None or piece.left <= 0) and (piece.right is None or piece.right >= 0):
            if piece.intercept != 0:
                return 0.0
            least = min([least, *(abs(float(end)) for end in ends)])
    return float(down(least)) if math.isfinite(least) else 0.0


def box_bounds(form: NeuronForm, cells: Cells, top: float = -np.inf) -> tuple[Array, Array]:
    """(upper bounds of G on the cells, values near their centres, the latter in plain floating point).

    A bound that is at most ``top`` already is not improved further. NaN: nothing is known.
    """
    place = placed(cells)
    at_lo, at_hi = matmul_bounds(place.mid, form.rows.T)
    spread, wide = place.spread(form.rows)
    t_lo, t_hi = down(at_lo - spread), up(at_hi + spread)
    with np.errstate(invalid="ignore", over="ignore"):  # a jump has infinite slopes: NaN, and then the bound apart
        bound, value = _about_centre(form, place, (at_lo, at_hi), (t_lo, t_hi), spread, wide)
    left = np.flatnonzero(~(bound <= top))
    if left.size:
        other = _apart(form, cells[left], t_lo[left], t_hi[left])
        bound[left] = np.fmin(bound[left], other)  # NaN in one bound says nothing of the other
    return bound, value


def _apart(form: NeuronForm, cells: Cells, t_lo: Array, t_hi: Array) -> Array:
    f_lo, f_hi = form.phi.bound_on(t_lo, t_hi)
    _, squares = square_interval(*matmul_interval(form.dual, f_lo.T, f_hi.T))
    return up(sum_upper(squares, axis=0) - _paid(form.tau, cells.least()))


def _paid(tau: float, theta: Array) -> Array:
    """tau |theta|^2 for each row, rounded down."""
    return np.maximum(down(tau * np.maximum(sum_lower(down(theta * theta), axis=1), 0.0)), 0.0)


def _middle(lo: Array, hi: Array) -> tuple[Array, Array]:
    """A float between, and its distance to the ends, rounded up."""
    mid = 0.5 * lo + 0.5 * hi
    return mid, up(np.maximum(up(hi - mid), up(mid - lo)))


@dataclass(frozen=True, eq=False)
class _Expansion:
    """phi(h_p + s) = phi(h_p) + slope s + curve s^2 / 2 + e, |e| <= free + error; R_p e <= R_p lean s + |R_p| free + wrong."""

    slope: Array
    curve: Array | None
    free: Array
    error: Array
    lean: Array
    wrong: Array


def _expanded(
    form: NeuronForm, at: Interval, t: Interval, spread: Array, wide: Array, here: Interval, pull: Interval
) -> _Expansion:
    """Sample by sample (n, P): with phi'' where it varies little, else with a range of difference quotients."""
    phi = form.phi
    size = np.maximum(np.abs(pull[0]), np.abs(pull[1]))
    upward = pull[0] + pull[1] > 0
    certain = np.where(upward, pull[0] >= 0, pull[1] <= 0)
    ranges = phi.slope_bound_on(*t)
    slope, off = _middle(*ranges)
    error = up(off * spread)
    # the tent of sign(R) phi
    low_end, high_end = phi.bound_on(t[0], t[0]), phi.bound_on(t[1], t[1])
    ends = _signed(upward, low_end), _signed(upward, high_end)
    made = tent(_signed(upward, ranges), _signed(upward, here), ends, at, t)
    line = made.even()
    free, curve, curved = np.zeros_like(slope), None, np.zeros(slope.shape, dtype=bool)
    bends = curvature_bound_on(phi, *t)
    if bends is not None:
        half = up(0.5 * up(spread * spread))
        other = up(up(bends[1] - bends[0]) * half)
        curved = other < error
        near, near_off = _middle(*phi.slope_bound_on(*at))
        slope = np.where(curved, near, slope)
        error, free = np.where(curved, other, error), np.where(curved, up(near_off * spread), free)
        curve = np.where(curved, np.where(upward, bends[1], bends[0]), 0.0)
        free = up(free + up(up(2.0**-50 * np.abs(curve)) * up(0.5 * up(wide * wide))))
    loose = certain & ~curved
    lean = np.where(loose, np.where(upward, line, -line) - slope, 0.0)
    wrong = np.where(certain & curved, 0.0, up(size * np.where(loose, made.above(line), error)))
    # pays for the rounding of the products, and of lean
    free = up(free + up(up(2.0**-50 * (np.abs(slope) + np.abs(lean))) * np.maximum(wide, spread)))
    return _Expansion(slope, curve, free, error, lean, wrong)


def _signed(upward: NDArray[np.bool_], x: Interval) -> Interval:
    return np.where(upward, x[0], -x[1]), np.where(upward, x[1], -x[0])


def _about_centre(
    form: NeuronForm, place: Placed, at: Interval, t: Interval, spread: Array, wide: Array
) -> tuple[Array, Array]:
    mid, rad, reach, frame = place.mid, place.rad, place.reach, place.frame
    n, r, d = mid.shape[0], mid.shape[1], form.dual.shape[0]
    sizes = np.abs(form.dual).T
    phi_lo, phi_hi = form.phi.bound_on(*at)
    v_lo, v_hi = (x.T for x in matmul_interval(form.dual, phi_lo.T, phi_hi.T))
    v, v_off = _middle(v_lo, v_hi)
    pull = matmul_bounds(v, form.dual)
    part = _expanded(form, at, t, spread, wide, (phi_lo, phi_hi), pull)
    faint = sum_upper(np.abs(part.slope), axis=1)
    bent = bent_off = np.zeros((n, d, r, r))
    if part.curve is not None:
        bent, bent_off = (x.reshape(n, d, r, r) for x in _middle(*matmul_bounds(part.curve, form.second_order)))
        faint = up(faint + up((1.0 + sizes.max()) * sum_upper(np.abs(part.curve), axis=1)))
    steep, steep_off = (x.reshape(n, d, r) for x in _middle(*matmul_bounds(part.slope, form.first_order)))
    # exact from here: Z phi = v + steep x + x.bent x / 2 + e with x = theta - m = E d, |e| <= small + large
    pairs, far = (up(0.5 * up(x[:, :, None] * x[:, None, :])) for x in (rad, reach))
    total = sum_upper(reach, axis=1)
    lost = up(VANISHED * up(faint * up(total + up(total * total))))
    small = up(v_off + sum_upper(up(steep_off * reach[:, None, :]), axis=2))
    small = up(small + up(sum_upper(up(bent_off * far[:, None]).reshape(n, d, -1), axis=2) + lost[:, None]))
    small = up(small + matmul_bounds(part.free, sizes)[1])
    large = matmul_bounds(part.error, sizes)[1]
    framed, framed_off = _framed(bent, frame[:, None])
    curved = up(np.abs(framed) + framed_off)
    curved = sum_upper(up(curved * pairs[:, None]).reshape(n, d, -1), axis=2)
    moved = up(np.abs(steep @ frame) + _error(r, np.abs(steep) @ np.abs(frame)))
    moved = sum_upper(up(moved * rad[:, None, :]), axis=2)
    rest = up(up(small + large) + curved)
    third = up(up(2.0 * up(np.abs(v) * small)) + up(up(2.0 * up(moved * rest)) + up(rest * rest)))
    third = up(sum_upper(third, axis=1) + up(2.0 * sum_upper(part.wrong, axis=1)))
    # g = 2 (J^T v - tau m), H = 2 (J^T J - tau I + sum v_k C_k) in floating point, and their errors
    turned, size = steep.transpose(0, 2, 1), np.abs(steep)
    g = 2.0 * ((turned @ v[:, :, None])[:, :, 0] - form.tau * mid)
    g_off = _error(d + 2, (size.transpose(0, 2, 1) @ np.abs(v)[:, :, None])[:, :, 0] + form.tau * np.abs(mid))
    # and 2 R_p lean_p a_p
    pulls, pulls_off = _middle(*pull)
    tilt = pulls * part.lean
    tilt_off = up(up(pulls_off * np.abs(part.lean)) + up(2.0**-50 * np.abs(tilt) + VANISHED))
    tilted, tilted_off = _middle(*matmul_bounds(tilt, form.rows))
    tilted_off = sum_upper(up(tilted_off * reach), axis=1)
    third = up(third + up(2.0 * up(tilted_off + sum_upper(up(tilt_off * spread), axis=1))))
    g_off = up(g_off + up(2.0**-50 * (np.abs(g) + 2.0 * np.abs(tilted))))
    g = g + 2.0 * tilted
    eye = form.tau * np.eye(r)
    h = 2.0 * (turned @ steep - eye + (v[:, :, None, None] * bent).sum(axis=1))
    h_size = size.transpose(0, 2, 1) @ size + eye + np.abs(v[:, :, None, None] * bent).sum(axis=1)
    h_off = _error(2 * d + 3, h_size)
    # in the frame
    third = up(third + sum_upper(up(g_off * reach), axis=1))
    third = up(third + sum_upper(up(h_off * far).reshape(n, -1), axis=1))
    turned_g = (g[:, None, :] @ frame)[:, 0]
    g_off = _error(r, (np.abs(g)[:, None, :] @ np.abs(frame))[:, 0])
    turned_h, h_off = _framed(h, frame)
    third = up(third + sum_upper(up(g_off * rad), axis=1))
    third = up(third + sum_upper(up(h_off * pairs).reshape(n, -1), axis=1))
    peak = quadratic_upper(turned_g, turned_h, rad, pairs)
    start = up(sum_upper(up(v * v), axis=1) - _paid(form.tau, mid))
    v_low = np.maximum(np.maximum(v_lo, -v_hi), 0.0)
    value = np.square(v_low).sum(axis=1) * (1.0 - 2.0**-30) - form.tau * np.square(mid).sum(axis=1) * (1.0 + 2.0**-30)
    return up(up(start + peak) + third), value


def _framed(x: Array, frame: Array) -> tuple[Array, Array]:
    """E^T X E for the last two axes, in floating point, and its errors."""
    turned, size = np.swapaxes(frame, -1, -2), np.abs(frame)
    found = turned @ x @ frame
    return found, _error(2 * x.shape[-1], np.swapaxes(size, -1, -2) @ np.abs(x) @ size)


def _error(terms: int, size: Array) -> Array:
    """Bound on the rounding errors of 2 times a sum of products whose sizes sum to ``size`` (rounded)."""
    return up(up(2.0 * gamma(terms + 6) * (1.0 + 2.0**-30) * size) + VANISHED)

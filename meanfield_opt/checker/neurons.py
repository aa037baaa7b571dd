"""Replay of the bound over neurons: any activation with rigorous ranges, few inputs, under a width.

With h = A theta and c(h) <= |theta|^2 the excess is (1 / 4 l2) sup G, G(theta) = |Z phi(A theta)|^2 - tau |theta|^2, attained at
some theta of least norm. The proof is a number T >= 0: here boxes of theta are cut until G <= T is shown on each. On a box
around m with radii rho two bounds compete, all in outward rounding:

* apart: the range of Z phi(A theta) by that of each phi(h_p), less tau times the least |theta|^2;
* about the centre: phi(h_p) = phi(a_p . m) + (s_p + e_p) a_p . d with the middle s_p and the radius of the difference quotients
  over the box, hence Z phi = v + J d + e, J = Z diag(s) A, |e_k| <= sum_p |z_kp| |e_p| |a_p| . rho, and
  G <= |v|^2 - tau |m|^2 + 2 |J^T v - tau m| . rho + (|J d|^2 - tau |d|^2) + 2 (|v| + |J d|) . |e| + |e|^2.

Outside of a ball nothing has an excess: its radius follows from the range of phi where that is bounded, and from a proof for the
homogeneous limit of phi (``tail``) where it is not. An odd phi makes G even: half of the ball is enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..activation import Activation
from ..errors import CertificateError
from ..geometry import FactorGeometry
from ..problem import TwoLayerProblem
from ..rounding import down, matmul_bounds, matmul_interval, square_interval, sum_lower, sum_upper, up
from .bounds import tau_bounds
from .codec import decode_float
from .envelope import excess_upper
from .tail import replay_tail

Array = NDArray[np.float64]

MOST_PARAMETERS = 6
#: boxes times samples (and outputs times weights, if those are more) in all, and in one go
MOST_WORK, AT_ONCE = 2_000_000_000, 400_000


@dataclass(frozen=True, eq=False)
class NeuronForm:
    """phi; rows A (P, r); dual Z (d, P); products z_kp A_pl (P, d r), rounded; tau, rounded down; radius of the ball."""

    phi: Activation
    rows: Array
    dual: Array
    products: Array
    tau: float
    radius: float

    @property
    def first(self) -> tuple[Array, Array]:
        """The box (lo, hi), each (1, r), that holds every neuron that matters, up to sign for odd phi."""
        hi = np.full((1, self.rows.shape[1]), self.radius)
        lo = -hi
        if self.phi.odd:
            lo[0, 0] = 0.0
        return lo, hi


def neuron_form(problem: TwoLayerProblem, dual: Array, cost: float | None) -> NeuronForm:
    """The form; ``cost``: neurons of larger |theta|^2 are known to have no excess. CertificateError where there is none."""
    space, phi = problem.geometry, problem.activation
    if not isinstance(space, FactorGeometry) or space.factor.shape[1] > MOST_PARAMETERS or problem.width is None:
        raise CertificateError(f"the bound over neurons needs a width and at most {MOST_PARAMETERS} weights a neuron.")
    if dual.shape != problem.targets.shape or not np.isfinite(dual).all():
        raise CertificateError("the dual point is not a finite array of the shape of the targets.")
    tau, _ = tau_bounds(problem)
    with np.errstate(all="ignore"):
        if cost is None:
            (low,), (high,) = phi.bound_on(np.array([-math.inf]), np.array([math.inf]))
            sizes = up(np.abs(dual) * max(abs(float(low)), abs(float(high))))
            cost = float(up(sum_upper(up(np.square(sum_upper(sizes, axis=1)))) / tau)) if tau > 0 else math.inf
        radius = float(up(up(np.sqrt(up(cost)))))
        products = (dual.T[:, :, None] * space.factor[:, None, :]).reshape(dual.shape[1], -1)
    if not (0.0 <= radius < 1e100 and tau > 0 and np.isfinite(products).all()):
        raise CertificateError("the neurons that matter are not bounded.")
    return NeuronForm(phi, space.factor, dual, products, tau, radius)


def examined(form: NeuronForm, top: float, stop: Callable[[], bool] | None = None) -> tuple[bool, float]:
    """(whether G <= top is proved for every neuron, by boxes cut until each is; the largest value met, in floating point)."""
    if not 0.0 <= top < math.inf:
        return False, 0.0
    most = 0.0
    size = np.sqrt(np.square(form.rows).sum(axis=0)) + 1e-300
    done, each = 0, max(form.rows.shape[0], 4 * form.products.shape[1])
    step = max(1, AT_ONCE // each)
    stack = [form.first]
    with np.errstate(all="ignore"):
        while stack:
            lo, hi = stack.pop()
            if lo.shape[0] > step:
                stack.append((lo[step:], hi[step:]))
                lo, hi = lo[:step], hi[:step]
            done += lo.shape[0] * each
            if done > MOST_WORK or (stop is not None and stop()):
                return False, most
            bound, value = _bounds(form, lo, hi)
            most = max(most, float(np.max(value, initial=0.0, where=np.isfinite(value))))
            if most > top:  # a neuron beyond the claim: no subdivision would help
                return False, most
            left = ~(bound <= top)  # NaN is not proved
            if not left.any():
                continue
            lo, hi = lo[left], hi[left]
            axis = np.argmax((hi - lo) * size, axis=1)
            k = np.arange(axis.size)
            middle = 0.5 * lo[k, axis] + 0.5 * hi[k, axis]
            if not ((middle > lo[k, axis]) & (middle < hi[k, axis])).all():
                return False, most
            lower, upper = hi.copy(), lo.copy()
            lower[k, axis], upper[k, axis] = middle, middle
            stack.append((np.concatenate([lo, upper]), np.concatenate([lower, hi])))
    return True, most


def _bounds(form: NeuronForm, lo: Array, hi: Array) -> tuple[Array, Array]:
    """(upper bounds of G on the boxes (n, r), values near their centres, the latter in plain floating point)."""
    mid = 0.5 * lo + 0.5 * hi
    rad = up(np.maximum(up(hi - mid), up(mid - lo)))
    at_lo, at_hi = matmul_bounds(mid, form.rows.T)
    _, spread = matmul_bounds(rad, np.abs(form.rows).T)
    t_lo, t_hi = down(at_lo - spread), up(at_hi + spread)
    # apart
    f_lo, f_hi = form.phi.bound_on(t_lo, t_hi)
    _, squares = square_interval(*matmul_interval(form.dual, f_lo.T, f_hi.T))
    near = np.where(lo > 0, lo, np.where(hi < 0, -hi, 0.0))
    apart = up(sum_upper(squares, axis=0) - _paid(form.tau, near))
    # about the centre
    c_lo, c_hi = form.phi.bound_on(at_lo, at_hi)
    v_lo, v_hi = (v.T for v in matmul_interval(form.dual, c_lo.T, c_hi.T))
    s_lo, s_hi = form.phi.slope_bound_on(t_lo, t_hi)
    slope = 0.5 * s_lo + 0.5 * s_hi
    # 2^-50 |s| for the rounding of the products z_kp A_pl, the last term for their underflow
    loose = up(up(np.maximum(up(s_hi - slope), up(slope - s_lo))) + up(2.0**-50 * np.abs(slope)))
    _, error = matmul_bounds(up(loose * spread), np.abs(form.dual).T)
    vanished = up(up(2.0**-1000 * sum_upper(np.abs(slope), axis=1)) * sum_upper(rad, axis=1))
    error = up(error + up(vanished)[:, None])
    shape = (lo.shape[0], form.dual.shape[0], lo.shape[1])
    j_lo, j_hi = (j.reshape(shape) for j in matmul_bounds(slope, form.products))
    v_size, j_size = np.maximum(np.abs(v_lo), np.abs(v_hi)), np.maximum(np.abs(j_lo), np.abs(j_hi))
    moved = sum_upper(up(j_size * rad[:, None, :]), axis=2)
    rad2 = sum_upper(up(rad * rad), axis=1)
    steep = np.maximum(up(sum_upper(up(j_size * j_size).reshape(shape[0], -1), axis=1) - form.tau), 0.0)
    bend = np.fmin(sum_upper(up(moved * moved), axis=1), up(steep * rad2))
    corners = np.stack([a[:, :, None] * b for a in (v_lo, v_hi) for b in (j_lo, j_hi)])
    p_lo, p_hi = sum_lower(down(corners.min(axis=0)), axis=1), sum_upper(up(corners.max(axis=0)), axis=1)
    pulled = form.tau * mid
    pull = np.maximum(np.abs(up(p_hi - down(pulled))), np.abs(down(p_lo - up(pulled))))
    rise = sum_upper(up(2.0 * pull * rad), axis=1)
    cross = sum_upper(up(up(2.0 * up(v_size + moved) * error) + up(error * error)), axis=1)
    start = up(sum_upper(up(v_size * v_size), axis=1) - _paid(form.tau, mid))
    mean = up(up(start + rise) + up(bend + cross))
    v_low = np.maximum(np.maximum(v_lo, -v_hi), 0.0)
    value = np.square(v_low).sum(axis=1) * (1.0 - 2.0**-30) - form.tau * np.square(mid).sum(axis=1) * (1.0 + 2.0**-30)
    return np.fmin(apart, mean), value  # NaN in one bound says nothing of the other


def _paid(tau: float, theta: Array) -> Array:
    """tau |theta|^2 for each row, rounded down."""
    return np.maximum(down(tau * np.maximum(sum_lower(down(theta * theta), axis=1), 0.0)), 0.0)


def replay(problem: TwoLayerProblem, dual: Array, claimed: float, artefact: dict[str, Any]) -> float:
    """kappa from T: {"top": T} and, for a phi that grows, {"tail": a proof for its limit}."""
    if set(artefact) not in ({"top"}, {"top", "tail"}):
        raise CertificateError("the bound over neurons takes a number and at most a proof for the limit.")
    top = decode_float(artefact["top"], "the number claimed")
    kappa = excess_upper(problem, top)
    if not 0.0 <= kappa <= claimed:
        raise CertificateError(f"the bound over neurons gives {kappa!r} at best, not {claimed!r}.")
    dual = np.asarray(dual, dtype=np.float64)
    cost = replay_tail(problem, dual, artefact["tail"]) if "tail" in artefact else None
    if not examined(neuron_form(problem, dual, cost), top)[0]:
        raise CertificateError("some box of neurons claims less than can be shown.")
    return kappa

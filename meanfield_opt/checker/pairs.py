"""Replay of the antipodal-pair bound for hypercube tasks: any activation, any number of labels, a question in R^3.

Antipodal samples p, p' have opposite labels, so Z = diag(zeta) Y sees only the differences d_p = phi(h_p) - phi(h_p'):
Z phi(h) = sum over pairs of z_p d_p, and sum over pairs of z_p z_p^T = Z Z^T / 2. Hence |Z phi(h)|^2 <= (L / 2) sum d_p^2
with L = P max zeta^2. And K_X <= mu I + w 1 1^T gives c(h) >= min_beta |h - beta 1|^2 / mu + w^-1 beta^2, where the
minimiser has sum (h_p - beta) = beta mu / w. With a multiplier for that equation, with a = tau / mu and C = P + mu / w,

    |Z phi(h)|^2 - tau c(h) <= sup_beta (P / 2) T(s) + C (a beta^2 - 2 s beta)      for any numbers s = s(beta),
    T(s) = sup_(t, u) (L / 2) (phi(t) - phi(u))^2 - a (t^2 + u^2) + 2 s (t + u).

T is convex. Between nodes (beta_i, s_i) with s interpolated linearly, T lies below its chord and the rest is a quadratic
in one variable. The nodes with their claimed T(s_i) are the proof; each T(s_i) is verified here by subdivision of a
square outside of which the quadratic has eaten all that phi can give; for phi that grows, of the square that patterns of
the largest cost that matters (``tail``) can reach, |h_p|^2 <= (K_X)_pp c. Where L sup|phi'|^2 mu <= tau the supremum is 0,
because the mean of phi(h) - phi(beta) 1 is all that 1 can add; the same gives sigma for free mass.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..activation import Activation
from ..errors import CertificateError
from ..problem import TwoLayerProblem
from ..rounding import up
from .codec import decode_array, expect_keys
from .hypercube import hypercube_of, scales_of
from .symmetric import sqrt_upper, tau_exact
from .tail import replay_tail

Array = NDArray[np.float64]

MOST_CELLS = 4_000_000  # in all rounds together
ROUNDS = 200
SLACK = 2.0**-44  # far above the rounding of the few operations below, relative to the sizes of what they combine


@dataclass(frozen=True)
class PairForm:
    """strength: L rounded up. steep: a, rounded down. samples: P. turn: C, or None where beta plays no part (w = 0).
    level: L mu / tau, exactly. reach: the range of phi, rounded up (inf if unbounded). lipschitz: sup of its slopes."""

    strength: float
    steep: float
    samples: int
    turn: Fraction | None
    constant: Fraction
    level: Fraction
    reach: float
    lipschitz: float
    #: for phi that grows: |h_p| <= box and c(h) <= cost for all patterns that matter
    box: float = math.inf
    cost: Fraction | None = None

    @property
    def harmless(self) -> bool:
        """Whether no pattern has an excess at all."""
        return math.isfinite(self.lipschitz) and self.level * Fraction(self.lipschitz) ** 2 <= 1

    def span(self) -> Fraction:
        """The square of a |beta| from which on nothing can have an excess (s = a beta there)."""
        assert self.turn is not None
        if self.cost is not None:  # beta^2 <= w c
            return self.constant * self.cost
        rest = self.turn - self.samples  # mu / w
        return self.samples * Fraction(self.strength) * Fraction(self.reach) ** 2 / (4 * rest * Fraction(self.steep))


def pair_form(problem: TwoLayerProblem, dual: Array, cost: float | None = None) -> PairForm | None:
    """The numbers of the bound, from the problem's arrays; None where they are not a hypercube task with this symmetry.

    cost: patterns of larger cost are known to have no excess (``tail``).
    """
    cube, zeta = hypercube_of(problem), scales_of(dual, problem.targets)
    if cube is None or zeta is None:
        return None
    p, tau = cube.samples, tau_exact(problem)
    strength = p * max(Fraction(z) ** 2 for z in zeta)
    mu = cube.ridge + p * max((Fraction(0), *cube.weights))
    # the label directions are majorised by mu, and what mu adds on 1 can be taken off its own weight
    constant = max(Fraction(0), cube.constant - (mu - cube.ridge) / p)
    if mu <= 0 or tau <= 0:
        return None
    steep = _below(tau / mu)
    if not (steep > 1e-280 and strength < Fraction(10) ** 280):
        return None
    whole = np.array([-math.inf]), np.array([math.inf])
    box = math.inf
    if cost is not None:
        box = float(up(sqrt_upper(Fraction(cost) * (cube.ridge + cube.constant + sum(cube.weights)))))
    (low,), (high,) = problem.activation.bound_on(np.array([-box]), np.array([box]))
    (least,), (most,) = problem.activation.slope_bound_on(*whole)
    return PairForm(
        strength=_above(strength),
        steep=steep,
        samples=p,
        turn=p + mu / constant if constant else None,
        constant=constant,
        level=strength * mu / tau,
        reach=float(up(high - low)) if math.isfinite(low) and math.isfinite(high) else math.inf,
        lipschitz=float(max(abs(least), abs(most))),
        box=box,
        cost=None if cost is None else Fraction(cost),
    )


def _below(x: Fraction) -> float:
    y = float(x)
    return y if Fraction(y) <= x else math.nextafter(y, -math.inf)


def _above(x: Fraction) -> float:
    y = float(x)
    return y if Fraction(y) >= x else math.nextafter(y, math.inf)


def verified(phi: Activation, form: PairForm, tilts: Array, tops: Array) -> bool:
    """Whether T(s) <= top for every node: cells of the (t, u) plane are cut until each is proved (False: not proved)."""
    a, strength = form.steep, form.strength
    with np.errstate(all="ignore"):
        # T is largest at t = u = s / a where phi gives nothing; beyond this distance from there H <= top
        centre = tilts / a
        free = 2.0 * np.square(tilts) / a
        room = 0.5 * strength * form.reach**2 + free - tops
        room = np.maximum(room, 0.0) + 2.0**-46 * (0.5 * strength * form.reach**2 + free + np.abs(tops))
        far = np.sqrt(room / a) * (1.0 + 2.0**-46) + 2.0**-48 * np.abs(centre) + 2.0**-400
        if math.isfinite(form.box):
            centre, far = np.zeros_like(tilts), np.full_like(tilts, form.box)
        if not np.isfinite(centre + far).all():
            return False
        kinks = [0.0] if phi.pieces is None else [float(piece.right) for piece in phi.pieces if piece.right is not None]
        edges = np.stack([centre - far, *(np.clip(k, centre - far, centre + far) for k in kinks), centre + far], axis=1)
        edges.sort(axis=1)
        one, two = np.triu_indices(edges.shape[1] - 1)  # t >= u is enough: H(t, u) = H(u, t)
        who = np.repeat(np.arange(tilts.size), one.size)
        ends = [edges[:, two], edges[:, two + 1], edges[:, one], edges[:, one + 1]]
        cells = np.stack([e.ravel() for e in ends])
        spent = 0
        for _ in range(ROUNDS):
            alive = (cells[0] <= cells[1]) & (cells[2] <= cells[3]) & (cells[1] >= cells[2])
            who, cells = who[alive], cells[:, alive]
            spent += who.size
            if spent > MOST_CELLS:
                return False
            bound, taken, first = _bounds(phi, form, tilts[who], cells)
            if (taken > tops[who]).any():  # a value beyond the claim: no subdivision would help
                return False
            open_ = ~(bound <= tops[who])
            if not open_.any():
                return True
            who, cells, first = who[open_], cells[:, open_], first[open_]
            low, high = np.where(first, cells[0], cells[2]), np.where(first, cells[1], cells[3])
            middle = 0.5 * low + 0.5 * high
            if not ((middle > low) & (middle < high)).all():
                return False
            left, right = cells.copy(), cells.copy()
            left[1], left[3] = np.where(first, middle, cells[1]), np.where(first, cells[3], middle)
            right[0], right[2] = np.where(first, middle, cells[0]), np.where(first, cells[2], middle)
            who, cells = np.concatenate([who, who]), np.concatenate([left, right], axis=1)
    return False


def _bounds(phi: Activation, form: PairForm, s: Array, cells: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """(upper bounds of H on cells (t_lo, t_hi, u_lo, u_hi), values at their centres, whether to cut along t next)."""
    a, half = form.steep, 0.5 * form.strength
    n = s.size
    lo, hi = cells[0::2].ravel(), cells[1::2].ravel()  # t and u, one after the other
    both = np.concatenate([s, s])
    f_lo, f_hi = phi.bound_on(lo, hi)
    gap = np.maximum(np.abs(f_hi[:n] - f_lo[n:]), np.abs(f_lo[:n] - f_hi[n:]))
    best = np.clip(both / a, lo, hi)
    parts = -a * np.square(best) + 2.0 * both * best
    # a slightly misplaced maximiser costs a times its error squared, which the slack covers
    sizes = a * np.square(best) + 2.0 * np.abs(both * best) + np.square(both) / a
    apart = half * np.square(gap) + parts[:n] + parts[n:]
    apart += SLACK * (half * np.square(gap) + sizes[:n] + sizes[n:]) + 2.0**-900
    # about the centre: phi(t) = phi(c) + k (t - c) with k in the range of the difference quotients
    mid = 0.5 * lo + 0.5 * hi
    rad = np.maximum(hi - mid, mid - lo) * (1.0 + 2.0**-50)
    k_lo, k_hi = phi.slope_bound_on(lo, hi)
    c_lo, c_hi = phi.bound_on(mid, mid)
    d_lo, d_hi = c_lo[:n] - c_hi[n:], c_hi[:n] - c_lo[n:]
    d = np.maximum(np.abs(d_lo), np.abs(d_hi))
    value = half * np.square(d) - a * (np.square(mid[:n]) + np.square(mid[n:])) + 2.0 * s * (mid[:n] + mid[n:])
    size = half * np.square(d) + a * (np.square(mid[:n]) + np.square(mid[n:])) + 2.0 * np.abs(s) * np.abs(mid[:n])
    size += 2.0 * np.abs(s) * np.abs(mid[n:])
    lows, highs = np.concatenate([d_lo, -d_hi]), np.concatenate([d_hi, -d_lo])
    four = np.stack([lows * k_lo, lows * k_hi, highs * k_lo, highs * k_hi])
    base = 2.0 * both - 2.0 * a * mid
    pull = np.maximum(np.abs(2.0 * half * four.max(axis=0) + base), np.abs(2.0 * half * four.min(axis=0) + base))
    pull += SLACK * (2.0 * half * np.abs(four).max(axis=0) + np.abs(2.0 * both) + 2.0 * a * np.abs(mid))
    steepest = np.maximum(np.abs(k_lo), np.abs(k_hi))
    # (k t - l u)^2 <= 2 k^2 t^2 + 2 l^2 u^2
    bend = 2.0 * half * np.square(steepest) * (1.0 + 2.0**-48) - a * (1.0 - 2.0**-48)
    top = np.where(bend < 0, np.minimum(rad, 0.5 * pull / np.where(bend < 0, -bend, 1.0)), rad)
    rise = pull * top + bend * np.square(top)
    moved = SLACK * (pull * top + np.abs(bend) * np.square(top))
    mean = value + rise[:n] + rise[n:] + SLACK * size + moved[:n] + moved[n:] + 2.0**-900
    bound = np.fmin(apart, mean)  # NaN in one says nothing of the other; in both it stays NaN and passes nowhere
    first = np.asarray(rise[:n] >= rise[n:]) & (rad[:n] > 0) | ~(rad[n:] > 0)
    first = np.where(np.isfinite(rise[:n] + rise[n:]), first, rad[:n] >= rad[n:])
    return bound, value - 2.0**-30 * size, np.asarray(first)


def cell_top(
    form: PairForm, betas: tuple[float, float], tilts: tuple[float, float], tops: tuple[float, float]
) -> Fraction:
    """The largest value of (P / 2) T + C (a beta^2 - 2 s beta) for beta between two nodes, s and T interpolated: exact."""
    assert form.turn is not None
    b, s, t = ([Fraction(x) for x in pair] for pair in (betas, tilts, tops))
    a, db, ds = Fraction(form.steep), b[1] - b[0], s[1] - s[0]
    half = Fraction(form.samples, 2)
    zero = half * t[0] + form.turn * (a * b[0] ** 2 - 2 * s[0] * b[0])
    one = half * (t[1] - t[0]) + 2 * form.turn * (a * b[0] * db - s[0] * db - ds * b[0])
    two = form.turn * (a * db**2 - 2 * ds * db)
    top = max(zero, zero + one + two)
    if two < 0:
        at = -one / (2 * two)
        if 0 < at < 1:
            top = max(top, zero + one * at + two * at**2)
    return top


def replay(problem: TwoLayerProblem, dual: Array, claimed: float, artefact: dict[str, Any]) -> float:
    """Recompute kappa (under a width) or sigma (free mass) from the nodes."""
    grows = "tail" in artefact
    expect_keys(artefact, {"betas", "tilts", "tops"} | ({"tail"} if grows else set()), "the antipodal proof")
    form = pair_form(problem, dual, replay_tail(problem, dual, artefact["tail"]) if grows else None)
    if form is None:
        raise CertificateError("the antipodal bound needs a hypercube task and a dual point diag(zeta) Y.")
    betas, tilts, tops = (decode_array(artefact[key], key, ndim=1) for key in ("betas", "tilts", "tops"))
    if problem.width is None:
        if betas.size or tilts.size or tops.size:
            raise CertificateError("for free mass the antipodal bound takes no nodes.")
        return float(up(sqrt_upper(form.level) * form.lipschitz)) if math.isfinite(form.lipschitz) else math.inf
    if betas.size == 0 and form.harmless:
        return 0.0
    return kappa(problem, form, betas, tilts, tops)


def kappa(problem: TwoLayerProblem, form: PairForm, betas: Array, tilts: Array, tops: Array) -> float:
    """The excess that the nodes prove; CertificateError where they prove nothing."""
    if not (betas.shape == tilts.shape == tops.shape and betas.size):
        raise CertificateError("the nodes of the antipodal proof do not fit together.")
    if not math.isfinite(form.reach):
        raise CertificateError(f"the range of {problem.activation.name} is unbounded.")
    if form.turn is None:
        if betas.size != 1 or tilts[0] != 0.0:
            raise CertificateError("without a constant in K_X there is one node, with no tilt.")
    elif not (np.diff(betas) >= 0).all() or betas.size < 2:
        raise CertificateError("the nodes of the antipodal proof are not in order.")
    else:
        left, right = Fraction(float(betas[0])), Fraction(float(betas[-1]))
        folded = problem.activation.odd and left <= 0  # h -> -h changes the sign of Z phi(h) only
        if right < 0 or right**2 < form.span() or not (folded or (left <= 0 and left**2 >= form.span())):
            raise CertificateError("the nodes of the antipodal proof do not cover all offsets.")
    if not verified(problem.activation, form, tilts, tops):
        raise CertificateError("a node of the antipodal proof claims less than can be shown.")
    if form.turn is None:
        worst = Fraction(form.samples, 2) * Fraction(float(tops[0]))
    else:
        nodes = [(float(b), float(s), float(t)) for b, s, t in zip(betas, tilts, tops)]
        worst = max(cell_top(form, *zip(x, y)) for x, y in itertools.pairwise(nodes))
    return max(0.0, _above(worst / (4 * Fraction(problem.lambda2))))

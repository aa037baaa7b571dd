"""Replay of the antipodal-pair bound for hypercube tasks: any activation, any number of labels, a question in the plane.

Antipodal samples p, p' have opposite labels, so Z = diag(zeta) Y sees only the differences d = phi(t) - phi(u) of the P/2
pairs (t, u) = (h_p, h_p'), and |Z phi(h)|^2 <= (L / 2) sum d^2 with L = P max zeta^2. K_X commutes with exchanging antipodes;
with its largest eigenvalues k_e on even and k_o on odd functions, c(h) >= |h_even|^2 / k_e + |h_odd|^2 / k_o, which is a sum
over pairs too. Hence, with a = tau / k_e and b = tau / k_o,

    |Z phi(h)|^2 - tau c(h) <= (P / 2) sup_(t, u) (L / 2) d^2 - (a / 2) (t + u)^2 - (b / 2) (t - u)^2.

Where all zeta are equal, all labels weigh the same and k_e belongs to 1, patterns beta 1 + gamma v_i attain it: nothing is
lost. Under a width the proof is one number, the claimed supremum; it is verified here by subdivision of a square outside of
which the quadratic has eaten all that phi can give, or, for phi that grows, of the square that patterns of the largest
cost that matters (``tail``) can reach. For free mass sigma^2 = sup L d^2 / (a (t + u)^2 + b (t - u)^2) follows in closed
form from what is known of d (``pair_rules``), and no artefact is needed.
"""

from __future__ import annotations

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
from .codec import decode_float, expect_keys
from .hypercube import hypercube_of, scales_of
from .pair_rules import largest_ratio
from .symmetric import sqrt_upper, tau_exact
from .tail import replay_tail

Array = NDArray[np.float64]

MOST_CELLS = 4_000_000  # in all rounds together
ROUNDS = 200
SLACK = 2.0**-44  # far above the rounding of the few operations below, relative to the sizes of what they combine


@dataclass(frozen=True)
class PairForm:
    """strength: L rounded up. even, odd: a and b rounded down. samples: P. exact: (L, a, b). ratio: a bound on
    sup d^2 / (a (t + u)^2 + b (t - u)^2), None where none is known. reach: the range of phi, rounded up (inf if unbounded).
    """

    strength: float
    even: float
    odd: float
    samples: int
    exact: tuple[Fraction, Fraction, Fraction]
    ratio: Fraction | None
    reach: float
    #: for phi that grows: |h_p| <= box for all patterns that matter
    box: float = math.inf

    @property
    def harmless(self) -> bool:
        """Whether no pattern has an excess at all."""
        return self.ratio is not None and self.exact[0] * self.ratio <= 1

    def sigma(self) -> float:
        """sigma for free mass, rounded up."""
        return math.inf if self.ratio is None else float(up(sqrt_upper(self.exact[0] * self.ratio)))

    def far(self, top: float) -> float:
        """Beyond this |t| or |u| the function of the plane is below top >= 0."""
        if math.isfinite(self.box):
            return self.box
        room = max(0.0, self.strength * self.reach**2 - 2.0 * top) + 2.0**-46 * self.strength * self.reach**2
        # |t + u| and |t - u| are each bounded, and |t| <= (|t + u| + |t - u|) / 2
        return 0.5 * (math.sqrt(room / self.even) + math.sqrt(room / self.odd)) * (1.0 + 2.0**-46) + 2.0**-400


def pair_form(problem: TwoLayerProblem, dual: Array, cost: float | None = None) -> PairForm | None:
    """The numbers of the bound, from the problem's arrays; None where they are not a hypercube task with this symmetry.

    cost: patterns of larger cost are known to have no excess (``tail``).
    """
    cube, zeta = hypercube_of(problem), scales_of(dual, problem.targets)
    if cube is None or zeta is None:
        return None
    p, tau, zero = cube.samples, tau_exact(problem), Fraction(0)
    strength = p * max(Fraction(z) ** 2 for z in zeta)
    k_even = cube.ridge + p * max(zero, cube.constant)
    k_odd = cube.ridge + p * max((zero, *cube.weights))
    if k_even <= 0 or k_odd <= 0 or tau <= 0:
        return None
    a, b = tau / k_even, tau / k_odd
    even, odd = _below(a), _below(b)
    if not (min(even, odd) > 1e-280 and max(even, odd) < 1e280 and strength < Fraction(10) ** 280):
        return None
    box = math.inf
    if cost is not None:  # |h_p|^2 <= (K_X)_pp c(h)
        total = cube.ridge + max(zero, cube.constant) + sum(max(zero, w) for w in cube.weights)
        box = float(up(sqrt_upper(Fraction(cost) * total)))
    (low,), (high,) = problem.activation.bound_on(np.array([-box]), np.array([box]))
    return PairForm(
        strength=_above(strength),
        even=even,
        odd=odd,
        samples=p,
        exact=(strength, a, b),
        ratio=largest_ratio(problem.activation, a, b),
        reach=float(up(high - low)) if math.isfinite(low) and math.isfinite(high) else math.inf,
        box=box,
    )


def _below(x: Fraction) -> float:
    y = float(x)
    return y if Fraction(y) <= x else math.nextafter(y, -math.inf)


def _above(x: Fraction) -> float:
    y = float(x)
    return y if Fraction(y) >= x else math.nextafter(y, math.inf)


def verified(phi: Activation, form: PairForm, top: float) -> bool:
    """Whether ``top`` >= 0 bounds the function of the plane: cells are cut until each is proved (False: not proved)."""
    if not top >= 0.0:
        return False
    with np.errstate(all="ignore"):
        far = form.far(top)
        if not far < 1e150:  # squares of what lies in the square must not overflow: -inf would pass for a bound
            return False
        kinks = [0.0] if phi.pieces is None else [float(piece.right) for piece in phi.pieces if piece.right is not None]
        jumps = [x for _, x, _ in phi.levels[:-1]] if phi.levels is not None else []
        edges = np.array(sorted({-far, far, *(k for k in (*kinks, *jumps) if -far < k < far)}))
        one, two = np.triu_indices(edges.size - 1)  # t >= u is enough: nothing changes when they change places
        cells = np.stack([edges[two], edges[two + 1], edges[one], edges[one + 1]])
        spent = 0
        for _ in range(ROUNDS):
            cells = cells[:, cells[1] >= cells[2]]
            spent += cells.shape[1]
            if spent > MOST_CELLS:
                return False
            bound, taken, first = _bounds(phi, form, cells)
            if (taken > top).any():  # a value beyond the claim: no subdivision would help
                return False
            open_ = ~(bound <= top)
            if not open_.any():
                return True
            cells, first = cells[:, open_], first[open_]
            low, high = np.where(first, cells[0], cells[2]), np.where(first, cells[1], cells[3])
            middle = 0.5 * low + 0.5 * high
            if not ((middle > low) & (middle < high)).all():
                return False
            left, right = cells.copy(), cells.copy()
            left[1], left[3] = np.where(first, middle, cells[1]), np.where(first, cells[3], middle)
            right[0], right[2] = np.where(first, middle, cells[0]), np.where(first, cells[2], middle)
            cells = np.concatenate([left, right], axis=1)
    return False


def _bounds(phi: Activation, form: PairForm, cells: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """(upper bounds on cells (t_lo, t_hi, u_lo, u_hi), values at their centres, whether to cut along t next)."""
    a, b, half = 0.5 * form.even, 0.5 * form.odd, 0.5 * form.strength
    n = cells.shape[1]
    lo, hi = cells[0::2].ravel(), cells[1::2].ravel()  # t and u, one after the other
    f_lo, f_hi = phi.bound_on(lo, hi)
    gap = np.square(np.maximum(np.abs(f_hi[:n] - f_lo[n:]), np.abs(f_lo[:n] - f_hi[n:])))
    # the least |t + u| and |t - u| on the cell
    plus = np.maximum(0.0, np.maximum(cells[0] + cells[2], -(cells[1] + cells[3])))
    minus = np.maximum(0.0, np.maximum(cells[0] - cells[3], cells[2] - cells[1]))
    biggest = np.square(np.maximum(np.abs(lo), np.abs(hi)))
    spread = biggest[:n] + biggest[n:]
    apart = half * gap - a * np.square(plus) - b * np.square(minus)
    apart += SLACK * (half * gap + 2.0 * (a + b) * spread) + 2.0**-900
    # about the centre: phi(t) = phi(c) + k (t - c) with k in the range of the difference quotients
    mid = 0.5 * lo + 0.5 * hi
    rad = np.maximum(hi - mid, mid - lo) * (1.0 + 2.0**-50)
    k_lo, k_hi = phi.slope_bound_on(lo, hi)
    c_lo, c_hi = phi.bound_on(mid, mid)
    d_lo, d_hi = c_lo[:n] - c_hi[n:], c_hi[:n] - c_lo[n:]
    d = np.square(np.maximum(np.abs(d_lo), np.abs(d_hi)))
    v, y = mid[:n] + mid[n:], mid[:n] - mid[n:]
    size = half * d + 2.0 * (a + b) * (np.square(mid[:n]) + np.square(mid[n:]))
    value = half * d - a * np.square(v) - b * np.square(y)
    lows, highs = np.concatenate([d_lo, -d_hi]), np.concatenate([d_hi, -d_lo])
    four = np.stack([lows * k_lo, lows * k_hi, highs * k_lo, highs * k_hi])
    base = -2.0 * np.concatenate([a * v + b * y, a * v - b * y])
    pull = np.maximum(np.abs(2.0 * half * four.max(axis=0) + base), np.abs(2.0 * half * four.min(axis=0) + base))
    far = np.abs(mid[:n]) + np.abs(mid[n:])
    pull += SLACK * (2.0 * half * np.abs(four).max(axis=0) + 2.0 * (a + b) * np.concatenate([far, far]))
    steepest = np.maximum(np.abs(k_lo), np.abs(k_hi))
    # (k x - l z)^2 <= 2 k^2 x^2 + 2 l^2 z^2, and a (x + z)^2 + b (x - z)^2 >= 2 min(a, b) (x^2 + z^2)
    bend = 2.0 * half * np.square(steepest) * (1.0 + 2.0**-48) - 2.0 * min(a, b) * (1.0 - 2.0**-48)
    best = np.where(bend < 0, np.minimum(rad, 0.5 * pull / np.where(bend < 0, -bend, 1.0)), rad)
    rise = pull * best + bend * np.square(best)
    moved = SLACK * (pull * best + np.abs(bend) * np.square(best))
    mean = value + rise[:n] + rise[n:] + SLACK * size + moved[:n] + moved[n:] + 2.0**-900
    bound = np.fmin(apart, mean)  # NaN in one says nothing of the other; in both it stays NaN and passes nowhere
    first = np.asarray(rise[:n] >= rise[n:]) & (rad[:n] > 0) | ~(rad[n:] > 0)
    first = np.where(np.isfinite(rise[:n] + rise[n:]), first, rad[:n] >= rad[n:])
    return bound, value - 2.0**-30 * size, np.asarray(first)


def replay(problem: TwoLayerProblem, dual: Array, claimed: float, artefact: dict[str, Any]) -> float:
    """Recompute kappa (under a width) or sigma (free mass)."""
    grows = "tail" in artefact
    expect_keys(artefact, {"top"} | ({"tail"} if grows else set()), "the antipodal proof")
    form = pair_form(problem, dual, replay_tail(problem, dual, artefact["tail"]) if grows else None)
    if form is None:
        raise CertificateError("the antipodal bound needs a hypercube task and a dual point diag(zeta) Y.")
    top = decode_float(artefact["top"], "the top")
    if problem.width is None:
        if top != 0.0 or grows:
            raise CertificateError("for free mass the antipodal bound takes no artefact.")
        return form.sigma()
    if top == 0.0 and form.harmless:
        return 0.0
    return kappa(problem, form, top)


def kappa(problem: TwoLayerProblem, form: PairForm, top: float) -> float:
    """The excess that follows from ``top``; CertificateError where it bounds nothing."""
    if not math.isfinite(form.reach):
        raise CertificateError(f"the range of {problem.activation.name} is unbounded.")
    if not (math.isfinite(top) and verified(problem.activation, form, top)):
        raise CertificateError("the top of the antipodal proof claims less than can be shown.")
    return max(0.0, _above(form.samples * Fraction(top) / (8 * Fraction(problem.lambda2))))

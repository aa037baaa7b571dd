"""The least energy of networks of M neurons, between two proved numbers: branch and bound over the neurons' directions.

For phi of degree 1 a neuron is a direction and an output weight v at the price sqrt(tau) |theta| |v| (theory section 1). Let
the k-th neuron lie in a cone C_k. Any Z bounds the energy of such networks: D(s Z) where s |Z phi(A theta)| <= sqrt(tau) |theta|
on those M cones, not on all of R^r as for measures. Cones are boxes on the faces of a cube, cut in halves; Z comes from
the best output weights at their centres. On a cone with corners v_i, theta = sum lam_i v_i, each phi(a_p . theta) lies between
two functions linear in lam, so that with middles m_i and radii R_i of Z phi

    |Z phi|^2 <= sum_ij lam_i lam_j (m_i . m_j + |m_i| R_j + |m_j| R_i + R_i R_j),

and its largest ratio to v_i . v_j bounds sigma^2 tau: second-order close where no sample changes sides. Floating point is
paid for by a margin on every product.
"""

from __future__ import annotations

import itertools
import logging
import math
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .checker.bounds import energy_upper, tau_bounds
from .checker.slopes import float_slopes
from .errors import InputError
from .geometry import FactorGeometry
from .integer_width import integer_width
from .losses.squared import Squared
from .measure import Measure
from .network_boxes import BoxBounds
from .problem import TwoLayerProblem
from .validate import integer, positive, seconds

Array = NDArray[np.float64]
log = logging.getLogger(__name__)

MOST_NEURONS = 4
MOST_PARAMETERS = 5
MOST_SAMPLES = 500
#: sizes for which whatever underflows is far below what the margins pay for
LEAST_TAU, MOST_TARGET = 1e-150, 1e100
BATCH = 512
LEAST = 1e-12
#: boxes wider than this take their corners into account where Z is chosen
COARSE = 0.3


@dataclass(frozen=True, eq=False)
class NetworkBound:
    """lower_bound <= least energy of networks of ``neurons`` neurons <= upper_bound, both rigorous.

    measure: the network of the upper bound. boxes: how many were bounded. complete: whether the gap asked for was reached.
    """

    problem: TwoLayerProblem
    neurons: int
    lower_bound: float
    upper_bound: float
    measure: Measure
    boxes: int
    complete: bool

    @property
    def relative_gap(self) -> float:
        """(upper - lower) / max(1e-300, |upper|)."""
        return (self.upper_bound - self.lower_bound) / max(1e-300, abs(self.upper_bound))


def network_bound(
    problem: TwoLayerProblem, neurons: int, *, gap: float = 1e-4, time_limit: float = 60.0
) -> NetworkBound:
    """Bounds on the least energy of networks of ``neurons`` neurons: relu and its like, squared loss, few input weights.

    The cost grows like (1 / gap)^(neurons (r - 1) / 2) or worse, r the number of input weights with the bias: one neuron of three
    weights or two of two take seconds. Stops at ``time_limit`` with what is proved by then. InputError
    for what it is not for.
    """
    if not isinstance(problem, TwoLayerProblem):
        raise InputError(f"network_bound needs a two-layer problem, not {type(problem).__name__}.")
    neurons = integer(neurons, "neurons", least=1, most=MOST_NEURONS)
    positive(gap, "gap")
    seconds(time_limit, "time_limit")
    search = _Search(problem, neurons)
    deadline = time.monotonic() + time_limit
    complete = search.run(gap, deadline)
    measure, upper = search.best_network()
    return NetworkBound(problem, neurons, search.lower(), upper, measure, search.count, complete)


class _Search:
    """Best-first over M-tuples of boxes; every box that leaves the search leaves its bound behind."""

    def __init__(self, problem: TwoLayerProblem, neurons: int) -> None:
        slopes = float_slopes(problem)
        space = problem.geometry
        if slopes is None or not isinstance(space, FactorGeometry) or type(problem.loss) is not Squared:
            raise InputError(
                "network_bound is for relu, leaky relu, |t| or linear neurons, the squared loss and inputs given as a factor "
                "(problems.dataset); certify bounds all other networks from below."
            )
        if problem.width_binds or space.n_parameters > MOST_PARAMETERS or space.n_samples > MOST_SAMPLES:
            raise InputError(
                f"network_bound takes free mass, at most {MOST_PARAMETERS} input weights (with the bias) and {MOST_SAMPLES} samples."
            )
        self.problem, self.m = problem, neurons
        tau, r = tau_bounds(problem)[0], space.n_parameters
        size = float(np.abs(problem.targets).max(initial=0.0))
        if not tau >= LEAST_TAU or not (size == 0.0 or 1 / MOST_TARGET <= size <= MOST_TARGET):
            raise InputError(
                "network_bound takes targets and penalties of sizes nearer to 1: their squares must not underflow."
            )
        self.boxes = BoxBounds(space.factor, problem.targets, slopes, tau)
        self.best, self.directions = math.inf, np.zeros((0, r))
        self.floor, self.count = math.inf, 0
        faces = []
        for axis, sign in itertools.product(range(r), (1.0, -1.0)):
            lo, hi = -np.ones(r), np.ones(r)
            lo[axis] = hi[axis] = sign
            faces.append((lo, hi))
        # neurons may change places: in order of their first faces
        tuples = list(itertools.combinations_with_replacement(range(len(faces)), neurons))
        self.lo = np.array([[faces[k][0] for k in t] for t in tuples])
        self.hi = np.array([[faces[k][1] for k in t] for t in tuples])
        self.bound = np.zeros(len(tuples))

    def run(self, gap: float, deadline: float) -> bool:
        """Whether every tuple was bounded up to the gap before the time was over."""
        self.bound = np.concatenate(
            [self._bounds(self.lo[k : k + BATCH], self.hi[k : k + BATCH]) for k in range(0, len(self.lo), BATCH)]
        )
        self._improve()
        while True:
            width = (self.hi - self.lo).max(axis=(1, 2), initial=0.0)
            done = (self.bound >= self.best * (1.0 - gap)) | (width < LEAST)  # one weight: no box can be cut
            self.floor = min(self.floor, float(self.bound[done].min(initial=math.inf)))
            self.lo, self.hi, self.bound = self.lo[~done], self.hi[~done], self.bound[~done]
            if self.bound.size == 0:
                return True
            if time.monotonic() > deadline:
                return False
            take = np.argsort(self.bound, kind="stable")[: BATCH // 2]
            lo, hi, old = self.lo[take], self.hi[take], self.bound[take]
            width = hi - lo
            n = np.arange(take.size)
            cell, axis = np.unravel_index(width.reshape(take.size, -1).argmax(axis=1), width.shape[1:])
            middle = self._cut(lo[n, cell], hi[n, cell], axis)
            left_hi, right_lo = hi.copy(), lo.copy()
            left_hi[n, cell, axis] = right_lo[n, cell, axis] = middle
            new_lo, new_hi = np.concatenate([lo, right_lo]), np.concatenate([left_hi, hi])
            fresh = np.maximum(self._bounds(new_lo, new_hi), np.concatenate([old, old]))
            rest = np.ones(self.bound.size, dtype=bool)
            rest[take] = False
            self.lo, self.hi = np.concatenate([self.lo[rest], new_lo]), np.concatenate([self.hi[rest], new_hi])
            self.bound = np.concatenate([self.bound[rest], fresh])

    def _cut(self, lo: Array, hi: Array, axis: NDArray[np.intp]) -> Array:
        """Where to cut boxes (n, r): in the middle; with two weights where a sample changes sides, after which none does."""
        n = np.arange(len(lo))
        left, right = lo[n, axis], hi[n, axis]
        middle = 0.5 * (left + right)
        if lo.shape[1] != 2:
            return np.asarray(middle)
        with np.errstate(all="ignore"):
            roots = -self.boxes.rows[:, 1 - axis].T * lo[n, 1 - axis][:, None] / self.boxes.rows[:, axis].T
        room = 1e-6 * (right - left)[:, None]
        inside = (roots > left[:, None] + room) & (roots < right[:, None] - room)
        away = np.where(inside, np.abs(roots - middle[:, None]), np.inf)
        best = away.argmin(axis=1)
        return np.where(inside.any(axis=1), roots[n, best], middle)

    def lower(self) -> float:
        """The least bound of all tuples."""
        return min(self.floor, float(self.bound.min(initial=math.inf)))

    def best_network(self) -> tuple[Measure, float]:
        """The best network met, polished, with a rigorous energy."""
        found = integer_width(self.problem, self._measure(), self.m)
        return energy_upper(self.problem, found.measure)

    def _measure(self) -> Measure:
        h = self.problem.geometry.preactivation(self.directions)
        return Measure(h, np.ones(len(h)), self.directions)

    def _improve(self) -> None:
        """A polished network near the best centres: the sharper the upper bound, the less is left to search."""
        found = integer_width(self.problem, self._measure(), self.m)
        self.best = min(self.best, found.upper_bound)

    def _bounds(self, lo: Array, hi: Array) -> Array:
        """Rigorous lower bounds on networks whose k-th neuron lies in the k-th box of each tuple."""
        self.count += len(lo)
        corners = self.boxes.corners_of(lo, hi)
        return np.asarray(np.max([self.boxes.dual_bound(z, corners) for z in self._duals(lo, hi, corners)], axis=0))

    def _duals(self, lo: Array, hi: Array, corners: Array) -> list[Array]:
        """Z = 2 (Y - F) at the best output weights of neurons at the centres; for large boxes also with the corners."""
        centres = 0.5 * (lo + hi)
        inner = self.boxes.responses(centres)
        v, rest = self.boxes.settled(inner)
        self._keep_best(centres, v, rest)
        out = [2.0 * rest]
        if float((hi - lo).max()) > COARSE:
            outer = self.boxes.responses(corners)
            u = np.concatenate([outer.reshape(len(outer), -1, outer.shape[-1]), inner], axis=1)
            out.append(2.0 * self.boxes.fitted(u)[1])
        return out

    def _keep_best(self, centres: Array, v: Array, rest: Array) -> None:
        """The best of the networks at the centres, if it is better than all before."""
        energy = self.boxes.energy(v, rest)
        best = int(energy.argmin())
        if energy[best] < self.best:
            self.best = float(energy[best]) * (1.0 + 1e-9)
            unit = centres[best] / np.linalg.norm(centres[best], axis=1, keepdims=True)
            length = np.linalg.norm(v[best], axis=1)
            scale = np.sqrt(math.sqrt(self.problem.lambda2 / self.problem.lambda1) * length)
            self.directions = unit * scale[:, None]

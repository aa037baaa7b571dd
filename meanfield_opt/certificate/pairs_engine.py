"""Hypercube tasks, any number of labels: the bound by antipodal pairs of samples, a question in the plane.

The checker (``checker.pairs``) has the mathematics. Here: where in the plane the supremum is, and the best length of Z.
Tight where an optimal dual point has equal zeta and the worst pattern is beta 1 +- gamma v_i.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ..activation import Activation
from ..checker.codec import encode_float
from ..checker.hypercube import hypercube_of, scales_of
from ..checker.pairs import PairForm, kappa, pair_form, replay
from ..checker.slopes import two_slopes
from ..checker.tail import largest_cost, limit_activation
from ..errors import CertificateError
from ..measure import Measure
from ..problem import TwoLayerProblem
from .engine import Limits, Outcome, ProofEngine, Question, SupremumProof
from .tail_search import find_tail

Array = NDArray[np.float64]

#: points of the plane that are refined
STARTS = 12
#: claims are raised by these multiples of the tolerance until one is proved
RAISES = (1.0, 10.0, 1e2, 1e4, 1e6)


@dataclass(frozen=True)
class PairsEngine(ProofEngine):
    """Excess under a width, and sigma for free mass in closed form, on hypercube tasks."""

    name = "pairs"

    def refusal(self, question: Question) -> str | None:
        problem = question.problem
        form = pair_form(problem, np.asarray(question.dual, dtype=np.float64))
        if form is None:
            return "the antipodal bound needs a hypercube task and a dual point diag(zeta) Y."
        if form.ratio is None and question.mode == "ratio":
            return f"neither steepness nor size of {problem.activation.name} is bounded."
        grows = limit_activation(problem.activation) is not None
        if question.mode == "excess" and not math.isfinite(form.reach) and not form.harmless and not grows:
            return f"the range of {problem.activation.name} is unbounded."
        return None

    def predicted_seconds(self, question: Question) -> float:
        return 1e-3  # about a second, but it goes before the envelope engine, which takes all the time there is

    def tightness(self, question: Question) -> int:
        problem, dual = question.problem, np.asarray(question.dual, dtype=np.float64)
        exact = question.mode == "ratio" and two_slopes(problem.activation) is not None and even_handed(problem, dual)
        return 0 if exact else 1

    def prove(self, question: Question, limits: Limits) -> Outcome:
        problem, dual = question.problem, np.asarray(question.dual, dtype=np.float64)
        form = pair_form(problem, dual)
        assert form is not None
        if problem.width is None or form.harmless:
            words = "symmetry: antipodal pairs of samples, and what is known of differences of the activation"
            artefact: dict[str, Any] = {"top": encode_float(0.0)}
            proof = SupremumProof("pairs", words, replay(problem, dual, math.inf, artefact), artefact)
            return Outcome(proof, None, problem.width is not None or attains(problem, dual, form))
        tail = None
        if not math.isfinite(form.reach):
            tail = find_tail(problem, dual, 0.3 * limits.seconds)
            if tail is None:
                return Outcome(None, None, False, {"reason": "ever larger neurons gain at this dual point"})
            form = pair_form(problem, dual, tail.cost)
            assert form is not None
        gain = max(problem.loss.dual_value(dual, problem.targets), 1e-12)
        best = highest(problem.activation, form)
        step = 0.1 * max(limits.target, 1e-9) * 8.0 * problem.lambda2 / (problem.width * form.samples) * gain
        stats: dict[str, Any] = {}
        bound, top = math.inf, best
        for raise_ in RAISES:
            try:
                top = best + raise_ * step
                bound = kappa(problem, form, top) * (1.0 + 2.0**-50)
                break
            except CertificateError as error:
                stats["reason"] = str(error)
        if not math.isfinite(bound):
            return Outcome(None, None, False, stats)
        artefact = {"top": encode_float(top)}
        if tail is not None:
            artefact["tail"] = tail.artefact()
        words = "symmetry: antipodal pairs of samples share one question in the plane, settled by subdivision"
        # where no such pattern attains the bound another engine may prove a better one
        return Outcome(SupremumProof("pairs", words, bound, artefact), None, even_handed(problem, dual), stats)


ENGINE = PairsEngine()


def even_handed(problem: TwoLayerProblem, dual: Array) -> bool:
    """Whether patterns beta 1 + gamma v_i attain the supremum of the plane: equal zeta and labels, and 1 the largest."""
    cube, zeta = hypercube_of(problem), scales_of(dual, problem.targets)
    assert cube is not None
    assert zeta is not None
    alike = len({abs(z) for z in zeta}) == 1 and len(set(cube.weights)) == 1
    return alike and min(cube.constant, *cube.weights) >= 0


def attains(problem: TwoLayerProblem, dual: Array, form: PairForm) -> bool:
    """Whether some point of the plane comes near the ratio that the rules give: then they lose nothing here."""
    if form.ratio is None or not even_handed(problem, dual):
        return False
    phi, size = problem.activation, np.geomspace(1e-6, 1e6, 241)
    slant = form.odd / form.even
    lean = np.array([0.0, 0.5, 1.0, 2.0, 1.0 - 1e-9, *(slant * (1.0 + s) for s in (-1e-9, 0.0, 1e-9)), 1.0 / slant])
    v, y = lean[:, None] * size, np.ones_like(lean)[:, None] * size
    value = np.square(phi(0.5 * (v + y)) - phi(0.5 * (v - y))) / (form.even * v**2 + form.odd * y**2)
    return float(value.max()) >= float(form.ratio) * (1.0 - 1e-6)


def highest(phi: Activation, form: PairForm) -> float:
    """The largest value met in the plane, at least 0."""
    return max(0.0, float(summits(phi, form)[0].max(initial=0.0)))


def summits(phi: Activation, form: PairForm) -> tuple[Array, Array, Array]:
    """(values, t, u) of the highest points met in the plane: a grid, then smaller grids around its best points."""

    def height(t: Array, u: Array) -> Array:
        rest = form.even * np.square(t + u) + form.odd * np.square(t - u)
        return np.asarray(0.5 * (form.strength * np.square(phi(t) - phi(u)) - rest))

    far = form.far(0.0)
    if not math.isfinite(far):
        return np.empty(0), np.empty(0), np.empty(0)
    line = np.sinh(np.linspace(-6.0, 6.0, 401)) / math.sinh(6.0) * far
    if phi.pieces is not None:
        kinks = [float(piece.right) for piece in phi.pieces if piece.right is not None]
        line = np.sort(np.append(line, [k for k in kinks if abs(k) < far]))
    gaps = np.maximum(np.diff(line, prepend=line[0] - 1e-3 * far), np.diff(line, append=line[-1] + 1e-3 * far))
    values = height(line[:, None], line[None, :])
    # the largest excess may lie between points of the grid that all have none: there the ratio is largest
    rest = form.even * np.square(line[:, None] + line) + form.odd * np.square(line[:, None] - line)
    ratio = (values + 0.5 * rest) / np.maximum(rest, 1e-300)
    picks = np.concatenate([_peaks(values), _peaks(ratio)])
    t, u = line[picks[:, 0]], line[picks[:, 1]]
    wide, tall = gaps[picks[:, 0]], gaps[picks[:, 1]]
    top, step = height(t, u), np.linspace(-1.0, 1.0, 9)
    rows = np.arange(t.size)
    for _ in range(60):
        ts = (t[:, None, None] + wide[:, None, None] * step[None, :, None]) + 0.0 * step
        us = (u[:, None, None] + tall[:, None, None] * step[None, None, :]) + 0.0 * step[:, None]
        value = height(ts, us).reshape(t.size, -1)
        at, high = value.argmax(axis=1), value.max(axis=1)
        better = high > top
        t = np.where(better, ts.reshape(t.size, -1)[rows, at], t)
        u = np.where(better, us.reshape(t.size, -1)[rows, at], u)
        # a narrow ridge is followed before the grids shrink
        edge = better & np.isin(at % 9, (0, 8)) | better & np.isin(at // 9, (0, 8))
        top, wide, tall = np.maximum(top, high), wide * np.where(edge, 1.0, 0.5), tall * np.where(edge, 1.0, 0.5)
    return top, t, u


def two_level_measure(problem: TwoLayerProblem, dual: Array) -> Measure | None:
    """Patterns beta 1 + gamma v_i and beta 1 - gamma v_i where the plane is highest at the best multiple of Z.

    Where these attain the bound the optimum is made of them; masses are even, to be solved for. None where it does not apply.
    """
    if problem.width is None or pair_form(problem, dual) is None or not even_handed(problem, dual):
        return None
    z = rescaled_dual(problem, dual)
    form = pair_form(problem, z)
    assert form is not None
    if not math.isfinite(form.reach):
        tail = find_tail(problem, z, 5.0)
        form = None if tail is None else pair_form(problem, z, tail.cost)
        if form is None:
            return None
    value, t, u = summits(problem.activation, form)
    apart = np.abs(t - u) > 1e-6 * np.maximum(np.abs(t), np.abs(u))
    keep = apart & (value >= value[apart].max(initial=-math.inf) - 1e-3 * abs(form.strength))
    y = problem.targets
    rows = [np.where(s * row > 0, a, b) for a, b in zip(t[keep], u[keep]) for row in y for s in (1.0, -1.0)]
    if not rows:
        return None
    return Measure(np.array(rows), np.full(len(rows), min(1.0, problem.width) / len(rows)))


def _peaks(values: Array) -> NDArray[np.int64]:
    """Places (n, 2) of the highest local maxima of a grid, below its diagonal."""
    inner = values[1:-1, 1:-1]
    peak = np.ones(inner.shape, dtype=bool)
    for i, j in ((0, 1), (1, 0), (2, 1), (1, 2)):
        peak &= inner >= values[i : i + inner.shape[0], j : j + inner.shape[1]]
    at = np.argwhere(np.tril(peak, -1)) + 1
    return at[np.argsort(-values[at[:, 0], at[:, 1]], kind="stable")[:STARTS]]


def rescaled_dual(problem: TwoLayerProblem, dual: Array) -> Array:
    """x Z for the x that makes the lower bound D(x Z) - M kappa(x Z) of this engine best; Z where it does not apply.

    A first-order solver leaves Z a little too large or small, and M kappa is far more sensitive to that than the energy.
    """
    if problem.width is None or ENGINE.refusal(Question(problem, dual)) is not None:
        return dual
    width = problem.width
    plain = pair_form(problem, dual)
    assert plain is not None
    if not even_handed(problem, dual):  # the bound is not tight here
        return dual
    tail = None
    if not math.isfinite(plain.reach) and not plain.harmless:
        tail = find_tail(problem, 0.9 * dual, 5.0)
        if tail is None:
            return dual
    # beyond, the limit's own supremum exceeds 1
    most = 1.1 if tail is None else min(1.1, 0.9 * (1.0 - 1e-5) / tail.proof.bound)

    def loss(x: float) -> float:
        cost = None if tail is None else largest_cost(problem, x * dual, tail.proof.bound * (x / 0.9))
        form = None if cost == math.inf else pair_form(problem, x * dual, cost)
        if form is None:
            return 1e300
        excess = 0.0 if form.harmless else form.samples * highest(problem.activation, form) / (8.0 * problem.lambda2)
        return width * excess - problem.loss.dual_value(x * dual, problem.targets)

    found = optimize.minimize_scalar(loss, bounds=(0.9, most), method="bounded", options={"xatol": 1e-9, "maxiter": 60})
    best = float(found.x)
    if not 0.95 < best < 1.05 or not found.fun < loss(min(1.0, most)):  # far off, or nothing is gained
        return dual
    return best * dual

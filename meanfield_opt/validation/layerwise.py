"""Each layer of a deep network optimal given the others: a convex problem a layer, bounded by the proof engines.

With the preactivation patterns of all other layers held fixed, layer k's measure solves

    min_rho  l int c(h) d rho + l tr(H K[rho]^+ H^T)        (H: the patterns of layer k + 1, to be produced exactly)

or, for the last layer, the two-layer problem itself. Its dual is max <Z, H> (- |Z 1|^2/(4 l) under a regularised bias of
layer k + 1, with Z 1 = 0 under a free one) subject to |Z phi(h)|^2 <= 4 l^2 c(h): the same global question as elsewhere.

A free bias of layer k itself makes h = A w + b 1 cost |w|^2 whatever b is. The supremum is then finite only if Z 1 = 0, and
for phi of degree 1 it is attained at |b| <= max_p |a_p . w| <= R |w|, R the longest row of A: beyond, every sample is on one
side of the kink, so phi(h) = phi(sign b) |h| there and Z phi(h) no longer depends on b. Hence the engines may charge
|w|^2 + eps b^2, a problem with an ordinary (regularised) bias, and sigma_free <= sqrt(1 + eps R^2) sigma_eps.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..certificate.engine import Limits, Question, applicable
from ..errors import InputError
from ..fit import best_readout
from ..geometry import FactorGeometry, Geometry
from ..losses.squared import Squared
from ..measure import Measure
from ..metrics import span_fit
from ..problem import TwoLayerProblem
from ..rounding import dot_bounds, down, sum_upper, up
from .deep import DeepProblem, minimal_weights

Array = NDArray[np.float64]
log = logging.getLogger(__name__)

#: eps R^2 of a free bias: what it costs in the bound (half of it, relative) against how ill-conditioned the factor gets
FREE = 1e-8


@dataclass(frozen=True, eq=False)
class LayerCertificate:
    """Bounds on one layer's problem, the others fixed. layer: 1 .. L.

    value: the layer's energy (floating point); lower: rigorous for the layer below's
    kernel and the layer above's patterns as rounded to float64, or -inf; gap: relative.
    verdict: "proved" when a bound was proved, whatever its gap, else "open". sigma: the proved supremum of the ratio.
    """

    layer: int
    value: float
    lower: float
    gap: float
    sigma: float
    verdict: str
    proof: str


def certify_layers(
    problem: DeepProblem, measures: Sequence[Measure], *, time_limit: float = 20.0, target: float = 1e-7
) -> list[LayerCertificate]:
    """One certificate a layer. Proves nothing about all layers together: the deep problem is not convex."""
    if problem.bias == "free" and problem.activation.degree != 1.0:
        raise InputError(
            f"layer-wise certificates under a free bias need an activation of degree 1, not {problem.activation.name}: "
            "elsewhere a free bias moves the supremum to where no bound is known."
        )
    return [_certify(problem, list(measures), k, Limits(time_limit, target)) for k in range(problem.layers)]


def _geometry_above(problem: DeepProblem, below: Measure) -> tuple[Geometry, float]:
    """The layer's input geometry, and the factor by which its supremum may fall short of the true one.

    K_{k-1} (+ 1 1^T under a regularised bias), rounded into a factor of as few columns as its numerical rank. Under a
    free bias: its centred part and a column 1/sqrt(eps), eps R^2 = FREE.
    """
    columns = problem.hidden(below).T
    extra = 1.0 if problem.bias == "regularised" else 0.0
    fit = span_fit(columns @ columns.T + extra, problem.targets)
    # symmetric columns keep the hyperplanes a_p . theta = 0 exactly where the optimal neurons sit
    rows = math.sqrt(max(fit.strength, 0.0)) * problem.targets
    symmetric = fit.residual < 1e-12 and fit.strength > 0
    if problem.bias == "free":
        space = rows.T if symmetric else _few_columns(columns - columns.mean(axis=0))
        longest = float(up(np.sqrt(up(sum_upper(up(np.square(space)), axis=1)))).max())
        scale = 2.0 ** math.ceil(math.log2(longest / math.sqrt(FREE)))  # 1/sqrt(eps), a power of two
        short = float(up(math.sqrt(up(1.0 + float(up((up(longest / scale)) ** 2))))))
        return FactorGeometry(np.column_stack([np.full(space.shape[0], scale), space])), float(up(short))
    if symmetric and fit.constant > 0:
        return FactorGeometry(np.column_stack([np.full(rows.shape[1], math.sqrt(fit.constant)), *rows])), 1.0
    if problem.bias == "regularised":
        columns = np.hstack([columns, np.ones((columns.shape[0], 1))])
    return FactorGeometry(_few_columns(columns)), 1.0


def _few_columns(columns: Array) -> Array:
    u, s, _ = np.linalg.svd(columns, full_matrices=False)
    keep = s > 1e-10 * s[0]
    return np.asarray(u[:, keep] * s[keep])


def _certify(problem: DeepProblem, measures: list[Measure], k: int, limits: Limits) -> LayerCertificate:
    rho = measures[k]
    space, short = (problem.geometry, 1.0) if k == 0 else _geometry_above(problem, measures[k - 1])
    ell = problem.penalty
    cost = ell * float(rho.masses @ problem.costs(k, measures))
    last = k == problem.layers - 1
    hidden = problem.hidden(rho)
    if last:
        carrier = TwoLayerProblem(problem.activation, problem.loss, space, problem.targets, ell, ell)
        w = best_readout(problem.loss, hidden, problem.targets, ell)
        value = cost + problem.loss.value(w @ hidden, problem.targets) + ell * float(np.square(w).sum())
        dual = carrier.dual_point(rho)
    else:
        above = measures[k + 1]
        wanted = np.sqrt(above.masses)[:, None] * above.atoms
        # the squared loss only carries the question: the supremum depends on Z, the activation and the geometry
        carrier = TwoLayerProblem(problem.activation, Squared(), space, wanted, ell, ell)
        w = minimal_weights(wanted, hidden.T, problem.bias)
        full = hidden.T
        if problem.bias == "free":
            w, full = w[:, :-1], full - full.mean(axis=0)
        elif problem.bias == "regularised":
            full = np.hstack([full, np.ones((full.shape[0], 1))])
        value = cost + ell * float(np.square(w).sum())
        # stationarity: 2 l W = Z Phi^T, so Z = 2 l W pinv(Phi)^T on the rows that Phi spans
        dual = 2.0 * ell * w @ np.linalg.pinv(full, rcond=1e-9)
    if problem.bias == "free" and not (last and k == 0):
        dual = zero_sums(dual)
    best, sigma, words = -math.inf, math.inf, "no proof"
    question = Question(carrier, dual)
    for engine in applicable(question):
        try:
            outcome = engine.prove(question, limits)
        except (ArithmeticError, np.linalg.LinAlgError) as error:
            log.warning("proof engine %s broke down: %s", engine.name, error)
            continue
        if outcome.interrupted:
            raise KeyboardInterrupt
        if outcome.proof is None or not (math.isfinite(outcome.proof.bound) and outcome.proof.bound >= 0):
            continue
        if outcome.dual is not None and not np.array_equal(outcome.dual, dual):
            continue  # a bound for another dual point than the one that the layer above asks about
        bound = outcome.proof.bound if short == 1.0 else float(up(outcome.proof.bound * short))
        scale = 1.0 if bound == 0 else min(1.0, float(down(down(1.0 / bound))))
        if last:
            lower = carrier.loss.dual_lower(dual, problem.targets, scale)
        else:
            lower = _interpolation_lower(dual, carrier.targets, scale, ell if problem.bias == "regularised" else None)
        if lower > best:
            best, sigma, words = lower, bound, outcome.proof.words
        if value - best <= 10 * limits.target * abs(value):
            break
    gap = (value - best) / max(abs(value), 1e-300)
    return LayerCertificate(k + 1, value, best, gap, sigma, "proved" if math.isfinite(best) else "open", words)


def zero_sums(dual: Array) -> Array:
    """Z (d, P) moved a little so that every row sums to zero exactly, in exact arithmetic: multiples of a power of two.

    Each entry moves by at most P + 1 of those multiples from the centred row; entries are integers below 2^40 times one.
    """
    centred = dual - dual.mean(axis=1, keepdims=True)
    out = np.zeros_like(centred)
    for i, row in enumerate(centred):
        top = float(np.abs(row).max())
        if not 1e-250 < top < 1e250:
            continue  # zero (or not a number): a row of zeros is always admissible
        grid = 2.0 ** (math.frexp(top)[1] - 40)
        whole = np.rint(row / grid).astype(np.int64)
        whole[int(np.abs(row).argmax())] -= whole.sum()
        out[i] = whole * grid
    return np.asarray(out)


def _interpolation_lower(dual: Array, wanted: Array, scale: float, bias_penalty: float | None) -> float:
    """Rigorous lower bound on s <Z, H> - s^2 |Z 1|^2 / (4 l) (the second term under a regularised bias)."""
    inner, _ = dot_bounds(dual, wanted)
    lower = float(down(scale * inner))
    if bias_penalty is None:
        return lower
    # |sum_p Z_jp| from above: enclose each row sum by sums of positive and negative parts
    high = sum_upper(np.maximum(dual, 0.0), axis=1) + 0.0
    low = -sum_upper(np.maximum(-dual, 0.0), axis=1)
    sums = np.abs(dual.sum(axis=1))
    slack = 4 * dual.shape[1] * 2.0**-53 * (high - low)  # recursive or pairwise summation errs by less
    squares = sum_upper(up(np.square(up(sums + up(slack)))))
    quadratic = up(up(up(scale * scale) * squares) / float(down(4.0 * bias_penalty)))
    return float(down(lower - quadratic))

"""Replay of envelope proofs: the excess under a width, any activation, in the d_Y dimensions of the output view.

For w in R^d_Y let G(w) = sup_h 2 w . Z phi(h) - tau c(h), a convex function. Then kappa = sup_w (G(w) - |w|^2)^+ / (4 l2), and
the supremum sits at w = Z phi(h), hence in the box spanned by the range of phi. For delta <= 1/|K_X| the form
c(h) - delta |h|^2 is convex, so it lies above its tangent at h0 = K_X g:

    c(h) >= delta |h|^2 + 2 y . h - e,   y = g - delta K_X g,   e = g . K_X g - delta |K_X g|^2      for every g,

and G(w) is at most tau e plus a sum over samples of suprema over one number t of 2 r_p phi(t) - tau delta t^2 - 2 tau y_p t.
Where K_X = L I + W 1 1^T ("split"), c(h) = min_beta |h - beta 1|^2 / L + beta^2 / W, and with beta as one more coordinate the
samples separate exactly: G(w, beta) = sum_p sup_t 2 r_p phi(t) - tau t^2 / L + 2 tau beta t / L, less
tau (1 / W + P / L) beta^2; no tangent is needed and no relaxation is left.
On a cell of w an affine function above these bounds at the corners lies above the convex G, and the rest is closed form.
The tangent points g are the proof; everything else is recomputed here with rounding errors bounded.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CertificateError
from ..geometry import DenseGeometry, DiagonalPlusLowRank, FactorGeometry, Geometry
from ..problem import TwoLayerProblem
from ..rounding import down, matmul_bounds, matmul_interval, sum_upper, up
from .bounds import tau_bounds
from .codec import decode_array
from .hypercube import hypercube_of, scales_of
from .scalar import suprema
from .tail import replay_tail

Array = NDArray[np.float64]
Box = tuple[int, tuple[int, ...]]

DEEPEST = 40
MOST_COORDINATES = 12


def apply_enclosed(geometry: Geometry, g: Array) -> tuple[Array, Array]:
    """Enclosure of the rows K_X g."""
    if isinstance(geometry, DenseGeometry):
        return matmul_bounds(g, geometry.kernel)
    if isinstance(geometry, FactorGeometry):
        lo, hi = matmul_bounds(g, geometry.factor)
        return _after(geometry.factor, lo, hi)
    if isinstance(geometry, DiagonalPlusLowRank):
        lo, hi = matmul_bounds(g, geometry.columns)
        lo, hi = _after(geometry.columns, down(lo * geometry.weight), up(hi * geometry.weight))
        own = g * geometry.diagonal
        return down(lo + down(own)), up(hi + up(own))
    raise CertificateError(f"no enclosure of K_X for geometries of kind {type(geometry).__name__}.")


def _after(columns: Array, lo: Array, hi: Array) -> tuple[Array, Array]:
    """Enclosure of x @ columns^T for x in [lo, hi]."""
    low, high = matmul_interval(columns, lo.T, hi.T)
    return low.T, high.T


def levels(problem: TwoLayerProblem) -> tuple[float, float]:
    """(tau rounded down, delta): tau c(h) >= tau_ c(h), and c(h) - delta |h|^2 is convex."""
    tau, _ = tau_bounds(problem)
    return tau, float(down(down(1.0 / problem.geometry.norm_bound())))


def g_upper(problem: TwoLayerProblem, dual: Array, w: Array, g: Array, tolerance: float) -> Array:
    """Rigorous upper bounds on G at each row of w (N, d_Y), by the tangent points g (N, P)."""
    tau, delta = levels(problem)
    k_lo, k_hi = apply_enclosed(problem.geometry, g)
    # y = g - delta K g and e = g.Kg - delta |Kg|^2, enclosed
    y_lo, y_hi = (
        down(g - up(np.maximum(delta * k_lo, delta * k_hi))),
        up(g - down(np.minimum(delta * k_lo, delta * k_hi))),
    )
    gk = up(np.maximum(g * k_lo, g * k_hi))
    least = np.where((k_lo <= 0) & (k_hi >= 0), 0.0, np.minimum(np.abs(k_lo), np.abs(k_hi)))
    e = up(sum_upper(gk, axis=1) + sum_upper(-np.maximum(down(delta * down(least * least)), 0.0), axis=1))
    r_lo, r_hi = matmul_bounds(w, dual)
    c_lo, c_hi = down(np.minimum(tau * y_lo, tau * y_hi)), up(np.maximum(tau * y_lo, tau * y_hi))
    per_sample = suprema(
        problem.activation,
        (r_lo.ravel(), r_hi.ravel()),
        (c_lo.ravel(), c_hi.ravel()),
        float(down(tau * delta)),
        tolerance,
    ).reshape(r_lo.shape)
    # e may be negative only through rounding; tau e is bounded with whichever sign it has
    return up(up(np.maximum(tau * e, 0.0)) + sum_upper(per_sample, axis=1))


def split_scales(geometry: Geometry) -> tuple[float, float] | None:
    """(L, W) with K_X = L I + W 1 1^T exactly, or None."""
    if not isinstance(geometry, DiagonalPlusLowRank) or geometry.weight.size != 1:
        return None
    if not ((geometry.columns == 1.0).all() and (geometry.diagonal == geometry.diagonal[0]).all()):
        return None
    return float(geometry.diagonal[0]), float(geometry.weight[0])


def g_split(problem: TwoLayerProblem, dual: Array, points: Array, tolerance: float) -> Array:
    """Rigorous upper bounds on G(w, beta) at the rows (w, beta) of points (N, d_Y + 1)."""
    scales = split_scales(problem.geometry)
    if scales is None:
        raise CertificateError("the split needs K_X = L I + W 1 1^T.")
    tau, _ = levels(problem)
    r_lo, r_hi = matmul_bounds(points[:, :-1], dual)
    pull = -tau * points[:, -1:] / scales[0]
    slack = 2.0**-50 * np.abs(pull) + 2.0**-1000
    shape = r_lo.shape
    c_lo, c_hi = (np.broadcast_to(x, shape).ravel() for x in (pull - slack, pull + slack))
    steep = float(down(tau / scales[0]))
    per_sample = suprema(problem.activation, (r_lo.ravel(), r_hi.ravel()), (c_lo, c_hi), steep, tolerance)
    return np.asarray(sum_upper(per_sample.reshape(shape), axis=1))


def curvatures(problem: TwoLayerProblem, split: bool) -> Array:
    """What is subtracted from G: sum_i n_i x_i^2 with these n_i (rounded down)."""
    ones = np.ones(problem.n_outputs)
    if not split:
        return ones
    scales = split_scales(problem.geometry)
    assert scales is not None
    tau, _ = levels(problem)
    rate = down(down(1.0 / scales[1]) + down(problem.n_samples / scales[0]))
    return np.append(ones, down(tau * down(rate)))


def split_domain(problem: TwoLayerProblem, dual: Array, cost: float | None = None) -> tuple[Array, Array, bool]:
    """``domain`` with beta: an excess needs |Z phi|^2 > tau beta^2 / W. For odd phi beta >= 0 suffices (h -> -h)."""
    lo, hi, ordered = domain(problem, dual, cost)
    scales = split_scales(problem.geometry)
    if scales is None:
        raise CertificateError("the split needs K_X = L I + W 1 1^T.")
    tau, _ = levels(problem)
    size = sum_upper(up(np.square(np.maximum(np.abs(lo), np.abs(hi)))))
    reach = float(up(up(np.sqrt(up(up(scales[1] * size) / tau)))))
    if cost is not None:  # beta^2 / W <= c
        reach = min(reach, float(up(np.sqrt(up(scales[1] * cost)))))
    folded = problem.activation.odd and not lo.any()  # the sign flips of a hypercube task bring w back
    return np.append(lo, 0.0 if folded else -reach), np.append(hi, reach), ordered


def domain(problem: TwoLayerProblem, dual: Array, cost: float | None = None) -> tuple[Array, Array, bool]:
    """(lo, hi, sorted): a box that holds the w that matter, up to verified symmetries of a hypercube task.

    cost: patterns of larger cost are known to have no excess (``tail``), so that |w| <= sqrt(tau cost). Sign flips of outputs leave G unchanged there, so w >= 0 suffices; for exchangeable labels also w_1 >= w_2 >= ...
    """
    if cost is not None:
        hi = np.full(problem.n_outputs, float(up(np.sqrt(up(tau_bounds(problem)[1] * cost)))))
        lo = -hi
    else:
        phi_lo, phi_hi = problem.activation.bound_on(np.array([-math.inf]), np.array([math.inf]))
        a, b = float(phi_lo[0]), float(phi_hi[0])
        if not (math.isfinite(a) and math.isfinite(b)):
            raise CertificateError(f"the range of {problem.activation.name} is unbounded: no box of outputs.")
        products = np.stack([a * dual, b * dual])
        hi = sum_upper(up(products.max(axis=0)), axis=1)
        lo = -sum_upper(up(-products.min(axis=0)), axis=1)
    cube, scales = hypercube_of(problem), scales_of(dual, problem.targets)
    if cube is None or scales is None:
        return lo, hi, False
    same = len(set(cube.weights)) == 1 and len(set(map(float, scales))) == 1
    reach = np.maximum(hi, -lo)
    # row sums of equal numbers in another order may round differently, but sorting needs one and the same grid
    return np.zeros_like(lo), np.full_like(reach, reach.max()) if same else reach, same


def corner(lo: Array, hi: Array, depth: int, index: tuple[int, ...]) -> Array:
    """The point of the dyadic grid of that depth: one float an index, whatever the cell that uses it."""
    out = np.empty(lo.size)
    for i, k in enumerate(index):
        s = k / 2**depth
        out[i] = hi[i] if s == 1.0 else lo[i] + (hi[i] - lo[i]) * s
    return out


def corners_of(box: Box) -> list[tuple[int, ...]]:
    """The corners of a cell as numerators over 2^DEEPEST."""
    depth, index = box
    unit = 2 ** (DEEPEST - depth)
    return [
        tuple((k + s) * unit for k, s in zip(index, shift)) for shift in itertools.product((0, 1), repeat=len(index))
    ]


def needless(box: Box, outputs: int) -> bool:
    """Whether every point of the cell has w_i < w_(i+1) for some i (its sorted image lies in another cell)."""
    return any(a + 1 < b for a, b in itertools.pairwise(box[1][:outputs]))


def cell_upper(points: Array, values: Array, n: Array) -> float:
    """Upper bound on G - sum_i n_i x_i^2 on the cell with these corners (2^k, k) and upper bounds of G there."""
    low, high = points.min(axis=0), points.max(axis=0)
    width = high - low
    slope = np.zeros(low.size)
    for i in range(low.size):
        top, bottom = values[points[:, i] == high[i]], values[points[:, i] == low[i]]
        if width[i] > 0:
            slope[i] = (top.mean() - bottom.mean()) / width[i]
    products = points * slope
    size = np.abs(products).sum(axis=1) + np.abs(values)
    level = float(np.max(up(values - products.sum(axis=1) + 2.0**-48 * size)))
    # a curvature that underflowed may be rounded down to 0 or below: as 0 it is a lower bound, and an end is best
    n = np.maximum(n, 0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        peak = np.where(n > 0, 0.5 * slope / n, np.where(slope > 0, np.inf, -np.inf))
    best = np.clip(peak, low, high)
    # a tiny error in the maximiser costs its square times one: cover it by evaluating with a margin of rounding
    total = float(np.sum(slope * best - n * best * best))
    margin = 2.0**-48 * float(np.sum(np.abs(slope * best) + n * best * best)) + 2.0**-1000
    bound = level + total + margin + 2.0**-50 * (abs(level) + abs(total))
    return bound if not math.isnan(bound) else math.inf  # where numbers overflowed, nothing is known


def excess_upper(problem: TwoLayerProblem, worst: float) -> float:
    """kappa from the supremum of G - |w|^2."""
    return float(up(max(worst, 0.0) / down(4.0 * problem.lambda2))) if math.isfinite(worst) else math.inf


def encode_boxes(boxes: list[Box]) -> list[list[int]]:
    """Cells as [depth, index...]."""
    return [[depth, *index] for depth, index in boxes]


def replay(problem: TwoLayerProblem, dual: Array, claimed: float, artefact: dict[str, Any]) -> float:
    """Recompute kappa from the tangent points and the cells; the cells must cover the domain."""
    if problem.width is None:
        raise CertificateError("an envelope proof is for a problem with a width.")
    tolerance, split = float(artefact["tolerance"]), artefact["split"]
    if not 0 < tolerance < math.inf or not isinstance(split, bool):
        raise CertificateError("the tolerance of the envelope proof must be positive.")
    size = problem.n_outputs + split
    if size > MOST_COORDINATES:  # a cell has 2^size corners
        raise CertificateError(f"an envelope proof takes at most {MOST_COORDINATES} coordinates, not {size}.")
    boxes = {(int(row[0]), tuple(int(k) for k in row[1:])) for row in artefact["boxes"]}
    if any(not 0 <= depth <= DEEPEST or len(index) != size for depth, index in boxes):
        raise CertificateError("a cell of the envelope proof is malformed.")
    keys = [tuple(int(k) for k in row) for row in artefact["corners"]]
    tangents = decode_array(artefact["tangents"], "the tangent points", ndim=2)
    if tangents.shape != (len(keys), 0 if split else problem.n_samples) or any(len(key) != size for key in keys):
        raise CertificateError("the tangent points do not fit the corners.")
    cost = replay_tail(problem, dual, artefact["tail"]) if "tail" in artefact else None
    lo, hi, ordered = (split_domain if split else domain)(problem, dual, cost)
    check_cover(boxes, size, problem.n_outputs if ordered else 0)
    points = np.array([corner(lo, hi, DEEPEST, key) for key in keys])
    if split:
        values = g_split(problem, dual, points, tolerance)
    else:
        values = g_upper(problem, dual, points, tangents, tolerance)
    place = {key: n for n, key in enumerate(keys)}
    n = curvatures(problem, split)
    worst = 0.0
    for box in boxes:
        at = [place[key] for key in corners_of(box)]
        worst = max(worst, cell_upper(points[at], values[at], n))
    return excess_upper(problem, worst)


def check_cover(boxes: set[Box], size: int, ordered: int) -> None:
    """Every cell is a leaf, is needless, or is covered by its children."""
    stack: list[Box] = [(0, (0,) * size)]
    deepest = max((depth for depth, _ in boxes), default=0)
    while stack:
        box = stack.pop()
        if box in boxes or needless(box, ordered):
            continue
        if box[0] >= deepest:
            raise CertificateError("the cells of the envelope proof do not cover all outputs.")
        stack += children(box)


def children(box: Box) -> list[Box]:
    """The 2^d halves of a cell."""
    depth, index = box
    return [
        (depth + 1, tuple(2 * k + s for k, s in zip(index, shift)))
        for shift in itertools.product((0, 1), repeat=len(index))
    ]

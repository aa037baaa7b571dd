"""One chamber for all: cones of theta that a symmetry of the data carries elsewhere need no proof of their own.

f(theta) = |Z phi(A theta)|. Given are permutations of the samples and a point c. The checker closes the permutations up to
a group G, fits to each element s an orthogonal R_s with A R_s = A[s] and an orthogonal O_s with O_s Z[:, s] = Z, and bounds
all residuals rigorously: nothing is taken for a symmetry that is not one, and what misses is paid for in the bound. With
phi L-Lipschitz, |O_s^T O_s - I| <= omega and e = L max_s sum_p |Z_p| |(A R_s - A[s])_p| + |(Z - O_s Z[:, s])_p| |a_s(p)|,

    sqrt(1 - omega) f(theta) <= f(R_s theta) + e |theta|   for every s in G.

A cone may be left out if some given element h has w_h . theta >= 0 on it, w_h = R_h^T c - c (up to ``near`` |theta|): there
h brings theta nearer to c. Every theta is served: let s maximise c . R_s theta over G. Then w_h . R_s theta <= kappa |c| |theta|
for each h, kappa = max |R_h R_s - R_hs|, and with beta = min_h -w_h . c > 0 the point R_s theta + x c, where
x (beta - near |c|) > kappa |c| |theta| + near |R_s theta|, lies strictly inside all walls, hence in no cone that was left
out. So f <= B there, and f is Lipschitz with constant W. In all, |R_s^T R_s - I| <= rho:

    f(theta) <= [B (sqrt(1 + rho) + x |c|) + W x |c| + e] |theta| / sqrt(1 - omega).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CertificateError
from ..rounding import gamma, matmul_bounds, sum_upper, up
from .codec import decode_array, expect_keys

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_ELEMENTS, MOST_ENTRIES, MOST_WALLS = 4096, 2**23, 64
#: how far on the wrong side of a wall (of norm about 1) a generator of a cone may lie that is left out
NEAR_WALL = 2.0**-46


@dataclass(frozen=True, eq=False)
class Chamber:
    """Walls w (k, r) around a centre; a cone on the far side of one of them is left out. ``turns``: R_s (n, r, r) of G.

    The numbers of the module's docstring, as rigorous bounds: residual e, defects rho, omega and kappa, depth beta, |c|,
    |w|, and what rounding the walls costs.
    """

    walls: Array
    turns: Array
    residual: float
    rho: float
    omega: float
    kappa: float
    beta: float
    centre_norm: float
    wall_norm: float
    wall_error: float

    @property
    def order(self) -> int:
        """The number of elements of G."""
        return int(self.turns.shape[0])

    def outside(self, cones: Array) -> NDArray[np.bool_]:
        """Which cones (n, r, r) are left out."""
        return np.asarray(np.any(np.all(cones @ self.walls.T >= -NEAR_WALL, axis=1), axis=1))

    def extended(self, bound: float, mass: float, generator_error: float) -> float:
        """A bound on f / |theta| everywhere, from one on the cones that are not left out; ``mass``: W. inf if none follows."""
        r = self.walls.shape[1]
        rounding = gamma(r + 4) * self.wall_norm + self.wall_error + self.wall_norm * math.sqrt(r) * generator_error
        near = 1.13 * math.sqrt(r) * (NEAR_WALL + 1.01 * rounding)
        if not (self.beta > 2.0 * near * self.centre_norm and self.omega < 0.5 and self.rho < 0.5):
            return math.inf
        stretch = math.sqrt(1.0 + self.rho)
        step = (self.kappa * self.centre_norm + near * stretch) / (self.beta - near * self.centre_norm)
        step *= self.centre_norm * (1.0 + 2.0**-40)
        total = bound * (stretch + step) + mass * step + self.residual
        return total / math.sqrt(1.0 - self.omega) * (1.0 + 2.0**-40)


def decode_chamber(value: Any, rows: Array, dual: Array, lipschitz: float) -> Chamber:
    """The chamber of an artefact's {"centre": c (r,), "elements": permutations of the samples}, one a wall.

    rows: A (P, r). dual: Z (d, P). lipschitz: a constant of phi. CertificateError where it is malformed.
    """
    expect_keys(value, {"centre", "elements"}, "the symmetry")
    centre = decode_array(value["centre"], "the centre", ndim=1)
    (samples, r), elements = rows.shape, value["elements"]
    if centre.shape != (r,) or not 0.5 <= float(np.linalg.norm(centre)) <= 2.0:
        raise CertificateError("the centre of the chamber has the wrong size.")
    if not (isinstance(elements, list) and 0 < len(elements) <= MOST_WALLS):
        raise CertificateError("the symmetry needs a list of permutations.")
    for element in elements:
        if not (isinstance(element, list) and all(type(v) is int for v in element)):
            raise CertificateError("an element of the symmetry is not a list of sample numbers.")
        if sorted(element) != list(range(samples)):
            raise CertificateError("an element of the symmetry is not a permutation of the samples.")
    return chamber_of(np.array(elements, dtype=np.int64), centre, rows, dual, lipschitz)


def chamber_of(elements: Ints, centre: Array, rows: Array, dual: Array, lipschitz: float) -> Chamber:
    """The chamber around ``centre`` (r,) walled by ``elements`` (k, P), with everything that it costs."""
    group, product = closure(elements)
    turns = orthogonal(_fits(_pseudo_inverse(rows), rows, group))
    outputs = orthogonal(_fits(dual, _pseudo_inverse(dual), group))
    walls = turns[product[:, 0]]  # R_h: product with the identity, which comes first
    transposed = walls.transpose(0, 2, 1)
    lo, hi = matmul_bounds(transposed, centre[:, None])
    normals = transposed @ centre - centre
    error = _norm(up(_distance(lo[..., 0], hi[..., 0], normals + centre) + 2.0**-51 * (np.abs(normals) + 4.0)), 1)
    _, inward = matmul_bounds(normals, centre[:, None])
    size = float(_norm(np.abs(centre)[None], 1)[0])
    kappas = [
        _norm(_distance(*matmul_bounds(wall, turns), turns[after]), (1, 2)) for wall, after in zip(walls, product)
    ]
    return Chamber(
        np.ascontiguousarray(normals),
        turns,
        _residual(group, turns, outputs, rows, dual, lipschitz),
        _defect(turns),
        _defect(outputs),
        float(np.max(kappas)),
        float((-inward[:, 0] - up(error * size)).min()) * (1.0 - 2.0**-50),
        size,
        float(up(_norm(np.abs(normals), 1) + error).max()),
        float(error.max()),
    )


def closure(elements: Ints, *, most: int = MOST_ELEMENTS) -> tuple[Ints, Ints]:
    """(group (n, P), the identity first; product (k, n)): group[product[h, s]] is h after s, with permutation s[h]."""
    k, samples = elements.shape
    identity = np.arange(samples, dtype=np.int64)
    place, group = {identity.tobytes(): 0}, [identity]
    product: list[list[int]] = []
    done = 0
    while done < len(group):
        row = []
        for h in range(k):
            image = group[done][elements[h]]
            key = image.tobytes()
            if key not in place:
                if len(group) >= min(most, MOST_ELEMENTS) or (len(group) + 1) * samples > MOST_ENTRIES:
                    raise CertificateError("the group of the symmetry is too large.")
                place[key] = len(group)
                group.append(image)
            row.append(place[key])
        product.append(row)
        done += 1
    return np.array(group), np.array(product, dtype=np.int64).T


def orthogonal(matrices: Array) -> Array:
    """The orthogonal matrices nearest to (n, r, r)."""
    if not np.isfinite(matrices).all():
        raise CertificateError("the symmetry overflows.")
    u, _, v = np.linalg.svd(matrices)
    return np.asarray(u @ v)


def _pseudo_inverse(matrix: Array) -> Array:
    return np.asarray(np.linalg.pinv(matrix), dtype=np.float64)


def _fits(left: Array, right: Array, group: Ints) -> Array:
    """left (m, P) @ right[s] (P, m) for each element s."""
    return np.concatenate([left @ right[part] for part in _parts(group, right.shape[1])])


def _parts(group: Ints, width: int) -> Iterator[Ints]:
    """Runs of elements whose arrays (n, P, width) stay small."""
    step = max(1, 400_000 // (group.shape[1] * width))
    for start in range(0, group.shape[0], step):
        yield group[start : start + step]


def _distance(lo: Array, hi: Array, target: Array) -> Array:
    """The largest |x - target| for x in [lo, hi], entry by entry, rounded up."""
    return np.maximum(up(hi - target), up(target - lo))


def _norm(sizes: Array, axis: int | tuple[int, int]) -> Array:
    """The Euclidean norm along the last axes of entries of at most these sizes, rounded up."""
    flat = sizes if isinstance(axis, int) else sizes.reshape(sizes.shape[0], -1)
    return up(np.sqrt(sum_upper(up(flat * flat), axis=flat.ndim - 1)))


def _defect(matrices: Array) -> float:
    """max |R^T R - I|, rounded up."""
    lo, hi = matmul_bounds(matrices.transpose(0, 2, 1), matrices)
    return float(_norm(_distance(lo, hi, np.eye(matrices.shape[1])), (1, 2)).max())


def _residual(group: Ints, turns: Array, outputs: Array, rows: Array, dual: Array, lipschitz: float) -> float:
    """e of the module's docstring, rounded up."""
    columns = np.ascontiguousarray(dual.T)
    of_rows, of_dual = _norm(np.abs(rows), 1), _norm(np.abs(columns), 1)
    sums, at = [], 0
    for part in _parts(group, max(rows.shape[1], dual.shape[0])):
        here = slice(at, at + part.shape[0])
        at += part.shape[0]
        lo, hi = matmul_bounds(rows, turns[here])
        moved = up(of_dual * _norm(_distance(lo, hi, rows[part]), 2))
        lo, hi = matmul_bounds(columns[part], outputs[here].transpose(0, 2, 1))
        turned = up(of_rows[part] * _norm(_distance(lo, hi, columns), 2))
        sums.append(up(sum_upper(moved, axis=1) + sum_upper(turned, axis=1)))
    return float(up(np.max(np.concatenate(sums)) * lipschitz))

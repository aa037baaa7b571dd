"""Replay of the input view: sup over theta in R^r of |Z phi(A theta)| / (sqrt(tau) |theta|), phi of degree 1.

Rounding is paid for once, globally. Let Lam = sum lam. Generators have one sign pattern an orthant and 1-norm about 1,
so Lam <= 1.12 sqrt(r) |theta|. All float errors of a leaf (generators, values at generators, one-sided rows within
NEAR, sums, the reflection) move q = Z phi(A theta) by at most E Lam, E = c W, W = sum_p (|s-| + |s+ - s-|) |Z_p| |a_p|_1,
and the quadratic form by at most eta Lam^2. Hence |q| <= |theta| (sqrt(level + 1.26 r eta) + 1.12 sqrt(r) E) / (1 - ...).

Columns of A far larger than the rest (a bias of almost no penalty) are divided by a power of two 2^k each, so that cones are
cut on one scale: theta_l = phi_l / 2^k_l, |theta|^2 = sum_l 4^-k_l phi_l^2, and in phi all of this holds with |phi| <= 2^k |theta|,
k the largest of the k_l.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CertificateError
from ..geometry import FactorGeometry
from ..problem import TwoLayerProblem
from ..rounding import gamma, sum_upper, up
from .chamber import Chamber, decode_chamber
from .cone_algebra import Segments
from .cones import NEAR, SLACK, Block, LeafTest, generator_error
from .slopes import float_slopes
from .view import exponent, replay_partition, scaled_back

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

#: columns differing by more than this power of two are brought within it, unless by more than the second
UNEVEN, MOST_UNEVEN = 8, 24


@dataclass(frozen=True, eq=False)
class InputForm:
    """The problem in powers-of-two normal form: rows = 2^-a A, weight = 2^-b (s+ - s-) Z^T, base = 2^-a-b s- Z A.

    shift = a + b: |q| of this form times 2^shift is |Z phi(A theta)|.
    """

    rows: Array
    weight: Array
    base: Array
    shift: int
    #: an upper bound on W of the module's docstring, in normal form
    mass: float
    #: (r,) 4^-k_l of the module's docstring
    metric: Array

    @cached_property
    def size(self) -> Array:
        """|a_p|_1, in floating point."""
        return np.asarray(np.abs(self.rows).sum(axis=1))


def input_form(problem: TwoLayerProblem, dual: Array) -> InputForm | None:
    """The normal form, or None where the input view does not apply."""
    pair = float_slopes(problem)
    if pair is None or not isinstance(problem.geometry, FactorGeometry):
        return None
    low, high = pair
    powers, a = column_powers(problem.geometry.factor)
    b = exponent(dual)
    rows, z = np.ldexp(problem.geometry.factor, -(powers + a)), np.ldexp(dual, -b)
    weight = np.ascontiguousarray((high - low) * z.T)
    base = low * (z @ rows) if low != 0.0 else np.zeros((z.shape[0], rows.shape[1]))
    norms = up(np.sqrt(sum_upper(up(z * z), axis=0)))
    sizes = sum_upper(np.abs(rows), axis=1)
    factor = float(up(abs(low) + up(abs(high - low))))
    mass = float(up(factor * sum_upper(up(norms * sizes))))
    metric = np.ldexp(1.0, -2 * powers)
    return InputForm(np.ascontiguousarray(rows), weight, np.ascontiguousarray(base), a + b, mass, metric)


def column_powers(factor: Array) -> tuple[NDArray[np.intc], int]:
    """(k (r,), a): columns are divided by 2^k_l until they differ by no more than about 2^UNEVEN-fold; then max |A| < 2^a.

    No further: slack and rounding of a leaf weigh 4^k times as much in sigma^2.
    """
    size = np.frexp(np.abs(factor).max(axis=0, initial=0.0))[1].astype(np.intc)
    used = factor.any(axis=0)
    if not used.any():
        return np.zeros_like(size), 0
    powers = np.where(used, size - size[used].min(), 0)
    powers = np.where((powers > UNEVEN) & (powers <= MOST_UNEVEN), powers - UNEVEN, 0).astype(np.intc)
    return powers, int((size - powers)[used].max())


def input_chamber(problem: TwoLayerProblem, dual: Array, form: InputForm, symmetry: Any) -> Chamber:
    """The chamber of an artefact's symmetry, in the units of the normal form."""
    pair = float_slopes(problem)
    assert pair is not None
    if not (form.metric == 1.0).all():
        raise CertificateError("the columns of A are too uneven for a chamber of the input view.")
    z = np.ldexp(dual, -exponent(dual))
    return decode_chamber(symmetry, form.rows, z, max(abs(pair[0]), abs(pair[1])))


def input_sigma(
    problem: TwoLayerProblem, form: InputForm, level: float, depth: int, chamber: Chamber | None = None
) -> float:
    """The proved sigma when every leaf of a partition of that depth passes at ``level`` (math.inf if nothing follows).

    With a ``chamber`` every leaf passes or lies outside of it.
    """
    (p, r), d = form.rows.shape, form.weight.shape[1]
    if not 1e-200 < level < 1e200 or depth > 100_000:
        return math.inf
    e = generator_error(depth)
    c = 1.2 * NEAR + 2.0 * e + 2.0 * gamma(4 * p + 40 * r + 60 * d + 100)
    error = c * form.mass + 2.0**-900
    eta = level * (1.01 * SLACK + 8.0 * r * gamma(8 * (r + d) + 60)) + 2.0**-900
    least = float(form.metric.min())  # a power of four
    top = math.sqrt(level + 1.3 * r * eta / least) + 1.13 * math.sqrt(r) * error / math.sqrt(least)
    rest = 1.0 - 1.3 * r * e / math.sqrt(least)
    if not rest > 0.5:
        return math.inf
    bound = top / rest * (1.0 + 2.0**-45)
    if chamber is not None:
        bound = chamber.extended(bound, form.mass, e)
    return scaled_back(problem, bound, form.shift)


@dataclass(frozen=True, eq=False)
class InputTest(LeafTest):
    """The leaf test at squared level ``level``; see ``certificate.bnb.input_kernel`` for the relaxation."""

    form: InputForm
    level: float
    chamber: Chamber | None = None

    @property
    def rows(self) -> int:
        return int(self.form.rows.shape[0])

    @cached_property
    def cuts(self) -> Array:
        return self.form.rows if self.chamber is None else np.vstack([self.form.rows, self.chamber.walls])

    def outside(self, cones: Array) -> NDArray[np.bool_]:
        return np.zeros(cones.shape[0], np.bool_) if self.chamber is None else self.chamber.outside(cones)

    @property
    def slack(self) -> float:
        return SLACK * self.level

    def initial(self) -> Array:
        return self.form.base

    def _products(self, points: list[Array], node: Ints, row: Ints) -> list[Array]:
        """a_p . point for each pair and each array of points (nodes, r), in the order of dot_in_order; long axes are fast."""
        counts = np.bincount(node, minlength=points[0].shape[0])
        out: list[Array] = []
        for k in range(points[0].shape[1]):
            a = self.form.rows[:, k][row]
            for i, point in enumerate(points):
                x = a * np.repeat(point[:, k], counts)
                if k == 0:
                    out.append(x)
                else:
                    out[i] = out[i] + x
        return out

    def conditions(self, points: Array, node: Ints, row: Ints) -> list[NDArray[np.bool_]]:
        (x,), near = self._products([points], node, row), NEAR * self.form.size[row]
        return [x >= -near, x <= near]

    def split(self, block: Block, whole: int) -> tuple[Array, NDArray[np.bool_]]:
        on = np.asarray(block.flags[0] == whole)
        row, d = block.row[on], self.form.weight.shape[1]
        weight = [self.form.weight[:, k][row] for k in range(d)]
        rows = [self.form.rows[:, k][row] for k in range(self.form.rows.shape[1])]
        summed = block.summed + Segments(block.node[on], block.position.size).products(weight, rows)
        return summed, np.asarray(~on & (block.flags[1] != whole))

    def matrices(self, cones: Array, summed: Array, node: Ints, row: Ints) -> Iterator[Array]:
        # any turn of the outputs gives a valid relaxation. The search turns those that are not negligible at the level of its stage, which need not be
        # this level: where responses are nearly zero its cones may pass with the other choice only
        yield self._relaxation(cones, summed, node, row, False)
        yield self._relaxation(cones, summed, node, row, True)

    def _relaxation(self, cones: Array, summed: Array, node: Ints, row: Ints, other: bool) -> Array:
        n, d = cones.shape[0], self.form.weight.shape[1]
        segments, counts = Segments(node, n), np.bincount(node, minlength=n)
        mid = summed @ cones.transpose(0, 2, 1)
        values = self._products(list(cones.swapaxes(0, 1)), node, row)
        total = values[0]
        for x in values[1:]:
            total = total + x
        weight = [self.form.weight[:, k][row] for k in range(d)]
        positive = np.maximum(total, 0.0)
        centre = mid.sum(axis=2) + np.stack([segments.sum(w * positive) for w in weight], axis=1)
        turn, scale = reflections(centre, self.level * (self.form.metric * cones.sum(axis=1) ** 2).sum(axis=1), other)
        mid = mid - (scale[:, None] * np.einsum("nk,nki->ni", turn, mid))[:, None, :] * turn[:, :, None]
        turns = [np.repeat(turn[:, k], counts) for k in range(d)]
        along = turns[0] * weight[0]
        for k in range(1, d):
            along = along + turns[k] * weight[k]
        along = np.repeat(scale, counts) * along
        z = [w - along * t for w, t in zip(weight, turns)]
        halves, middles = [], []
        for x in values:
            upper, lower = np.maximum(x, 0.0), np.where(total > 0.0, x, 0.0)
            halves.append(0.5 * (upper - lower))
            middles.append(0.5 * (upper + lower))
        mid = mid + segments.products(z, middles)
        rad = segments.products([np.abs(x) for x in z], halves)
        size = np.abs(mid)
        cross = size.transpose(0, 2, 1) @ rad
        inner = mid.transpose(0, 2, 1) @ mid + cross + cross.transpose(0, 2, 1)
        inner += rad.transpose(0, 2, 1) @ rad
        return np.asarray(self.level * ((cones * self.form.metric) @ cones.transpose(0, 2, 1)) - inner)


def reflections(centre: Array, level: Array, other: bool) -> tuple[Array, Array]:
    """Householder vectors turning each centre (n, d) to the first axis, and 2/|turn|^2 (0: no reflection).

    Where the centre is negligible there is none. other: there alone is one, unless the centre is zero. Whatever rounding makes of a vector, the
    reflection at it is orthogonal.
    """
    norm = (centre**2).sum(axis=1)
    use = ((norm > 1e-12 * level) != other) & (norm > 0.0) & (centre.shape[1] > 1)
    turn = np.where(use[:, None], centre, 1.0) / np.sqrt(np.where(use, norm, 1.0))[:, None]
    turn[:, 0] += np.where(turn[:, 0] >= 0.0, 1.0, -1.0)
    return turn, np.where(use, 2.0 / (turn**2).sum(axis=1), 0.0)


def replay(problem: TwoLayerProblem, dual: Array, claimed: float, artefact: dict[str, Any]) -> float:
    """Regenerate the partition, prove every cone, and return the sigma that follows."""
    form = input_form(problem, dual)
    if form is None:
        raise CertificateError("an input-view proof needs a factored geometry and an activation with one kink, at 0.")
    chamber = None
    if "symmetry" in artefact:
        chamber = input_chamber(problem, dual, form, artefact["symmetry"])
    rows, parameters = form.rows.shape
    return replay_partition(
        "input",
        artefact,
        claimed,
        (rows + (0 if chamber is None else chamber.walls.shape[0]), parameters),
        lambda level, depth: input_sigma(problem, form, level, depth, chamber),
        lambda level: InputTest(form, level, chamber),
    )

"""Replay of the input view: sup over theta in R^r of |Z phi(A theta)| / (sqrt(tau) |theta|), phi of degree 1.

Rounding is paid for once, globally. Let Lam = sum lam. Generators have one sign pattern an orthant and 1-norm about 1,
so Lam <= 1.12 sqrt(r) |theta|. All float errors of a leaf (generators, values at generators, one-sided rows within
NEAR, sums, the reflection) move q = Z phi(A theta) by at most E Lam, E = c W, W = sum_p (|s-| + |s+ - s-|) |Z_p| |a_p|_1,
and the quadratic form by at most eta Lam^2. Hence |q| <= |theta| (sqrt(level + 1.26 r eta) + 1.12 sqrt(r) E) / (1 - ...).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CertificateError
from ..geometry import FactorGeometry
from ..problem import TwoLayerProblem
from ..rounding import down, gamma, sum_upper, up
from .cone_algebra import segment_sum
from .cones import (
    NEAR,
    SLACK,
    Block,
    LeafTest,
    check_partition,
    decode_tree,
    generator_error,
)
from .document import decode_float
from .slopes import float_slopes

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


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

    @cached_property
    def size(self) -> Array:
        """|a_p|_1, in floating point."""
        return np.asarray(np.abs(self.rows).sum(axis=1))


def exponent(array: Array) -> int:
    """k with max |array| in [2^(k-1), 2^k), 0 for a zero array."""
    return int(math.frexp(float(np.abs(array).max(initial=0.0)))[1])


def input_form(problem: TwoLayerProblem, dual: Array) -> InputForm | None:
    """The normal form, or None where the input view does not apply."""
    pair = float_slopes(problem)
    if pair is None or not isinstance(problem.geometry, FactorGeometry):
        return None
    low, high = pair
    a, b = exponent(problem.geometry.factor), exponent(dual)
    rows, z = np.ldexp(problem.geometry.factor, -a), np.ldexp(dual, -b)
    weight = np.ascontiguousarray((high - low) * z.T)
    base = low * (z @ rows) if low != 0.0 else np.zeros((z.shape[0], rows.shape[1]))
    norms = up(np.sqrt(sum_upper(up(z * z), axis=0)))
    sizes = sum_upper(np.abs(rows), axis=1)
    factor = float(up(abs(low) + up(abs(high - low))))
    mass = float(up(factor * sum_upper(up(norms * sizes))))
    return InputForm(np.ascontiguousarray(rows), weight, np.ascontiguousarray(base), a + b, mass)


def input_sigma(problem: TwoLayerProblem, form: InputForm, level: float, depth: int) -> float:
    """The proved sigma when every leaf of a partition of that depth passes at ``level`` (math.inf if nothing follows)."""
    (p, r), d = form.rows.shape, form.weight.shape[1]
    if not 1e-200 < level < 1e200 or depth > 100_000:
        return math.inf
    e = generator_error(depth)
    c = 1.2 * NEAR + 2.0 * e + 2.0 * gamma(4 * p + 40 * r + 60 * d + 100)
    error = c * form.mass + 2.0**-900
    eta = level * (1.01 * SLACK + 8.0 * r * gamma(8 * (r + d) + 60)) + 2.0**-900
    top = math.sqrt(level + 1.3 * r * eta) + 1.13 * math.sqrt(r) * error
    bound = top / (1.0 - 1.3 * r * e) * (1.0 + 2.0**-45)
    tau = float(down(4.0 * down(problem.lambda1 * problem.lambda2)))
    root = float(down(math.sqrt(tau)))
    try:
        # divided before it is scaled back: a scaling that ends among the denormal numbers is inexact, and comes last
        return float(up(math.ldexp(float(up(bound / root * (1.0 + 2.0**-50))), form.shift))) if root > 0 else math.inf
    except OverflowError:
        return math.inf


@dataclass(frozen=True, eq=False)
class InputTest(LeafTest):
    """The leaf test at squared level ``level``; see ``certificate.bnb.input_kernel`` for the relaxation."""

    form: InputForm
    level: float

    @property
    def rows(self) -> Array:  # type: ignore[override]
        return self.form.rows

    @property
    def slack(self) -> float:
        return SLACK * self.level

    def initial(self) -> Array:
        return self.form.base

    def split(self, block: Block) -> tuple[Array, NDArray[np.bool_], Array]:
        # column by column, in the order of dot_in_order: short last axes are slow
        r, near = block.cones.shape[1], NEAR * self.form.size[block.row]
        rows = [self.form.rows[:, k][block.row] for k in range(r)]
        values = np.empty((r, block.row.size))
        for i in range(r):
            x = rows[0] * block.cones[:, i, 0][block.node]
            for k in range(1, r):
                x = x + rows[k] * block.cones[:, i, k][block.node]
            values[i] = x
        on = np.asarray(values.min(axis=0) >= -near)
        undecided = ~on & (values.max(axis=0) > near)
        row = block.row[on]
        terms = self.form.weight[row][:, :, None] * self.form.rows[row][:, None, :]
        summed = block.summed + segment_sum(terms, block.node[on], block.position.size)
        return summed, undecided, np.ascontiguousarray(values[:, undecided].T)

    def matrices(self, cones: Array, summed: Array, node: Ints, row: Ints, values: Array) -> Array:
        n = cones.shape[0]
        mid = np.einsum("nkl,nil->nki", summed, cones)
        total = values[:, 0].copy()
        for i in range(1, values.shape[1]):
            total = total + values[:, i]
        weight = self.form.weight[row]
        centre = mid.sum(axis=2) + segment_sum(weight * np.maximum(total, 0.0)[:, None], node, n)
        turn, scale = reflections(centre, self.level * (cones.sum(axis=1) ** 2).sum(axis=1))
        mid = mid - (scale[:, None] * np.einsum("nk,nki->ni", turn, mid))[:, None, :] * turn[:, :, None]
        z = weight - (scale[node] * np.einsum("nk,nk->n", turn[node], weight))[:, None] * turn[node]
        upper = np.maximum(values, 0.0)
        lower = np.where((total > 0.0)[:, None], values, 0.0)
        half, middle = 0.5 * (upper - lower), 0.5 * (upper + lower)
        mid = mid + segment_sum(z[:, :, None] * middle[:, None, :], node, n)
        rad = segment_sum(np.abs(z)[:, :, None] * half[:, None, :], node, n)
        size = np.abs(mid)
        cross = np.einsum("nki,nkj->nij", size, rad)
        inner = np.einsum("nki,nkj->nij", mid, mid) + cross + cross.transpose(0, 2, 1)
        inner += np.einsum("nki,nkj->nij", rad, rad)
        return np.asarray(self.level * np.einsum("nil,njl->nij", cones, cones) - inner)


def reflections(centre: Array, level: Array) -> tuple[Array, Array]:
    """Householder vectors turning each centre (n, d) to the first axis, and 2/|turn|^2 (0: no reflection)."""
    norm = (centre**2).sum(axis=1)
    use = (norm > 1e-12 * level) & (centre.shape[1] > 1)
    turn = np.where(use[:, None], centre, 1.0) / np.sqrt(np.where(use, norm, 1.0))[:, None]
    turn[:, 0] += np.where(turn[:, 0] >= 0.0, 1.0, -1.0)
    return turn, np.where(use, 2.0 / (turn**2).sum(axis=1), 0.0)


def replay(problem: TwoLayerProblem, dual: Array, claimed: float, artefact: dict[str, Any]) -> float:
    """Regenerate the partition, prove every cone, and return the sigma that follows."""
    form = input_form(problem, dual)
    if form is None:
        raise CertificateError("an input-view proof needs a factored geometry and an activation with one kink, at 0.")
    level = decode_float(artefact["level"], "the level")
    tree = decode_tree(form.rows.shape[1], artefact, form.rows.shape[0])
    sigma = input_sigma(problem, form, level, tree.depth)
    if not sigma <= claimed:
        raise CertificateError(f"the input-view proof can give {sigma!r} at best, not {claimed!r}.")
    if not check_partition(tree, InputTest(form, level)):
        raise CertificateError("a cone of the partition does not pass the test.")
    return sigma

"""Replay of the output view: K_X = diag(Lambda) + B W B^T with few columns, few outputs, phi of degree 1.

For phi(t) = s+ t (t >= 0), s- t (t <= 0), with omega = (w, beta) rescaled so that the level t = sigma^2 tau enters once,

    |Z phi(h)|^2 <= t c(h) for all h   iff   f(omega) <= t |w|^2 + beta^T M beta for all omega,
    f = sum_p max(0, a_p.omega, b_p.omega)^2,  a_p = (sqrt(Lambda_p) s+ Z_p, B_p / sqrt(Lambda_p)),
    b_p = -(sqrt(Lambda_p) s- Z_p, B_p / sqrt(Lambda_p)),  M = W^-1 + B^T Lambda^-1 B

(eliminate omega: theory section 3.3). On a cone each max lies below its chord, and rows with one active piece are exact.

Rounding: with A2^2 = sum_p |a_p|_1^2 and nu a bound on t |w|^2 + beta^T M beta over (sum lam)^2, all float errors give
f <= t |w|^2 + beta^T M beta + eta (sum lam)^2 <= (t + delta) |w|^2 + beta^T (M + delta) beta, delta = 1.1 n eta. The
second delta shrinks W to W / (1 + delta W), which raises c by at most 1 + delta W: sigma^2 tau = (t + delta)(1 + delta W).
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
from ..geometry import DiagonalPlusLowRank
from ..problem import TwoLayerProblem
from ..rounding import gamma, sum_upper, up
from .cone_algebra import Segments, segment_sum
from .cones import NEAR, SLACK, Block, LeafTest, generator_error
from .slopes import float_slopes
from .view import exponent, replay_partition, scaled_back

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class OutputForm:
    """Rows a_p and b_p (P, n), the matrix M (k, k) of beta, n = d_Y + k; sqrt(Lambda) Z is divided by 2^shift, columns of beta are
    multiplied by powers of two. weight: the largest W in these units. mass: an upper bound on A2^2."""

    first: Array
    second: Array
    columns: Array
    outputs: int
    shift: int
    weight: float
    mass: float

    @cached_property
    def size(self) -> Array:
        """max(|a_p|_1, |b_p|_1), in floating point."""
        return np.asarray(np.maximum(np.abs(self.first).sum(axis=1), np.abs(self.second).sum(axis=1)))


def output_form(problem: TwoLayerProblem, dual: Array) -> OutputForm | None:
    """The normal form, or None where the output view does not apply."""
    pair, space = float_slopes(problem), problem.geometry
    if pair is None or not isinstance(space, DiagonalPlusLowRank):
        return None
    low, high = pair
    d, k = dual.shape[0], space.weight.size
    with np.errstate(over="ignore", invalid="ignore"):
        root = np.sqrt(space.diagonal)[:, None]
        shift = exponent(dual.T) + exponent(root)
        z = np.ldexp(dual.T, -exponent(dual.T)) * np.ldexp(root, -exponent(root))
        # |Z|_F about 1 puts the levels that matter near 1 too, where the scales of beta are chosen to be
        again = exponent(np.sqrt(np.sum(z * z)))
        shift, z = shift + again, np.ldexp(z, -again)
        b = space.columns / root
        # summed in runs, as everything here is: M and f nearly cancel along beta
        m = segment_sum(b[:, :, None] * b[:, None, :], np.zeros(b.shape[0], np.int64), 1)[0]
        m = m + np.diag(1.0 / space.weight)
        scales = np.array([-(int(math.frexp(float(x))[1]) // 2) for x in np.diag(m)], dtype=np.int64)
        b, m = np.ldexp(b, scales), np.ldexp(m, scales[:, None] + scales)
        first, second = np.hstack([high * z, b]), np.hstack([-low * z, -b])
        sizes = np.maximum(sum_upper(np.abs(first), axis=1), sum_upper(np.abs(second), axis=1))
        mass = float(sum_upper(up(sizes * sizes)))
        weight = float(up(np.ldexp(space.weight, -2 * scales)).max(initial=0.0))
    if not (math.isfinite(mass) and math.isfinite(weight) and np.isfinite(m).all()):
        return None
    return OutputForm(first, second, m.reshape(k, k), d, shift, weight, mass)


def output_sigma(problem: TwoLayerProblem, form: OutputForm, level: float, depth: int) -> float:
    """The proved sigma when every leaf of a partition of that depth passes at ``level`` (math.inf if nothing follows)."""
    p, n = form.first.shape
    if not 1e-100 < level < 1e100 or depth > 100_000:
        return math.inf
    e = generator_error(depth)
    g = gamma(2 * 128 + p // 128 + depth + 8 * n + 80)
    nu = 1.1 * (level + float(np.abs(form.columns).sum()))
    eta = 1.02 * SLACK * level + 10.0 * n * g * (form.mass + nu) + 8.0 * n * e * nu
    eta += 2.0 * n * g * nu  # M itself is a floating sum
    slip = (1.3 * NEAR + 2.0 * e + 20.0 * (n + 5) * 2.0**-53) * math.sqrt(form.mass)
    eta += 2.1 * math.sqrt(nu + eta) * slip + 1.1 * slip * slip + 2.0**-700
    delta = 1.1 * n * eta
    bound = math.sqrt((level + delta) * (1.0 + delta * form.weight)) * (1.0 + 2.0**-45)
    return scaled_back(problem, bound, form.shift)


@dataclass(frozen=True, eq=False)
class OutputTest(LeafTest):
    """The leaf test at squared level ``level``: N - sum over one-sided rows - sum of chords, copositive."""

    form: OutputForm
    level: float

    @property
    def rows(self) -> int:
        return int(self.form.first.shape[0])

    @property
    def cuts(self) -> Array:
        return self.form.first

    def outside(self, cones: Array) -> NDArray[np.bool_]:
        return np.zeros(cones.shape[0], np.bool_)

    @property
    def slack(self) -> float:
        return SLACK * self.level

    def initial(self) -> Array:
        n = self.form.first.shape[1]
        return np.zeros((n, n))

    def _pairs(self, points: list[Array], node: Ints, row: Ints) -> list[tuple[Array, Array]]:
        """(a_p . point, b_p . point) for each pair and each array of points (nodes, n): long axes are the fast ones."""
        counts = np.bincount(node, minlength=points[0].shape[0])
        out: list[tuple[Array, Array]] = []
        for k in range(points[0].shape[1]):
            a, b = self.form.first[:, k][row], self.form.second[:, k][row]
            for i, point in enumerate(points):
                v = np.repeat(point[:, k], counts)
                x, y = a * v, b * v
                if k == 0:
                    out.append((x, y))
                else:
                    out[i] = (out[i][0] + x, out[i][1] + y)
        return out

    def conditions(self, points: Array, node: Ints, row: Ints) -> list[NDArray[np.bool_]]:
        ((x, y),) = self._pairs([points], node, row)
        near = NEAR * self.form.size[row]
        rest = x - y
        return [(x <= near) & (y <= near), (x >= -near) & (rest >= -near), (y >= -near) & (rest <= near)]

    def split(self, block: Block, whole: int) -> tuple[Array, NDArray[np.bool_]]:
        off, one, two = (flag == whole for flag in block.flags)
        one &= ~off
        two &= ~(off | one)
        summed = block.summed.copy()
        for rows, mask in ((self.form.first, one), (self.form.second, two)):
            if mask.any():
                taken = block.row[mask]
                columns = [rows[:, k][taken] for k in range(rows.shape[1])]
                summed += Segments(block.node[mask], block.position.size).gram(columns)
        return summed, np.asarray(~(off | one | two))

    def matrices(self, cones: Array, summed: Array, node: Ints, row: Ints) -> Iterator[Array]:
        n, d = cones.shape[0], self.form.outputs
        w, beta = cones[:, :, :d], cones[:, :, d:]
        m = self.level * (w @ w.transpose(0, 2, 1))
        m += beta @ self.form.columns @ beta.transpose(0, 2, 1)
        m -= cones @ summed @ cones.transpose(0, 2, 1)
        chords = [np.maximum(np.maximum(x, y), 0.0) for x, y in self._pairs(list(cones.swapaxes(0, 1)), node, row)]
        yield np.asarray(m - Segments(node, n).gram(chords))


def replay(problem: TwoLayerProblem, dual: Array, claimed: float, artefact: dict[str, Any]) -> float:
    """Regenerate the partition, prove every cone, and return the sigma that follows."""
    form = output_form(problem, dual)
    if form is None:
        raise CertificateError(
            "an output-view proof needs K_X = diagonal + low rank and an activation with one kink, at 0."
        )
    return replay_partition(
        "output",
        artefact,
        claimed,
        form.first.shape,
        lambda level, depth: output_sigma(problem, form, level, depth),
        lambda level: OutputTest(form, level),
    )

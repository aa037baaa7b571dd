"""A loss known only by its values and slopes as the maximum of its tangents, entry by entry: what the master needs of it.

Tangents at knots f_0 < .. < f_K of an entry, meeting at t_i in [f_i, f_i+1], make a convex function below the loss,

    l_0 + g_0 (f - f_0) + sum_i (g_i+1 - g_i) max(f - t_i, 0) ,

whose dual is a box for each kink (``saddle.Parts``). It is exact where the loss is piecewise linear with a knot on each piece; otherwise
knots are added at the outputs of the last master until its model agrees with the loss there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.loss import Loss, SummedLoss
from meanfield_opt.losses.user import NumpyLoss

from .saddle import Parts

Array = NDArray[np.float64]

#: knots kept for each entry
MOST_KNOTS = 24


def applies(loss: Loss) -> bool:
    """Whether the loss is a sum over entries whose terms are known."""
    return isinstance(loss, NumpyLoss) or (isinstance(loss, SummedLoss) and loss.entrywise and not loss.columnwise)


def entries(loss: Loss, outputs: Array, targets: Array) -> Array:
    """The terms of the loss, (d_Y, P)."""
    if isinstance(loss, NumpyLoss):
        return loss.entries(outputs, targets)
    assert isinstance(loss, SummedLoss)
    return loss.terms(outputs, targets)


@dataclass
class Tangents:
    """Knots f (K, d_Y, P), ascending along the first axis, for a loss that is a sum over entries."""

    loss: Loss
    targets: Array
    knots: Array

    @classmethod
    def around_zero(cls, loss: Loss, targets: Array) -> Tangents:
        """Knots on all scales around zero and around the targets."""
        size = 1.0 + float(np.abs(targets).max(initial=0.0))
        steps = size * np.array([-30.0, -8.0, -3.0, -1.0, -0.3, -0.1, -0.01, 0.01, 0.1, 0.3, 1.0, 3.0, 8.0, 30.0])
        centred = targets[None] + steps[:, None, None]
        return cls(loss, targets, np.sort(np.concatenate([centred, 0.0 * targets[None]]), axis=0))

    def refine(self, outputs: Array) -> None:
        """Further knots at the outputs (d_Y, P) and next to them; those farthest away go."""
        size = 1e-3 * (1.0 + np.abs(outputs))
        new = np.stack([outputs - size, outputs, outputs + size])
        knots = np.concatenate([self.knots, new])
        if knots.shape[0] > MOST_KNOTS:
            far = np.abs(knots - outputs)
            far[knots == knots.min(axis=0)] = far[knots == knots.max(axis=0)] = -1.0  # the ends stay
            keep = np.argsort(far, axis=0, kind="stable")[:MOST_KNOTS]
            knots = np.take_along_axis(knots, keep, axis=0)
        self.knots = np.sort(knots, axis=0)

    def slopes(self) -> Array:
        """The slopes of the tangents, ascending."""
        g = np.stack([self.loss.gradient(f, self.targets) for f in self.knots])
        return np.asarray(np.maximum.accumulate(g, axis=0))

    def parts(self) -> Parts:
        """The dual of the model."""
        f, g = self.knots, self.slopes()
        value = self.values()
        rise, run = np.diff(g, axis=0), np.diff(f, axis=0)
        # where the tangents at f_i and f_i+1 meet
        with np.errstate(divide="ignore", invalid="ignore"):
            ahead = (g[1:] * run - np.diff(value, axis=0)) / rise
        ahead = np.where(np.isfinite(ahead), np.clip(ahead, 0.0, run), 0.5 * run)
        least = 1e-10 * (1e-300 + float(np.abs(g).max()))  # boxes of no width have no interior
        return Parts(-np.maximum(rise, least), 0.0 * rise, f[:-1] + ahead, 0.0 * rise, None, -g[0])

    def values(self) -> Array:
        """The loss at the knots, entry by entry."""
        return np.stack([entries(self.loss, f, self.targets) for f in self.knots])

    def clipped(self, dual: Array) -> Array:
        """Z within the slopes that the loss has at the outermost knots."""
        g = self.slopes()
        return np.asarray(np.clip(dual, -g[-1], -g[0]))

    def miss(self, outputs: Array) -> float:
        """How far the model is below the loss at the outputs, summed."""
        g, value = self.slopes(), self.values()
        model = (value + g * (outputs - self.knots)).max(axis=0)
        return self.loss.value(outputs, self.targets) - float(model.sum())

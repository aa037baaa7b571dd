"""What piecewise linear activations allow exactly: best responses sample by sample, and smooth surrogates."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.activation import Activation

Array = NDArray[np.float64]

#: entries of a block that is worked on at once
BLOCK = 32768


def best_response(activation: Activation, pull: Array, centre: Array, stiffness: Array) -> Array:
    """argmax_h 2 pull phi(h) - stiffness (h - centre)^2, entry by entry (theory section 3.3: the psi_p of the output view).

    On an affine piece the maximiser is the clipped stationary point, so the best of the pieces is exact.
    """
    pieces = activation.pieces
    assert pieces is not None
    best_h, best_value = np.array(centre), np.full(centre.shape, -np.inf)
    for piece in pieces:
        slope = float(piece.slope)
        h = centre + slope * pull / stiffness
        if piece.left is not None:
            h = np.maximum(h, float(piece.left))
        if piece.right is not None:
            h = np.minimum(h, float(piece.right))
        value = 2.0 * pull * (slope * h + float(piece.intercept)) - stiffness * np.square(h - centre)
        better = value > best_value
        best_h = np.where(better, h, best_h)
        best_value = np.where(better, value, best_value)
    return best_h


@dataclass(frozen=True)
class SmoothActivation:
    """phi with each kink t_k rounded: slope change times (x + sqrt(x^2 + eps^2)) / 2 at x = t - t_k; exact at eps = 0.

    |phi_eps - phi| <= eps / 2 times the sum of the slope changes. Smooth activations are passed through unchanged.
    """

    activation: Activation
    eps: float

    @property
    def exact(self) -> bool:
        """Whether this is the activation itself."""
        return self.eps == 0.0 or self.activation.pieces is None

    def both(self, h: Array) -> tuple[Array, Array]:
        """Value and derivative at h."""
        pieces = self.activation.pieces
        if self.exact or pieces is None:
            return self.activation.value(h), self.activation.derivative(h)
        if h.ndim == 2 and h.size > 2 * BLOCK:  # rows by rows: the passes below stay in the processor's cache
            value, slope = np.empty(h.shape), np.empty(h.shape)
            rows = max(1, BLOCK // h.shape[1])
            for begin in range(0, h.shape[0], rows):
                part = slice(begin, begin + rows)
                value[part], slope[part] = self._rounded(h[part])
            return value, slope
        return self._rounded(h)

    def _rounded(self, h: Array) -> tuple[Array, Array]:
        pieces = self.activation.pieces or ()
        value = float(pieces[0].slope) * h
        slope = np.full(h.shape, float(pieces[0].slope))
        value += float(pieces[0].intercept)
        for before, after in itertools.pairwise(pieces):
            assert after.left is not None
            change = float(after.slope - before.slope)
            x = h - float(after.left)
            root = np.square(x)
            root += self.eps * self.eps
            np.sqrt(root, out=root)
            value += (0.5 * change) * (x + root)
            x /= root
            x += 1.0
            x *= 0.5 * change
            slope += x
        return value, slope

    def three(self, h: Array) -> tuple[Array, Array, Array]:
        """Value, derivative and second derivative at h, for eps > 0 and piecewise linear phi."""
        value, slope = self.both(h)
        bend = np.zeros(h.shape)
        pieces = self.activation.pieces or ()
        for before, after in itertools.pairwise(pieces):
            assert after.left is not None
            x = h - float(after.left)
            square = np.square(x) + self.eps * self.eps
            bend += (0.5 * float(after.slope - before.slope) * self.eps * self.eps) / (square * np.sqrt(square))
        return value, slope, bend

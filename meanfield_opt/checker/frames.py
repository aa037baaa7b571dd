"""Boxes of weights and cells of long neurons: a centre m, a frame E and radii with theta = m + E d, |d_i| <= rad_i.

A cell of the face theta_i = s rho of a growing cube holds rho omega with rho in [lo_i, hi_i], omega_i = s and omega_j in [lo_j, hi_j].
Around (rho_m, w) it is rho_m w + (rho - rho_m) w + rho (omega - w): the frame is the identity with w for its column i. A plain box
has the identity alone. ``face``: -1 for boxes, else 2 i + (s < 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..rounding import down, matmul_bounds, up

Array = NDArray[np.float64]
Faces = NDArray[np.int64]

#: stands for what underflows; far above what it does
VANISHED = 2.0**-1000
#: how much less the length of a cell counts than its breadth, where it is to be cut: long neurons are scaled ones
ALONG = 0.5


@dataclass(frozen=True, eq=False)
class Cells:
    """n boxes or cells: lo and hi (n, r), face (n,)."""

    lo: Array
    hi: Array
    face: Faces

    @property
    def size(self) -> int:
        return int(self.face.size)

    def __getitem__(self, chosen: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Cells:
        return Cells(self.lo[chosen], self.hi[chosen], self.face[chosen])

    @property
    def axis(self) -> tuple[Faces, NDArray[np.bool_], Array]:
        """(i, whether it is a plain box, s) of each; i = 0 and s = 1 for boxes."""
        plain = self.face < 0
        return np.where(plain, 0, self.face // 2), plain, np.where(~plain & (self.face % 2 == 1), -1.0, 1.0)

    def halves(self, rows: Array) -> Cells | None:
        """Both halves of each, across the side along which patterns differ most; None where a side has no middle."""
        k, (axis, plain, _) = np.arange(self.size), self.axis
        wide = (self.hi - self.lo) * (np.sqrt(np.square(rows).sum(axis=0)) + 1e-300)
        top = np.where(plain, 1.0, self.hi[k, axis])
        wide = wide * top[:, None]
        along = wide[k, axis] / top * ALONG
        wide[k, axis] = np.where(plain, wide[k, axis], along)
        cut = np.argmax(wide, axis=1)
        low, high = self.lo[k, cut], self.hi[k, cut]
        middle = np.where(~plain & (cut == axis), np.sqrt(np.abs(low)) * np.sqrt(np.abs(high)), 0.5 * low + 0.5 * high)
        if not ((middle > low) & (middle < high)).all():
            return None
        lower, upper = self.hi.copy(), self.lo.copy()
        lower[k, cut], upper[k, cut] = middle, middle
        both = np.concatenate([self.face, self.face])
        return Cells(np.concatenate([self.lo, upper]), np.concatenate([lower, self.hi]), both)

    def least(self) -> Array:
        """Lower bounds of |theta_l| (n, r)."""
        k, (axis, plain, _) = np.arange(self.size), self.axis
        near = np.where(self.lo > 0, self.lo, np.where(self.hi < 0, -self.hi, 0.0))
        length = self.lo[k, axis]
        scaled = np.maximum(down(near * length[:, None]), 0.0)
        scaled[k, axis] = length
        return np.where(plain[:, None], near, scaled)


def joined(parts: list[Cells]) -> Cells:
    """All of them in one."""
    return Cells(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("lo", "hi", "face")))


@dataclass(frozen=True, eq=False)
class Placed:
    """Centres m (n, r); frames E (n, r, r); radii of d (n, r); radii |theta - m| <= reach (n, r) of the cells."""

    mid: Array
    frame: Array
    rad: Array
    reach: Array
    direction: Array
    axis: Faces

    def spread(self, rows: Array) -> tuple[Array, Array]:
        """Bounds (n, P) on |a_p . (theta - m)| and on sum_l |a_pl| |theta_l - m_l|."""
        k = np.arange(self.axis.size)
        others = self.rad.copy()
        others[k, self.axis] = 0.0
        lo, hi = matmul_bounds(self.direction, rows.T)
        along = up(np.maximum(np.abs(lo), np.abs(hi)) * self.rad[k, self.axis, None])
        _, across = matmul_bounds(others, np.abs(rows).T)
        _, wide = matmul_bounds(self.reach, np.abs(rows).T)
        return up(along + across), wide


def placed(cells: Cells) -> Placed:
    """Centres and frames, with radii that cover the cells."""
    n, r = cells.lo.shape
    k, (axis, plain, sign) = np.arange(n), cells.axis
    mid = 0.5 * cells.lo + 0.5 * cells.hi
    rad = up(np.maximum(up(cells.hi - mid), up(mid - cells.lo)))
    direction = np.where(plain[:, None], 0.0, mid)
    direction[k, axis] = sign
    length, top = mid[k, axis], cells.hi[k, axis]
    centre = np.where(plain[:, None], mid, length[:, None] * direction)
    # rho (omega - w), and the rounding of rho_m w
    moved = up(up(top[:, None] * rad) + up(2.0**-52 * np.abs(centre) + VANISHED))
    moved[k, axis] = rad[k, axis]
    rad = np.where(plain[:, None], rad, moved)
    frame = np.tile(np.eye(r), (n, 1, 1))
    frame[k, :, axis] = direction
    reach = up(np.abs(direction) * rad[k, axis, None])
    others = rad.copy()
    others[k, axis] = 0.0
    return Placed(centre, frame, rad, up(reach + others), direction, axis)

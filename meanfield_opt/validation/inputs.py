"""Explicit network inputs for any input geometry: K_X = A A^T, with the constant column of A taken as the bias."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..geometry import Geometry

Array = NDArray[np.float64]

#: entries of the explicit factor A (P x r) beyond which no network is built (1 GiB in float64)
FACTOR_LIMIT = 2**27


@dataclass(frozen=True, eq=False)
class NetworkInputs:
    """What a two-layer network sees: ``rows`` (P, d_X), one sample a row, and whether its hidden layer has a bias.

    ``columns`` (d_X,) are the coordinates of theta in R^r that multiply the rows; ``bias`` is the coordinate of the
    bias, or None.
    """

    rows: Array
    columns: NDArray[np.intp]
    bias: int | None

    @property
    def n_parameters(self) -> int:
        """r."""
        return int(self.columns.size) + (self.bias is not None)

    def join(self, weight: Array, offset: Array | None) -> Array:
        """theta (M, r) of hidden weights (M, d_X) and biases (M,)."""
        theta = np.zeros((weight.shape[0], self.n_parameters))
        theta[:, self.columns] = weight
        if offset is not None:
            if self.bias is None:
                raise InputError("the network has a hidden bias but the problem has none; build it with bias=False.")
            theta[:, self.bias] = offset
        return theta

    def split(self, theta: Array) -> tuple[Array, Array | None]:
        """Hidden weights (M, d_X) and biases (M,) (None without a bias) of theta (M, r)."""
        return theta[:, self.columns], None if self.bias is None else theta[:, self.bias]


def network_inputs(geometry: Geometry) -> NetworkInputs:
    """The inputs of a network whose input kernel (bias included) is K_X.

    For data this is X itself; for a geometry given by its kernel alone, the rows of a factor of it. The last constant
    column of ones, if there is one, is the bias. Raises InputError when A would be too large to write down.
    """
    p, r = geometry.n_samples, geometry.n_parameters
    if p * r > FACTOR_LIMIT:
        raise InputError(
            f"an explicit network needs a {p} x {r} input array; at most {FACTOR_LIMIT} entries are supported. "
            "Take a smaller problem."
        )
    factor = geometry.preactivation(np.eye(r)).T
    constant = np.flatnonzero((factor == 1.0).all(axis=0))
    bias = int(constant[-1]) if constant.size else None
    columns = np.array([j for j in range(r) if j != bias], dtype=np.intp)
    return NetworkInputs(np.ascontiguousarray(factor[:, columns]), columns, bias)

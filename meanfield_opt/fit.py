"""The inner problem: best output weights for fixed features."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

from .errors import InputError
from .loss import Loss
from .losses.squared import Squared

Array = NDArray[np.float64]


def best_readout(loss: Loss, features: Array, targets: Array, ridge: float, start: Array | None = None) -> Array:
    """argmin_V L(V Phi; Y) + ridge |V|^2 with Phi (J, P) and V (d_Y, J).

    Squared loss: ridge regression in whichever of J and P is smaller. Others: L-BFGS (smooth losses).
    """
    if isinstance(loss, Squared):
        j, p = features.shape
        if j <= p:
            gram = features @ features.T
            gram[np.diag_indices(j)] += ridge
            return np.asarray(linalg.solve(gram, features @ targets.T, assume_a="pos").T)
        gram = features.T @ features
        gram[np.diag_indices(p)] += ridge
        return np.asarray(linalg.solve(gram, targets.T, assume_a="pos").T @ features.T)
    if not math.isfinite(loss.curvature()):
        raise InputError(f"the {loss.name} loss is not smooth; no routine for its output weights is available here.")
    shape = (targets.shape[0], features.shape[0])

    def objective(flat: Array) -> tuple[float, Array]:
        v = flat.reshape(shape)
        f = v @ features
        value = loss.value(f, targets) + ridge * float(np.vdot(v, v))
        return value, (loss.gradient(f, targets) @ features.T + 2.0 * ridge * v).ravel()

    first = np.zeros(shape) if start is None else start
    result = optimize.minimize(
        objective, first.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-16, "gtol": 1e-11}
    )
    return np.asarray(result.x).reshape(shape)

"""Neural collapse of last-layer features (Papyan, Han and Donoho 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..conditions import find_conditions
from ..errors import InputError, UndefinedMetricError
from ..validate import real_array

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Collapse:
    """variability (NC1): tr(S_W S_B^+) / C. norms (NC2): coefficient of variation of centred class-mean norms.
    angles (NC2): mean |cos + 1/(C-1)| over pairs of centred class means, 0 for a simplex. duality (NC3): distance of
    the normalised read-out from the normalised class means (None without a read-out, or where its rows are not
    classes). nearest (NC4): share of samples nearest to their own class mean.
    """

    variability: float
    norms: float
    angles: float
    duality: float | None
    nearest: float


def neural_collapse(activations: ArrayLike, Y: ArrayLike, readout: ArrayLike | None = None) -> Collapse:
    """Collapse of activations (P, N) onto the classes of Y (d_Y, P) (distinct columns); readout (C, N) in class order.

    Classes come sorted by their label vectors. Raises UndefinedMetricError for fewer than two classes or means that
    coincide.
    """
    x = real_array(activations, "activations", ndim=2)
    y = real_array(Y, "Y", ndim=2)
    if y.shape[1] != x.shape[0]:
        raise InputError(f"Y must be (d_Y, P) with P = {x.shape[0]}; its shape is {y.shape}.")
    found = find_conditions(y)
    c = found.n_conditions
    if c < 2:
        raise UndefinedMetricError("neural collapse needs at least two classes.")
    means = found.mean_rows(x)
    centred = means - means.mean(axis=0)
    norm = np.linalg.norm(centred, axis=1)
    if not (norm > 1e-12 * max(float(np.abs(x).max()), 1e-300)).all():
        raise UndefinedMetricError("a class mean coincides with the global mean.")
    rest = x - means[found.index]
    within = rest.T @ rest / x.shape[0]
    between = centred.T @ centred / c
    unit = centred / norm[:, None]
    off = (unit @ unit.T)[~np.eye(c, dtype=bool)]
    nearest = np.square(x[:, None, :] - means[None]).sum(axis=2).argmin(axis=1)
    duality = None
    if readout is not None:
        w = real_array(readout, "readout", ndim=2)
        if w.shape == centred.shape:
            duality = float(np.linalg.norm(w / np.linalg.norm(w) - centred / np.linalg.norm(centred)))
    return Collapse(
        float(np.trace(within @ np.linalg.pinv(between, rcond=1e-10, hermitian=True)) / c),
        float(norm.std() / norm.mean()),
        float(np.abs(off + 1.0 / (c - 1)).mean()),
        duality,
        float((nearest == found.index).mean()),
    )

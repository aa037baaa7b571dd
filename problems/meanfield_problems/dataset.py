"""Any data given as arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meanfield_opt.activation import Activation
from meanfield_opt.errors import InputError
from meanfield_opt.geometry import FactorGeometry, FreeBiasGeometry, Geometry, features_with_bias
from meanfield_opt.loss import Loss
from meanfield_opt.losses.output_bias import OutputBias
from meanfield_opt.plugins import activation as find_activation
from meanfield_opt.plugins import loss as find_loss
from meanfield_opt.problem import TwoLayerProblem, check_penalty_product
from meanfield_opt.validate import nonnegative, positive, real_array

LARGEST_ENTRY = 1e151


def dataset(
    X: ArrayLike,
    Y: ArrayLike,
    *,
    activation: str | Activation = "relu",
    loss: str | Loss = "squared",
    lambda1: float = 0.01,
    lambda2: float = 0.01,
    bias: bool = True,
    bias_penalty: float | None = None,
    output_bias: float | None = None,
    width: float | None = None,
    name: str = "dataset",
) -> TwoLayerProblem:
    """The training problem on samples X (P, d_X) in rows, as in scikit-learn, and targets Y (P, d_Y) or (P,).

    bias adds a regularised bias to the hidden layer, of penalty lambda1 or ``bias_penalty`` (0: unpenalised, which needs
    output_bias=0.0 and an activation of degree 1). output_bias: None for none, else its penalty (0: free). Raises InputError for bad shapes, NaN, constant labels, ...
    """
    x = real_array(X, "X", ndim=(1, 2))
    x = x[:, None] if x.ndim == 1 else x
    y = real_array(Y, "Y", ndim=(1, 2))
    y = y[:, None] if y.ndim == 1 else y
    if x.shape[0] != y.shape[0]:
        raise InputError(f"X has {x.shape[0]} samples and Y has {y.shape[0]}; they must agree.")
    for array, letter in ((x, "X"), (y, "Y")):
        if float(np.abs(array).max()) > LARGEST_ENTRY:
            raise InputError(f"{letter} has entries above {LARGEST_ENTRY:g}, whose squares overflow; scale them down.")
    if x.shape[0] < 2:
        raise InputError("a dataset needs at least 2 samples.")
    if (np.ptp(y, axis=0) == 0).any():
        column = int(np.flatnonzero(np.ptp(y, axis=0) == 0)[0])
        raise InputError(f"target column {column} of Y is constant; there is nothing to learn from it.")
    positive(lambda1, "lambda1")
    positive(lambda2, "lambda2")
    check_penalty_product(lambda1, lambda2)
    geometry = input_geometry(x, bias, lambda1, bias_penalty)
    if output_bias is not None:
        loss = OutputBias(find_loss(loss), nonnegative(output_bias, "output_bias"))
    if not x.any() and not bias:
        raise InputError("all inputs are zero and there is no bias; no network can respond to them.")
    return TwoLayerProblem(
        find_activation(activation),
        find_loss(loss),
        geometry,
        y.T.copy(),
        lambda1,
        lambda2,
        width,
        name,
    )


def input_geometry(x: NDArray[np.float64], bias: bool, lambda1: float, penalty: float | None) -> Geometry:
    """X with the column that stands for the hidden bias: c 1 makes its penalty lambda1 / c^2, exactly, for the float c
    = sqrt(lambda1 / penalty). penalty 0: a bias that costs nothing."""
    if penalty is not None and not bias:
        raise InputError("bias_penalty was given, but bias=False: there is no hidden bias to penalise.")
    if penalty is None:
        return FactorGeometry(features_with_bias(x, bias=bias))
    if nonnegative(penalty, "bias_penalty") == 0:
        return FreeBiasGeometry(x)
    column = (lambda1 / penalty) ** 0.5
    if not 1e-100 < column < 1e100:
        raise InputError(f"bias_penalty = {penalty:g} is too far from lambda1 = {lambda1:g}.")
    return FactorGeometry(np.hstack([x, np.full((x.shape[0], 1), column)]))

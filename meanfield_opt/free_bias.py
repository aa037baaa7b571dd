"""An unpenalised hidden bias, by way of the same problem with a bias of very small penalty.

Needs phi with one kink, at 0 (degree 1), and a free output bias, so that Z 1 = 0. With R = max_p |x_p| a neuron of |b| >
R |w| sees all samples on one side of its kink: it responds like one of |b| = R |w|, because constants do not count. Hence
biases beyond R |w| gain nothing, the infimum is attained, and a penalty lambda1 / c^2 on the bias changes no neuron's cost
by more than the factor 1 + (R / c)^2. So any backend and any engine for the surrogate serves; ``checker.free_bias``
has the bound. The upper bound is the energy itself, in which the bias costs nothing.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .checker.free_bias import surrogate_of
from .checker.slopes import float_slopes
from .errors import InputError
from .geometry import FreeBiasGeometry
from .losses.output_bias import OutputBias
from .measure import Measure
from .problem import TwoLayerProblem

Array = NDArray[np.float64]

#: c / R: the bound loses the square of its inverse, the engines' rounding grows with it
REACH = 1e4


def refusal(problem: TwoLayerProblem) -> str | None:
    """Why a problem cannot have an unpenalised hidden bias, or None."""
    if not isinstance(problem.geometry, FreeBiasGeometry):
        return None
    if not (isinstance(problem.loss, OutputBias) and problem.loss.penalty == 0.0):
        return (
            "without a free output bias a neuron of vanishing input weights gives a constant for nothing, so that the "
            "infimum is not attained; give output_bias=0.0 too, or a small bias_penalty."
        )
    if float_slopes(problem) is None:
        return (
            f"neurons of {problem.activation.name} with ever larger biases are not equivalent to bounded ones; it takes "
            "relu, leaky_relu, absolute and linear (degree 1). Use a small bias_penalty."
        )
    return None


def surrogate(problem: TwoLayerProblem) -> TwoLayerProblem:
    """The same problem with a bias of very small penalty, on centred inputs."""
    centre, column = shift_and_column(problem)
    return surrogate_of(problem, centre, column)


def shift_and_column(problem: TwoLayerProblem) -> tuple[Array, float]:
    """(m, c): the point (d_X,) that the inputs are centred at, and the column c 1 that stands for the bias."""
    space = problem.geometry
    assert isinstance(space, FreeBiasGeometry)
    centre = space.inputs.mean(axis=0)
    reach = float(np.sqrt(np.max(np.sum(np.square(space.inputs - centre), axis=1))))
    if not 1e-100 < reach < 1e100:
        raise InputError(f"the inputs differ by {reach:.3g} only, or by too much; no hidden layer can tell them apart.")
    return centre, 2.0 ** round(math.log2(REACH * reach))


def lifted(problem: TwoLayerProblem, measure: Measure) -> Measure:
    """A measure of the surrogate as one of the problem: neurons (w, beta) of bias c beta on inputs centred at m."""
    centre, column = shift_and_column(problem)
    theta = measure.neurons
    if theta is None:
        theta = surrogate(problem).geometry.weights(measure.atoms)
    w = theta[:, :-1]
    neurons = np.hstack([w, column * theta[:, -1:] - (w @ centre)[:, None]])
    return Measure(problem.geometry.preactivation(neurons), measure.masses, neurons)


def lowered(problem: TwoLayerProblem, measure: Measure) -> Measure:
    """The inverse of ``lifted``."""
    centre, column = shift_and_column(problem)
    theta = problem.geometry.weights(measure.atoms) if measure.neurons is None else measure.neurons
    w = theta[:, :-1]
    neurons = np.hstack([w, (theta[:, -1:] + (w @ centre)[:, None]) / column])
    small = surrogate(problem)
    return Measure(small.geometry.preactivation(neurons), measure.masses, neurons)

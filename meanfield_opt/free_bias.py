"""An unpenalised hidden bias, by way of the same problem with a bias of very small penalty.

Needs phi with one kink, at 0 (degree 1), and a free output bias, so that Z 1 = 0. With R = max_p |x_p| a neuron of |b| >
R |w| sees all samples on one side of its kink: it responds like one of |b| = R |w|, because constants do not count. Hence
biases beyond R |w| gain nothing, the infimum is attained, and a penalty lambda1 / c^2 on the bias changes no neuron's cost
by more than the factor 1 + (R / c)^2. So any backend and any engine for the surrogate serves; ``checker.free_bias``
has the bound. The upper bound is the energy itself, in which the bias costs nothing.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .checker.free_bias import surrogate_of
from .checker.slopes import float_slopes
from .errors import InputError
from .geometry import FreeBiasGeometry
from .losses.output_bias import OutputBias
from .measure import Measure
from .problem import TwoLayerProblem
from .solution import Solution

if TYPE_CHECKING:
    from .backend import Backend, SolveOptions

Array = NDArray[np.float64]

#: c / R of the surrogate: the bound loses the square of its inverse, the engines' slack grows with its square
REACH = 2.0**10
#: c / R that solving starts from: column generation crawls on columns of very different size
FIRST = 32.0


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


def surrogate(problem: TwoLayerProblem, reach: float = REACH) -> TwoLayerProblem:
    """The same problem with a bias of very small penalty, on centred inputs."""
    return surrogate_of(problem, *shift_and_column(problem, reach))


def shift_and_column(problem: TwoLayerProblem, reach: float = REACH) -> tuple[Array, float]:
    """(m, c): the point (d_X,) that the inputs are centred at, and the column c 1 that stands for the bias."""
    space = problem.geometry
    assert isinstance(space, FreeBiasGeometry)
    centre = space.inputs.mean(axis=0)
    size = float(np.sqrt(np.max(np.sum(np.square(space.inputs - centre), axis=1))))
    if not 1e-100 < size < 1e100:
        raise InputError(f"the inputs differ by {size:.3g} only, or by too much; no hidden layer can tell them apart.")
    return centre, 2.0 ** round(math.log2(reach * size))


def solve_free_bias(backend: Backend, problem: TwoLayerProblem, options: SolveOptions) -> Solution:
    """The backend's solution of the surrogate as one of the problem, by way of a surrogate that is easier to solve."""
    start = options.start
    found: Solution | None = None
    for reach, share in ((FIRST, 0.5), (REACH, 1.0)) if start is None else ((REACH, 1.0),):
        posed = surrogate(problem, reach)
        begin = None if start is None else lowered(problem, start, reach)
        spent = 0.0 if found is None else float(found.stats.get("seconds", 0.0))
        left = max(share * options.time_limit - spent, 1e-3)
        found = backend.solve(posed, replace(options, start=begin, time_limit=left))
        start = lifted(problem, found.measure, reach)
    assert found is not None
    assert start is not None
    return replace(found, problem=problem, measure=problem.within_width(start))


def lifted(problem: TwoLayerProblem, measure: Measure, reach: float) -> Measure:
    """A measure of the surrogate as one of the problem: neurons (w, beta) of bias c beta on inputs centred at m."""
    theta = measure.neurons
    if theta is None:
        theta = surrogate(problem, reach).geometry.weights(measure.atoms)
    neurons = lifted_neurons(problem, theta, reach)
    return Measure(problem.geometry.preactivation(neurons), measure.masses, neurons)


def lifted_neurons(problem: TwoLayerProblem, theta: Array, reach: float) -> Array:
    """(w, b) of neurons (w, beta) of the surrogate, (J, r)."""
    centre, column = shift_and_column(problem, reach)
    w = theta[:, :-1]
    return np.hstack([w, column * theta[:, -1:] - (w @ centre)[:, None]])


def lowered(problem: TwoLayerProblem, measure: Measure, reach: float) -> Measure:
    """The inverse of ``lifted``."""
    centre, column = shift_and_column(problem, reach)
    theta = problem.geometry.weights(measure.atoms) if measure.neurons is None else measure.neurons
    w = theta[:, :-1]
    neurons = np.hstack([w, (theta[:, -1:] + (w @ centre)[:, None]) / column])
    return Measure(surrogate(problem, reach).geometry.preactivation(neurons), measure.masses, neurons)

"""From a candidate that is not optimal to a measure that is proved better, and the neuron that improves it."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..checker.bounds import energy_upper
from ..checker.refute import measure_energy_lower
from ..free_bias import FIRST, lifted, lifted_neurons, lowered, surrogate
from ..measure import Measure
from ..problem import TwoLayerProblem
from .improve import Refutation, reoptimised, violating_neurons, with_neurons, worst_first

if TYPE_CHECKING:
    from .record import Certificate

Array = NDArray[np.float64]


def refuted(
    problem: TwoLayerProblem, certificate: Certificate, dual: Array, threshold: float, *, seconds: float
) -> Certificate:
    """The certificate with verdict "refuted" if some measure is proved better by more than the threshold."""
    deadline = time.monotonic() + seconds
    least = measure_energy_lower(problem, certificate.measure)
    if not math.isfinite(least):
        return certificate
    if problem.geometry.free_parameters:
        return _free_bias(problem, certificate, dual, least, threshold, deadline)
    current, neuron = certificate.measure, certificate.neuron
    for attempt in range(6):
        z = dual if attempt == 0 else problem.dual_point(current)
        found = violating_neurons(problem, z, seed=attempt)
        if attempt == 0:
            found = worst_first(problem, z, _with_row(found, neuron))
            neuron = found[0] if found.shape[0] else neuron
        mass = 0.1 * float(np.mean(current.masses)) if current.n_atoms else 1.0
        if problem.width is not None:
            mass = min(mass, problem.width / 100)
        start = with_neurons(problem, current, found, mass) if found.shape[0] else current
        if problem.width is not None and start.total_mass > problem.width:
            start = Measure(start.atoms, start.masses * (problem.width / start.total_mass), start.neurons)
        current = reoptimised(problem, start)
        better, upper = energy_upper(problem, current)
        if upper < least - threshold * abs(least):
            return replace(certificate, verdict="refuted", neuron=neuron, refutation=Refutation(better, upper, least))
        if time.monotonic() > deadline:
            break
    return replace(certificate, neuron=neuron)


def _free_bias(
    problem: TwoLayerProblem, certificate: Certificate, dual: Array, least: float, threshold: float, deadline: float
) -> Certificate:
    """The same where the hidden bias costs nothing: neurons are looked for with a cheap bias, energies are the problem's own."""
    free = problem.with_free_mass()
    posed = surrogate(free, FIRST)
    current, neuron = lowered(free, certificate.measure, FIRST), certificate.neuron
    for attempt in range(6):
        z = dual if attempt == 0 else free.dual_point(lifted(free, current, FIRST))
        found = violating_neurons(posed, z, seed=attempt)
        if attempt == 0 and found.shape[0]:
            neuron = worst_first(problem, z, _with_row(lifted_neurons(free, found, FIRST), neuron))[0]
        mass = 0.1 * float(np.mean(current.masses)) if current.n_atoms else 1.0
        current = reoptimised(posed, with_neurons(posed, current, found, mass) if found.shape[0] else current)
        better, upper = energy_upper(problem, problem.within_width(lifted(free, current, FIRST)))
        if upper < least - threshold * abs(least):
            return replace(certificate, verdict="refuted", neuron=neuron, refutation=Refutation(better, upper, least))
        if time.monotonic() > deadline:
            break
    return replace(certificate, neuron=neuron)


def _with_row(rows: Array, row: Array | None) -> Array:
    """The rows with one more in front, where it is of their length (an engine may work on other parameters)."""
    return rows if row is None or row.shape != rows.shape[1:] else np.vstack([row[None, :], rows])

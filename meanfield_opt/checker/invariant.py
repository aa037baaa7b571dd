"""Energies and dual values of hypercube tasks from a few numbers: nothing of length P is formed.

The samples carry every sign vector equally often (verified in ``hypercube``), so the characters chi_S, S a set of
labels, are orthogonal and sums over samples are sums over tables. All arithmetic is in exact rationals.
"""

from __future__ import annotations

import math
import sys
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ..activation import Activation
from ..label_patterns import LabelPatterns
from ..measure import Measure
from ..problem import TwoLayerProblem
from ..rounding import down, up
from .hypercube import Hypercube, hypercube_of, scales_of

Array = NDArray[np.float64]
Spectrum = dict[frozenset[int], Fraction]


def spectrum(labels: tuple[int, ...], table: list[Fraction]) -> Spectrum:
    """Coefficients f_S of a table over some labels: f = sum_S f_S chi_S; zeros are left out."""
    values = list(table)
    step = 1
    while step < len(values):  # fast Walsh-Hadamard transform
        for start in range(0, len(values), 2 * step):
            for k in range(start, start + step):
                values[k], values[k + step] = values[k] + values[k + step], values[k] - values[k + step]
        step *= 2
    out: Spectrum = {}
    for code, value in enumerate(values):
        if value:
            out[frozenset(label for bit, label in enumerate(labels) if code >> bit & 1)] = value / len(values)
    return out


def invariant_cost(cube: Hypercube, pattern: Spectrum) -> Fraction | None:
    """c(h) = h^T K_X^+ h exactly; None where h is outside the range of K_X."""
    total = Fraction(0)
    for characters, value in pattern.items():
        eigenvalue = cube.ridge
        if len(characters) == 0:
            eigenvalue += cube.samples * cube.constant
        elif len(characters) == 1:
            eigenvalue += cube.samples * cube.weights[next(iter(characters))]
        if eigenvalue == 0:
            return None
        total += value**2 / eigenvalue
    return cube.samples * total


def exact_values(activation: Activation, points: list[Fraction]) -> list[Fraction] | None:
    """phi at rational points, exactly; None for an activation that is not piecewise linear."""
    pieces = activation.pieces
    if pieces is None:
        return None
    out = []
    for t in points:
        piece = next(p for p in pieces if p.right is None or t <= p.right)
        out.append(piece.slope * t + piece.intercept)
    return out


def invariant_energy_upper(problem: TwoLayerProblem, measure: Measure) -> float | None:
    """Rigorous upper bound on the energy of a measure on label patterns, with its own readout; see ``tables_energy_upper``."""
    if measure.compact is None or measure.readout is None:
        return None
    return tables_energy_upper(problem, measure.compact, measure.masses, measure.readout)


def tables_energy_upper(
    problem: TwoLayerProblem, compact: LabelPatterns, masses: Array, readout: Array
) -> float | None:
    """Rigorous upper bound on the energy of patterns over few labels, masses (J,) > 0, readout (d_Y, J).

    None where this reduction does not apply: other data, an activation without exact values, outputs that are not
    multiples of the labels under a loss other than the squared one.
    """
    if not problem.loss.entrywise:
        return None
    cube = hypercube_of(problem)
    if cube is None or any(max(chosen, default=0) >= cube.labels for chosen in compact.labels):
        return None
    v = readout * masses
    if not np.isfinite(v).all():
        return None
    outputs: dict[tuple[int, frozenset[int]], Fraction] = {}
    penalty = Fraction(0)
    l1, l2 = Fraction(problem.lambda1), Fraction(problem.lambda2)
    for j, (chosen, table) in enumerate(zip(compact.labels, compact.tables)):
        mass = Fraction(float(masses[j]))
        exact = [Fraction(x) for x in table]
        values = exact_values(problem.activation, exact)
        cost = invariant_cost(cube, spectrum(chosen, exact))
        if values is None or cost is None or mass <= 0:
            return None
        penalty += l1 * mass * cost
        features = spectrum(chosen, values)
        for k in np.flatnonzero(v[:, j]):
            weight = Fraction(float(v[k, j]))
            penalty += l2 * weight**2 / mass
            for characters, value in features.items():
                key = (int(k), characters)
                outputs[key] = outputs.get(key, Fraction(0)) + weight * value
    loss = _loss_upper(problem, cube, outputs)
    return None if loss is None else _round_up(penalty + loss)


def _loss_upper(
    problem: TwoLayerProblem, cube: Hypercube, outputs: dict[tuple[int, frozenset[int]], Fraction]
) -> Fraction | None:
    own = [outputs.pop((k, frozenset([k])), Fraction(0)) for k in range(cube.labels)]
    rest = sum((value**2 for value in outputs.values()), Fraction(0))
    if problem.loss.name == "squared":
        return cube.samples * (rest + sum(((1 - f) ** 2 for f in own), Fraction(0)))
    if rest:
        return None
    f = np.array([_round_up(x) for x in own])
    signs = _signs(cube.labels)
    upper = problem.loss.value_upper(down(f[:, None] * signs), up(f[:, None] * signs), signs)
    return Fraction(upper) * cube.samples / 2 if math.isfinite(upper) else None


def _signs(labels: int) -> Array:
    """Two samples that stand for all: every label +1, every label -1."""
    return np.repeat([[1.0, -1.0]], labels, axis=0)


def invariant_dual(problem: TwoLayerProblem, dual: Array) -> tuple[Array, Array] | None:
    """(Z, Y) on two samples, with D(Z) = P / 2 times their dual value, for Z = diag(zeta) Y; None for other data."""
    if not problem.loss.entrywise or hypercube_of(problem) is None:
        return None
    zeta = scales_of(dual, problem.targets)
    if zeta is None:
        return None
    signs = _signs(len(zeta))
    return np.array(zeta)[:, None] * signs, signs


def invariant_dual_lower(problem: TwoLayerProblem, dual: Array, scale: float) -> float | None:
    """Rigorous lower bound on D(scale Z) for Z = diag(zeta) Y; None where the reduction does not apply."""
    small = invariant_dual(problem, dual)
    if small is None:
        return None
    lower = problem.loss.dual_lower(*small, scale)
    if not math.isfinite(lower):
        return -math.inf
    return -_round_up(-Fraction(lower) * problem.n_samples / 2)


def _round_up(x: Fraction) -> float:
    """The least float at least x, or the next; inf on overflow."""
    try:
        y = float(x)
    except OverflowError:
        return math.inf if x > 0 else -sys.float_info.max
    return y if Fraction(y) >= x else math.nextafter(y, math.inf)

"""Networks of integer width: an actual M-neuron network near a measure, and a rigorous bound on its energy.

A measure with a width M is a relaxation of networks with M neurons unless its masses are whole numbers (theory section
1). Here masses are rounded to neurons and both layers are then polished, so that the upper end means a network, too.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from .checker.bounds import energy_upper
from .errors import InputError
from .measure import Measure
from .problem import TwoLayerProblem
from .solution import Solution
from .threads import blas_threads, entries_of
from .validate import integer

MOST_STARTS = 100_000

Array = NDArray[np.float64]
log = logging.getLogger(__name__)

#: perturbations of the polished starts, relative to the neurons
SPREADS = (0.0, 1e-2, 0.1, 0.4)


@dataclass(frozen=True, eq=False)
class IntegerWidth:
    """A network of at most ``neurons`` neurons as a measure of unit masses.

    upper_bound: a rigorous upper bound on its energy, and so on the least energy of networks of that width. Every lower
    bound on the measure problem with that width is one on the same number.
    """

    problem: TwoLayerProblem
    measure: Measure
    neurons: int
    upper_bound: float

    @property
    def energy(self) -> float:
        """The energy in floating point."""
        return self.problem.energy(self.measure)

    def relative_gap(self, lower_bound: float) -> float:
        """(upper - lower) / max(1e-300, |upper|) against a lower bound, such as ``certificate.lower_bound``."""
        return (self.upper_bound - lower_bound) / max(1e-300, abs(self.upper_bound))


def integer_width(
    problem: TwoLayerProblem,
    candidate: Solution | Measure,
    neurons: int | None = None,
    *,
    starts: int = 12,
    seed: int = 0,
) -> IntegerWidth:
    """A network of at most ``neurons`` neurons (default: the problem's width, rounded down) of low energy.

    Masses are rounded (antipodal atoms of an odd activation count together; for degree 1 the mass goes into the
    neuron), then both layers are polished by L-BFGS from ``starts`` perturbed roundings; the best is bounded
    rigorously. A proposal: nothing says that no better network exists beyond the lower bound of a certificate.
    """
    if not isinstance(problem, TwoLayerProblem):
        raise InputError(f"integer_width needs a two-layer problem, not {type(problem).__name__}.")
    integer(starts, "starts", least=1, most=MOST_STARTS)
    integer(seed, "seed", least=0)
    measure = candidate.measure if isinstance(candidate, Solution) else candidate
    if not isinstance(measure, Measure) or measure.atoms.shape[1] != problem.n_samples:
        raise InputError("integer_width needs a Solution or a Measure over the problem's samples.")
    if neurons is None:
        if problem.width is None:
            raise InputError("the problem has no width; give neurons=M.")
        neurons = math.floor(problem.width)
    count = integer(neurons, "neurons", least=0)
    if count < 1:
        raise InputError(f"a network needs at least one neuron; the width {problem.width} leaves none.")
    if problem.width is not None and count > problem.width:
        raise InputError(f"{count} neurons are more than the width {problem.width:g} of the problem.")
    with blas_threads(entries_of(problem)):
        theta = _best(problem, measure, count, starts, seed)
        # at most ``count`` unit masses are within the width by counting; a rounded sum of them would not be
        network, upper = energy_upper(problem.with_free_mass(), _network(problem, theta))
    return IntegerWidth(problem, network, count, upper)


def _best(problem: TwoLayerProblem, measure: Measure, count: int, starts: int, seed: int) -> Array:
    """The neurons (at most count, r) of the least energy over the starts."""
    rng = np.random.default_rng(seed)
    best, best_energy = np.zeros((0, problem.geometry.n_parameters)), problem.energy(Measure.zero(problem.n_samples))
    for start in range(starts):
        spread = SPREADS[(start // 2) % len(SPREADS)]
        theta = _rounded(problem, measure, count, start % 2 == 1, None if start < 2 * len(SPREADS) else rng)
        size = np.linalg.norm(theta, axis=1, keepdims=True) / math.sqrt(max(theta.shape[1], 1))
        theta = theta + spread * size * rng.standard_normal(theta.shape)
        for trial in (theta, _polished(problem, theta)):
            energy = problem.energy(_network(problem, trial))
            if math.isfinite(energy) and energy < best_energy:
                log.debug("start %d: a network of energy %.10g", start, energy)
                best, best_energy = trial, energy
    return best


def _network(problem: TwoLayerProblem, theta: Array) -> Measure:
    return Measure(problem.geometry.preactivation(theta), np.ones(theta.shape[0]), theta)


def _rounded(problem: TwoLayerProblem, measure: Measure, count: int, absorb: bool, rng: Any) -> Array:
    """At most ``count`` neurons: atoms repeated by their rounded masses (largest remainders, or at random), or with
    ``absorb`` one of each of the weightiest, and the mass in their length."""
    measure = measure.support()
    if measure.n_atoms == 0:
        return np.zeros((0, problem.geometry.n_parameters))
    theta = problem.geometry.weights(measure.atoms)
    masses = measure.masses
    if problem.activation.odd:
        theta, masses = _folded(theta, masses)
    if problem.activation.degree == 1.0 or absorb:
        return _absorbed(theta, masses, count)
    masses = masses * min(1.0, count / float(masses.sum()))
    whole = np.floor(masses * (1 + 1e-9)).astype(int)
    rest = np.maximum(masses - whole, 0.0)
    left = min(count - int(whole.sum()), round(float(rest.sum())))
    if left > 0 and rest.any():
        if rng is None:
            extra = np.argsort(-rest, kind="stable")[:left]
        else:
            extra = rng.choice(rest.size, size=min(left, int((rest > 0).sum())), replace=False, p=rest / rest.sum())
        whole[extra] += 1
    return np.repeat(theta, whole, axis=0)[:count]


def _absorbed(theta: Array, masses: Array, count: int) -> Array:
    """m phi(h) phi(h)^T as n neurons sqrt(m / n) h: exact for degree 1, a start elsewhere. Spare neurons go where most
    mass is on one."""
    order = np.argsort(-masses * np.einsum("jr,jr->j", theta, theta), kind="stable")[:count]
    theta, masses = theta[order], masses[order]
    copies = np.ones(order.size, dtype=int)
    for _ in range(count - order.size):
        fullest = int(np.argmax(masses / copies))
        if masses[fullest] / copies[fullest] <= 1.0:
            break
        copies[fullest] += 1
    return np.repeat(theta * np.sqrt(masses / copies)[:, None], copies, axis=0)


def _folded(theta: Array, masses: Array) -> tuple[Array, Array]:
    """Antipodal and nearly equal neurons of an odd activation as one, with their mass together."""
    out: list[Array] = []
    mass: list[float] = []
    for row, m in zip(theta[np.argsort(-masses, kind="stable")], np.sort(masses)[::-1]):
        for k, other in enumerate(out):
            if min(np.linalg.norm(row - other), np.linalg.norm(row + other)) < 1e-3 * np.linalg.norm(other):
                mass[k] += float(m)
                break
        else:
            out.append(row)
            mass.append(float(m))
    return np.array(out), np.array(mass)


def _polished(problem: TwoLayerProblem, theta: Array) -> Array:
    """L-BFGS on both layers of l1 |theta|^2 + l2 |W|^2 + L(W phi(A theta)); what it returns need not be better."""
    n, r = theta.shape
    if n == 0:
        return theta
    d, y = problem.n_outputs, problem.targets
    geometry, phi = problem.geometry, problem.activation
    first = problem.readout(_network(problem, theta))
    paid = np.ones(r)
    paid[r - geometry.free_parameters :] = 0.0

    def objective(flat: Array) -> tuple[float, Array]:
        t, w = flat[: n * r].reshape(n, r), flat[n * r :].reshape(d, n)
        h = geometry.preactivation(t)
        features = problem.features(h)
        f = w @ features
        slope = problem.loss.gradient(f, y)
        value = problem.lambda1 * float(np.vdot(t, t * paid)) + problem.lambda2 * float(np.vdot(w, w))
        down = 2.0 * problem.lambda1 * t * paid + geometry.pullback((w.T @ slope) * phi.derivative(h))
        out = 2.0 * problem.lambda2 * w + slope @ features.T
        return value + problem.loss.value(f, y), np.concatenate([down.ravel(), out.ravel()])

    with np.errstate(over="ignore", invalid="ignore"):
        found = optimize.minimize(
            objective,
            np.concatenate([theta.ravel(), first.ravel()]),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 2000, "maxfun": 4000, "ftol": 1e-15, "gtol": 1e-10},
        )
    result = np.asarray(found.x[: n * r]).reshape(n, r)
    return result if np.isfinite(result).all() else theta

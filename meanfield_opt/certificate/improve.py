"""Making a refuted candidate better: violating neurons by sampling, and masses re-optimised over a fixed dictionary.

Nothing here proves anything: what it finds is then evaluated rigorously by ``checker.bounds`` and ``checker.refute``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..formulation.search import ascend
from ..measure import Measure
from ..problem import TwoLayerProblem

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Refutation:
    """A measure ``better`` than the candidate: its energy is at most ``upper`` < ``candidate_lower`` <= E[candidate]."""

    better: Measure
    upper: float
    candidate_lower: float


def violating_neurons(
    problem: TwoLayerProblem, dual: Array, *, count: int = 8, samples: int = 256, seed: int = 0
) -> Array:
    """Up to ``count`` neurons theta (., r) of negative first variation, worst first: random starts, then ascent.

    The ascent is the generalised power iteration theta <- A^T (phi'(h) * Z^T Z phi(h)), for each start at its best
    length on a grid where phi is not positively homogeneous; the best point of each path counts.
    """
    rng = np.random.default_rng(seed)
    starts = int(np.clip(2_000_000 // max(1, problem.n_samples), 16, samples))
    # basins may be small: the best of many random neurons where they are cheap, beside plain random ones
    many = int(np.clip(4e6 / (problem.n_samples * problem.geometry.n_parameters), 2 * starts, 20_000))
    lengths = np.ones(1) if problem.activation.degree == 1 else np.geomspace(0.05, 20.0, 12)
    with np.errstate(all="ignore"):
        theta = _best_length(problem, dual, _unit(rng.standard_normal((many, problem.geometry.n_parameters))), lengths)
        value = _variation(problem, dual, theta)
        chance = np.arange(many) < starts // 2
        theta = theta[np.argsort(np.where(chance, -np.inf, value))[:starts]]
        best, least = theta, _variation(problem, dual, theta)
        for _ in range(int(np.clip(3e8 / max(1, theta.size * problem.n_samples), 12, 60))):
            h = problem.geometry.preactivation(theta)
            pull = (dual.T @ (dual @ problem.features(h).T)).T * problem.activation.derivative(h)
            step = problem.geometry.pullback(pull)
            size = np.linalg.norm(step, axis=1, keepdims=True)
            theta = np.where(size > 0, 0.3 * _unit(theta) + step / np.where(size > 0, size, 1.0), theta)
            theta = _best_length(problem, dual, _unit(theta), lengths)
            value = _variation(problem, dual, theta)
            lower = ~(value >= least)  # the iteration may leave a maximum at a kink
            best, least = np.where(lower[:, None], theta, best), np.where(lower, value, least)
        theta, value = _climbed(problem, dual, best, least)
    theta, value = theta[np.isfinite(value)], value[np.isfinite(value)]
    chosen: list[int] = []
    for i in np.argsort(value):
        if value[i] >= 0 or len(chosen) == count:
            break
        if all(np.linalg.norm(theta[i] - theta[j]) > 1e-3 * np.linalg.norm(theta[i]) for j in chosen):
            chosen.append(int(i))
    return np.asarray(theta[chosen])


def _climbed(problem: TwoLayerProblem, dual: Array, theta: Array, value: Array) -> tuple[Array, Array]:
    """The neurons with the best of them climbed on by monotone steps, which end at kinks h_p = 0 the iteration leaps over."""
    order = np.argsort(value)[: int(np.clip(2e6 / (problem.n_samples * theta.shape[1]), 4, 64))]
    steps = int(np.clip(3e8 / (order.size * problem.n_samples * theta.shape[1]), 10, 100))
    climbed = problem.geometry.weights(ascend(problem, dual, problem.geometry.preactivation(theta[order]), steps=steps))
    return np.vstack([climbed, theta]), np.concatenate([_variation(problem, dual, climbed), value])


def worst_first(problem: TwoLayerProblem, dual: Array, neurons: Array) -> Array:
    """Those of the neurons theta (n, r) whose first variation at the dual point is negative, the most negative first."""
    with np.errstate(all="ignore"):
        value = _variation(problem, dual, neurons)
    below = np.flatnonzero(value < 0)  # NaN is not below
    return np.asarray(neurons[below[np.argsort(value[below])]])


def best_ratio(problem: TwoLayerProblem, dual: Array, *, seed: int = 0) -> float:
    """A lower estimate of sup_h |Z phi(h)|^2 / c(h) for positively homogeneous phi: ascent from random starts."""
    return best_response(problem, dual, seed=seed)[0]


def best_response(problem: TwoLayerProblem, dual: Array, *, seed: int = 0) -> tuple[float, Array]:
    """The estimate of ``best_ratio`` and a neuron theta (r,) that attains it."""
    rng = np.random.default_rng(seed)
    samples = int(max(16, min(256, 2_000_000 // max(1, problem.n_samples))))
    theta = rng.standard_normal((samples, problem.geometry.n_parameters))
    best, point = 0.0, theta[0]
    with np.errstate(all="ignore"):
        for sweep in range(240):
            theta = theta / np.maximum(np.linalg.norm(theta, axis=1, keepdims=True), 1e-300)
            h = problem.geometry.preactivation(theta)
            response = dual @ problem.features(h).T
            value = np.einsum("kj,kj->j", response, response)
            value = np.where(np.isfinite(value), value, 0.0)
            if value.max() > best:
                best, point = float(value.max()), theta[int(value.argmax())].copy()
            if sweep == 40:  # only the best go on
                keep = np.argsort(-value)[:16]
                theta, h, response = theta[keep], h[keep], response[:, keep]
            step = problem.geometry.pullback((dual.T @ response).T * problem.activation.derivative(h))
            size = np.linalg.norm(step, axis=1, keepdims=True)
            theta = 0.2 * theta + step / np.maximum(size, 1e-300)
    return best, point


def worth_averaging(problem: TwoLayerProblem, dual: Array, averaged: Array) -> bool:
    """Whether the average of a dual point over symmetries may stand for it: its supremum is no larger, and (as always for an
    invariant loss) its dual value no smaller, up to rounding."""
    value = problem.dual_value(dual)
    return bool(averaged.any()) and problem.dual_value(averaged) >= value - 1e-12 * abs(value)


def _variation(problem: TwoLayerProblem, dual: Array, theta: Array) -> Array:
    """First variation with |theta|^2 for the cost (an upper bound on c, without a projection)."""
    response = dual @ problem.features(problem.geometry.preactivation(theta)).T
    gain = np.einsum("kj,kj->j", response, response) / (4.0 * problem.lambda2)
    return np.asarray(problem.lambda1 * np.einsum("jr,jr->j", theta, theta) - gain)


def _unit(theta: Array) -> Array:
    norm = np.linalg.norm(theta, axis=1, keepdims=True)
    return np.asarray(theta / np.where(norm > 0, norm, 1.0))


def _best_length(problem: TwoLayerProblem, dual: Array, theta: Array, lengths: Array) -> Array:
    if lengths.size == 1:
        return theta
    values = np.stack([_variation(problem, dual, s * theta) for s in lengths])
    return np.asarray(theta * lengths[np.argmin(values, axis=0)][:, None])


def with_neurons(problem: TwoLayerProblem, measure: Measure, neurons: Array, mass: float = 0.0) -> Measure:
    """The measure with further neurons theta (n, r), each of ``mass``: what column generation starts from."""
    theta = measure.neurons
    if theta is None or theta.shape[1] != problem.geometry.n_parameters:
        theta = problem.geometry.weights(measure.atoms)
    neurons = np.atleast_2d(neurons)
    return Measure(
        np.vstack([measure.atoms, problem.geometry.preactivation(neurons)]),
        np.concatenate([measure.masses, np.full(neurons.shape[0], mass)]),
        np.vstack([theta, neurons]),
    )


def reoptimised(problem: TwoLayerProblem, measure: Measure, *, rounds: int = 60) -> Measure:
    """Masses and output weights improved over the measure's own atoms; the energy never rises.

    Alternates ridge regression for the weights v_j and m_j = sqrt(l2 / (l1 c_j + mu)) |v_j|, the exact minimisers of
    sum_j l1 m_j c_j + l2 |v_j|^2 / m_j, with mu >= 0 such that a width is respected.
    """
    measure = measure.support()
    best, best_energy = measure, problem.energy(measure)
    for _ in range(rounds):
        if measure.n_atoms == 0:
            break
        v = problem.readout(measure) * measure.masses
        size = np.linalg.norm(v, axis=0)
        cost = problem.lambda1 * np.maximum(problem.atom_costs(measure), 1e-300)
        masses = np.sqrt(problem.lambda2 / cost) * size
        if problem.width is not None and masses.sum() > problem.width:
            low, high = 0.0, float(problem.lambda2 * (size.sum() / problem.width) ** 2)
            for _ in range(100):
                mu = 0.5 * (low + high)
                masses = np.sqrt(problem.lambda2 / (cost + mu)) * size
                low, high = (mu, high) if masses.sum() > problem.width else (low, mu)
        keep = masses > 1e-12 * max(1e-300, float(masses.max(initial=0.0)))
        measure = Measure(measure.atoms[keep], masses[keep], None if measure.neurons is None else measure.neurons[keep])
        energy = problem.energy(measure)
        if energy < best_energy * (1 - 1e-12):
            best, best_energy = measure, energy
        elif energy >= best_energy:
            break
    return best

"""Truth tests of suprema: every engine's bound against exactly evaluated patterns, free mass and under a width."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from truth_data import (
    Array,
    Result,
    Rng,
    dot,
    exact_kernel,
    exact_pattern,
    exact_phi,
    exact_ratio,
    exact_rows,
    nasty_problem,
    nasty_rows,
)
from truth_engines import answers

from meanfield_opt.certificate import Question
from meanfield_opt.geometry import FactorGeometry
from meanfield_opt.problem import TwoLayerProblem


def good_coordinates(problem: TwoLayerProblem, dual: Array, rng: Rng) -> list[Array]:
    """Coordinates of patterns of large ratio: ascent from random starts, in floating point."""
    geometry = problem.geometry
    theta = rng.standard_normal((24, geometry.n_parameters))
    with np.errstate(all="ignore"):
        for _ in range(30):
            theta = theta / np.maximum(np.linalg.norm(theta, axis=1, keepdims=True), 1e-300)
            h = geometry.preactivation(theta)
            response = dual @ problem.features(h).T
            step = geometry.pullback((dual.T @ response).T * problem.activation.derivative(h))
            size = np.linalg.norm(step, axis=1, keepdims=True)
            theta = np.where(np.isfinite(size) & (size > 0), 0.1 * theta + step / size, theta)
        value = np.einsum("kj,kj->j", response, response)
        best = theta[int(np.argmax(np.where(np.isfinite(value), value, -1.0)))]
        if isinstance(geometry, FactorGeometry):
            return [best, theta[0]]
        kernel = np.array([[float(x) for x in row] for row in exact_kernel(geometry)])
        x = np.linalg.lstsq(kernel, geometry.preactivation(best[None, :])[0], rcond=None)[0]
    return [x if np.isfinite(x).all() else np.ones(geometry.n_samples)]


def suprema(count: int, rng: Rng) -> Result:
    """Proved suprema of every engine that applies, against exactly evaluated patterns."""
    claims, false, made = 0, [], 0
    while made < count:
        problem = nasty_problem(rng, str(rng.choice(["relu", "relu", "relu", "leaky_relu", "absolute"])))
        z = nasty_rows(rng, problem.n_outputs, problem.n_samples)
        question = Question(problem, z)
        coordinates = good_coordinates(problem, z, rng)
        slow = {"copositive": 0.95, "orbital": 0.95, "lift": 0.95}  # semidefinite programs take most of the time
        for name, proof, at in answers(question, rng, seconds=0.2, target=1e-9, skipped=slow):
            made += 1
            if proof is None:
                continue
            claims += 1
            known = [x for x in (exact_ratio(problem, at, c) for c in coordinates) if x is not None]
            if any(Fraction(proof.bound) ** 2 < x for x in known):
                worst = max(float(x / Fraction(proof.bound) ** 2) if proof.bound else np.inf for x in known)
                false.append(
                    f"{name}: bound {proof.bound!r} too small by {worst - 1:.3g} (squared) in {problem.describe()}"
                )
    return made, claims, false


def widths(count: int, rng: Rng) -> Result:
    """Proved excesses under a width: kappa >= |Z phi(h)|^2 / (4 l2) - l1 c(h), at exactly evaluated patterns."""
    claims, false, made = 0, [], 0
    while made < count:
        base = nasty_problem(rng, str(rng.choice(["hard_tanh", "hard_sigmoid", "relu", "leaky_relu"])))
        problem = TwoLayerProblem(
            base.activation,
            base.loss,
            base.geometry,
            base.targets,
            base.lambda1,
            base.lambda2,
            float(rng.integers(1, 9)),
        )
        z = nasty_rows(rng, problem.n_outputs, problem.n_samples)
        question = Question(problem, z)
        known = []
        for c in good_coordinates(problem, z, rng):
            size = (
                np.abs(problem.geometry.preactivation(c[None, :])).max()
                if c.size == problem.geometry.n_parameters
                else 1.0
            )
            for length in (
                1.0,
                1.0 / size if size > 0 and np.isfinite(size) else 1.0,
                float(10.0 ** rng.uniform(-2, 2)),
            ):
                x = c * length
                if not np.isfinite(x).all():
                    continue
                h, cost = exact_pattern(problem, x)
                phi = [exact_phi(problem, t) for t in h]
                gain = sum((dot(row, phi) ** 2 for row in exact_rows(z)), Fraction(0)) / (4 * Fraction(problem.lambda2))
                known.append(gain - Fraction(problem.lambda1) * cost)
        for name, proof, _ in answers(question, rng, seconds=0.2, target=1e-6):
            made += 1
            if proof is None:
                continue
            claims += 1
            if any(Fraction(proof.bound) < x for x in known):
                false.append(f"{name}: excess {proof.bound!r} < {float(max(known))!r} in {problem.describe()}")
    return made, claims, false

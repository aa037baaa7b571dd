"""Networks found without any proof engine, and their energies in ball arithmetic by formulas of this file's own."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cvxpy
import flint
import numpy as np
from truth_data import Array, Rng, exact_kernel, exact_phi, exact_rows

from meanfield_opt.geometry import FactorGeometry
from meanfield_opt.problem import TwoLayerProblem

arb = flint.arb
BITS = 300


def ball(x: Any) -> Any:
    """A rational as a ball."""
    x = Fraction(x)
    return arb(flint.fmpq(x.numerator, x.denominator))


def phi_of(name: str, problem: TwoLayerProblem, t: Fraction) -> Any:
    """phi(t) for an exact t, by formulas of this file's own where phi is smooth."""
    if name == "step":
        return ball(int(t >= Fraction(problem.activation.parameters["threshold"])))
    if name == "sign":
        s = Fraction(problem.activation.parameters["threshold"])
        return ball(int(t >= s) - int(t <= -s))
    x = ball(t)
    if name == "tanh":
        return x.tanh()
    if name == "own formula":
        return (2 * x).tanh() / 2
    if name == "erf":
        return x.erf()
    if name == "softsign":
        return x / (1 + ball(abs(t)))
    if name == "sigmoid":
        return 1 / (1 + (-x).exp())
    if name == "sin":
        return x.sin()
    if name == "softplus":
        return ball(max(t, Fraction(0))) + (1 + (-abs(x)).exp()).log()
    if name == "silu":
        return x / (1 + (-x).exp())
    if name == "gelu":
        return x * (-x / arb(2).sqrt()).erfc() / 2
    return ball(exact_phi(problem, t))


@dataclass(frozen=True, eq=False)
class Network:
    """Coordinates of patterns (theta, or x with h = K x), masses, v = m w (d_Y, J), output bias b (d_Y,)."""

    coordinates: Array
    masses: Array
    v: Array
    bias: Array


def good_network(problem: TwoLayerProblem, rng: Rng) -> Network | None:
    """Output weights and masses on random atoms of several lengths, by a conic solver."""
    geometry = problem.geometry
    theta = rng.standard_normal((14, geometry.n_parameters))
    theta /= np.linalg.norm(theta, axis=1, keepdims=True)
    lengths = [1.0] if problem.activation.degree == 1 and problem.width is None else [0.3, 1.0, 3.0]
    theta = np.vstack([length * theta for length in lengths])
    coordinates = theta
    if not isinstance(geometry, FactorGeometry):
        coordinates = geometry.precision(geometry.preactivation(theta))
        patterns = geometry.apply(coordinates)
        cost = np.einsum("jp,jp->j", coordinates, patterns)
    else:
        patterns, cost = geometry.preactivation(theta), np.square(theta).sum(axis=1)
    features = problem.features(patterns)
    d, j = problem.n_outputs, theta.shape[0]
    v, b = cvxpy.Variable((d, j)), cvxpy.Variable((d, 1))
    outputs = v @ features
    ell: Any = problem.loss
    penalty = 0.0
    if ell.name == "output_bias":
        outputs, penalty, ell = outputs + b @ np.ones((1, problem.n_samples)), ell.penalty, ell.base
    objective = ell.expression(outputs, problem.targets) + penalty * cvxpy.sum_squares(b)
    limits = []
    if problem.width is None:
        objective += 2 * np.sqrt(problem.lambda1 * problem.lambda2) * (np.sqrt(cost) @ cvxpy.norm(v, axis=0))
    else:
        m = cvxpy.Variable(j, nonneg=True)
        objective += problem.lambda1 * (cost @ m)
        objective += problem.lambda2 * sum(cvxpy.quad_over_lin(v[:, k], m[k]) for k in range(j))
        limits.append(cvxpy.sum(m) <= problem.width)
    try:
        cvxpy.Problem(cvxpy.Minimize(objective), limits).solve(solver="CLARABEL")
    except (cvxpy.SolverError, ValueError):
        return None
    if v.value is None or not np.isfinite(v.value).all():
        return None
    size = np.linalg.norm(v.value, axis=0)
    with np.errstate(divide="ignore"):
        masses = m.value if problem.width is not None else np.sqrt(problem.lambda2 / (problem.lambda1 * cost)) * size
    keep = np.isfinite(masses) & (masses > 1e-9) & (size > 1e-9)
    masses = masses[keep] * (1 - 1e-9)
    if problem.width is not None and masses.sum() > problem.width * (1 - 1e-12):
        masses = masses * (problem.width / masses.sum() * (1 - 1e-12))
    bias = np.zeros(d) if b.value is None else np.asarray(b.value)[:, 0]
    return Network(coordinates[keep], masses, np.asarray(v.value)[:, keep], bias)


def loss_ball(ell: Any, f: list[list[Any]], y: Array) -> Any:
    """L(F; Y) in ball arithmetic."""
    if ell.name == "weighted":
        return sum(
            (ball(float(w)) * term for w, term in zip(ell.sample_weights, columns(ell.base, f, y), strict=True)), arb(0)
        )
    return sum(columns(ell, f, y), arb(0))


def columns(ell: Any, f: list[list[Any]], y: Array) -> list[Any]:
    """The loss of each sample."""
    out = []
    for p in range(y.shape[1]):
        own = [row[p] for row in f]
        if ell.name == "softmax":
            c = int(np.argmax(y[:, p]))
            out.append(sum((x.exp() for x in own), arb(0)).log() - own[c])
            continue
        terms = []
        for k, x in enumerate(own):
            target = ball(float(y[k, p]))
            r = x - target
            slack = (1 - target * x).max(arb(0))
            if ell.name == "huber":
                inner = abs(r).min(arb(ell.delta))
                terms.append(inner * (2 * abs(r) - inner))
            else:
                terms.append({
                    "squared": r * r, "hinge": slack, "squared_hinge": slack * slack, "logistic": (1 + (-target * x).exp()).log(),
                }[ell.name])  # fmt: skip
        out.append(sum(terms, arb(0)))
    return out


def energy_ball(name: str, problem: TwoLayerProblem, network: Network) -> Any:
    """The energy of the network, by the formulas of the theory (section 1)."""
    flint.ctx.prec = BITS
    geometry, p = problem.geometry, problem.n_samples
    matrix = exact_rows(geometry.factor) if isinstance(geometry, FactorGeometry) else exact_kernel(geometry)
    total, f = arb(0), [[arb(0)] * p for _ in range(problem.n_outputs)]
    for j, mass in enumerate(network.masses):
        x = [Fraction(float(t)) for t in network.coordinates[j]]
        h = [sum((a * b for a, b in zip(row, x, strict=True)), Fraction(0)) for row in matrix]
        other = x if isinstance(geometry, FactorGeometry) else h
        cost = sum((a * b for a, b in zip(x, other, strict=True)), Fraction(0))
        m, v = Fraction(float(mass)), [Fraction(float(t)) for t in network.v[:, j]]
        total += ball(Fraction(problem.lambda1) * m * cost + Fraction(problem.lambda2) * sum(t * t for t in v) / m)
        phi = [phi_of(name, problem, t) for t in h]
        for k in range(problem.n_outputs):
            f[k] = [old + ball(v[k]) * value for old, value in zip(f[k], phi, strict=True)]
    ell: Any = problem.loss
    if ell.name == "output_bias":
        b = [ball(float(t)) for t in network.bias]
        f = [[x + t for x in row] for row, t in zip(f, b, strict=True)]
        total += ball(ell.penalty) * sum((t * t for t in b), arb(0))
        ell = ell.base
    return total + loss_ball(ell, f, problem.targets)

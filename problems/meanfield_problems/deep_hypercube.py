"""Deep networks on whitened hypercubes, with the conjectured optimum of theory section 4."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from meanfield_opt.activation import Activation
from meanfield_opt.errors import InputError
from meanfield_opt.geometry import DiagonalPlusLowRank
from meanfield_opt.measure import Measure
from meanfield_opt.plugins import activation as find_activation
from meanfield_opt.plugins import loss as find_loss
from meanfield_opt.validate import integer, positive
from meanfield_opt.validation.deep import DeepAnswer, DeepProblem

from .hypercube import labels

Array = NDArray[np.float64]


def law_energy(d: int, p: int, penalty: float, bias: str, x: Sequence[float], y: Sequence[float]) -> float:
    """E of the ansatz K_k = x_k 1 1^T + y_k K_Y, x_k >= d y_k: pairs 1 +- v_i plus constant neurons (see deep_law)."""
    q0 = 1.0 / (1.0 + p)
    cost = p * (q0 + 1.0)
    total = d * y[0] * cost + (x[0] - d * y[0]) * q0 * p
    for k in range(1, len(y)):
        base = _inverse_constant(x[k - 1], bias)
        total += d * y[k] * (base + 1.0 / y[k - 1]) + (x[k] - d * y[k]) * base
    return penalty * total + d * penalty * p / (penalty + y[-1] * p)


def _inverse_constant(x: float, bias: str) -> float:
    """The cost of a unit constant pattern above a layer with constant part x."""
    if bias == "free":
        return 0.0
    return 1.0 / (x + (1.0 if bias == "regularised" else 0.0))


def deep_law(
    d: int, layers: int, penalty: float, *, copies: int = 1, bias: str = "none", free_constant: bool = True
) -> DeepAnswer:
    """The minimum of ``law_energy`` over x_k >= d y_k > 0 (no constants in the last layer), theory section 4.

    free_constant=False: x_k = d y_k in every layer, the published form. The minimum is over two numbers a layer and is
    found by several starts; that the ansatz holds the optimum of the network is a conjecture.
    """
    p = copies * 2**d
    constants = layers - 1 if free_constant and bias != "free" else 0

    def split(z: Array) -> tuple[list[float], list[float]]:
        y = np.exp(z[:layers]).tolist()
        extra = np.square(z[layers:]).tolist() + [0.0] * (layers - constants)
        return [d * yk + e for yk, e in zip(y, extra)], y

    def objective(z: Any) -> float:
        return law_energy(d, p, penalty, bias, *split(z))

    best: tuple[float, Array] | None = None
    for seed in range(8):
        rng = np.random.default_rng(seed)
        start = np.concatenate([rng.normal(-0.7, 0.5, layers), rng.normal(0.5, 0.3, constants)])
        found = optimize.minimize(
            objective,
            np.asarray(start).ravel(),
            method="BFGS",
            options={"gtol": 1e-12, "maxiter": 5000},
        )
        if best is None or found.fun < best[0]:
            best = (float(found.fun), found.x)
    assert best is not None
    x, y = split(best[1])
    zero = d * p * 1.0
    form = "published form (x = d y)" if not free_constant else "theory of deep ReLU hypercubes with constant neurons"
    provenance = "conjectured"
    if bias == "regularised" and layers >= 4:
        # measured: with four layers, networks that carry mostly one sign of each label lie 0.2 % below (d = 2)
        provenance = "refuted"
        form += "; beaten by one-sided networks at latents=2, layers=4 (docs/validation.md): an upper bound only"
    if best[0] >= zero:  # too much penalty: the silent network
        silent = tuple(Measure.zero(p) for _ in range(layers))
        return DeepAnswer(zero, (0.0,) * layers, (0.0,) * layers, silent, form, provenance)
    return DeepAnswer(best[0], tuple(x), tuple(y), law_measures(d, copies, x, y), form, provenance)


def law_measures(d: int, copies: int, x: Sequence[float], y: Sequence[float]) -> tuple[Measure, ...]:
    """Atoms (1 +- v_i) / 2 of mass 2 y_k and a constant atom of mass x_k - d y_k, for each layer."""
    v = labels(d, copies)
    pairs = np.vstack([0.5 * (1.0 + v), 0.5 * (1.0 - v)])
    out = []
    for xk, yk in zip(x, y):
        atoms, masses = pairs, np.full(2 * d, 2.0 * yk)
        # rounding (or a hit bound) can leave a speck of constant mass; it is no neuron
        if xk - d * yk > 1e-9 * xk:
            atoms = np.vstack([pairs, np.ones((1, pairs.shape[1]))])
            masses = np.append(masses, xk - d * yk)
        out.append(Measure(atoms, masses))
    return tuple(out)


def deep_hypercube(
    latents: int = 2,
    layers: int = 2,
    *,
    samples_per_class: int = 1,
    bias: str = "none",
    activation: str | Activation = "relu",
    penalty: float = 0.01,
) -> DeepProblem:
    """A network of ``layers`` hidden layers on the whitened hypercube; bias: of the deeper layers ("none",
    "regularised", "free"). ``known`` is a conjectured optimum for ReLU (None for other activations); its provenance is
    "refuted" where better networks are known: it is then an upper bound only."""
    d = integer(latents, "latents", least=1, most=12)
    depth = integer(layers, "layers", least=1, most=64)
    n = integer(samples_per_class, "samples_per_class", least=1)
    ell = positive(penalty, "penalty")
    if bias not in ("none", "regularised", "free"):
        raise InputError(f"bias must be none, regularised or free, not {bias!r}.")
    y = labels(d, n)
    space = DiagonalPlusLowRank(np.ones(y.shape[1]), np.ones((y.shape[1], 1)), np.ones(1))
    phi = find_activation(activation)
    known = deep_law(d, depth, ell, copies=n, bias=bias) if phi.name == "relu" and math.isfinite(ell) else None
    return DeepProblem(
        phi,
        find_loss("squared"),
        space,
        y,
        ell,
        depth,
        bias,
        f"deep_hypercube(latents={d}, layers={depth}, bias={bias})",
        known,
    )

"""Deep networks of odd activations on whitened hypercubes: a reduced energy of one number a layer, and its limit.

Ansatz (found by measuring trained networks, not proved optimal): M units a layer, M/d of them for every label i with
preactivation alpha_k v_i, constant parts and biases unused (an odd layer cannot turn a constant into anything useful
here). Least-norm weights between M/d units of value phi(alpha_k) v_i cost alpha_{k+1}^2 / ((M/d) phi(alpha_k)^2) a unit, so

    E(alpha) = l M P alpha_1^2 + sum_k l d alpha_{k+1}^2 / phi(alpha_k)^2 + d l P / (l + (M/d) P phi(alpha_L)^2)

and K_k = (M/d) phi(alpha_k)^2 K_Y: the published form for odd activations, with x = 0. One layer: theory section 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ..activation import Activation
from ..errors import InputError
from ..measure import Measure
from ..validate import integer, positive

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OddAnswer:
    """The least energy of the ansatz: an upper bound on the optimum at that width, not a proof of one.

    strength: y_k of K_k = y_k K_Y; levels: alpha_k. measures: an actual network, one atom of mass 1 a unit.
    """

    energy: float
    strength: tuple[float, ...]
    levels: tuple[float, ...]
    measures: tuple[Measure, ...]


def odd_law(phi: Activation, targets: Array, layers: int, width: int, penalty: float) -> OddAnswer:
    """Minimise the reduced energy over alpha_1 .. alpha_L. targets (d, 2^d): the labels v_i in rows, one sample a class.

    width: units a layer, a multiple of d. Raises InputError for an activation that is not odd.
    """
    d, p = targets.shape
    integer(layers, "layers", least=1)
    positive(penalty, "penalty")
    if not phi.odd:
        raise InputError(f"this law is for odd activations, not {phi.name}.")
    if p != 2**d or not np.array_equal(targets @ targets.T, p * np.eye(d)):
        raise InputError("this law is for hypercube labels with one sample a class.")
    if integer(width, "width", least=1) % d:
        raise InputError(f"the width must be a multiple of the {d} labels, not {width}.")
    copies = width // d

    def energy(z: Array) -> float:
        alpha = np.exp(z)
        squares = np.square(phi(alpha))
        between = float(np.sum(np.square(alpha[1:]) / squares[:-1]))
        norms = width * p * float(alpha[0]) ** 2 + d * between
        return float(penalty * norms + d * penalty * p / (penalty + copies * p * float(squares[-1])))

    found = [
        optimize.minimize(energy, np.full(layers, start), method="BFGS", options={"gtol": 1e-12})
        for start in (-2.0, -1.0, 0.0)
    ]
    best = min(found, key=lambda r: float(r.fun))
    alpha = np.exp(best.x)
    atoms = np.repeat(targets, copies, axis=0)
    return OddAnswer(
        float(best.fun),
        tuple(float(copies * v**2) for v in phi(alpha)),
        tuple(float(v) for v in alpha),
        tuple(Measure(a * atoms, np.ones(width)) for a in alpha),
    )


def linear_limit(d: int, layers: int, penalty: float) -> float:
    """The optimum of the deep linear network on the whitened hypercube, one number f per label (F = f Y).

    Weights of a product with singular values s cost at least (L + 1) s^(2/(L+1)) each (the Schatten quasi-norm of the
    product), s = f sqrt(P). Infinitely wide networks of phi(t) ~ t come as near to it as one likes.
    """
    integer(d, "d", least=1)
    integer(layers, "layers", least=1)
    positive(penalty, "penalty")
    p, n = 2**d, layers + 1

    def energy(f: float) -> float:
        return float(d * (p * (1.0 - f) ** 2 + n * penalty * (f * math.sqrt(p)) ** (2.0 / n)))

    found = optimize.minimize_scalar(energy, bounds=(0.3, 1.0), method="bounded", options={"xatol": 1e-14})
    return float(min(found.fun, energy(0.0)))

"""Deep networks of odd activations on whitened hypercubes: a reduced energy of one number a layer, and its limit.

Ansatz (found by measuring trained networks, not proved optimal): n_k units of layer k for a label i have preactivation
alpha_k v_i, constant parts and biases unused, and labels do not mix. Least-norm weights between n_k units of value
phi(alpha_k) v_i cost alpha_{k+1}^2 / (n_k phi(alpha_k)^2) a unit, so each label costs

    e(alpha) = l n_1 P alpha_1^2 + sum_k l n_{k+1} alpha_{k+1}^2 / (n_k phi(alpha_k)^2) + l P / (l + n_L P phi(alpha_L)^2)

and K_k = sum_i n_ki phi(alpha_ki)^2 v_i v_i^T. Equal counts n = M/d are best and give the published form for odd
activations, K_k = y_k K_Y; other counts are where trained networks also stop. One layer: theory section 4.
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

    strength: n_ki phi(alpha_ki)^2 and levels: alpha_ki, both (layers, d). measures: an actual network, one atom of mass
    1 a unit.
    """

    energy: float
    strength: Array
    levels: Array
    measures: tuple[Measure, ...]


def odd_law(
    phi: Activation,
    targets: Array,
    layers: int,
    width: int,
    penalty: float,
    *,
    counts: NDArray[np.int64] | None = None,
) -> OddAnswer:
    """Minimise the reduced energy over the levels. targets (d, 2^d): the labels v_i in rows, one sample a class.

    width: units a layer. counts (layers, d): how many of them each label has (default: equally many, the width being a
    multiple of d). Raises InputError for an activation that is not odd.
    """
    d, p = targets.shape
    integer(layers, "layers", least=1)
    positive(penalty, "penalty")
    if not phi.odd:
        raise InputError(f"this law is for odd activations, not {phi.name}.")
    if p != 2**d or not np.array_equal(targets @ targets.T, p * np.eye(d)):
        raise InputError("this law is for hypercube labels with one sample a class.")
    integer(width, "width", least=1)
    if counts is None:
        if width % d:
            raise InputError(f"the width must be a multiple of the {d} labels, not {width}; or give counts.")
        counts = np.full((layers, d), width // d)
    if counts.shape != (layers, d) or (counts < 1).any() or (counts.sum(axis=1) > width).any():
        raise InputError(f"counts must be positive, of shape {(layers, d)}, at most {width} units a layer.")
    parts = [_one_label(phi, counts[:, i].astype(np.float64), p, penalty) for i in range(d)]
    levels = np.stack([alpha for _, alpha in parts], axis=1)
    measures = tuple(
        Measure(np.repeat(a[:, None] * targets, n, axis=0), np.ones(int(n.sum()))) for a, n in zip(levels, counts)
    )
    return OddAnswer(
        sum(e for e, _ in parts), np.asarray(counts * np.square(phi(levels)), np.float64), levels, measures
    )


def _one_label(phi: Activation, n: Array, p: int, penalty: float) -> tuple[float, Array]:
    """The least e(alpha) and where it is taken."""

    def energy(z: Array) -> float:
        alpha = np.exp(z)
        squares = np.square(phi(alpha))
        between = float(np.sum(n[1:] * np.square(alpha[1:]) / (n[:-1] * squares[:-1])))
        last = penalty * p / (penalty + float(n[-1] * squares[-1]) * p)
        return float(penalty * (float(n[0]) * p * float(alpha[0]) ** 2 + between) + last)

    found = [
        optimize.minimize(energy, np.full(n.size, start), method="BFGS", options={"gtol": 1e-12})
        for start in (-2.0, -1.0, 0.0)
    ]
    best = min(found, key=lambda r: float(r.fun))
    return float(best.fun), np.exp(best.x)


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

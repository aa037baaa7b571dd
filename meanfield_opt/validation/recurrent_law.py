"""A reduced energy for recurrent ReLU networks on whitened hypercubes: a handful of numbers instead of all weights.

Ansatz (found by measuring trained networks, not proved optimal): one neuron for every (label i, sign s), all active, with
preactivation alpha_t 1 + s gamma_t v_i at step t, plus, optionally, constant neurons (all alike) that serve as a bias:

    alpha_t = w1 a_{t-1} [+ w1z z_{t-1}] + b [+ e],   gamma_t = wv c_{t-1} [+ g],   post-activation a_t 1 + s c_t v_i
    zeta_t  = wz1 a_{t-1} + wzz z_{t-1} + bz [+ ez]                                 (constant neurons, z_t = relu(zeta_t))

with the input terms e, g, ez at the first step only or at every step. K_t = (2 d a_t^2 + z_t^2) 1 1^T + 2 c_t^2 K_Y, and

    E = l [|w|^2 + d wv^2 + 2 d (b^2 + P e^2 + P g^2) + bz^2 + P ez^2] + d l P / (l + 2 c_T^2 P).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ..errors import InputError
from ..validate import integer, positive

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RecurrentAnswer:
    """The least energy of the ansatz that was found: an upper bound on the optimum, not a proof of one.

    constant, strength: x_t and y_t of K_t = x_t 1 1^T + y_t K_Y, for t = 1 .. T.
    """

    energy: float
    constant: tuple[float, ...]
    strength: tuple[float, ...]
    parameters: Array


def recurrent_law(
    d: int, steps: int, penalty: float, *, drive: str = "every", constants: bool = False, starts: int = 8, seed: int = 0
) -> RecurrentAnswer:
    """Minimise the reduced energy from ``starts`` random points. drive: input at the "first" or at "every" step."""
    integer(d, "d", least=1)
    integer(steps, "steps", least=1)
    positive(penalty, "penalty")
    if drive not in ("first", "every"):
        raise InputError(f"drive must be first or every, not {drive!r}.")
    rng = np.random.default_rng(seed)
    size = 10 if constants else 5

    def objective(z: Any) -> float:
        return _reduced(np.asarray(z), d, steps, penalty, drive)[0]

    best: Any = None
    for _ in range(starts):
        start = rng.normal(0.5, 0.4, size)
        coarse = optimize.minimize(objective, start, method="BFGS", options={"gtol": 1e-10, "maxiter": 1000})
        # kinks of the ReLU (levels that sit at zero) stall quasi-Newton steps; a simplex search finishes
        fine = optimize.minimize(
            objective,
            coarse.x,
            method="Nelder-Mead",
            options={"xatol": 1e-9, "fatol": 1e-15, "maxiter": 4000, "maxfev": 6000},
        )
        if best is None or fine.fun < best.fun:
            best = fine
    energy, x, y = _reduced(best.x, d, steps, penalty, drive)
    return RecurrentAnswer(energy, tuple(float(v) for v in x), tuple(float(v) for v in y), np.asarray(best.x))


def _reduced(z: Array, d: int, steps: int, penalty: float, drive: str) -> tuple[float, list[float], list[float]]:
    p = 2**d
    w1, wv, b, e, g = (float(v) for v in z[:5])
    w1z, wz1, wzz, bz, ez = (float(v) for v in z[5:]) if z.size == 10 else (0.0,) * 5
    norm = w1**2 + w1z**2 + wz1**2 + wzz**2 + d * wv**2
    norm += 2 * d * (b**2 + p * e**2 + p * g**2) + bz**2 + p * ez**2
    a = c = zc = 0.0
    x: list[float] = []
    y: list[float] = []
    root = np.sqrt(2.0 * d)
    for t in range(steps):
        fed = 1.0 if t == 0 or drive == "every" else 0.0
        # w1z, wz1 couple unit vectors of the two constant sectors: sqrt(2 d) a and z
        alpha = w1 * a + w1z * zc / root + b + fed * e
        gamma = wv * c + fed * g
        zeta = wz1 * root * a + wzz * zc + bz + fed * ez
        on, off = max(alpha + gamma, 0.0), max(alpha - gamma, 0.0)
        a, c, zc = 0.5 * (on + off), 0.5 * (on - off), max(zeta, 0.0)
        x.append(2 * d * a**2 + zc**2)
        y.append(2 * c**2)
    return penalty * norm + d * penalty * p / (penalty + y[-1] * p), x, y

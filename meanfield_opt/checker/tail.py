"""Activations that grow: beyond which cost no pattern has an excess, by the homogeneous function that phi tends to.

Let |phi(t) - psi(t)| <= e for all t, psi positively homogeneous (``Activation.asymptote``). With a proved sigma >=
sup_h |Z psi(h)| / sqrt(tau c(h)) (free mass, any of the proofs for psi) and B = e |sum_p |Z_p||,

    |Z phi(h)| <= sigma x + B,    x = sqrt(tau c(h)),

so that |Z phi(h)|^2 > x^2 needs x < B / (1 - sigma) where sigma < 1: patterns of larger cost have no excess.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..activation import Activation
from ..activations.piecewise import LeakyReLU, Linear, ReLU
from ..errors import CertificateError
from ..problem import TwoLayerProblem
from ..rounding import down, sum_upper, up
from .bounds import tau_bounds

Array = NDArray[np.float64]


def limit_activation(phi: Activation) -> Activation | None:
    """psi as an activation, or None where phi declares no such function, or one that no proof is for."""
    asymptote = phi.asymptote
    if asymptote is None or asymptote.right != 1.0:
        return None
    if asymptote.left == 0.0:
        return ReLU()
    return Linear() if asymptote.left == 1.0 else LeakyReLU(asymptote.left)


def limit_problem(problem: TwoLayerProblem) -> TwoLayerProblem | None:
    """The problem with psi in the place of phi, and free mass."""
    psi = limit_activation(problem.activation)
    if psi is None:
        return None
    return replace(problem, activation=psi, width=None, known_=None, recipe_=None)


def largest_cost(problem: TwoLayerProblem, dual: Array, sigma: float) -> float:
    """A cost beyond which no pattern has an excess, given sigma for psi; math.inf where nothing follows."""
    asymptote = problem.activation.asymptote
    if asymptote is None or not 0.0 <= sigma < 1.0:
        return math.inf
    with np.errstate(all="ignore"):
        rows = sum_upper(np.abs(dual), axis=1)
        size = up(asymptote.distance * up(np.sqrt(sum_upper(up(np.square(rows))))))
        x = up(size / down(1.0 - sigma))
        tau, _ = tau_bounds(problem)
        cost = float(up(up(x * x) / tau)) if tau > 0 else math.inf
    return cost if cost >= 0 else math.inf


def replay_tail(problem: TwoLayerProblem, dual: Array, proof: Any) -> float:
    """``largest_cost`` from a proof for psi; CertificateError where it is none."""
    from .replays import supremum  # which holds the replays that call this

    limit = limit_problem(problem)
    if limit is None:
        raise CertificateError(f"{problem.activation.name} has no homogeneous limit that a proof can be for.")
    cost = largest_cost(problem, dual, supremum(limit, dual, proof))
    if not math.isfinite(cost):
        raise CertificateError("the proof for the limit of the activation does not bound the patterns that matter.")
    return cost

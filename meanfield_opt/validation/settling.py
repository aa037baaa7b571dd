"""Is a network that stopped above the optimum stuck there, or merely unfinished? Train on and see.

"Stuck" is what was seen: this optimiser makes no headway from there. It may be a local minimum, or a valley of kinks in which
steps of this kind go nowhere; nothing here proves which.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..problem import TwoLayerProblem
from .networks import network_measure, own_energy_upper
from .options import TrainOptions
from .training import Trained, train

Array = NDArray[np.float64]

#: rounds of more training at most
ROUNDS = 4
#: a round that takes away less than this part of what is missing changes nothing
LITTLE = 0.05


@dataclass(frozen=True, eq=False)
class Settled:
    """The last round of training on. parameters: at its start; before, after: certified gaps at its start and its end.

    energies: at its start and its end, rigorous upper bounds. rounds: how many there were. stuck: the round took away
    less than LITTLE of what the network has more than the reference (of its gap, where it has less than that).
    """

    parameters: Array
    before: float
    after: float
    energies: tuple[float, float]
    stuck: bool
    rounds: int


def certified_gap(problem: TwoLayerProblem, theta: Array, readout: Array, lower: float) -> tuple[float, float]:
    """(rigorous upper bound of the network's energy, its relative distance from ``lower``)."""
    energy = own_energy_upper(problem, network_measure(problem, theta, readout))
    return energy, (energy - lower) / max(1e-300, abs(energy))


def settle(
    problem: TwoLayerProblem,
    run: Trained,
    rows: list[int],
    options: TrainOptions,
    lower: float,
    reference: float,
    threshold: float,
) -> dict[int, Settled]:
    """Train the networks in ``rows`` on, in one batch a round, until each is stuck, reaches ``threshold`` or ROUNDS end.

    Nothing is added to the networks. reference: the energy of the solution they are compared with; headway is measured
    against it, because a certified gap hardly moves where the bound is weak. A fresh Adam moves every parameter by about
    its rate before it decays, so a network that comes back to the same energy has been pushed and has fallen back.
    """
    out: dict[int, Settled] = {}
    stand = {row: certified_gap(problem, *_weights(run, row), lower) for row in rows}
    where = {row: run.parameters[row] for row in rows}
    for turn in range(1, ROUNDS + 1):
        left = [row for row in rows if row not in out or not (out[row].stuck or out[row].after <= threshold)]
        if not left:
            break
        start = np.array([where[row] for row in left])
        more = train(run.objective, [run.seeds[row] for row in left], options, start=start)
        for i, row in enumerate(left):
            old, new = stand[row], certified_gap(problem, *_weights(more, i), lower)
            missing = old[0] - (reference if old[0] > reference else lower)
            stuck = bool(old[0] - new[0] < LITTLE * missing)
            out[row] = Settled(start[i], old[1], new[1], (old[0], new[0]), stuck, turn)
            stand[row], where[row] = new, more.parameters[i]
    return out


def _weights(run: Trained, row: int) -> tuple[Array, Array]:
    part = run.weights(row)
    return part["theta"], part["readout"]

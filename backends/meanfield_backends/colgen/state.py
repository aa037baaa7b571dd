"""What a run carries from round to round, and the master on given atoms."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.measure import Measure
from meanfield_opt.problem import TwoLayerProblem
from meanfield_opt.threads import available

from .carrier import Carrier
from .master import solve_master
from .reduce import prune
from .slide import Particles

Array = NDArray[np.float64]

#: cost of an atom of a start above which, and the inverse below which, it is left out: penalties on it would overflow
LARGEST = 1e150


@dataclass(frozen=True)
class Settings:
    """Options of this backend: starts a search, columns added a round, iterations of a slide, threads (see ``available``)."""

    starts: int = 128
    columns: int = 24
    slide_iterations: int = 400
    threads: int = field(default_factory=available)


@dataclass
class State:
    """The best so far, kept consistent at every moment so that an interruption can return it."""

    particles: Particles
    dual: Array
    energy: float
    lower: float = -math.inf
    best_dual: Array | None = None
    kappa: float = 0.0
    columns: Array | None = None
    column_masses: Array | None = None
    basins: Array | None = None
    #: starts of all searches so far are counted; a search makes this share of the usual: fewer where basins are known from another penalty
    thrift: float = 1.0
    #: confirming searches make this share; less than all of them where later penalties' searches judge the claim too
    trust: float = 1.0
    #: relative gap to expect where columns are those of another penalty
    recalled: float = 1.0
    #: relative gap that the first search found at another penalty, where known basins were settled
    unknown: float = 1.0
    starts: int = 0
    #: the relative gap at the present dual point as far as ``basins`` tell, which are exact maxima there; inf where they are not
    settled: float = math.inf
    threads: int = 1
    rounds: int = 0
    history: list[tuple[float, float, float, int]] = field(default_factory=list)


class Stopwatch:
    """Seconds since construction, and whether a limit has passed."""

    def __init__(self, limit: float) -> None:
        self.start, self.limit = time.perf_counter(), limit

    def seconds(self) -> float:
        return time.perf_counter() - self.start

    def over(self, grace: float = 0.0) -> bool:
        """Whether the limit has passed, by more than ``grace`` seconds."""
        return self.seconds() > self.limit + grace


def first_state(problem: TwoLayerProblem, carrier: Carrier, start: Measure | None) -> State:
    zero = np.zeros_like(problem.targets)
    empty = Particles(np.zeros((0, carrier.dimension)), np.zeros((problem.n_outputs, 0)), np.zeros(0))
    state = State(empty, -problem.loss.gradient(zero, problem.targets), problem.loss.value(zero, problem.targets))
    if start is not None and start.n_atoms:
        known = start.neurons is not None and start.neurons.shape[1] == problem.geometry.n_parameters
        x = (
            carrier.from_neurons(start.neurons)
            if known and start.neurons is not None
            else carrier.from_patterns(start.atoms)
        )
        given = Particles(x, problem.readout(start) * start.masses, start.masses)
        cost = carrier.cost(x)
        constant = bool(problem.activation(np.zeros((1, 1))).any())  # what a neuron of no cost is good for
        ordinary = ((cost > 1.0 / LARGEST) & (cost < LARGEST)) | (constant & (cost == 0))
        optimise_masses(problem, carrier, state, given.take(ordinary), 1e-10)
    return state


def optimise_masses(
    problem: TwoLayerProblem, carrier: Carrier, state: State, particles: Particles, tolerance: float
) -> float:
    """Solve the master on these atoms; take the result over if it is no worse. Returns the energy it reached."""
    features = problem.features(carrier.patterns(particles.x))
    cost = carrier.cost(particles.x)
    master = solve_master(problem, features, cost, particles.readouts, tolerance, state.kappa)
    if master.energy <= state.energy * (1 + 1e-15):
        new = prune(carrier, Particles(particles.x, master.readouts, master.masses))
        outputs = master.readouts @ features
        state.particles, state.energy, state.kappa = new, master.energy, master.kappa
        state.dual = problem.loss.project_dual(-problem.loss.gradient(outputs, problem.targets), problem.targets)
    return master.energy

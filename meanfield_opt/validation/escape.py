"""A network that stopped above the optimum: the neuron that improves it, and training on with that neuron added."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..measure import Measure
from ..problem import TwoLayerProblem
from .networks import network_measure
from .objective import TwoLayerObjective
from .options import TrainOptions
from .training import gap, train

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ImprovingNeuron:
    """A neuron theta (r,) whose first variation at a trained network is negative: ratio |Z phi(h)|/sqrt(tau c(h)) > 1.

    source: "certificate" (named by the certificate of the network), "certified support" or "local search".
    """

    theta: Array
    ratio: float
    source: str


@dataclass(frozen=True, eq=False)
class Escape:
    """Training on after adding improving neurons one at a time.

    before: the relative gap at which the network was stuck. control: the gap after the same further training with no
    neuron added. gaps: after each round (one neuron added, then trained). ratios, sources: of each added neuron.
    energies: the energies of before, control and gaps, in that order. verdict: of the stopped network's own certificate
    ("" if none was made); "refuted" is a proof that it is not optimal.
    """

    seed: int
    before: float
    control: float
    gaps: tuple[float, ...]
    ratios: tuple[float, ...]
    sources: tuple[str, ...]
    energies: tuple[float, ...]
    verdict: str = ""

    def words(self, reference: float | None = None) -> str:
        """The three gaps in short; with a ``reference`` energy, the three energies relative to it instead."""
        shown = (self.before, self.control, *self.gaps)
        if reference is not None:
            shown = tuple(v / max(abs(reference), 1e-300) - 1.0 for v in self.energies)
        after = f"{shown[-1]:.1e} with {len(self.gaps)} added" if self.gaps else "no neuron found"
        return f"{shown[0]:.1e}, {shown[1]:.1e}, {after}"


def improving_neuron(
    problem: TwoLayerProblem,
    measure: Measure,
    support: Measure | None,
    *,
    named: Array | None = None,
    starts: int = 20,
    seed: int = 0,
) -> ImprovingNeuron | None:
    """The neuron that a certificate ``named`` if it improves; else the largest ratio among the certified support and
    local searches.

    None where nothing found exceeds 1 + 1e-9 (which proves nothing about the network).
    """
    z = problem.dual_point(measure)
    if named is not None:
        own = float(problem.ratio(z, problem.geometry.preactivation(np.atleast_2d(named)))[0])
        if own > 1 + 1e-9:
            return ImprovingNeuron(np.asarray(named), own, "certificate")
    candidates: list[tuple[Array, str]] = []
    if support is not None and support.n_atoms:
        candidates.append((problem.geometry.weights(support.atoms), "certified support"))
    if starts:
        candidates.append((ascend(problem, z, starts, seed), "local search"))
    best: ImprovingNeuron | None = None
    for theta, source in candidates:
        ratio = problem.ratio(z, problem.geometry.preactivation(theta))
        j = int(np.argmax(ratio))
        if ratio[j] > 1 + 1e-9 and (best is None or ratio[j] > best.ratio * (1 + 1e-6)):
            best = ImprovingNeuron(theta[j], float(ratio[j]), source)
    return best


def ascend(problem: TwoLayerProblem, dual: Array, starts: int, seed: int, steps: int = 200) -> Array:
    """Local maximisers theta (starts, r) of |Z phi(A theta)| / |theta| on the sphere, from random starts.

    The fixed point of theta <- A^T (phi'(h) * Z^T Z phi(h)) normalised: monotone for convex phi of degree 1.
    """
    space = problem.geometry
    theta = np.random.default_rng([seed, 7]).standard_normal((starts, space.n_parameters))
    theta /= np.linalg.norm(theta, axis=1, keepdims=True)
    for _ in range(steps):
        h = space.preactivation(theta)
        slope = ((problem.features(h) @ dual.T) @ dual) * problem.activation.derivative(h)
        new = space.pullback(slope)
        norm = np.linalg.norm(new, axis=1, keepdims=True)
        new = np.where(norm > 0, new / np.where(norm > 0, norm, 1.0), theta)
        if np.abs(new - theta).max() < 1e-12:
            break
        theta = new
    return theta


def add_neuron(problem: TwoLayerProblem, theta: Array, readout: Array, direction: Array) -> tuple[Array, Array]:
    """The network with one more neuron along ``direction`` (r,), its size chosen by a line search on the energy."""
    f = readout @ problem.features(problem.geometry.preactivation(theta))
    z = -problem.loss.gradient(f, problem.targets)
    unit = direction / np.linalg.norm(direction)
    best: tuple[float, Array, Array] | None = None
    for size in np.logspace(-3, 1, 41):
        response = problem.features(problem.geometry.preactivation((size * unit)[None]))[0]
        pull = z @ response
        norm = float(np.linalg.norm(pull))
        if norm == 0.0:
            continue
        # both layers share the penalty evenly, which is optimal for degree 1
        w = pull / norm * size * np.sqrt(problem.lambda1 / problem.lambda2)
        value = problem.loss.value(f + np.outer(w, response), problem.targets) + 2 * problem.lambda1 * size**2
        if best is None or value < best[0]:
            best = (value, size * unit, w)
    if best is None:
        return theta, readout
    return np.vstack([theta, best[1]]), np.hstack([readout, best[2][:, None]])


def escape(
    problem: TwoLayerProblem,
    seed: int,
    theta: Array,
    readout: Array,
    lower: float,
    *,
    name: Callable[[Measure], tuple[Array | None, str]] | None = None,
    support: Measure | None = None,
    options: TrainOptions | None = None,
    rounds: int = 6,
    target: float = 1e-4,
    control: float | None = None,
) -> Escape:
    """Add the improving neuron, train on, repeat until the gap is at most ``target`` or ``rounds`` are done.

    name: certifies a network and returns (the neuron its certificate names, its verdict); asked in every round.
    control: the energy after the same further training without a neuron, where it is known already.
    """
    opt = options or TrainOptions(steps=1500, rate=0.03)
    opt = replace(opt, record_every=0, checkpoint=None, progress=None)

    def further(t: Array, v: Array) -> tuple[Array, Array, float]:
        start = np.concatenate([t.ravel(), v.ravel()])[None]
        run = train(TwoLayerObjective(problem, t.shape[0]), [seed], opt, start=start)
        part = run.weights(0)
        return part["theta"], part["readout"], float(run.energies[0])

    before = problem.energy(network_measure(problem, theta, readout))
    if control is None:
        *_, control = further(theta, readout)
    energies = [before, control]
    ratios: list[float] = []
    sources: list[str] = []
    verdict = ""
    for turn in range(rounds):
        measure = network_measure(problem, theta, readout)
        named, word = (None, "") if name is None else name(measure)
        verdict = word if turn == 0 else verdict
        found = improving_neuron(problem, measure, support, named=named, seed=turn)
        if found is None:
            break
        theta, readout = add_neuron(problem, theta, readout, found.theta)
        theta, readout, now = further(theta, readout)
        energies.append(now)
        ratios.append(found.ratio)
        sources.append(found.source)
        if gap(np.array([now]), lower)[0] <= target:
            break
    gaps = tuple(float(g) for g in gap(np.array(energies), lower))
    return Escape(seed, gaps[0], gaps[1], gaps[2:], tuple(ratios), tuple(sources), tuple(energies), verdict)

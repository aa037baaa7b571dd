"""One trained network held against the certified optimum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..certificate import Certificate
from ..errors import UndefinedMetricError
from ..metrics import Ccgp, ccgp, cka, parallelism_scores, participation_ratio, procrustes, relative_frobenius
from ..problem import TwoLayerProblem
from ..solution import Solution
from .dynamics import Dynamics, or_nan
from .escape import ImprovingNeuron, improving_neuron
from .inputs import network_inputs
from .matching import Matching, match
from .networks import network_measure
from .settling import Settled, certified_gap
from .training import Trained

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SeedResult:
    """One trained network. energy: a rigorous upper bound of its own energy; gap: (energy - lower)/energy, certified.
    excess: energy / the solution's energy - 1, not certified; negative for a network that beats the solution.

    distance (relative Frobenius), cka, procrustes: its hidden kernel to K*. parallelism, ccgp: NaN where undefined.
    settled: relative fall of the energy over the last tenth of training. improving: for a network above the optimum.
    control: for a network above the optimum, its gap after training on with nothing added until it was stuck, reached
    the threshold or four rounds were over (``settling``); NaN: not trained on. standing: see there.
    """

    seed: int
    energy: float
    gap: float
    excess: float
    distance: float
    cka: float
    procrustes: float
    parallelism: float
    ccgp: float
    dimension: float
    steps: int
    diverged: bool
    settled: float
    matching: Matching
    improving: ImprovingNeuron | None
    control: float
    standing: str


def standing(gap: float, settled: Settled | None, threshold: float, improving: bool) -> str:
    """Where a network stands, in one word; only "optimum" is a proof.

    "optimum": certified gap at most the threshold. "stuck": more training leaves it where it is, above the threshold,
    though a neuron that would lower the energy is known (a local minimum, as far as this optimiser can tell).
    "unfinished": more training alone goes on lowering it. "above": more training does not help and no such neuron was
    found, or it was not trained on (the bound itself may be weak).
    """
    if gap <= threshold:
        return "optimum"
    if settled is None:
        return "above"
    if settled.after <= threshold or not settled.stuck:
        return "unfinished"
    return "stuck" if improving else "above"


def judge(
    problem: TwoLayerProblem,
    solution: Solution,
    proof: Certificate,
    run: Trained,
    row: int,
    dynamics: Dynamics,
    threshold: float,
    settled: Settled | None,
) -> SeedResult:
    """Everything about the network in ``row`` of ``run``."""
    part = run.weights(row)
    measure = network_measure(problem, part["theta"], part["readout"])
    energy, gap = certified_gap(problem, part["theta"], part["readout"], proof.lower_bound)
    hidden = problem.features(measure.atoms)
    kernel = hidden.T @ hidden
    improving = None
    if gap > threshold:
        improving = improving_neuron(problem, measure, solution.measure.support())
    late = dynamics.energy[max(0, int(0.9 * len(dynamics.steps)) - 1), row]
    last = dynamics.energy[-1, row]
    return SeedResult(
        run.seeds[row],
        energy,
        gap,
        energy / max(abs(solution.energy), 1e-300) - 1.0,
        or_nan(lambda: relative_frobenius(kernel, solution.kernel)),
        or_nan(lambda: cka(kernel, solution.kernel)),
        or_nan(lambda: procrustes(kernel, solution.kernel)),
        or_nan(lambda: _parallelism(problem, kernel)),
        or_nan(lambda: _ccgp(problem, hidden.T).score),
        or_nan(lambda: participation_ratio(kernel)),
        int(run.steps[row]),
        bool(run.diverged[row]),
        float((late - last) / max(abs(last), 1e-300)),
        match(problem, measure, solution.measure),
        improving,
        float("nan") if settled is None else settled.after,
        standing(gap, settled, threshold, improving is not None),
    )


def optimum_figures(problem: TwoLayerProblem, solution: Solution) -> dict[str, Any]:
    """The same metrics of the solution; input_parallelism: of the inputs themselves."""
    rows = network_inputs(problem.geometry).rows
    return {
        "energy": solution.energy,
        "parallelism": or_nan(lambda: _parallelism(problem, solution.kernel)),
        "ccgp": or_nan(lambda: _ccgp(problem, solution.features.T).score),
        "dimension": or_nan(lambda: participation_ratio(solution.kernel)),
        "input_parallelism": or_nan(lambda: _parallelism(problem, rows @ rows.T)),
    }


def _parallelism(problem: TwoLayerProblem, kernel: Array) -> float:
    _check_signs(problem)
    return float(parallelism_scores(kernel, problem.targets).mean())


def _ccgp(problem: TwoLayerProblem, activations: Array) -> Ccgp:
    _check_signs(problem)
    return ccgp(activations, problem.targets, most_folds=16)


def _check_signs(problem: TwoLayerProblem) -> None:
    if not np.isin(problem.targets, (-1.0, 1.0)).all():
        raise UndefinedMetricError("labels are not signs.")

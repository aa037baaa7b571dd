"""``compare``: train, judge every seed, train on what stopped above the optimum, and add the neurons it lacks."""

from __future__ import annotations

import logging
import math
import platform
import time
from dataclasses import fields, replace
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..certificate import Certificate, certify
from ..errors import InputError
from ..measure import Measure
from ..problem import MeanFieldProblem, TwoLayerProblem
from ..solution import Solution
from ..validate import instance, integer, positive
from .comparison import Comparison
from .dynamics import Recorder
from .escape import Escape, escape
from .networks import import_torch
from .objective import TwoLayerObjective
from .options import TrainOptions
from .seed_result import judge, optimum_figures
from .settling import Settled, certified_gap, settle
from .training import Trained, train

Array = NDArray[np.float64]
log = logging.getLogger(__name__)

#: samples beyond which kernels are not formed here
MOST_SAMPLES = 4096
MOST_UNITS = 1_000_000
MOST_SCALE = 1e50  # beyond it energies overflow before the first step
#: seconds for the certificate that names a stopped network's improving neuron
NAMING_SECONDS = 20.0


def compare(
    problem: MeanFieldProblem,
    solution: Solution,
    *,
    seeds: int | list[int] = 20,
    width: int | None = None,
    device: str = "auto",
    certificate: Certificate | None = None,
    options: TrainOptions | None = None,
    scale: float = 1.0,
    threshold: float = 1e-4,
    examine: int = 2,
    records: int = 40,
    progress: Any | None = None,
    **training: Any,
) -> Comparison:
    """Train one network a seed on the problem's objective and hold them against ``solution``.

    width: hidden units (default: 4 P, between 8 and 512; the problem's width where it has one). certificate: of the
    solution; made here if left out. All gaps are relative to its lower bound. options: training (``device`` fills
    their device). threshold: a seed has reached the optimum when its certified gap is at most this. examine: seeds
    above the threshold that are tried to be certified, given their improving neuron and trained on. records: times at
    which the dynamics are recorded. progress: receives ``TrainingProgress``. training: fields of ``TrainOptions``
    that replace those of ``options`` (steps=..., method=..., rate=..., ...).
    """
    import_torch()
    begin = time.perf_counter()
    if not isinstance(problem, TwoLayerProblem):
        raise InputError(f"compare takes two-layer problems, not {type(problem).__name__}.")
    if not isinstance(solution, Solution):
        raise InputError(
            f"compare needs a Solution, not {type(solution).__name__}; mfo.solve gives one, mfo.certify takes networks."
        )
    if solution.problem.fingerprint != problem.fingerprint:
        raise InputError("the solution belongs to another problem (fingerprints differ).")
    if problem.n_samples > MOST_SAMPLES:
        raise InputError(
            f"compare forms kernels over at most {MOST_SAMPLES} samples; this problem has {problem.n_samples}."
        )
    instance(device, str, "device", "auto, cpu, cuda or another device of torch")
    if positive(scale, "scale") > MOST_SCALE:
        raise InputError(f"scale must be at most {MOST_SCALE:g}, not {scale:g}.")
    positive(threshold, "threshold")
    integer(examine, "examine", least=0)
    units = _width(problem, width)
    proof = certify(problem, solution).uninterrupted() if certificate is None else certificate
    if not isinstance(proof, Certificate) or proof.problem.fingerprint != problem.fingerprint:
        raise InputError(
            "the certificate belongs to another problem; leave it out or give mfo.certify(problem, solution)."
        )
    if not np.isfinite(proof.lower_bound):
        raise InputError("the certificate has no finite lower bound, so no gap can be stated.")
    if options is not None and not isinstance(options, TrainOptions):
        raise InputError(f"options must be a TrainOptions, not {type(options).__name__}.")
    unknown = sorted(set(training) - {f.name for f in fields(TrainOptions)})
    if unknown:
        raise InputError(
            f"unknown training option {unknown[0]!r}; known: {', '.join(f.name for f in fields(TrainOptions))}."
        )
    opt = replace(options or TrainOptions(), **{**training, "lower": proof.lower_bound})
    opt = opt if device == "auto" else replace(opt, device=device)
    opt = replace(opt, record_every=max(1, opt.steps // integer(records, "records", least=1)))
    if progress is not None:
        opt = replace(opt, progress=progress)
    objective = TwoLayerObjective(problem, units)
    recorder = Recorder(problem, objective, solution.kernel, proof.lower_bound)
    run = train(objective, seeds, opt, scale=scale, observe=recorder)
    dynamics = recorder.result()
    lower = proof.lower_bound
    parts = [run.weights(row) for row in range(len(run.seeds))]
    gaps = np.array([certified_gap(problem, w["theta"], w["readout"], lower)[1] for w in parts])
    above = [int(row) for row in np.argsort(-gaps) if gaps[row] > threshold and not run.diverged[row]]
    calm = _calmer(opt)
    settled = settle(problem, run, above, calm, lower, solution.energy, threshold) if examine else {}
    results = [
        judge(problem, solution, proof, run, row, dynamics, threshold, settled.get(row)) for row in range(gaps.size)
    ]
    # what more training mends needs no neuron
    stuck = [row for row in above if row in settled and settled[row].after > threshold]
    stuck.sort(key=lambda row: (not settled[row].stuck, -settled[row].after))
    escapes = [_escape(problem, solution, run, row, calm, lower, threshold, settled[row]) for row in stuck[:examine]]
    comparison = Comparison(
        problem,
        solution,
        proof,
        units,
        scale,
        threshold,
        opt,
        tuple(results),
        dynamics,
        tuple(escapes),
        optimum_figures(problem, solution),
        run,
        _versions(),
        time.perf_counter() - begin,
    )
    log.info("%s: %.0f %% of %d seeds reached the optimum", problem.name, 100 * comparison.reached.mean(), len(results))
    return comparison


def _width(problem: TwoLayerProblem, width: int | None) -> int:
    if width is not None:
        return integer(width, "width", least=1, most=MOST_UNITS)
    if problem.width is not None:
        return max(1, math.floor(problem.width))
    return int(min(max(4 * problem.n_samples, 8), 512))


def _calmer(opt: TrainOptions) -> TrainOptions:
    """Half as many steps of Adam at a lower rate, decayed to zero: what "training on" means here."""
    rate = 0.3 * opt.rate if opt.method == "adam" else 0.03
    return TrainOptions(steps=max(500, opt.steps // 2), rate=rate, device=opt.device, threads=opt.threads)


def _escape(
    problem: TwoLayerProblem,
    solution: Solution,
    run: Trained,
    row: int,
    calm: TrainOptions,
    lower: float,
    threshold: float,
    settled: Settled,
) -> Escape:
    part = {name: np.asarray(v[0]) for name, v in run.objective.unpack(settled.parameters[None]).items()}

    def name(measure: Measure) -> tuple[Array | None, str]:
        made = certify(problem, measure, time_limit=NAMING_SECONDS).uninterrupted()
        return made.neuron, made.verdict

    return escape(
        problem,
        run.seeds[row],
        part["theta"],
        part["readout"],
        lower,
        name=name,
        support=solution.measure.support(),
        options=calm,
        target=threshold,
        control=settled.energies[1],
    )


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("numpy", "torch", "meanfield-opt")} | {"python": platform.python_version()}

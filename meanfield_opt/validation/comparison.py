"""Trained networks against a certified optimum: do they reach it, and do they have its representation?"""

from __future__ import annotations

import json
import logging
import math
import time
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..certificate import Certificate, certify
from ..errors import InputError, UndefinedMetricError
from ..measure import Measure
from ..metrics import Ccgp, ccgp, cka, parallelism_scores, participation_ratio, procrustes, relative_frobenius
from ..problem import MeanFieldProblem, TwoLayerProblem
from ..solution import Solution
from ..validate import integer, positive
from .dynamics import Dynamics, Recorder, or_nan
from .escape import Escape, ImprovingNeuron, escape, improving_neuron
from .inputs import network_inputs
from .matching import Matching, match
from .networks import import_torch, own_energy_upper
from .objective import TwoLayerObjective
from .options import TrainingProgress, TrainOptions
from .training import Trained, train

Array = NDArray[np.float64]
log = logging.getLogger(__name__)

#: samples beyond which kernels are not formed here
MOST_SAMPLES = 4096


@dataclass(frozen=True, eq=False)
class SeedResult:
    """One trained network. energy: a rigorous upper bound of its own energy; gap: (energy - lower)/energy, certified.
    excess: energy / the solution's energy - 1, not certified; negative for a network that beats the solution.

    distance (relative Frobenius), cka, procrustes: its hidden kernel to K*. parallelism, ccgp: NaN where undefined.
    settled: relative fall of the energy over the last tenth of training. improving: for a network above the optimum.
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


@dataclass(frozen=True, eq=False)
class Comparison:
    """Seeds against the optimum. ``threshold``: a seed reaches the optimum when its certified gap is at most that."""

    problem: TwoLayerProblem
    solution: Solution
    certificate: Certificate
    width: int
    scale: float
    threshold: float
    options: TrainOptions
    seeds: tuple[SeedResult, ...]
    dynamics: Dynamics
    escapes: tuple[Escape, ...]
    optimum: dict[str, Any]
    trained: Trained
    versions: dict[str, str]
    seconds: float = field(default=0.0)

    def values(self, name: str) -> Array:
        """One number a seed, (S,)."""
        return np.array([float(getattr(s, name)) for s in self.seeds])

    @property
    def reached(self) -> NDArray[np.bool_]:
        """(S,) certified gap at most ``threshold``."""
        return np.asarray(self.values("gap") <= self.threshold)

    def summary(self) -> dict[str, Any]:
        """The comparison in JSON values: shares, quantiles and means with standard errors over seeds."""
        gaps = self.values("gap")
        body: dict[str, Any] = {
            "problem": self.problem.name,
            "lambda1": self.problem.lambda1,
            "lambda2": self.problem.lambda2,
            "seeds": len(self.seeds),
            "width": self.width,
            "initial_scale": self.scale,
            "training": {k: v for k, v in asdict(replace(self.options, progress=None)).items() if k != "progress"},
            "certificate": {
                "verdict": self.certificate.verdict,
                "proof": self.certificate.proof,
                "lower_bound": self.certificate.lower_bound,
                "upper_bound": self.certificate.upper_bound,
                "relative_gap": self.certificate.relative_gap,
            },
            "threshold": self.threshold,
            "share_reached": float(self.reached.mean()),
            "gap": _quantiles(gaps),
            "excess": _quantiles(self.values("excess")),
            "optimum": self.optimum,
            "seconds": self.seconds,
            "versions": self.versions,
        }
        for name in ("distance", "cka", "procrustes", "parallelism", "ccgp", "dimension"):
            body[name] = _spread(self.values(name))
            if self.reached.any():
                body[name]["worst_of_reached"] = _extreme(
                    self.values(name)[self.reached], name in ("distance", "procrustes")
                )
        body["explained"] = _spread(np.array([s.matching.explained for s in self.seeds]))
        body["escapes"] = [asdict(e) for e in self.escapes]
        body["per_seed"] = [
            {
                k: _plain(getattr(s, k))
                for k in (
                    "seed",
                    "energy",
                    "gap",
                    "excess",
                    "distance",
                    "cka",
                    "procrustes",
                    "parallelism",
                    "ccgp",
                    "steps",
                    "settled",
                )
            }
            | {"explained": s.matching.explained, "improving_ratio": None if s.improving is None else s.improving.ratio}
            for s in self.seeds
        ]
        return body

    def rows(self) -> list[tuple[str, str]]:
        """The comparison in short: (quantity, value) pairs for a table."""
        gaps, body = self.values("gap"), self.summary()

        def spread(name: str) -> str:
            part = body[name]
            return "undefined" if part["mean"] is None else f"{part['mean']:.5f} +- {part['standard_error']:.1e}"

        def number(value: float) -> str:
            return "undefined" if not math.isfinite(value) else f"{value:.5f}"

        rows = [
            ("certified lower bound", f"{self.certificate.lower_bound:.9g} ({self.certificate.verdict})"),
            (
                "energy of the optimum",
                f"{self.solution.energy:.9g} (certified gap {self.certificate.relative_gap:.1e})",
            ),
            (
                "networks",
                f"{len(self.seeds)} seeds of {self.width} units, {self.options.method}, {self.options.steps} steps",
            ),
            (f"seeds within {self.threshold:g} of the bound", f"{int(self.reached.sum())} of {len(self.seeds)}"),
            ("certified gap: least, median, greatest", f"{gaps.min():.1e}, {np.median(gaps):.1e}, {gaps.max():.1e}"),
            (
                "energy above the solution's: least, median, greatest",
                "{:.1e}, {:.1e}, {:.1e}".format(*np.quantile(self.values("excess"), (0.0, 0.5, 1.0))),
            ),
            ("|K - K*| / |K*|", spread("distance")),
            ("CKA to K*", spread("cka")),
            ("parallelism score (optimum)", f"{spread('parallelism')} ({number(self.optimum['parallelism'])})"),
            ("CCGP (optimum)", f"{spread('ccgp')} ({number(self.optimum['ccgp'])})"),
            ("kernel explained by certified patterns", spread("explained")),
        ]
        for e in self.escapes:
            rows.append((f"seed {e.seed}: gap, after more training, after neurons added", e.words()))
        return rows

    def save(self, path: str | Path) -> None:
        """Write ``summary`` as JSON."""
        Path(path).write_text(json.dumps(_jsonable(self.summary()), indent=1) + "\n")

    def write_report(self, path: str | Path) -> None:
        """Write one self-contained HTML page."""
        from ..report import write_report

        write_report(self, path)


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
    if solution.problem.fingerprint != problem.fingerprint:
        raise InputError("the solution belongs to another problem (fingerprints differ).")
    if problem.n_samples > MOST_SAMPLES:
        raise InputError(
            f"compare forms kernels over at most {MOST_SAMPLES} samples; this problem has {problem.n_samples}."
        )
    positive(threshold, "threshold")
    units = _width(problem, width)
    proof = certify(problem, solution) if certificate is None else certificate
    unknown = sorted(set(training) - {f.name for f in fields(TrainOptions)})
    if unknown:
        raise InputError(
            f"unknown training option {unknown[0]!r}; known: {', '.join(f.name for f in fields(TrainOptions))}."
        )
    opt = replace(options or TrainOptions(), **training)
    opt = opt if device == "auto" else replace(opt, device=device)
    opt = replace(opt, lower=proof.lower_bound, record_every=max(1, opt.steps // integer(records, "records", least=1)))
    if progress is not None:
        opt = replace(opt, progress=progress)
    objective = TwoLayerObjective(problem, units)
    recorder = Recorder(problem, objective, solution.kernel, proof.lower_bound)
    run = train(objective, seeds, opt, scale=scale, observe=recorder)
    dynamics = recorder.result()
    results, measures = [], []
    for row in range(len(run.seeds)):
        measure = _measure(problem, run, row)
        measures.append(measure)
        results.append(_judge(problem, solution, proof, run, row, measure, dynamics, threshold))
    escapes = []
    above = [row for row, r in enumerate(results) if r.gap > threshold and r.improving is not None]
    for row in sorted(above, key=lambda i: -results[i].gap)[:examine]:
        escapes.append(_escape(problem, solution, proof, run, row, measures[row], opt, threshold))
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
        _optimum(problem, solution),
        run,
        _versions(),
        time.perf_counter() - begin,
    )
    log.info("%s: %.0f %% of %d seeds reached the optimum", problem.name, 100 * comparison.reached.mean(), len(results))
    return comparison


def _width(problem: TwoLayerProblem, width: int | None) -> int:
    if width is not None:
        return integer(width, "width", least=1)
    if problem.width is not None:
        return max(1, math.floor(problem.width))
    return int(min(max(4 * problem.n_samples, 8), 512))


def _measure(problem: TwoLayerProblem, run: Trained, row: int) -> Measure:
    part = run.weights(row)
    keep = (part["theta"] != 0).any(axis=1)
    theta = part["theta"][keep]
    return Measure(problem.geometry.preactivation(theta), np.ones(theta.shape[0]), theta, part["readout"][:, keep])


def _judge(
    problem: TwoLayerProblem,
    solution: Solution,
    proof: Certificate,
    run: Trained,
    row: int,
    measure: Measure,
    dynamics: Dynamics,
    threshold: float,
) -> SeedResult:
    energy = own_energy_upper(problem, measure)
    gap = (energy - proof.lower_bound) / max(1e-300, abs(energy))
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
        or_nan(lambda: _signs(problem) and parallelism_scores(kernel, problem.targets).mean()),
        or_nan(lambda: _ccgp(problem, hidden.T).score),
        or_nan(lambda: participation_ratio(kernel)),
        int(run.steps[row]),
        bool(run.diverged[row]),
        float((late - last) / max(abs(last), 1e-300)),
        match(problem, measure, solution.measure),
        improving,
    )


def _signs(problem: TwoLayerProblem) -> bool:
    if not np.isin(problem.targets, (-1.0, 1.0)).all():
        raise UndefinedMetricError("labels are not signs.")
    return True


def _ccgp(problem: TwoLayerProblem, activations: Array) -> Ccgp:
    _signs(problem)
    return ccgp(activations, problem.targets, most_folds=16)


def _escape(
    problem: TwoLayerProblem,
    solution: Solution,
    proof: Certificate,
    run: Trained,
    row: int,
    measure: Measure,
    opt: TrainOptions,
    threshold: float,
) -> Escape:
    named = certify(problem, measure, time_limit=5.0).neuron
    part = run.weights(row)
    calm = TrainOptions(
        steps=max(500, opt.steps // 2), rate=0.3 * opt.rate if opt.method == "adam" else 0.03, device=opt.device
    )
    return escape(
        problem,
        run.seeds[row],
        part["theta"],
        part["readout"],
        proof.lower_bound,
        support=solution.measure.support(),
        named=named,
        options=calm,
        target=threshold,
    )


def _optimum(problem: TwoLayerProblem, solution: Solution) -> dict[str, Any]:
    hidden = solution.features
    return {
        "energy": solution.energy,
        "parallelism": or_nan(lambda: _signs(problem) and parallelism_scores(solution.kernel, problem.targets).mean()),
        "ccgp": or_nan(lambda: _ccgp(problem, hidden.T).score),
        "dimension": or_nan(lambda: participation_ratio(solution.kernel)),
        "input_parallelism": or_nan(lambda: _input_parallelism(problem)),
    }


def _input_parallelism(problem: TwoLayerProblem) -> float:
    _signs(problem)
    rows = network_inputs(problem.geometry).rows
    return float(parallelism_scores(rows @ rows.T, problem.targets).mean())


def _versions() -> dict[str, str]:
    import platform
    from importlib.metadata import version

    return {name: version(name) for name in ("numpy", "torch", "meanfield-opt")} | {"python": platform.python_version()}


def _spread(values: Array) -> dict[str, Any]:
    fine = values[np.isfinite(values)]
    if fine.size == 0:
        return {"mean": None, "standard_error": None, "least": None, "greatest": None}
    error = float(fine.std(ddof=1) / math.sqrt(fine.size)) if fine.size > 1 else 0.0
    return {
        "mean": float(fine.mean()),
        "standard_error": error,
        "least": float(fine.min()),
        "greatest": float(fine.max()),
    }


def _extreme(values: Array, largest: bool) -> float | None:
    fine = values[np.isfinite(values)]
    if fine.size == 0:
        return None
    return float(fine.max() if largest else fine.min())


def _quantiles(values: Array) -> dict[str, float]:
    names = {"least": 0.0, "quarter": 0.25, "median": 0.5, "three_quarters": 0.75, "greatest": 1.0}
    return {name: float(np.quantile(values, q)) for name, q in names.items()}


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, (int, np.integer)) else float(value)


def _jsonable(value: Any) -> Any:
    """NaN and infinity are no JSON: they become null."""
    if isinstance(value, dict):
        return {k: _jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


__all__ = ["Comparison", "SeedResult", "TrainOptions", "TrainingProgress", "compare"]

"""From a candidate to a certificate. Nothing here reads a solver's status or objective."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..activations.check import check_activation
from ..checker.bounds import best_rigorous_scale, energy_upper, lower_from_proof
from ..checker.document import write_document
from ..checker.refute import measure_energy_lower
from ..errors import InputError
from ..measure import Measure
from ..plugins import Registry
from ..problem import MeanFieldProblem, TwoLayerProblem
from ..solution import Solution
from ..symmetry import average_over_hypercube
from ..threads import blas_threads, entries_of
from ..validate import integer, nonnegative, positive
from .engine import ENGINES, Limits, ProofEngine, Question, SupremumProof, applicable
from .exchange_engine import average_over_types
from .improve import Refutation, reoptimised, violating_neurons, with_neurons
from .orbital_engine import average_over_classes

Array = NDArray[np.float64]
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Certificate:
    """Two-sided bounds on inf E over measures.

    verdict: "proved": the lower bound is rigorous, rounding included, whatever the size of the gap;
    "open": no proof was found, lower_bound is only the trivial one; "refuted": the candidate is proved not optimal:
    ``refutation.better`` has provably less energy, and ``neuron`` lowers the energy. The bounds stay valid in each case.
    neuron: the worst neuron theta (r,) met, a next column for column generation, or None.
    document: the certificate in JSON values, for problems that are not two-layer ones (their certifier fills it).
    """

    problem: MeanFieldProblem
    measure: Measure
    dual: Array
    lower_bound: float
    upper_bound: float
    verdict: str
    proof: str
    supremum: SupremumProof | None
    scale: float
    neuron: Array | None = None
    stats: dict[str, Any] = field(default_factory=dict)
    refutation: Refutation | None = None
    document: Mapping[str, Any] | None = None

    @property
    def relative_gap(self) -> float:
        """(upper - lower) / max(1e-300, |upper|)."""
        return (self.upper_bound - self.lower_bound) / max(1e-300, abs(self.upper_bound))

    def save(self, path: str | Path) -> None:
        """Write the self-contained certificate file (JSON)."""
        write_document(self, Path(path))


#: class name of a problem that is not a two-layer one -> certify(problem, candidate, **options) -> Certificate
CERTIFIERS: Registry[Callable[..., Certificate]] = Registry("meanfield_opt.certifiers", "certifier", callable)


def certify(
    problem: MeanFieldProblem,
    candidate: Any,
    *,
    engine: str = "auto",
    time_limit: float = 60.0,
    target: float = 1e-7,
    workers: int = 2,
    progress: Callable[[float, float, int], None] | None = None,
    checkpoint: str | None = None,
    refute: float | None = None,
) -> Certificate:
    """Prove two-sided bounds around ``candidate`` (a Solution, a Measure or a torch.nn.Module).

    engine: a registered proof engine by name, or "auto" (chosen by structure and predicted cost). time_limit: seconds
    for all engines together; each stops with the bound it has proved by then. target: relative accuracy asked of the
    supremum. progress(upper, lower, open nodes), checkpoint (a file to resume from) and workers go to the engines.
    refute: the candidate is refuted where another measure is proved better by more than this fraction of its energy;
    by default 1e-4 for a Measure or a network, whose optimality is the question, and 0.1 for a Solution, whose solver
    may well have stopped early and whose bounds are what is asked for (math.inf: do not try).

    The bounds are on the infimum over measures. For an activation that is not positively homogeneous that is a
    relaxation of networks of integer width: the lower bound holds for them too, the upper one is the measure's.
    """
    if not isinstance(problem, TwoLayerProblem):
        name = type(problem).__name__
        if name in CERTIFIERS.names():
            return CERTIFIERS.get(name)(
                problem, candidate, engine=engine, time_limit=time_limit, target=target, workers=workers
            )
        raise InputError(f"no certifier is registered for problems of class {name}; see docs/certificates.md.")
    positive(time_limit if math.isfinite(time_limit) else 1.0, "time_limit")
    positive(target, "target")
    if refute is None:
        refute = 0.1 if isinstance(candidate, Solution) else 1e-4
    elif refute != math.inf:
        nonnegative(refute, "refute")
    integer(workers, "workers", least=1)
    started = time.monotonic()
    check_activation(problem.activation)
    measure, dual = _witnesses(problem, candidate)
    if not problem.activation.rigorous:
        return _unproved(problem, measure, dual)
    measure, upper = energy_upper(problem, measure)
    limits = Limits(time_limit, target, workers, progress, checkpoint)
    with blas_threads(entries_of(problem)):
        return _proved(problem, measure, dual, upper, engine, limits, refute, started)


def _proved(
    problem: TwoLayerProblem,
    measure: Measure,
    dual: Array,
    upper: float,
    engine: str,
    limits: Limits,
    refute: float,
    started: float,
) -> Certificate:
    """The engines' best bound, and where it shows that the candidate is not optimal, the refutation."""
    search = _Search(problem, upper, limits, started)
    candidates = _dual_candidates(problem, dual)
    if engine != "auto":  # an engine asked for by name may apply to the averaged dual point only
        named = ENGINES.get(engine)
        candidates = [z for z in candidates if named.refusal(Question(problem, z)) is None] or candidates
    for z in candidates:
        if search.run(z, engine):
            break
    if problem.width is not None:
        # where the mass is not binding, kappa is zero for a slightly smaller Z and far easier to prove small
        for shrink in (3e-4, 3e-3, 3e-2):
            if search.gap() > 3.0 * shrink and time.monotonic() < search.deadline:
                search.run((1.0 - shrink) * candidates[0], engine)
    bound = search.best
    if bound is None:
        trivial = lower_from_proof(problem, np.zeros_like(problem.targets), 0.0, 0.0)
        certificate = Certificate(problem, measure, dual, trivial, upper, "open", "no proof", None, 0.0)
    else:
        certificate = Certificate(
            problem, measure, bound.dual, bound.lower, upper, "proved", bound.proof.words, bound.proof, bound.scale
        )
    stats = {"seconds": time.monotonic() - started, "engines": search.log}
    certificate = replace(certificate, neuron=search.neuron, stats=stats)
    if certificate.relative_gap > refute:
        certificate = _refuted(problem, certificate, dual, refute, seconds=max(2.0, 0.2 * limits.seconds))
    return certificate


def _unproved(problem: TwoLayerProblem, measure: Measure, dual: Array) -> Certificate:
    """What holds for an activation without rigorous ranges: the trivial lower bound. The energy is floating point."""
    why = f"no proof: {problem.activation.name} has no rigorous range (give a formula or exact pieces)"
    trivial = lower_from_proof(problem, np.zeros_like(problem.targets), 0.0, 0.0)
    return Certificate(problem, measure, dual, trivial, problem.energy(measure), "open", why, None, 0.0)


@dataclass(frozen=True)
class _Bound:
    lower: float
    scale: float
    proof: SupremumProof
    dual: Array


class _Search:
    """Engines tried in turn under one time budget; keeps the best bound, together with the proof that gave it."""

    def __init__(self, problem: TwoLayerProblem, upper: float, limits: Limits, started: float) -> None:
        self.problem, self.upper, self.limits = problem, upper, limits
        self.deadline = started + limits.seconds
        self.best: _Bound | None = None
        self.neuron: Array | None = None
        self.log: list[dict[str, Any]] = []

    def gap(self) -> float:
        """The relative gap of the best bound so far."""
        return math.inf if self.best is None else (self.upper - self.best.lower) / max(1e-300, abs(self.upper))

    def closed(self) -> bool:
        """Whether the best bound is as good as the target can make it."""
        return self.best is not None and self.upper - self.best.lower <= 10 * self.limits.target * abs(self.upper)

    def run(self, dual: Array, name: str) -> bool:
        """Try the engines at one dual point; True when nothing more is to be gained."""
        question = Question(self.problem, dual)
        engines = _engines(question, name)
        for position, engine in enumerate(engines):
            left = self.deadline - time.monotonic()
            if left <= 0 and self.best is not None:
                return True
            # the first of several exact engines gets most of what is left, the others a share of the rest
            serious = [e for e in engines[position:] if e.tightness(question) < 9]
            share = left if len(serious) <= 1 else 0.7 * left
            self._prove(engine, question, replace(self.limits, seconds=max(share, 0.05)))
            if self.closed():
                return True
        return False

    def _prove(self, engine: ProofEngine, question: Question, limits: Limits) -> None:
        begun = time.monotonic()
        entry: dict[str, Any] = {"engine": engine.name}
        self.log.append(entry)
        try:
            outcome = engine.prove(question, limits)
        except (ArithmeticError, np.linalg.LinAlgError) as error:
            # an engine that breaks down numerically has proved nothing; the others still may
            log.warning("proof engine %s broke down: %s", engine.name, error)
            entry.update(complete=False, error=str(error), seconds=time.monotonic() - begun)
            return
        entry.update(complete=outcome.complete, **outcome.stats)
        entry["seconds"] = time.monotonic() - begun
        if outcome.neuron is not None and np.isfinite(outcome.neuron).all():
            self.neuron = outcome.neuron
        proof = outcome.proof
        if proof is None or not (math.isfinite(proof.bound) and proof.bound >= 0):
            return
        entry["bound"] = proof.bound
        scale = best_rigorous_scale(self.problem, question.dual, proof.bound)
        lower = lower_from_proof(self.problem, question.dual, scale, proof.bound)
        log.info("engine %s proved a supremum of %.12g: lower bound %.12g", engine.name, proof.bound, lower)
        if math.isfinite(lower) and (self.best is None or lower > self.best.lower):
            self.best = _Bound(lower, scale, proof, question.dual)


def _engines(question: Question, name: str) -> list[ProofEngine]:
    if name == "auto":
        engines = applicable(question)
        # a valid bound first where it costs nothing, then the engines that close gaps
        cheap = [e for e in engines if e.tightness(question) == 9 and e.predicted_seconds(question) < 1.0]
        return cheap + [e for e in engines if e not in cheap]
    chosen = ENGINES.get(name)
    reason = chosen.refusal(question)
    if reason is not None:
        raise InputError(f"proof engine {name!r} does not apply: {reason}")
    return [chosen]


def _witnesses(problem: TwoLayerProblem, candidate: Any) -> tuple[Measure, Array]:
    if isinstance(candidate, Solution):
        if candidate.problem.fingerprint != problem.fingerprint:
            raise InputError("the solution belongs to another problem (fingerprints differ).")
        return candidate.measure, _usable(problem, candidate.dual, candidate.measure)
    if not isinstance(candidate, Measure):
        if not (callable(candidate) and hasattr(candidate, "state_dict")):
            raise InputError(
                f"certify takes a Solution, a Measure or a torch.nn.Module, not {type(candidate).__name__}."
            )
        from ..validation.networks import measure_from_network

        candidate = measure_from_network(problem, candidate)
    if candidate.atoms.shape[1] != problem.n_samples:
        raise InputError(
            f"the measure has patterns over {candidate.atoms.shape[1]} samples, the problem {problem.n_samples}."
        )
    if problem.width is not None and candidate.total_mass > problem.width * (1 + 1e-9):
        raise InputError(f"the measure's mass {candidate.total_mass:.6g} exceeds the width {problem.width:.6g}.")
    return candidate, problem.dual_point(candidate)


def _usable(problem: TwoLayerProblem, dual: Any, measure: Measure) -> Array:
    """The solution's own dual point if it is a finite array of the right shape, else the one of its measure."""
    array = np.asarray(dual, dtype=np.float64)
    if array.shape == problem.targets.shape and np.isfinite(array).all():
        return array
    log.warning("the solution's dual point is not a finite %s array; the measure's is used.", problem.targets.shape)
    return problem.dual_point(measure)


def _dual_candidates(problem: TwoLayerProblem, dual: Array) -> list[Array]:
    """The dual points worth trying: averaged over the detected or declared symmetry first, then as given."""
    given = problem.loss.project_dual(np.asarray(dual, dtype=np.float64), problem.targets)
    averaged = average_over_hypercube(problem, given)
    if averaged is None and problem.symmetry is not None:
        averaged = problem.symmetry.average_dual(given)
    if averaged is None:
        averaged = average_over_types(problem, given)
    if averaged is None:
        averaged = average_over_classes(problem, given)
    if averaged is None or np.array_equal(averaged, given):
        return [given]
    return [problem.loss.project_dual(averaged, problem.targets), given]


def _refuted(
    problem: TwoLayerProblem, certificate: Certificate, dual: Array, threshold: float, *, seconds: float
) -> Certificate:
    """The certificate with verdict "refuted" if some measure is proved better by more than the threshold."""
    deadline = time.monotonic() + seconds
    least = measure_energy_lower(problem, certificate.measure)
    if not math.isfinite(least):
        return certificate
    current, neuron = certificate.measure, certificate.neuron
    for attempt in range(6):
        z = dual if attempt == 0 else problem.dual_point(current)
        found = violating_neurons(problem, z, seed=attempt)
        if attempt == 0 and neuron is not None and neuron.shape == (problem.geometry.n_parameters,):
            found = np.vstack([neuron[None, :], found])
        if attempt == 0 and found.shape[0] and neuron is None:
            neuron = found[0]
        mass = 0.1 * float(np.mean(current.masses)) if current.n_atoms else 1.0
        if problem.width is not None:
            mass = min(mass, problem.width / 100)
        start = with_neurons(problem, current, found, mass) if found.shape[0] else current
        if problem.width is not None and start.total_mass > problem.width:
            start = Measure(start.atoms, start.masses * (problem.width / start.total_mass), start.neurons)
        current = reoptimised(problem, start)
        better, upper = energy_upper(problem, current)
        if upper < least - threshold * abs(least):
            return replace(certificate, verdict="refuted", neuron=neuron, refutation=Refutation(better, upper, least))
        if time.monotonic() > deadline:
            break
    return replace(certificate, neuron=neuron)

"""From a candidate to a certificate. Nothing here reads a solver's status or objective."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..activations.check import check_activation
from ..checker.bounds import energy_upper, lower_from_proof
from ..checker.verify import FREE_MASS
from ..errors import InputError
from ..free_bias import surrogate
from ..measure import Measure
from ..plugins import Registry
from ..problem import MeanFieldProblem, TwoLayerProblem
from ..solution import Solution
from ..threads import blas_threads, entries_of
from ..validate import instance, integer, nonnegative, positive, seconds
from .engine import ENGINES, Limits, Question, SupremumProof
from .engine_search import EngineSearch
from .free_bias import of_problem
from .pairs_engine import rescaled_dual
from .record import Certificate
from .refuting import refuted
from .tail_search import held
from .witnesses import dual_candidates, witnesses

Array = NDArray[np.float64]


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

    Interrupted (Ctrl-C), it returns what was proved until then, with ``interrupted`` set, as ``solve`` returns the best
    found until then; a second interruption raises KeyboardInterrupt.
    """
    if not isinstance(problem, TwoLayerProblem):
        name = type(problem).__name__
        if name in CERTIFIERS.names():
            return CERTIFIERS.get(name)(
                problem, candidate, engine=engine, time_limit=time_limit, target=target, workers=workers
            )
        raise InputError(f"no certifier is registered for problems of class {name}; see docs/certificates.md.")
    instance(engine, str, "engine", "the name of a proof engine, or auto")
    seconds(time_limit, "time_limit")
    positive(target, "target")
    if refute is None:
        refute = 0.1 if isinstance(candidate, Solution) else 1e-4
    elif refute != math.inf:
        nonnegative(refute, "refute")
    integer(workers, "workers", least=1)
    try:
        return _certified(problem, candidate, engine, Limits(time_limit, target, workers, progress, checkpoint), refute)
    except KeyboardInterrupt:  # outside of the proofs, which keep what they have
        return unfinished(problem, candidate)


def unfinished(problem: MeanFieldProblem, candidate: Any) -> Certificate:
    """What holds for a candidate without any search for a proof; for a problem that is not a two-layer one nothing."""
    why = "no proof: interrupted"
    if not isinstance(problem, TwoLayerProblem):
        nothing = np.zeros((0, 0))
        return Certificate(
            problem, candidate.measure, nothing, -math.inf, math.inf, "open", why, None, 0.0, interrupted=True
        )
    measure, dual = _posed(problem, candidate)
    if not (problem.activation.rigorous and problem.loss.rigorous):
        return replace(_unproved(problem, measure, dual), interrupted=True)
    measure, upper = energy_upper(problem, measure)
    return Certificate(problem, measure, dual, _trivial(problem), upper, "open", why, None, 0.0, interrupted=True)


def _posed(problem: TwoLayerProblem, candidate: Any) -> tuple[Measure, Array]:
    """The candidate's measure and dual point, the activation's declarations tested."""
    check_activation(problem.activation)
    measure, dual = witnesses(problem, candidate)
    check_activation(problem.activation, measure.atoms)
    return measure, dual


def _trivial(problem: TwoLayerProblem) -> float:
    """The lower bound that needs no proof."""
    return lower_from_proof(problem, np.zeros_like(problem.targets), 0.0, 0.0)


def _certified(problem: TwoLayerProblem, candidate: Any, engine: str, limits: Limits, refute: float) -> Certificate:
    started = time.monotonic()
    measure, dual = _posed(problem, candidate)
    if not (problem.activation.rigorous and problem.loss.rigorous):
        return _unproved(problem, measure, dual)
    measure, upper = energy_upper(problem, measure)
    with blas_threads(entries_of(problem)):
        if problem.geometry.free_parameters:
            inner = _proved(surrogate(problem), measure, dual, upper, engine, limits, math.inf, started)
            found = of_problem(problem, inner)
            return _tested(problem, found, dual, refute, limits)
        if problem.width is not None and problem.width_binds and _roomy(problem, measure, engine):
            # mass to spare: in closed form, where that is
            quick = _closed_form(problem, measure, dual, upper, limits, started)
            if quick is not None and (quick.interrupted or quick.relative_gap <= 10.0 * limits.target):
                return _without_width(problem, quick)
        if problem.width is None or (problem.width_binds and not _spare(problem, measure, engine)):
            return _proved(problem, measure, dual, upper, engine, limits, refute, started)
        if problem.width_binds:
            share = 0.3 if problem.activation.asymptote is None else 0.7  # those that grow gain little from free mass
            part = replace(limits, seconds=share * limits.seconds)
            found = _proved(problem, measure, dual, upper, engine, part, refute, started)
            if found.interrupted or found.verdict == "refuted" or found.relative_gap <= 10.0 * limits.target:
                return found
            free = _proved(problem.with_free_mass(), measure, dual, upper, engine, limits, math.inf, started)
            better = free.supremum is not None and free.lower_bound > found.lower_bound
            return _without_width(problem, free) if better else replace(found, interrupted=free.interrupted)
        # a bound under free mass is one under any width, and here nothing is lost by it
        found = _proved(problem.with_free_mass(), measure, dual, upper, engine, limits, refute, started)
        return _under_width(problem, found)


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
    search = EngineSearch(problem, upper, limits, started)
    try:
        _search(search, problem, dual, engine)
    except KeyboardInterrupt:  # between two engines
        search.interrupted = True
    bound, trivial = search.best, _trivial(problem)
    # a proof that gives less than no proof is not worth its words, unless asked for by name; rounding is no reason
    if bound is None or (engine == "auto" and trivial - bound.lower > 1e-12 * abs(upper) + 1e-300):
        why = "no proof: interrupted" if search.interrupted else "no proof"
        certificate = Certificate(problem, measure, dual, trivial, upper, "open", why, None, 0.0)
    else:
        certificate = Certificate(
            problem, measure, bound.dual, bound.lower, upper, "proved", bound.proof.words, bound.proof, bound.scale
        )
    stats = {"seconds": time.monotonic() - started, "engines": search.log}
    certificate = replace(certificate, neuron=search.neuron, stats=stats, interrupted=search.interrupted)
    return _tested(problem, certificate, dual, refute, limits)


def _tested(problem: TwoLayerProblem, found: Certificate, dual: Array, refute: float, limits: Limits) -> Certificate:
    """The certificate, or the refutation of its candidate where the gap leaves room for one."""
    if found.interrupted or not found.relative_gap > refute:
        return found
    try:
        return refuted(problem, found, dual, refute, seconds=max(2.0, 0.2 * limits.seconds))
    except KeyboardInterrupt:
        return replace(found, interrupted=True)


def _search(search: EngineSearch, problem: TwoLayerProblem, dual: Array, engine: str) -> None:
    """Ask the engines at the dual points that may bound the energy, best first, until one interruption."""
    candidates = dual_candidates(problem, dual)
    if engine != "auto":  # an engine asked for by name may apply to the averaged dual point only
        named = ENGINES.get(engine)
        candidates = [z for z in candidates if named.refusal(Question(problem, z)) is None] or candidates
    plain = candidates[0]
    if engine in ("auto", "pairs"):
        rescaled = rescaled_dual(problem, candidates[0])
        candidates = candidates if rescaled is candidates[0] else [rescaled, *candidates]
    # of dual points averaged over a symmetry the one as given comes last: the dual value is concave
    last = [z for z in candidates[1:] if z is candidates[-1] and z is not plain] if problem.width is not None else []
    for z in candidates[: len(candidates) - len(last)]:
        if search.run(z, engine):
            break
    if problem.width is not None and not (search.moved or search.interrupted):
        # where the mass is not binding, kappa is zero for a slightly smaller Z and far easier to prove small
        for shrink in (3e-2, 3e-3, 1e-3, 6e-4, 3e-4):
            if search.gap() > 3.0 * shrink and search.goes_on():
                search.run((1.0 - shrink) * plain, engine)
    for z in last:
        if not search.closed() and search.goes_on():
            search.run(z, engine)


def _closed_form(
    problem: TwoLayerProblem, measure: Measure, dual: Array, upper: float, limits: Limits, started: float
) -> Certificate | None:
    """The certificate for free mass by the closed forms of ``pairs``, where they apply and prove anything."""
    free, pairs = problem.with_free_mass(), ENGINES.get("pairs")
    if all(pairs.refusal(Question(free, z)) is not None for z in dual_candidates(free, dual)):
        return None
    found = _proved(free, measure, dual, upper, "pairs", limits, math.inf, started)
    return found if found.supremum is not None or found.interrupted else None


def _spare(problem: TwoLayerProblem, measure: Measure, engine: str) -> bool:
    """Whether mass is to spare, so that a bound for free mass may be as good; not where none of its optima exists."""
    if not math.isfinite(problem.activation.ratio_bound()):  # under free mass a constant costs nothing
        return False
    return _roomy(problem, measure, engine)


def _roomy(problem: TwoLayerProblem, measure: Measure, engine: str) -> bool:
    """Whether the candidate leaves mass to spare, for an activation that cannot take up mass in its neurons."""
    if engine != "auto" or problem.width is None or problem.activation.degree is not None:
        return False
    return measure.total_mass < 0.9 * problem.width


def _without_width(problem: TwoLayerProblem, found: Certificate) -> Certificate:
    """A certificate of the problem without its width as one of the problem."""
    inner = found.supremum
    if inner is None:  # interrupted before there was a proof
        return replace(found, problem=problem)
    words = f"without the width: {inner.words}"
    supremum = SupremumProof(FREE_MASS, words, inner.bound, {"proof": held(inner)})
    return replace(found, problem=problem, proof=words, supremum=supremum)


def _under_width(problem: TwoLayerProblem, found: Certificate) -> Certificate:
    """A certificate of the problem without its width as one of the problem; a better measure is scaled into the width."""
    if found.refutation is None:
        return replace(found, problem=problem)
    better, upper = energy_upper(problem, problem.within_width(found.refutation.better))
    if upper < found.refutation.candidate_lower:
        return replace(found, problem=problem, refutation=replace(found.refutation, better=better, upper=upper))
    return replace(found, problem=problem, refutation=None, verdict="proved" if found.supremum is not None else "open")


def _unproved(problem: TwoLayerProblem, measure: Measure, dual: Array) -> Certificate:
    """What holds without rigorous ranges of the activation: the trivial lower bound; without those of the loss: nothing.
    The energy is floating point."""
    why = f"no proof: {problem.activation.name} has no rigorous range (give a formula or exact pieces)"
    if not problem.loss.rigorous:
        why = f"no proof: {problem.loss.name} has no rigorous bounds (numpy functions prove nothing about a conjugate)"
    return Certificate(problem, measure, dual, _trivial(problem), problem.energy(measure), "open", why, None, 0.0)

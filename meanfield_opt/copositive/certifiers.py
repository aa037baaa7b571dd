"""Certificates for the problems over measures that are not networks: standard quadratic programs, optimal designs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from ..certificate.record import Certificate
from ..checker.codec import encode_array, encode_float
from ..checker.copositive_file import encode, encode_rational
from ..checker.document import FORMAT, VERSION
from ..checker.embed import problem_entry
from ..checker.programs import (
    design_lower,
    design_polynomial,
    design_upper,
    positive_on,
    quadratic_lower,
    quadratic_upper,
    round_down,
    round_up,
)
from ..errors import CertificateError, InputError
from ..measure import Measure
from ..problem import MeanFieldProblem
from ..solution import Solution
from .simplex import minimize_on_simplex


def _measure(problem: MeanFieldProblem, candidate: Any) -> Measure:
    if isinstance(candidate, Solution):
        if candidate.problem.fingerprint != problem.fingerprint:
            raise InputError("the solution belongs to another problem (fingerprints differ).")
        candidate = candidate.measure
    if not isinstance(candidate, Measure):
        raise InputError(f"certify takes a Solution or a Measure here, not {type(candidate).__name__}.")
    return candidate.support()


def _document(
    problem: MeanFieldProblem, measure: Measure, proof: Mapping[str, Any] | None, lower: float, upper: float
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "problem": problem_entry(problem),
        "primal": {"masses": encode_array(measure.masses), "atoms": encode_array(measure.atoms)},
        "proof": None if proof is None else dict(proof),
        "claims": {
            "lower": encode_float(lower),
            "upper": encode_float(upper),
            "verdict": "open" if proof is None else "proved",
        },
    }


def certify_quadratic(
    problem: Any, candidate: Any, *, target: float = 1e-7, time_limit: float = 60.0, **_: Any
) -> Certificate:
    """Lower bound nu with Q - nu J proved copositive; upper bound: the exact value of the measure.

    target: gap aimed at, relative to the largest entry of Q. ``neuron`` is the best point of the simplex met.
    """
    measure = _measure(problem, candidate)
    a = problem.matrix
    value = quadratic_upper(a.entries, a.denominator, measure)
    bounds = minimize_on_simplex(a, tolerance=max(target, 1e-12), time_limit=time_limit)
    upper = round_up(value) + 0.0  # no negative zero
    proof, words, least = None, "no proof: the least entry", bounds.lower
    if bounds.proof is not None:
        quadratic_lower(a.entries, a.denominator, bounds.lower, bounds.proof.artefact)
        words = f"Q - nu J copositive: {bounds.proof}"
        proof = {"level": encode_rational(least), "words": words, "artefact": encode(bounds.proof.artefact)}
    lower = round_down(least)
    best = np.array([float(v) for v in bounds.minimiser])
    verdict = "open" if proof is None else "proved"
    document = _document(problem, measure, proof, lower, upper)
    stats = {"seconds": bounds.seconds, "exact": bounds.exact, "best": float(bounds.upper)}
    dual = np.array([[lower]])
    return Certificate(problem, measure, dual, lower, upper, verdict, words, None, 1.0, best, stats, document=document)


def certify_design(problem: Any, candidate: Any, *, target: float = 1e-7, **_: Any) -> Certificate:
    """Kiefer-Wolfowitz with a proved maximum of the variance function (Sturm's theorem)."""
    measure = _measure(problem, candidate)
    try:
        upper = design_upper(problem.criterion, problem.degree, problem.interval, measure)
    except CertificateError as error:
        raise InputError(f"this measure cannot be certified: {error}") from error
    dual = np.asarray(problem.dual_point(measure))
    a, b = problem.interval
    poly = design_polynomial(dual, problem.criterion)
    guess = _peak(problem, dual, a, b)
    level = None
    slack = 1e-11
    while level is None and slack < 1e3:
        trial = Fraction(guess) * (1 + Fraction(slack))
        if positive_on(flint_constant(trial) - poly, Fraction(a), Fraction(b)):
            level = trial
        slack *= 8
    if level is None or not math.isfinite(guess):
        raise InputError("the variance function of this design is not bounded by floating-point numbers.")
    lower = design_lower(dual, problem.criterion, problem.interval, level)
    words = "Kiefer-Wolfowitz: the variance function is bounded on the interval by Sturm's theorem"
    proof = {"level": encode_rational(level), "words": words, "dual": encode_array(dual)}
    document = _document(problem, measure, proof, lower, upper)
    return Certificate(problem, measure, dual, lower, upper, "proved", words, None, 1.0, None, {}, document=document)


def _peak(problem: Any, dual: np.ndarray, a: float, b: float) -> float:
    """The largest value of the variance function met on a grid that is refined around its local maxima."""
    grid = np.linspace(a, b, 2001)
    values = problem.variance(dual, grid)
    best = float(values.max())
    padded = np.concatenate([[-np.inf], values, [-np.inf]])
    for k in map(int, np.flatnonzero((values >= padded[:-2]) & (values >= padded[2:]))):
        lo, hi = grid[max(0, k - 1)], grid[min(2000, k + 1)]
        for _ in range(4):
            fine = np.linspace(lo, hi, 41)
            inner = problem.variance(dual, fine)
            top = int(np.argmax(inner))
            best = max(best, float(inner[top]))
            lo, hi = fine[max(0, top - 1)], fine[min(40, top + 1)]
    return best


def flint_constant(value: Fraction) -> Any:
    """A constant polynomial."""
    from flint import fmpq, fmpq_poly

    return fmpq_poly([fmpq(value.numerator, value.denominator)])

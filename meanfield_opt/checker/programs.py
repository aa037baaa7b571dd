"""Checks of certificates for standard quadratic programs and optimal designs: exact rationals and ball arithmetic."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import flint
import numpy as np

from ..errors import CertificateError
from ..measure import Measure
from ..problem import MeanFieldProblem
from .codec import decode_array, decode_float, expect_keys, rational
from .copositive import replay
from .embed import settle_problem
from .exact import rational as flint_rational
from .verify import VerifiedBound

_BODY = {"format", "version", "problem", "primal", "proof", "claims"}


def round_down(value: Fraction) -> float:
    """The largest float that is <= value (or -inf)."""
    try:
        guess = float(value)
    except OverflowError:
        guess = math.inf if value > 0 else -math.inf
    while guess == math.inf or (guess > -math.inf and Fraction(guess) > value):
        guess = float(np.nextafter(guess, -np.inf))
    return guess


def round_up(value: Fraction) -> float:
    """The smallest float that is >= value."""
    return -round_down(-value)


# standard quadratic programs ------------------------------------------------------------------------------------
def quadratic_upper(entries: Sequence[Sequence[int]], denominator: int, measure: Measure) -> Fraction:
    """<Q,K> / <J,K> of a measure on {x >= 0}, exactly; CertificateError if it is no such measure."""
    atoms, masses = measure.atoms, measure.masses
    if atoms.shape[1] != len(entries) or (atoms < 0).any() or not (masses > 0).all() or masses.size == 0:
        raise CertificateError("the measure does not live on nonzero nonnegative vectors of the program's order.")
    top, bottom = Fraction(0), Fraction(0)
    for mass, atom in zip(masses, atoms):
        x = [(i, Fraction(float(v))) for i, v in enumerate(atom) if v > 0]
        top += Fraction(float(mass)) * sum((u * v * entries[i][j] for i, u in x for j, v in x), Fraction(0))
        bottom += Fraction(float(mass)) * sum((v for _, v in x), Fraction(0)) ** 2
    if bottom == 0:
        raise CertificateError("the measure has no mass off zero.")
    return top / bottom / denominator


def quadratic_lower(
    entries: Sequence[Sequence[int]], denominator: int, level: Fraction, proof: dict[str, Any]
) -> Fraction:
    """The level nu, if the proof shows that Q - nu J is copositive."""
    form = [[Fraction(v, denominator) - level for v in row] for row in entries]
    common = math.lcm(*(v.denominator for row in form for v in row))
    replay([[v.numerator * (common // v.denominator) for v in row] for row in form], proof)
    return level


def check_quadratic(body: dict[str, Any], given: MeanFieldProblem | None) -> VerifiedBound:
    """Replay of a certificate for a standard quadratic program."""
    problem: Any = _settle(body, given, "StandardQuadraticProgram")
    entries, denominator = problem.matrix.entries, problem.matrix.denominator
    measure = _measure(body["primal"])
    upper = quadratic_upper(entries, denominator, measure)
    proof = body["proof"]
    if proof is None:
        lower, words = Fraction(min(v for row in entries for v in row), denominator), "least entry"
    else:
        expect_keys(proof, {"level", "words", "artefact"}, "the proof")
        lower, words = (
            quadratic_lower(entries, denominator, rational(proof["level"]), proof["artefact"]),
            str(proof["words"]),
        )
    return _settled(body, problem, lower, upper, words)


# optimal designs ------------------------------------------------------------------------------------------------
def design_polynomial(dual: Any, criterion: str) -> flint.fmpq_poly:
    """f(x)^T N f(x) ("D") or f(x)^T N^2 f(x) ("A") as an exact polynomial in x."""
    n = flint.fmpq_mat([[flint_rational(v) for v in row] for row in dual])
    g = n if criterion == "D" else n * n
    p = g.nrows()
    return flint.fmpq_poly(
        [sum((g[i, k - i] for i in range(p) if 0 <= k - i < p), flint.fmpq(0)) for k in range(2 * p - 1)]
    )


def positive_on(poly: flint.fmpq_poly, a: Fraction, b: Fraction) -> bool:
    """Whether the polynomial is positive on [a, b], by Sturm's theorem in exact arithmetic."""
    lo, hi = flint_rational(a), flint_rational(b)
    if not (poly(lo) > 0 and poly(hi) > 0):
        return False
    chain = [poly, poly.derivative()]
    while chain[-1].degree() > 0:
        rest = chain[-2] % chain[-1]
        if rest == 0:
            break  # a repeated factor: the chain divided by it has the same sign changes at points that are no roots
        chain.append(-rest)
    return _changes(chain, lo) == _changes(chain, hi)


def _changes(chain: list[flint.fmpq_poly], x: flint.fmpq) -> int:
    signs = [value > 0 for p in chain if p != 0 and (value := p(x)) != 0]
    return sum(a != b for a, b in itertools.pairwise(signs))


def design_lower(dual: Any, criterion: str, interval: tuple[float, float], level: Fraction) -> float:
    """Lower bound on the optimum from N and a proved s >= max f^T N f ("D") or f^T N^2 f ("A").

    "A": M^-1 - 2N + N M N is semidefinite, so tr M^-1 >= 2 t tr N - t^2 s; best t. "D": -log det M >=
    log det (t N) + p - t s (concavity of log det); best t = p / s. CertificateError if s or N is wrong.
    """
    matrix = flint.fmpq_mat([[flint_rational(v) for v in row] for row in dual])
    p = matrix.nrows()
    if matrix != matrix.transpose() or level <= 0:
        raise CertificateError("the dual point is not a symmetric matrix with a positive level.")
    top = flint.fmpq_poly([flint_rational(level)]) - design_polynomial(dual, criterion)
    if not positive_on(top, Fraction(interval[0]), Fraction(interval[1])):
        raise CertificateError("the variance function exceeds the claimed level on the interval.")
    if criterion == "A":
        trace = sum((matrix[i, i] for i in range(p)), flint.fmpq(0))
        exact = trace * trace / flint_rational(level)
        return round_down(Fraction(int(exact.p), int(exact.q)))
    for k in range(1, p + 1):  # Sylvester's criterion
        if not flint.fmpq_mat([[matrix[i, j] for j in range(k)] for i in range(k)]).det() > 0:
            raise CertificateError("the dual point of a D-optimal design must be positive definite.")
    ball = flint.arb(matrix.det()).log() - p * flint.arb(flint_rational(level) / p).log()
    return _ball_down(ball)


def _ball_down(ball: flint.arb) -> float:
    value = float(ball.lower())
    return float(np.nextafter(np.nextafter(value, -np.inf), -np.inf)) if math.isfinite(value) else -math.inf


def design_upper(criterion: str, degree: int, interval: tuple[float, float], measure: Measure) -> float:
    """Rigorous upper bound on the criterion of a design (masses normalised exactly)."""
    points, masses = measure.atoms, measure.masses
    if points.shape[1] != 1 or not (masses > 0).all() or not ((points >= interval[0]) & (points <= interval[1])).all():
        raise CertificateError("the measure is not a design on the interval.")
    total = sum((Fraction(float(m)) for m in masses), Fraction(0))
    p = degree + 1
    powers = [Fraction(0)] * (2 * p - 1)
    for x, m in zip(points[:, 0], masses):
        weight, point = Fraction(float(m)) / total, Fraction(float(x))
        for k in range(2 * p - 1):
            powers[k] += weight * point**k
    matrix = flint.fmpq_mat([[flint_rational(powers[i + j]) for j in range(p)] for i in range(p)])
    if matrix.det() == 0:
        raise CertificateError("the design is singular.")
    if criterion == "D":
        return -_ball_down(flint.arb(matrix.det()).log())
    inverse = matrix.inv()
    trace = sum((inverse[i, i] for i in range(p)), flint.fmpq(0))
    return round_up(Fraction(int(trace.p), int(trace.q)))


def check_design(body: dict[str, Any], given: MeanFieldProblem | None) -> VerifiedBound:
    """Replay of a certificate for an optimal design."""
    problem: Any = _settle(body, given, "OptimalDesign")
    upper = design_upper(problem.criterion, problem.degree, problem.interval, _measure(body["primal"]))
    proof = body["proof"]
    if proof is None:
        raise CertificateError("a design certificate without a proof claims nothing.")
    expect_keys(proof, {"level", "words", "dual"}, "the proof")
    dual = decode_array(proof["dual"], "the dual point", ndim=2)
    if dual.shape != (problem.degree + 1, problem.degree + 1):
        raise CertificateError("the dual point has the wrong shape.")
    lower = design_lower(dual, problem.criterion, problem.interval, rational(proof["level"]))
    return _settled(body, problem, lower, upper, str(proof["words"]))


# common ---------------------------------------------------------------------------------------------------------
def _settle(body: dict[str, Any], given: MeanFieldProblem | None, kind: str) -> MeanFieldProblem:
    expect_keys(body, _BODY, "the certificate")
    problem = settle_problem(body["problem"], given)
    if type(problem).__name__ != kind:
        raise CertificateError(f"the certificate is for a {kind}, not a {type(problem).__name__}.")
    return problem


def _measure(primal: Any) -> Measure:
    expect_keys(primal, {"masses", "atoms"}, "the primal witness")
    return Measure(decode_array(primal["atoms"], "atoms", ndim=2), decode_array(primal["masses"], "masses", ndim=1))


def _settled(
    body: dict[str, Any], problem: MeanFieldProblem, lower: Fraction | float, upper: Fraction | float, words: str
) -> VerifiedBound:
    claims = body["claims"]
    expect_keys(claims, {"lower", "upper", "verdict"}, "the claims")
    low, high = decode_float(claims["lower"], "the lower bound"), decode_float(claims["upper"], "the upper bound")
    if not Fraction(low) <= Fraction(lower):
        raise CertificateError(f"the proof does not reach the lower bound {low!r}.")
    if not Fraction(high) >= Fraction(upper):
        raise CertificateError(f"the measure does not prove the upper bound {high!r}.")
    if claims["verdict"] != ("open" if body["proof"] is None else "proved"):
        raise CertificateError("the verdict does not follow from the certificate.")
    return VerifiedBound(low, high, words, problem.fingerprint, claims["verdict"])

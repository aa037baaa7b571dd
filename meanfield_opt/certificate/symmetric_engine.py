"""Invariant certificates of hypercube tasks, in closed form: no solver, any number of samples (theory section 3.4).

The proposal, in units of sigma^2 tau and with q0, q_i, q2 the eigenvalues of Q on 1, on v_i and elsewhere:
nu11 = nu22 = q0 (antipodal), translations nested along the labels with q_i > q0 whose weights make up (q_i - q0)/2 for
each such label, and delta = q0 + their total. It is tight for ReLU in all three geometries, also mixed ones: on the
optimal patterns of theory section 4 the block of the constants is zero and the blocks of the labels are singular.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from ..checker.hypercube import Hypercube, hypercube_of, scales_of
from ..checker.slopes import two_slopes
from ..checker.symmetric import encode_fraction, hypercube_sigma, tau_exact
from .engine import Limits, Outcome, ProofEngine, Question, SupremumProof


def nested_flips(cube: Hypercube, extra: Fraction) -> list[tuple[int, Fraction]]:
    """Translations g_1 < g_2 < .. with weights whose sum over the flips that change label i is max(q_i - q0, 0) / 2."""
    q0, q1, _ = cube.inverse_eigenvalues(extra)
    order = sorted((i for i, q in enumerate(q1) if q > q0), key=lambda i: -q1[i])
    flips, mask = [], 0
    for position, i in enumerate(order):
        mask |= 1 << i
        following = q1[order[position + 1]] if position + 1 < len(order) else q0
        if q1[i] > following:
            flips.append((mask, (q1[i] - following) / 2))
    return flips


def regularisation(cube: Hypercube) -> Fraction:
    """What is added to a singular K_X: a relative 2^-60 of its least positive weight, felt in sigma only as rounding."""
    if cube.ridge > 0:
        return Fraction(0)
    positive = [w for w in (cube.constant, *cube.weights) if w > 0]
    return min(positive, default=Fraction(1)) * cube.samples / 2**60


@dataclass(frozen=True)
class SymmetricEngine(ProofEngine):
    """Hypercube tasks at an invariant dual point: a certificate in the commutant, verified in exact rationals."""

    name = "symmetric"

    def refusal(self, question: Question) -> str | None:
        if question.mode != "ratio":
            return "the invariant lift is for free mass."
        if two_slopes(question.problem.activation) != (Fraction(0), Fraction(1)):
            return f"the closed invariant certificate is for relu, not {question.problem.activation.name}."
        if hypercube_of(question.problem) is None:
            return "the data are not exactly a hypercube task."
        if scales_of(question.dual, question.problem.targets) is None:
            return "the dual point is not invariant (Z is not diag(zeta) Y)."
        return None

    def predicted_seconds(self, question: Question) -> float:
        return 1e-3

    def tightness(self, question: Question) -> int:
        return 0

    def prove(self, question: Question, limits: Limits) -> Outcome:
        problem = question.problem
        cube, zeta = hypercube_of(problem), scales_of(question.dual, problem.targets)
        assert cube is not None
        assert zeta is not None
        extra = regularisation(cube)
        flips = nested_flips(cube, extra)
        q0, _, _ = cube.inverse_eigenvalues(extra)
        delta = q0 + sum((weight for _, weight in flips), Fraction(0))
        slopes = (Fraction(0), Fraction(1))
        sigma = hypercube_sigma(
            cube, tau_exact(problem), zeta, slopes, flips, extra=extra, nu11=q0, nu22=q0, delta=delta
        )
        if not math.isfinite(sigma):
            return Outcome(None, complete=False)
        words = (
            f"symmetry: invariant PSD + nonnegative certificate of the copositive lift in the group algebra of the "
            f"{cube.labels}-dimensional hypercube (exact rationals, {cube.labels + 3} blocks of order 2 for {cube.samples} samples)"
        )
        artefact = {
            "extra": encode_fraction(extra),
            "nu11": encode_fraction(q0),
            "nu22": encode_fraction(q0),
            "delta": encode_fraction(delta),
            "flips": [[mask, encode_fraction(weight)] for mask, weight in flips],
        }
        return Outcome(SupremumProof("hypercube", words, sigma, artefact))


ENGINE = SymmetricEngine()

"""The fallback that always applies: |Z phi(h)|^2 <= |Z|_2^2 ratio^2 |K_X|_2 c(h). Valid, and usually weak."""

from __future__ import annotations

from dataclasses import dataclass

from ..checker.norm import norm_sigma
from .engine import Limits, Outcome, ProofEngine, Question, SupremumProof


@dataclass(frozen=True)
class NormBound(ProofEngine):
    """sup |Z phi| / sqrt(tau c) <= |Z|_2 ratio sqrt(|K_X|_2 / tau); for a width, kappa <= excess of the same ratio."""

    name = "norm"

    def refusal(self, question: Question) -> str | None:
        if question.mode != "ratio":
            return "the norm bound is for free mass; under a width use an interval engine."
        if question.problem.activation.ratio_bound() == float("inf"):
            return f"|phi(t)|/|t| is unbounded for {question.problem.activation.name}."
        return None

    def predicted_seconds(self, question: Question) -> float:
        return 1e-8 * question.dual.size * question.problem.n_outputs

    def tightness(self, question: Question) -> int:
        return 9

    def prove(self, question: Question, limits: Limits) -> Outcome:
        sigma = norm_sigma(question.problem, question.dual)
        words = "norm bound: |Z phi(h)| <= |Z| sup|phi(t)/t| |K_X|^(1/2) |theta|"
        return Outcome(SupremumProof("norm", words, sigma), complete=False)


ENGINE = NormBound()

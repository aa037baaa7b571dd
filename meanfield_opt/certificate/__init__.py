"""Certificates: rigorous two-sided bounds on the optimum of a problem, as artefacts that others can check."""

from .certify import CERTIFIERS, Certificate, certify
from .engine import ENGINES, Limits, Outcome, ProofEngine, Question, SupremumProof
from .refine import prove

__all__ = [
    "CERTIFIERS",
    "ENGINES",
    "Certificate",
    "Limits",
    "Outcome",
    "ProofEngine",
    "Question",
    "SupremumProof",
    "certify",
    "prove",
]

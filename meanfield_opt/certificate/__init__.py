"""Certificates: rigorous two-sided bounds on the optimum of a problem, as artefacts that others can check."""

from .certify import CERTIFIERS, certify
from .close_gap import close_gap
from .engine import ENGINES, Limits, Outcome, ProofEngine, Question, SupremumProof
from .record import Certificate

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
    "close_gap",
]

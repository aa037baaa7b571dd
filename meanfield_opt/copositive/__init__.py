"""Copositivity: exact tests whose every answer can be replayed, and programs over the copositive cone."""

from .answer import Answer, Copositive, NotCopositive, ProofTree, Undecided
from .check import check, verify
from .matrix import ExactMatrix, exact_matrix, load_matrix

__all__ = [
    "Answer",
    "Copositive",
    "ExactMatrix",
    "NotCopositive",
    "ProofTree",
    "Undecided",
    "check",
    "exact_matrix",
    "load_matrix",
    "verify",
]

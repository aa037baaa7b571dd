"""Copositivity: exact tests whose every answer can be replayed, and programs over the copositive cone."""

from .answer import Answer, Copositive, NotCopositive, ProofTree, Undecided, as_json
from .check import check, verify
from .graphs import GraphNumber, clique_number, stability_number
from .matrix import ExactMatrix, exact_matrix, load_matrix
from .simplex import SimplexBounds, minimize_on_simplex

__all__ = [
    "Answer",
    "Copositive",
    "ExactMatrix",
    "GraphNumber",
    "NotCopositive",
    "ProofTree",
    "SimplexBounds",
    "Undecided",
    "as_json",
    "check",
    "clique_number",
    "exact_matrix",
    "load_matrix",
    "minimize_on_simplex",
    "stability_number",
    "verify",
]

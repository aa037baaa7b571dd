"""Copositivity: exact tests whose every answer can be replayed, and programs over the copositive cone."""

from .answer import Answer, Copositive, NotCopositive, ProofTree, Undecided, as_json
from .check import check, verify
from .constraints import constraint
from .cp_answer import Factorization, NoFactorization, NotCompletelyPositive
from .factor import cp_factorization
from .graphs import GraphNumber, clique_number, stability_number
from .matrix import ExactMatrix, exact_matrix, load_matrix
from .separator import Separator, SplitProof, spn_separator, spn_split
from .simplex import SimplexBounds, minimize_on_simplex

__all__ = [
    "Answer",
    "Copositive",
    "ExactMatrix",
    "Factorization",
    "GraphNumber",
    "NoFactorization",
    "NotCompletelyPositive",
    "NotCopositive",
    "ProofTree",
    "Separator",
    "SimplexBounds",
    "SplitProof",
    "Undecided",
    "as_json",
    "check",
    "clique_number",
    "constraint",
    "cp_factorization",
    "exact_matrix",
    "load_matrix",
    "minimize_on_simplex",
    "spn_separator",
    "spn_split",
    "stability_number",
    "verify",
]

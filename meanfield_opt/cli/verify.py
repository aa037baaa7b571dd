"""meanfield-opt verify: the independent checker on a certificate file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .. import copositive
from ..checker.copositive_file import FORMAT as COPOSITIVITY
from ..checker.verify import verify
from ..errors import InputError
from .problem_arguments import add_problem_arguments, build_problem
from .tables import simple_table


def add_commands(commands: Any) -> None:
    """Register ``verify``."""
    parser = commands.add_parser("verify", help="check a certificate; exit code 3 if it is rejected")
    parser.add_argument("certificate", help="certificate file")
    add_problem_arguments(parser, optional=True)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The command."""
    if not Path(arguments.certificate).is_file():
        raise InputError(f"{arguments.certificate} does not exist or is not a file.")
    if f'"format":"{COPOSITIVITY}"'.encode() in Path(arguments.certificate).read_bytes():
        matrix = None if arguments.problem is None else copositive.load_matrix(arguments.problem)
        accepted = copositive.verify(arguments.certificate, matrix)
        rows = [("answer", accepted.answer), ("strict", str(accepted.strict)), ("order", str(accepted.order))]
        simple_table("accepted: replayed in exact arithmetic", ("quantity", "value"), rows)
        return 0
    problem = None if arguments.problem is None else build_problem(arguments)
    bound = verify(arguments.certificate, problem)
    rows = [
        ("lower bound", repr(bound.lower_bound)),
        ("upper bound", repr(bound.upper_bound)),
        ("relative gap", f"{bound.relative_gap:.3g}"),
        ("proof", bound.proof),
        ("problem", bound.fingerprint[:16]),
        *(("assumed", sentence) for sentence in bound.assumptions),
    ]
    simple_table("accepted: every number was recomputed", ("quantity", "value"), rows)
    return 0

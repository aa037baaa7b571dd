"""meanfield-opt copositive: decide copositivity of a matrix file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .tables import simple_table


def add_commands(commands: Any) -> None:
    """Register ``copositive``."""
    parser = commands.add_parser("copositive", help="decide whether a matrix is copositive, with a proof or a witness")
    parser.add_argument("matrix", help="matrix file: .npy, .csv or .json (entries may be numbers or 'p/q' texts)")
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds")
    parser.add_argument("--json", metavar="FILE", help="write the answer as JSON (- for standard output)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The command: exit 0 when decided, 1 when undecided."""
    from .. import copositive

    answer = copositive.check(copositive.load_matrix(arguments.matrix), time_limit=arguments.time_limit)
    facts = copositive.as_json(answer)
    if arguments.json == "-":
        print(json.dumps(facts, indent=1))
    else:
        simple_table(
            Path(arguments.matrix).name,
            ("quantity", "value"),
            [(k, str(v)) for k, v in facts.items() if k != "proof_data"],
        )
        if arguments.json:
            Path(arguments.json).write_text(json.dumps(facts, indent=1) + "\n")
    return 1 if isinstance(answer, copositive.Undecided) else 0

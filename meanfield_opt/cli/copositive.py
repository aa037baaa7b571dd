"""meanfield-opt copositive: decide copositivity of a matrix file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .. import copositive
from ..errors import SolveError
from ..files import write_text
from ..validate import seconds
from .outputs import check_outputs
from .tables import simple_table


def add_commands(commands: Any) -> None:
    """Register ``copositive``."""
    parser = commands.add_parser("copositive", help="decide whether a matrix is copositive, with a proof or a witness")
    parser.add_argument("matrix", help="matrix file: .npy, .csv or .json (entries may be numbers or 'p/q' texts)")
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds")
    parser.add_argument("--json", metavar="FILE", help="write the answer as JSON (- for standard output)")
    parser.add_argument("--certificate", metavar="FILE", help="write the proof or witness, to be checked by 'verify'")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The command: exit 0 when decided, 1 when undecided."""
    check_outputs(arguments, "json", "certificate", inputs=(arguments.matrix,))
    limit = seconds(arguments.time_limit, "--time-limit")
    answer = copositive.check(copositive.load_matrix(arguments.matrix), time_limit=limit)
    facts = {key: value for key, value in copositive.as_json(answer).items() if key != "proof_data"}
    text = json.dumps(facts, indent=1, allow_nan=False)
    # files first: a closed pipe behind the table must not cost the results
    if arguments.json and arguments.json != "-":
        write_text(arguments.json, text + "\n", "the answer")
    if arguments.certificate and not isinstance(answer, copositive.Undecided):
        answer.save(arguments.certificate)
    if arguments.json == "-":
        print(text)
    else:
        simple_table(Path(arguments.matrix).name, ("quantity", "value"), [(k, str(v)) for k, v in facts.items()])
    if not isinstance(answer, copositive.Undecided):
        return 0
    if arguments.certificate:
        raise SolveError(f"no certificate was written: the matrix is undecided ({answer.reason}).")
    return 1

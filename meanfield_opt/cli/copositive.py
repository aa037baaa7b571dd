"""meanfield-opt copositive: decide copositivity of a matrix file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .. import copositive
from ..errors import SolveError
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
    answer = copositive.check(copositive.load_matrix(arguments.matrix), time_limit=arguments.time_limit)
    facts = describe(answer)
    if arguments.json == "-":
        print(json.dumps(facts, indent=1))
    else:
        simple_table(Path(arguments.matrix).name, ("quantity", "value"), [(k, str(v)) for k, v in facts.items()])
        if arguments.json:
            Path(arguments.json).write_text(json.dumps(facts, indent=1) + "\n")
    if arguments.certificate:
        if isinstance(answer, copositive.Undecided):
            raise SolveError(f"no certificate was written: the matrix is undecided ({answer.reason}).")
        answer.save(arguments.certificate)
    return 1 if isinstance(answer, copositive.Undecided) else 0


def describe(answer: copositive.Answer) -> dict[str, Any]:
    """An answer as JSON values; rationals as texts p/q."""
    if isinstance(answer, copositive.Copositive):
        zero = None if answer.zero is None else [str(x) for x in answer.zero]
        return {
            "answer": "copositive",
            "proof": str(answer.proof),
            "strict": answer.strict,
            "zero": zero,
            "seconds": answer.seconds,
        }
    if isinstance(answer, copositive.NotCopositive):
        witness = [str(x) for x in answer.witness]
        return {"answer": "not copositive", "witness": witness, "value": str(answer.value), "seconds": answer.seconds}
    return {"answer": "undecided", "reason": answer.reason, "bound": str(answer.bound), "seconds": answer.seconds}

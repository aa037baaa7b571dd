"""meanfield-opt compare: trained networks against the certified optimum."""

from __future__ import annotations

import argparse
from typing import Any

from .problem_arguments import add_problem_arguments, build_problem
from .solve import add_solve_arguments, solve_and_certify
from .tables import simple_table


def add_commands(commands: Any) -> None:
    """Register ``compare``."""
    parser = commands.add_parser("compare", help="train torch networks and compare them with the certified optimum")
    add_problem_arguments(parser)
    add_solve_arguments(parser)
    parser.add_argument("--seeds", type=int, default=20, help="number of networks")
    parser.add_argument("--units", type=int, default=None, help="hidden units of each network")
    parser.add_argument("--steps", type=int, default=None, help="training steps")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--report", metavar="FILE", help="write a self-contained HTML page")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The command."""
    from ..report import write_report
    from ..validation import compare

    problem = build_problem(arguments)
    solution, certificate = solve_and_certify(problem, arguments, [])
    options = {} if arguments.steps is None else {"steps": arguments.steps}
    comparison = compare(
        problem,
        solution,
        seeds=arguments.seeds,
        width=arguments.units,
        device=arguments.device,
        certificate=certificate,
        **options,
    )
    simple_table("trained networks against the certified optimum", ("quantity", "value"), comparison.rows())
    if arguments.report:
        write_report(comparison, arguments.report)
    return 0

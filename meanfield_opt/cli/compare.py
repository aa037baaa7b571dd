"""meanfield-opt compare: trained networks against the certified optimum."""

from __future__ import annotations

import argparse
from typing import Any

from ..solution import Status
from ..validation.options import METHODS, SCHEDULES
from .outputs import check_outputs
from .problem_arguments import add_problem_arguments, build_problem
from .solve import add_solve_arguments, exit_status, solve_and_certify
from .tables import live_display, simple_table

#: training options that go to ``TrainOptions`` under the same name where they are given
TRAINING = ("steps", "method", "rate", "schedule", "precision", "batch", "stop_gap", "threads", "checkpoint")


def add_commands(commands: Any) -> None:
    """Register ``compare``."""
    parser = commands.add_parser("compare", help="train torch networks and compare them with the certified optimum")
    add_problem_arguments(parser)
    add_solve_arguments(parser)
    add = parser.add_argument_group("training and comparing").add_argument
    add("--seeds", type=int, default=20, help="number of networks")
    add("--units", type=int, default=None, help="hidden units of each network")
    add("--steps", type=int, help="training steps")
    add("--method", choices=METHODS, help="optimiser (default adam)")
    add("--rate", type=float, help="step size, or its first value")
    add("--schedule", choices=SCHEDULES, help="how the rate falls (default cosine)")
    add("--batch", type=int, help="samples a step (sgd)")
    add("--precision", choices=("float64", "float32"), help="default float64")
    add("--stop-gap", type=float, help="a network stops at this certified relative gap")
    add("--threads", type=int, help="CPU threads of torch (default: one, unless the problem is very large)")
    add("--checkpoint", metavar="FILE", help="store training there, and resume from it")
    add("--scale", type=float, default=1.0, help="scale of the initial weights")
    add("--threshold", type=float, default=1e-4, help="a network within this certified gap has reached the optimum")
    add("--examine", type=int, default=2, help="stopped networks that are given the neurons their certificates name")
    add("--device", default="auto", help="auto, cpu or cuda")
    add("--report", metavar="FILE", help="write a self-contained HTML page")
    add("--json", metavar="FILE", help="write all figures as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The command."""
    from ..validation import TrainingProgress, compare

    check_outputs(arguments, "report", "json", "checkpoint", inputs=(arguments.problem,))
    problem = build_problem(arguments)
    solution, certificate = solve_and_certify(problem, arguments, [])
    if solution.status is Status.INTERRUPTED or certificate.interrupted:
        raise KeyboardInterrupt
    given = {name: getattr(arguments, name) for name in TRAINING if getattr(arguments, name) is not None}
    with live_display() as display:

        def show(progress: TrainingProgress) -> None:
            display(f"training: step {progress.step} of {progress.steps}, median energy {progress.median:.6g}")

        comparison = compare(
            problem,
            solution,
            seeds=arguments.seeds,
            width=arguments.units,
            device=arguments.device,
            certificate=certificate,
            scale=arguments.scale,
            threshold=arguments.threshold,
            examine=arguments.examine,
            progress=show,
            **given,
        )
    # files first: a closed pipe behind the table must not cost the results
    if arguments.report:
        comparison.write_report(arguments.report)
    if arguments.json:
        comparison.save(arguments.json)
    simple_table("trained networks against the certified optimum", ("quantity", "value"), comparison.rows())
    return exit_status(arguments, solution, certificate)

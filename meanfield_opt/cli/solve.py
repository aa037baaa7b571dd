"""meanfield-opt solve: solve, certify, read off, show."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import replace
from typing import Any

from ..backend import Progress, solve
from ..certificate import ENGINES, Certificate, certify
from ..certificate.certify import unfinished
from ..errors import InputError
from ..files import write_text
from ..pattern import Pattern, patterns
from ..problem import MeanFieldProblem, TwoLayerProblem
from ..solution import Solution, Status
from ..validate import nonnegative, seconds
from ..validation.statistics import jsonable
from . import tables
from .outputs import check_outputs, patient
from .problem_arguments import add_problem_arguments, build_problem


def add_commands(commands: Any) -> None:
    """Register ``solve``."""
    parser = commands.add_parser("solve", help="solve a problem and certify the result")
    add_problem_arguments(parser)
    add_solve_arguments(parser)
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON (- for standard output)")
    parser.add_argument("--certificate", metavar="FILE", help="write the certificate file")
    parser.add_argument("--plot", metavar="FILE", help="write a figure (png, pdf or svg)")
    parser.set_defaults(run=run)


def add_solve_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of solving and certifying, shared with other commands."""
    add = parser.add_argument_group("solving and certifying").add_argument
    add("--backend", default="column_generation", help="see 'meanfield-opt backends'")
    add("--tolerance", type=float, default=1e-8, help="relative gap the solver aims at")
    add("--time-limit", type=float, help="seconds for the solver (default 30; 300 where --gap asks for a gap)")
    add("--proof-time", type=float, help="seconds for the proof (default 20; 200 where --gap asks for a gap)")
    add("--engine", default="auto", help="proof engine by name")
    add("--gap", type=float, default=None, help="exit with 1 unless this relative gap is proved")
    add("--seed", type=int, default=0, dest="solver_seed", help="seed of the solver")


def run(arguments: argparse.Namespace) -> int:
    """The command."""
    check_outputs(arguments, "json", "certificate", "plot", inputs=(arguments.problem,))
    problem = build_problem(arguments)
    if arguments.plot and not isinstance(problem, TwoLayerProblem):
        raise InputError(f"--plot draws two-layer networks; {problem.name} is none.")
    history: list[Progress] = []
    started = time.perf_counter()
    solution, certificate = solve_and_certify(problem, arguments, history)
    with patient() as interruptions:
        _write(problem, arguments, solution, certificate, history, time.perf_counter() - started)
    if interruptions:
        certificate = replace(certificate, interrupted=True)
    return exit_status(arguments, solution, certificate)


def _write(
    problem: MeanFieldProblem,
    arguments: argparse.Namespace,
    solution: Solution,
    certificate: Certificate,
    history: list[Progress],
    seconds: float,
) -> None:
    """The files asked for, and then what is shown."""
    found = patterns(problem, solution) if isinstance(problem, TwoLayerProblem) else []
    score = _parallelism(solution)
    # files first: a closed pipe behind the tables must not cost the results
    text = json.dumps(
        jsonable(as_json(problem, solution, certificate, found, score, seconds)), indent=1, allow_nan=False
    )
    if arguments.json and arguments.json != "-":
        write_text(arguments.json, text + "\n", "the result")
    if arguments.certificate and _has_document(certificate):
        certificate.save(arguments.certificate)
    if arguments.plot:
        from ..report.figure import save_figure

        save_figure(arguments.plot, solution, certificate, found, history)
    if arguments.json == "-":
        print(text)
    else:
        tables.show_result(problem, solution, certificate, found, score, seconds)


def _has_document(certificate: Certificate) -> bool:
    """False where the proof for a problem that is not a two-layer one was interrupted."""
    return isinstance(certificate.problem, TwoLayerProblem) or certificate.document is not None


def exit_status(arguments: argparse.Namespace, solution: Solution, certificate: Certificate) -> int:
    """0; 130 after an interruption, 1 where ``--gap`` asked for a gap that was not certified, with a line on stderr."""
    if certificate.interrupted or solution.status is Status.INTERRUPTED:
        missing = arguments.certificate and not _has_document(certificate)
        note = "; there is no certificate to write" if missing else ""
        print(f"meanfield-opt: interrupted; the results are those found and proved until then{note}", file=sys.stderr)
        return 130
    if arguments.gap is None or (certificate.verdict == "proved" and certificate.relative_gap <= arguments.gap):
        return 0
    print(
        f"meanfield-opt: the gap {arguments.gap:g} was not certified ({certificate.verdict}, "
        f"{certificate.relative_gap:.3g}).",
        file=sys.stderr,
    )
    return 1


def solve_and_certify(
    problem: MeanFieldProblem, arguments: argparse.Namespace, history: list[Progress]
) -> tuple[Solution, Certificate]:
    """Solve and certify under the common options, with a progress display where there is a terminal."""
    if arguments.gap is not None and arguments.gap != math.inf:
        nonnegative(arguments.gap, "--gap")
    solver_seconds, proof_seconds = time_limits(arguments)
    if arguments.engine != "auto":
        ENGINES.get(arguments.engine)  # an unknown name is refused before anything is solved
    with tables.live_display() as display:

        def hook(event: Progress) -> None:
            history.append(event)
            display(
                f"{event.stage} {event.iteration}: energy {event.energy:.9g}, {event.atoms} atoms, {event.seconds:.1f} s"
            )

        solution = solve(
            problem,
            arguments.backend,
            tolerance=arguments.tolerance,
            time_limit=solver_seconds,
            seed=arguments.solver_seed,
            progress=hook,
        )
        try:
            display(f"energy {solution.energy:.9g}; proving ...")
            certificate = certify(
                problem,
                solution,
                engine=arguments.engine,
                time_limit=proof_seconds,
                progress=lambda up, low, n: display(f"proving: supremum in [{low:.9g}, {up:.9g}], {n} open nodes"),
            )
        except KeyboardInterrupt:  # before or after the proof, or in one that keeps nothing: the solution is not lost
            certificate = unfinished(problem, solution)
    return solution, certificate


def time_limits(arguments: argparse.Namespace) -> tuple[float, float]:
    """Seconds for the solver and for the proof; a gap that must be proved deserves patience on a slow machine."""
    patience = 1.0 if arguments.gap is None else 10.0
    solver = 30.0 * patience if arguments.time_limit is None else arguments.time_limit
    proof = 20.0 * patience if arguments.proof_time is None else arguments.proof_time
    return seconds(solver, "--time-limit"), seconds(proof, "--proof-time")


def as_json(
    problem: MeanFieldProblem,
    solution: Solution,
    certificate: Certificate,
    found: list[Pattern],
    score: float | None,
    seconds: float,
) -> dict[str, Any]:
    """The result in JSON values (contract keys)."""
    return {
        "energy": solution.energy,
        "lower_bound": certificate.lower_bound,
        "upper_bound": certificate.upper_bound,
        "relative_gap": certificate.relative_gap,
        "verdict": certificate.verdict,
        "proof": certificate.proof,
        "parallelism_score": score,
        "patterns": [vars(p) for p in found],
        "backend": solution.backend,
        "status": solution.status.value,
        "seconds": seconds,
        "known_energy": None if problem.known is None else problem.known.energy,
        "problem": problem.describe(),
    }


def _parallelism(solution: Solution) -> float | None:
    """PS of the hidden representation, or None where it is not defined (one label, a missing class, ...)."""
    from ..metrics import parallelism_score

    if not isinstance(solution.problem, TwoLayerProblem) or solution.measure.n_atoms == 0:
        return None
    try:
        return float(parallelism_score(None, solution.problem.targets, activations=solution.features.T))
    except InputError:
        return None

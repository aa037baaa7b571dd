"""meanfield-opt backends | problems | activations | losses | engines | bench."""

from __future__ import annotations

import argparse
import inspect
from typing import Any

from ..backend import BACKENDS
from ..certificate import ENGINES
from ..plugins import ACTIVATIONS, FAMILIES, LOSSES, Registry
from .problem_arguments import add_problem_arguments, build_problem
from .tables import simple_table


def add_commands(commands: Any) -> None:
    """Register the listings and the benchmark."""
    commands.add_parser("backends", help="list solver backends").set_defaults(run=show_backends)
    for name, registry in (
        ("problems", FAMILIES),
        ("activations", ACTIVATIONS),
        ("losses", LOSSES),
        ("engines", ENGINES),
    ):
        commands.add_parser(name, help=f"list {name}").set_defaults(run=_lister(name, registry))
    parser = commands.add_parser("bench", help="compare backends on a problem: seconds, certified gap, memory")
    add_problem_arguments(parser)
    parser.add_argument("--backends", type=lambda t: t.split(","), default=None, help="names, separated by commas")
    parser.add_argument("--tolerance", type=float, default=1e-6)
    parser.add_argument("--time-limit", type=float, default=60.0)
    parser.set_defaults(run=run_bench)


def _lister(title: str, registry: Registry[Any]) -> Any:
    def run(arguments: argparse.Namespace) -> int:
        rows = []
        for name in registry.names():
            item = registry.get(name)
            words = (inspect.getdoc(item) or "").split("\n")[0]
            rows.append((name, words))
        simple_table(title, ("name", "what it is"), rows)
        return 0

    return run


def show_backends(arguments: argparse.Namespace) -> int:
    """List the backends with version, cones and licence state."""
    from ..bench import backend_table

    rows = [
        (
            str(row["name"]),
            " ".join(filter(None, (str(row["version"]), str(row["note"])))),
            str(row["licence"]),
            str(row["cones"]).replace("_", " "),
            str(row["refuses"]),
        )
        for row in backend_table()
    ]
    simple_table("backends", ("name", "version", "licence", "cones", "refuses"), rows)
    return 0


def run_bench(arguments: argparse.Namespace) -> int:
    """Compare backends on one problem."""
    from ..bench import bench

    for name in arguments.backends or ():
        BACKENDS.get(name)  # an unknown name is refused before anything is solved
    rows = bench(
        build_problem(arguments),
        backends=arguments.backends,
        tolerance=arguments.tolerance,
        time_limit=arguments.time_limit,
    )
    columns = [c for c in rows[0] if c != "note"]
    titles = [c.replace("_", " ").replace(" mib", " MiB") for c in columns]
    ran = [row for row in rows if row["status"]]
    if ran:
        simple_table("bench", titles, [[_short(row[c]) for c in columns] for row in ran])
    notes = [(str(row["backend"]), str(row["note"])) for row in rows if row["note"]]
    if notes:
        simple_table("not run", ("backend", "why"), notes)
    return 0 if ran else 2


def _short(value: Any) -> str:
    """A table cell."""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1e-3 or value != value else f"{value:.6g}"
    return "" if value is None else str(value)

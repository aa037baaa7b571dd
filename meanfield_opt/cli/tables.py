"""What the command line shows: rich tables, and a status line on long work when there is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..certificate import Certificate
from ..pattern import Pattern
from ..problem import MeanFieldProblem
from ..solution import Solution

MOST_PATTERNS = 20
WIDTH = 110


@contextmanager
def live_display() -> Iterator[Callable[[str], None]]:
    """A status line on standard error; silent when that is not a terminal."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    console = Console(stderr=True)
    with console.status("working ...") as status:
        yield lambda text: status.update(Text(text))


def simple_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    # names and messages are shown as they are: [mosek] and :name: are no markup
    console = Console(markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(width=WIDTH, markup=False, emoji=False)  # piped output does not depend on the terminal
    console.print(table)


def show_result(
    problem: MeanFieldProblem,
    solution: Solution,
    certificate: Certificate,
    found: list[Pattern],
    score: float | None,
    seconds: float,
) -> None:
    """The result of ``solve``."""
    rows = [
        ("energy", f"{solution.energy:.12g}"),
        ("upper bound", f"{certificate.upper_bound:.12g}"),
        ("lower bound", f"{certificate.lower_bound:.12g}"),
        ("relative gap", f"{certificate.relative_gap:.3g}"),
        ("verdict", certificate.verdict),
        ("proof", certificate.proof),
        *(("assumed", sentence) for sentence in certificate.assumptions),
        ("parallelism score", "undefined" if score is None else f"{score:.6f}"),
        ("atoms", str(solution.measure.n_atoms)),
        ("backend", f"{solution.backend}: {solution.status.value}"),
        ("seconds", f"{seconds:.2f}"),
    ]
    if problem.known is not None:
        rows.insert(1, ("known optimum", f"{problem.known.energy:.12g} ({problem.known.provenance})"))
    simple_table(problem.name, ("quantity", "value"), rows)
    if found:
        shown = [
            (
                str(p.latent),
                {1: "+", -1: "-", 0: "0"}[p.sign],
                f"{p.beta:.6g}",
                f"{p.gamma:.6g}",
                f"{p.mass:.6g}",
                f"{p.residual:.2g}",
            )
            for p in found[:MOST_PATTERNS]
        ]
        more = f" (heaviest {MOST_PATTERNS} of {len(found)})" if len(found) > MOST_PATTERNS else ""
        simple_table(
            f"support patterns h = beta 1 + gamma v_i{more}",
            ("label i", "sign", "beta", "gamma", "mass", "residual"),
            shown,
        )

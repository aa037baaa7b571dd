"""Compile overhead: the same conic program brought to clarabel's and scs's own data, directly and through cvxpy.

Direct = lowering the problem to the program plus converting it to the solver's arrays and cones. cvxpy = writing that same
program in cvxpy plus ``get_problem_data`` for that solver; the lowering is not charged to it. The solver's own set-up and
solve, equal for both, are in neither. Medians of ``--repeats``,
in CPU seconds of the process.

    python benchmarks/compile_overhead.py [--repeats 7] [--out benchmarks/results/compile_overhead.json]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

import meanfield_opt as mfo
from meanfield_backends.clarabel_ import _translate
from meanfield_backends.cvxpy_ import model
from meanfield_opt.formulation import ConicProgram, DNNLift, GroupLasso, MomentProgram, ParriloLift


def programs() -> dict[str, Callable[[], ConicProgram]]:
    """Label to the lowering of a program."""
    three, four = mfo.problems.hypercube(3), mfo.problems.hypercube(4)
    rng = np.random.default_rng(0)
    atoms = four.geometry.preactivation(rng.standard_normal((500, four.geometry.n_parameters)))
    return {
        "group lasso, 500 atoms, d=4": lambda: GroupLasso(atoms).lower(four),
        "moment program, 500 atoms, d=4": lambda: MomentProgram(atoms).lower(four),
        "DNN lift, order 16 (d=3)": lambda: DNNLift().lower(three),
        "DNN lift, order 32 (d=4)": lambda: DNNLift().lower(four),
        "Parrilo level 1, order 16 (d=3)": lambda: ParriloLift().lower(three),
    }


def direct_clarabel(lower: Callable[[], ConicProgram]) -> None:
    import clarabel

    _translate(clarabel, lower())


def direct_scs(lower: Callable[[], ConicProgram]) -> None:
    program = lower()
    cones = program.cones
    _ = {"z": cones.zero, "l": cones.nonnegative, "q": list(cones.second_order), "s": list(cones.psd)}
    sparse.csc_matrix(program.a)


def through_cvxpy(solver: str) -> Callable[[ConicProgram], None]:
    def build(program: ConicProgram) -> None:
        import cvxpy

        problem, _, _ = model(cvxpy, program)
        problem.get_problem_data(solver)

    return build


def median_seconds(action: Callable[[], Any], repeats: int) -> float:
    action()  # imports and caches
    times = []
    for _ in range(repeats):
        begin = time.process_time()  # CPU seconds: what other processes take does not count
        action()
        times.append(time.process_time() - begin)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "compile_overhead.json")
    arguments = parser.parse_args()
    rows = []
    for label, lower in programs().items():
        program = lower()
        row: dict[str, Any] = {"program": label, "rows": program.b.size, "columns": program.c.size}
        row["lower_seconds"] = median_seconds(lower, arguments.repeats)
        for name, direct in (("clarabel", direct_clarabel), ("scs", direct_scs)):
            own = median_seconds(partial(direct, lower), arguments.repeats)
            other = median_seconds(partial(through_cvxpy(name.upper()), program), arguments.repeats)
            row[f"{name}_direct"], row[f"{name}_cvxpy"], row[f"{name}_ratio"] = own, other, other / own
        print(
            f"{label:34s} lower {1e3 * row['lower_seconds']:7.2f} ms | "
            + " | ".join(
                f"{n}: {1e3 * row[f'{n}_direct']:7.2f} ms direct, {1e3 * row[f'{n}_cvxpy']:8.2f} ms cvxpy, "
                f"x{row[f'{n}_ratio']:.1f}"
                for n in ("clarabel", "scs")
            ),
            flush=True,
        )
        rows.append(row)
    versions = {name: version(name) for name in ("cvxpy", "clarabel", "scs", "numpy", "scipy")}
    document = {"machine": platform.machine(), "python": platform.python_version(), "versions": versions, "rows": rows}
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()

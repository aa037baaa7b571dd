"""Ours and other solvers on the same problems in one run.

    python benchmarks/peers/run.py [hypercube] [teacher] [--limit 150] [--seeds 3] [--out benchmarks/results]

Each solver runs in a process of its own (imports excluded from its time, stopped after --limit seconds on the clock); a short one runs up
to seven times, and medians count. Energies are those of actual networks or measures, recomputed here. Writes peers_FAMILY.json with
versions, peers_FAMILY.md with tables and, where matplotlib is installed, peers_FAMILY.png; --draw makes the latter two again.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import rivals
from arguments import one_of
from speed import teacher_problem

import meanfield_opt as mfo

Row = dict[str, Any]
FAMILIES = ("hypercube", "teacher")
#: a solver that has used fewer seconds than this on the clock runs again, so often at most; the medians count
SHORT, REPEATS = 4.0, 7
PACKAGES = ("meanfield-opt", "numpy", "scipy", "cvxpy", "clarabel", "scs", "ecos", "pyscnn", "torch")


def problem_of(task: Row) -> mfo.TwoLayerProblem:
    if task["family"] == "hypercube":
        return mfo.problems.hypercube(task["d"])
    return teacher_problem(task["lambda"])


def ours(problem: mfo.TwoLayerProblem, limit: float, **options: Any) -> Row:
    """Solve and, on hypercubes, certify; the certificate's seconds are included."""
    solution = mfo.solve(problem, time_limit=limit, **options)
    row: Row = {"energy": solution.energy, "atoms": solution.measure.n_atoms, "gap": solution.stats.get("sampled_gap")}
    history = solution.stats.get("history", [])
    row["history"] = [[round(t, 3), e, (e - low) / e] for t, e, low, _ in history]
    if problem.symmetry is not None:
        certificate = mfo.certify(problem, solution)
        row.update(verdict=certificate.verdict, certified=certificate.relative_gap)
    return row


def rival(work: Callable[[], tuple[float, int]]) -> Row:
    value, atoms = work()
    return {"energy": value, "atoms": atoms}


def solvers(task: Row, limit: float, seeds: int) -> Iterator[tuple[str, Callable[[mfo.TwoLayerProblem], Row]]]:
    """Name and work of every solver for the task; the work gets the problem built before the watch starts."""
    cube = task["family"] == "hypercube"
    if cube:
        yield "ours, by orbits, with certificate", lambda p: ours(p, limit, tolerance=1e-9)
        yield "ours, symmetry unused, with certificate", lambda p: ours(p, limit, tolerance=1e-7, symmetry=False)
    else:
        yield "ours", lambda p: ours(p, limit, tolerance=1e-5)
    gates = 200 if cube else 100
    yield f"scnn, cvxpy + ECOS, {gates} gates", lambda p: rival(lambda: rivals.scnn(p, "ecos", gates))
    yield f"scnn, cvxpy + SCS, {gates} gates", lambda p: rival(lambda: rivals.scnn(p, "scs", gates))
    yield f"scnn, augmented Lagrangian float64, {gates} gates", lambda p: rival(lambda: rivals.scnn(p, "al", gates))
    atoms = 500 if cube else 2000
    for name in ("CLARABEL", "SCS"):
        label = f"cvxpy + {name}, {'true and ' if cube else ''}{atoms} random atoms"
        yield label, lambda p, name=name: rival(lambda: rivals.conic_grid(p, name, atoms))  # type: ignore[misc]
    for method, steps in (("adam", 5000), ("lbfgs", 3000)):
        for seed in range(seeds):
            yield (
                f"torch {method}, seed {seed}",
                lambda p, m=method, s=seed, n=steps: rival(  # type: ignore[misc]
                    lambda: rivals.torch_network(p, m, 4 * p.n_samples if cube else 512, n, s)
                ),
            )


def child(pipe: Any, task: Row, index: int, limit: float, seeds: int) -> None:
    """One solver, in its own process."""
    try:
        name, work = list(solvers(task, limit, seeds))[index]
        if "torch" in name:
            import torch

            torch.set_num_threads(1)
        if "scnn" in name:
            pass
        if "cvxpy" in name:
            import cvxpy  # noqa: F401
        # what is compiled, loaded or cached once is not part of a solve, ours or theirs
        work(mfo.problems.hypercube(2) if task["family"] == "hypercube" else teacher_problem(1.0, 20, 2, 2))
        clocks: list[tuple[float, float]] = []
        while not clocks or (len(clocks) < REPEATS and sum(wall for wall, _ in clocks) < SHORT):
            problem = problem_of(task)  # a new one: nothing that it keeps serves twice
            wall, cpu = time.perf_counter(), time.process_time()
            row = work(problem)
            clocks.append((time.perf_counter() - wall, time.process_time() - cpu))
        row.update(zip(("seconds", "cpu_seconds"), map(statistics.median, zip(*clocks, strict=True)), strict=True))
        pipe.send({**row, "runs": len(clocks)})
    except Exception as error:
        pipe.send({"error": f"{type(error).__name__}: {error}"[:300]})


def measured(task: Row, index: int, name: str, limit: float, seeds: int) -> Row:
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(theirs, task, index, limit, seeds))
    process.start()
    theirs.close()
    row: Row = {"error": f"not finished after {limit:g} s"}
    if mine.poll(2.0 * limit + 60.0):
        try:
            row = mine.recv()
        except EOFError:
            row = {"error": "the process died"}
    else:
        process.terminate()
    process.join()
    return {**task, "solver": name, **row}


def reference(rows: list[Row], task: Row) -> float:
    known = mfo.problems.hypercube(task["d"]).known.energy if task["family"] == "hypercube" else None  # type: ignore[union-attr]
    return float(known) if known is not None else min(r["energy"] for r in rows if "energy" in r)


def table(rows: list[Row], tasks: list[Row]) -> str:
    lines = []
    for task in tasks:
        mine = [r for r in rows if all(r.get(k) == v for k, v in task.items())]
        best = reference(mine, task)
        title = ", ".join(f"{k} {v}" for k, v in task.items())
        lines += [f"\n### {title} (reference energy {best:.10g})\n", "| solver | energy above it, relative | seconds | processor | ours reached that energy after | note |", "|---|---|---|---|---|---|"]  # fmt: skip
        history = next((r["history"] for r in mine if r["solver"].startswith("ours") and r.get("history")), [])
        for r in mine:
            if "energy" not in r:
                lines.append(f"| {r['solver']} | | | | | {r['error']} |")
                continue
            reached = next((f"{t:.2f} s" for t, e, _ in history if e <= r["energy"]), "")
            note = f"{r['verdict']}, gap {r['certified']:.0e}" if "verdict" in r else (f"sampled gap {r['gap']:.1e}" if r.get("gap") is not None else "")  # fmt: skip
            lines.append(f"| {r['solver']} | {(r['energy'] - best) / best:.1e} | {r['seconds']:.2f} | {r['cpu_seconds']:.2f} | {reached if not r['solver'].startswith('ours') else ''} | {note} |")  # fmt: skip
    return "\n".join(lines) + "\n"


def plot(rows: list[Row], tasks: list[Row], path: Path) -> None:
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(tasks), figsize=(5 * len(tasks), 4), squeeze=False)
    for axis, task in zip(axes[0], tasks, strict=True):
        mine = [r for r in rows if "energy" in r and all(r.get(k) == v for k, v in task.items())]
        best = reference(mine, task)
        for r in mine:
            axis.loglog(r["seconds"], max((r["energy"] - best) / best, 1e-15), "o", label=r["solver"])
        axis.set(
            xlabel="seconds on the clock", ylabel="relative excess of energy", title=", ".join(map(str, task.values()))
        )
        axis.legend(fontsize=5)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def versions() -> dict[str, str]:
    out = {}
    for package in PACKAGES:
        try:
            out[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            out[package] = "absent"
    return out


def measure(family: str, given: argparse.Namespace, file: Path) -> None:
    """Every solver on every task of the family; the file is written after each."""
    tasks: list[Row] = [{"family": family, "lambda": l} for l in (5.0, 0.1)]
    if family == "hypercube":
        tasks = [{"family": family, "d": d} for d in given.dimensions]
    machine = {"system": platform.system(), "cores": os.cpu_count(), "threads": os.environ.get("OMP_NUM_THREADS")}
    rows = json.loads(file.read_text())["rows"] if given.only else []
    for task in tasks:
        for index, (name, _) in enumerate(list(solvers(task, given.limit, given.seeds))):
            if given.only not in name:
                continue
            rows = [r for r in rows if r["solver"] != name or any(r.get(k) != v for k, v in task.items())]
            rows.append(measured(task, index, name, given.limit, given.seeds))
            print({k: v for k, v in rows[-1].items() if k != "history"}, flush=True)
            report = {"versions": versions(), "machine": machine, "load": os.getloadavg()[0], "rows": rows}
            file.write_text(json.dumps(report, indent=1) + "\n")


def draw(file: Path) -> None:
    """Table and plot of what the file holds."""
    rows, tasks = json.loads(file.read_text())["rows"], []
    for row in rows:
        task = {k: row[k] for k in ("family", "d", "lambda") if k in row}
        if task not in tasks:
            tasks.append(task)
    file.with_suffix(".md").write_text(table(rows, tasks))
    plot(rows, tasks, file.with_suffix(".png"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", type=one_of(FAMILIES), metavar="FAMILY", help=", ".join(FAMILIES))
    parser.add_argument("--limit", type=float, default=150.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--dimensions", type=int, nargs="*", default=[4, 5, 6])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument(
        "--only", default="", help="only solvers whose name contains this; the file's other rows are kept"
    )
    parser.add_argument("--draw", action="store_true", help="only tables and plots, of what was measured before")
    given = parser.parse_args()
    files = {family: given.out / f"peers_{family}.json" for family in given.families or FAMILIES}
    for file in files.values():
        if (given.only or given.draw) and not file.exists():
            parser.error(f"{file} is not there; measure without --only and --draw first")
    given.out.mkdir(parents=True, exist_ok=True)
    for family, file in files.items():
        if not given.draw:
            measure(family, given, file)
        draw(file)


if __name__ == "__main__":
    main()

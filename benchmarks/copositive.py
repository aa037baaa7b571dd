"""Time of ``mfo.copositive.check`` (certificate included) against pycoposit (booleans), per catalogue instance, in one run.

    python benchmarks/copositive.py [--largest 64] [--repeats 3] [--limit 60] [--programs] [--output FILE]

pycoposit (GPL) is only called as a peer; without it the column stays empty. Every answer is compared with the known one
and replayed by the independent checker. ``--programs`` adds planted standard quadratic programs of orders 10, 20, 30, and dense random ones of orders 20, 30.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import meanfield_opt as mfo
from meanfield_opt.copositive.catalogue import catalogue, horn


def best_of(call: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Least seconds of several calls, and the last result."""
    least, result = float("inf"), None
    for _ in range(repeats):
        begin = time.perf_counter()
        result = call()
        least = min(least, time.perf_counter() - begin)
        if least > 5:
            break
    return least, result


def named(answer: Any) -> str:
    """The catalogue's word for an answer."""
    if answer.copositive is None:
        return "undecided"
    if not answer.copositive:
        return "no"
    return {True: "strict", False: "boundary", None: "copositive"}[answer.strict]


def peer(matrix: Any, limit: float) -> tuple[float | None, str | None]:
    """pycoposit's seconds and answer; None where it is not installed or exceeds the limit."""
    try:
        import pycoposit
    except ImportError:
        return None, None
    n = len(matrix)
    text = f"{n}#" + ",".join(str(matrix[i][j]) for i in range(n) for j in range(i, n))
    if n <= 48:
        seconds, result = best_of(lambda: pycoposit.check(text), 3)
    else:  # in a session of its own, so that it can be stopped at the limit with everything it started
        code = "import sys, pycoposit, json; print(json.dumps(pycoposit.check(sys.stdin.read())))"
        begin = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            result = json.loads(process.communicate(text, timeout=limit)[0])
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return None, f"over {limit:g} s"
        seconds = time.perf_counter() - begin
    word = "strict" if result["is_strictly_copositive"] else "boundary" if result["is_copositive"] else "no"
    return seconds, word


def dense_forms(order: int, seed: int) -> dict[str, Any]:
    """Random instances without a planted optimum, by name; each a symmetric float matrix (order, order)."""
    rng = np.random.default_rng(seed)
    half = [rng.standard_normal((order, order)) for _ in range(6)]
    attracted = -np.abs(half[0]) / order**0.5
    np.fill_diagonal(attracted, 1.0)
    points = rng.random((order, 3))
    horns = np.zeros((order, order))
    for k in range(order // 5):
        at = slice(5 * k, 5 * k + 5)
        horns[at, at] = np.array(horn()) * np.outer(d := rng.uniform(0.5, 2, 5), d)
    forms = {
        "uniform": half[1],
        "PSD - diagonal": half[2] @ half[2].T / order - 0.3 * np.diag(rng.random(order)),
        "PSD + noise": half[3] @ half[3].T / order + 0.2 * rng.uniform(-1, 1, (order, order)),
        "attracted": attracted,
        "distances": -np.linalg.norm(points[:, None] - points[None], axis=2),
        "graph + noise": np.eye(order) + (rng.random((order, order)) < 0.3) + 0.05 * half[4],
        "Horns + coupling": horns + 0.2 * half[5] * (horns == 0),
    }
    return {name: np.triu(a) + np.triu(a, 1).T for name, a in forms.items()}


def programs_of(limit: float) -> list[dict[str, Any]]:
    """Planted and dense random standard quadratic programs of orders 10, 20, 30; gaps relative to the largest entry."""
    cases: list[tuple[dict[str, Any], Any]] = []
    for order, support, horns in ((10, 3, 0), (10, 3, 1), (20, 6, 0), (20, 6, 2), (30, 10, 0), (30, 10, 2)):
        for seed in (0, 1):
            problem = mfo.problems.planted_quadratic_program(order, support, horns, seed=seed)
            cases.append(
                ({"order": order, "support": support, "horns": horns, "seed": seed}, problem.matrix)  # type: ignore[attr-defined]
            )
    for order in (20, 30):
        for seed in (0, 1):
            cases += [({"order": order, "dense": k, "seed": seed}, q) for k, q in dense_forms(order, seed).items()]
    rows = []
    for facts, matrix in cases:
        cpu = time.process_time()
        bounds = mfo.copositive.minimize_on_simplex(matrix, tolerance=1e-6, time_limit=limit)
        cpu = time.process_time() - cpu
        bounds.replay()
        scale = max(abs(v) for row in bounds.matrix.rational for v in row)
        gap = float((bounds.upper - bounds.lower) / scale)
        rows.append(
            facts
            | {"seconds": bounds.seconds, "cpu": cpu, "gap": gap, "exact": bounds.exact, "upper": float(bounds.upper)}
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Run and print a table; write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=60.0)
    parser.add_argument("--programs", action="store_true")
    parser.add_argument("--output")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    mfo.copositive.check([[2, -1], [-1, 2]])
    for item in catalogue(options.largest):
        seconds, answer = best_of(lambda: mfo.copositive.check(item.matrix, time_limit=options.limit), options.repeats)  # noqa: B023
        replay, _ = best_of(answer.replay, 1) if answer.copositive is not None else (None, None)
        other, word = peer(item.matrix, options.limit)
        row = {"name": item.name, "order": len(item.matrix), "known": item.answer, "answer": named(answer)}
        row |= {"seconds": seconds, "replay": replay, "pycoposit": other, "pycoposit_answer": word}
        row["proof"] = str(getattr(answer, "proof", "exact witness"))
        row["right"] = row["answer"] == item.answer
        rows.append(row)
        ratio = f"{seconds / other:7.2f}" if other else "      -"
        print(
            f"{item.name:28s} {len(item.matrix):4d} {row['answer']:10s} {seconds * 1e3:9.2f} ms {ratio} {'' if row['right'] else 'WRONG'}",
            flush=True,
        )
    ratios = [r["seconds"] / r["pycoposit"] for r in rows if r["pycoposit"]]
    summary: dict[str, Any] = {"instances": len(rows), "right": sum(r["right"] for r in rows)}
    if ratios:
        summary |= {"median_ratio": statistics.median(ratios), "largest_ratio": max(ratios)}
    programs = programs_of(options.limit * 4) if options.programs else []
    print(summary)
    if options.output:
        versions = {}
        for name in ("numpy", "python-flint", "clarabel", "pycoposit"):
            try:
                versions[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                versions[name] = None
        machine = {"python": platform.python_version(), "machine": platform.machine(), "versions": versions}
        with open(options.output, "w") as file:
            json.dump({"summary": summary, "machine": machine, "instances": rows, "programs": programs}, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()

"""All losses on two components of the digits: solved, certified, relative gaps.

python benchmarks/losses.py [--samples 40] [--seconds 20] [--out benchmarks/results/losses.json]
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import meanfield_opt as mfo

#: label, loss, backend: column generation takes smooth losses, the conic backends those with a residual form
CASES: list[tuple[str, Any, str]] = [
    ("squared", "squared", "column_generation"),
    ("logistic", "logistic", "column_generation"),
    ("huber", "huber", "column_generation"),
    ("squared hinge", "squared_hinge", "column_generation"),
    ("hinge", "hinge", "clarabel"),
    ("softmax", "softmax", "column_generation"),
    ("weighted logistic", mfo.loss("weighted", base="logistic", output_weights=(1.0, 2.0)), "column_generation"),
    ("squared, free output bias", mfo.loss("output_bias", penalty=0.0), "column_generation"),
    ("hinge, output bias", mfo.loss("output_bias", base="hinge", penalty=1.0), "clarabel"),
    ("quantile 0.8", mfo.loss_from(above=0.2, below=0.8), "clarabel"),
]


def row(label: str, loss: Any, backend: str, samples: int, seconds: float) -> dict[str, Any]:
    labels = "parity" if label == "softmax" else ("parity", "magnitude")
    problem = mfo.problems.digits(labels=labels, samples=samples, components=2, loss=loss, lambda1=1.0, lambda2=1.0)
    begin, cpu = time.perf_counter(), time.process_time()
    solution = mfo.solve(problem, backend, time_limit=seconds)
    solved = time.perf_counter() - begin
    certificate = mfo.certify(problem, solution, time_limit=seconds, workers=1)
    return {
        "loss": label,
        "backend": backend,
        "energy": solution.energy,
        "lower": certificate.lower_bound,
        "gap": certificate.relative_gap,
        "verdict": certificate.verdict,
        "status": solution.status.name.lower(),
        "solve_seconds": round(solved, 2),
        "seconds": round(time.perf_counter() - begin, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*")
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for label, loss, backend in CASES:
        if not options.only or label in options.only:
            rows.append(row(label, loss, backend, options.samples, options.seconds))
            print(rows[-1], flush=True)
    if options.out is not None:
        about = {"samples": options.samples, "seconds": options.seconds, "python": platform.python_version()}
        about |= {name: version(name) for name in ("meanfield-opt", "numpy", "clarabel")}
        options.out.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

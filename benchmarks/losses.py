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

import numpy as np

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


def digits(label: str, loss: Any, samples: int) -> mfo.TwoLayerProblem:
    """Parity and magnitude; for softmax parity as two classes."""
    settings: dict[str, Any] = {"samples": samples, "components": 2, "lambda1": 1.0, "lambda2": 1.0}
    if label != "softmax":
        return mfo.problems.digits(loss=loss, **settings)
    base = mfo.problems.digits(labels=("parity",), **settings)
    return mfo.TwoLayerProblem(
        base.activation, mfo.loss("softmax"), base.geometry, np.vstack([base.targets, -base.targets]), 1.0, 1.0
    )


def row(label: str, loss: Any, backend: str, samples: int, seconds: float) -> dict[str, Any]:
    problem = digits(label, loss, samples)
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

"""Handwritten digits, parity x magnitude: trained networks against the certified bounds.

    python benchmarks/validation/digits.py [FOLDER]         (writes results/digits.json, and pages to FOLDER)

Two problems on 200 digits: two principal components (the input view closes the gap) and all 64 pixels (no engine closes
it: the bound is weak there, and the comparison says so).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

import meanfield_opt as mfo

HERE = Path(__file__).parent / "results"
CASES: dict[str, dict[str, Any]] = {
    "two components": {"components": 2, "lambda1": 0.5, "lambda2": 0.5},
    "all pixels": {"lambda1": 1.0, "lambda2": 1.0},
}


def main() -> None:
    torch.set_num_threads(2)
    table: dict[str, Any] = {}
    for name, options in CASES.items():
        problem = mfo.problems.digits(("parity", "magnitude"), samples=200, seed=0, **options)
        solution = mfo.solve(problem, tolerance=1e-6, time_limit=90)
        certificate = mfo.certify(problem, solution, time_limit=40)
        c = mfo.compare(
            problem,
            solution,
            seeds=20,
            width=64,
            certificate=certificate,
            threshold=1e-3,
            steps=4000,
            rate=0.03,
            examine=1,
        )
        body = c.summary()
        body["solver_status"] = solution.status.value
        table[name] = body
        print(name, solution.status.value, flush=True)
        for row in c.rows():
            print("  ", *row, flush=True)
        if len(sys.argv) > 1:
            c.write_report(Path(sys.argv[1]) / f"digits-{name.replace(' ', '-')}.html")
        (HERE / "digits.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()

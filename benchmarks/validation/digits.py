"""Handwritten digits, parity x magnitude: trained networks against the certified bounds.

    python benchmarks/validation/digits.py FOLDER [CASE]    (writes results/digits-CASE.json, and pages to FOLDER)

Two problems on 200 digits: two principal components (the input view closes the gap) and all 64 pixels (no engine closes
it: the bound is weak there, and the comparison says so).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import meanfield_opt as mfo

HERE = Path(__file__).parent / "results"
CASES: dict[str, dict[str, Any]] = {
    "two components": {"components": 2, "lambda1": 0.5, "lambda2": 0.5, "steps": 4000, "solve_seconds": 90},
    "all pixels": {"lambda1": 1.0, "lambda2": 1.0, "steps": 1000, "solve_seconds": 30},
}


def main() -> None:
    for name, options in CASES.items():
        if name not in (sys.argv[2:] or CASES):
            continue
        steps, limit = options.pop("steps"), options.pop("solve_seconds")
        problem = mfo.problems.digits(("parity", "magnitude"), samples=200, seed=0, **options)
        solution = mfo.solve(problem, tolerance=1e-6, time_limit=limit)
        certificate = mfo.certify(problem, solution, time_limit=30)
        c = mfo.compare(
            problem,
            solution,
            seeds=20,
            width=64,
            certificate=certificate,
            threshold=1e-3,
            steps=steps,
            rate=0.03,
            examine=1,
        )
        body = c.summary()
        body["solver_status"] = solution.status.value
        print(name, solution.status.value, flush=True)
        for row in c.rows():
            print("  ", *row, flush=True)
        if len(sys.argv) > 1:
            c.write_report(Path(sys.argv[1]) / f"digits-{name.replace(' ', '-')}.html")
        (HERE / f"digits-{name.replace(' ', '-')}.json").write_text(json.dumps(body, indent=1) + "\n")


if __name__ == "__main__":
    main()

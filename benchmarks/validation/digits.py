"""Handwritten digits, parity x magnitude: trained networks against the certified bounds.

    python benchmarks/validation/digits.py FOLDER [CASE]    (writes results/digits-CASE.json, and pages to FOLDER)

Two problems on 200 digits: two principal components (the input view closes the gap to about 1e-8) and all 64 pixels (no
engine closes it: the bound is weak there, and the comparison says so).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import meanfield_opt as mfo
from meanfield_opt.validation.statistics import jsonable

HERE = Path(__file__).parent / "results"
CASES: dict[str, dict[str, Any]] = {
    "two components": {"components": 2, "lambda1": 0.5, "lambda2": 0.5, "steps": 8000, "rate": 0.1, "examine": 2},
    "two components longer": {
        "components": 2,
        "lambda1": 0.5,
        "lambda2": 0.5,
        "steps": 24000,
        "rate": 0.1,
        "examine": 0,
    },
    "all pixels": {"lambda1": 1.0, "lambda2": 1.0, "steps": 4000, "rate": 0.03, "examine": 1},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    asked = parser.parse_args()
    if not set(asked.cases) <= set(CASES):
        parser.error(f"the cases are {', '.join(CASES)}")
    for name, options in CASES.items():
        if name not in (asked.cases or CASES):
            continue
        begin = time.process_time()
        given = {key: options[key] for key in ("components", "lambda1", "lambda2") if key in options}
        problem = mfo.problems.digits(("parity", "magnitude"), samples=200, seed=0, **given)
        solution = mfo.solve(problem, tolerance=1e-8, time_limit=120)
        certificate = mfo.certify(problem, solution, time_limit=60)
        c = mfo.compare(
            problem,
            solution,
            seeds=20,
            width=64,
            certificate=certificate,
            steps=options["steps"],
            rate=options["rate"],
            examine=options["examine"],
        )
        body = c.summary()
        body["solver_status"] = solution.status.value
        body["cpu_seconds"] = time.process_time() - begin
        print(name, solution.status.value, flush=True)
        for row in c.rows():
            print("  ", *row, flush=True)
        if asked.folder is not None:
            c.write_report(asked.folder / f"digits-{name.replace(' ', '-')}.html")
        (HERE / f"digits-{name.replace(' ', '-')}.json").write_text(json.dumps(jsonable(body), indent=1) + "\n")


if __name__ == "__main__":
    main()

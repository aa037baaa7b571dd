"""Two-sided bounds where no exact engine applies: 64-pixel digits and random inputs of rank 11, engine against engine.

python benchmarks/high_rank.py            about 10 minutes; writes benchmarks/results/high_rank.json
python benchmarks/high_rank.py --quick    the first row only, 20 seconds a proof
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import meanfield_opt as mfo

RESULTS = Path(__file__).parent / "results" / "high_rank.json"


def problems() -> dict[str, mfo.TwoLayerProblem]:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((100, 10)), np.sign(rng.standard_normal((100, 3)))
    digits = {f"digits, 64 pixels, l = {l:g}": mfo.problems.digits(lambda1=l, lambda2=l) for l in (1.0, 10.0, 30.0)}
    return digits | {"random, d_X = 10, P = 100, d_Y = 3, l = 1": mfo.problems.dataset(x, y, lambda1=1.0, lambda2=1.0)}


def row(problem: mfo.TwoLayerProblem, solution: mfo.Solution, engine: str, seconds: float) -> dict[str, Any]:
    begin = time.process_time()
    certificate = mfo.certify(problem, solution, engine=engine, time_limit=seconds, refute=math.inf)
    proving = time.process_time() - begin
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.json"
        certificate.save(path)
        size = path.stat().st_size
        begin = time.process_time()
        mfo.verify(path, problem)
    return {
        "lower": certificate.lower_bound,
        "upper": certificate.upper_bound,
        "relative_gap": certificate.relative_gap,
        "proving_cpu_seconds": round(proving, 2),
        "checking_cpu_seconds": round(time.process_time() - begin, 3),
        "file_kB": size // 1000,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    rows: dict[str, Any] = {}
    for name, problem in problems().items():
        solution = mfo.solve(problem, tolerance=1e-4, time_limit=20 if arguments.quick else 60)
        rows[name] = {e: row(problem, solution, e, 20 if arguments.quick else 90) for e in ("norm", "shor", "lift")}
        for engine, entry in rows[name].items():
            print(f"{name:45s} {engine:5s} {entry}", flush=True)
        if arguments.quick:
            return
    versions = {"numpy": np.__version__, "python": platform.python_version(), "machine": platform.machine()}
    RESULTS.write_text(json.dumps({"versions": versions, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

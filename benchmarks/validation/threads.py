"""How many CPU threads should torch use while training small networks in a batch?

    python benchmarks/validation/threads.py            (writes results/threads.json)

Milliseconds a step of 20 seeds with 1, 2 and 4 threads, in turns within one run, so that other load meets all of them.
Wall and process time: threads that spin show in the second.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

import meanfield_opt as mfo
from meanfield_opt.validation.objective import TwoLayerObjective
from meanfield_opt.validation.training import train

HERE = Path(__file__).parent / "results"


def main() -> None:
    digits = mfo.problems.digits(("parity", "magnitude"), samples=200, seed=0)
    cases = [(mfo.problems.hypercube(d), 4 * 2**d, 60) for d in (2, 3, 4)] + [(digits, 64, 20)]
    rows = []
    for problem, width, steps in cases:
        objective = TwoLayerObjective(problem, width)
        wall: dict[int, list[float]] = {1: [], 2: [], 4: []}
        process: dict[int, list[float]] = {1: [], 2: [], 4: []}
        for turn in range(4):
            for threads in wall:
                begin, cpu = time.perf_counter(), time.process_time()
                train(objective, 20, mfo.TrainOptions(steps=steps, threads=threads))
                if turn:  # the first turn warms up
                    wall[threads].append((time.perf_counter() - begin) * 1e3 / steps)
                    process[threads].append((time.process_time() - cpu) * 1e3 / steps)
        row = {
            "problem": problem.name,
            "width": width,
            "seeds": 20,
            "wall_ms": {str(k): float(np.median(v)) for k, v in wall.items()},
            "process_ms": {str(k): float(np.median(v)) for k, v in process.items()},
        }
        rows.append(row)
        print(row, flush=True)
    versions = {name: version(name) for name in ("numpy", "torch", "meanfield-opt")}
    (HERE / "threads.json").write_text(json.dumps({"versions": versions, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()

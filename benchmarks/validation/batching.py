"""Seeds trained in one batch against the same seeds one by one, on the CPU.

    python benchmarks/validation/batching.py            (writes results/batching.json)

The same objective, options and initial weights; the first run of either is left out (warm-up). The final parameters
of both are compared.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch

import meanfield_opt as mfo
from meanfield_opt.validation.objective import TwoLayerObjective
from meanfield_opt.validation.training import train

HERE = Path(__file__).parent / "results"


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for d, method in ((2, "adam"), (3, "adam"), (4, "adam"), (3, "sgd"), (3, "lbfgs")):
        problem = mfo.problems.hypercube(d)
        objective = TwoLayerObjective(problem, 4 * problem.n_samples)
        rate = {"adam": 0.1, "sgd": 0.01, "lbfgs": 1.0}[method]
        options = mfo.TrainOptions(method=method, steps=40, rate=rate, batch=4 if method == "sgd" else None)
        seeds = list(range(20))
        train(objective, seeds, options)
        train(objective, [0], options)
        ratios, one, many = [], [], []
        for _ in range(2):  # interleaved, so that other load on the machine meets both
            begin = time.perf_counter()
            together = train(objective, seeds, options)
            middle = time.perf_counter()
            alone = [train(objective, [s], options) for s in seeds]
            end = time.perf_counter()
            many.append(middle - begin)
            one.append(end - middle)
            ratios.append(one[-1] / many[-1])
        apart = max(float(np.abs(a.parameters[0] - together.parameters[i]).max()) for i, a in enumerate(alone))
        rows.append(
            {
                "problem": problem.name,
                "method": method,
                "width": objective.width,
                "seeds": 20,
                "steps": 40,
                "batched_seconds": float(np.median(many)),
                "one_by_one_seconds": float(np.median(one)),
                "ratio_median": float(np.median(ratios)),
                "ratios": ratios,
                "largest_difference_of_parameters": apart,
            }
        )
        print(rows[-1], flush=True)
    body = {"torch": torch.__version__, "threads": 1, "machine": platform.machine(), "rows": rows}
    (HERE / "batching.json").write_text(json.dumps(body, indent=1) + "\n")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()

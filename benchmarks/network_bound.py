"""Networks of M relu neurons against the optimum over measures: both ends proved. Few inputs, few samples.

python benchmarks/network_bound.py [--seconds 60] [--out benchmarks/results/network_bound.json]
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

import meanfield_opt as mfo

SQUARE = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
LINE = np.linspace(-1.0, 1.0, 8)[:, None]
RANDOM = np.random.default_rng(0)
PLANE = RANDOM.standard_normal((8, 2))

#: inputs (a bias is added), targets, penalty, numbers of neurons
CASES = {
    "exclusive or (square, one label)": (SQUARE, SQUARE[:, :1] * SQUARE[:, 1:], 0.05, (1, 2)),
    "both labels of the square": (SQUARE, SQUARE, 0.05, (1, 2)),
    "the same, penalty 0.5": (SQUARE, SQUARE, 0.5, (1, 2)),
    "8 random points, one random label": (PLANE, np.sign(RANDOM.standard_normal((8, 1))), 0.1, (1, 2)),
    "|x| at 8 points": (LINE, np.abs(LINE), 0.05, (1, 2)),
    "sin 3x at 8 points": (LINE, np.sin(3.0 * LINE), 0.05, (1, 2)),
    "cos 4x at 8 points": (LINE, np.cos(4.0 * LINE), 0.01, (1, 2, 3)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--gap", type=float, default=1e-4)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for name, (x, y, penalty, widths) in CASES.items():
        problem = mfo.problems.dataset(x, y, lambda1=penalty, lambda2=penalty)
        measure = mfo.certify(problem, mfo.solve(problem, tolerance=1e-9), workers=1)
        for neurons in widths:
            cpu = time.process_time()
            found = mfo.network_bound(problem, neurons, gap=options.gap, time_limit=options.seconds)
            row = {"data": name, "weights": x.shape[1] + 1, "penalty": penalty, "neurons": neurons}
            row |= {"lower": found.lower_bound, "upper": found.upper_bound, "gap": found.relative_gap}
            row |= {"measure_lower": measure.lower_bound, "measure_upper": measure.upper_bound}
            row |= {
                "boxes": found.boxes,
                "complete": found.complete,
                "cpu_seconds": round(time.process_time() - cpu, 1),
            }
            rows.append(row)
            print(row, flush=True)
    if options.out is not None:
        about = {"python": platform.python_version(), "seconds": options.seconds, "gap": options.gap}
        about |= {key: version(key) for key in ("meanfield-opt", "numpy")}
        options.out.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Networks that stay above the optimum: the neuron that their own certificate names, and training on with it added.

    python benchmarks/validation/escapes.py            (writes results/escapes.json)

Narrow networks on hypercubes (2d units suffice for the optimum, but gradient descent does not find it from everywhere).
Every seed is trained on until it is stuck or reaches 1e-4; every stuck one is certified, given the neuron that the
certificate names, and trained on; the control is the same further training without a neuron.
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
CASES: tuple[dict[str, Any], ...] = (
    {"latents": 2, "width": 4, "steps": 8000, "rate": 0.1},
    {"latents": 3, "width": 6, "steps": 8000, "rate": 0.1},
)


def main() -> None:
    table = []
    for case in CASES:
        begin = time.process_time()
        problem = mfo.problems.hypercube(case["latents"])
        solution = mfo.solve(problem, backend="closed_form")
        c = mfo.compare(
            problem, solution, seeds=20, width=case["width"], steps=case["steps"], rate=case["rate"], examine=20
        )
        body = c.summary()
        body["latents"], body["cpu_seconds"] = case["latents"], time.process_time() - begin
        table.append(jsonable(body))
        print(case, body["standing"], f"{body['cpu_seconds']:.0f} s", flush=True)
        for e in c.escapes:
            print("  seed", e.seed, e.verdict, e.words(), e.sources, [f"{r:.4f}" for r in e.ratios], flush=True)
    (HERE / "escapes.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()

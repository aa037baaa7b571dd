"""Hypercubes d = 2, 3, 4, whitened and aligned (a = 0.5), 20 seeds: do trained networks reach the certified optimum?

python benchmarks/validation/hypercubes.py            (writes results/hypercubes.json)
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

import meanfield_opt as mfo

HERE = Path(__file__).parent / "results"


def main() -> None:
    torch.set_num_threads(2)
    table = []
    for d in (2, 3, 4):
        for a in (0.0, 0.5):
            problem = mfo.problems.hypercube(d, geometry="aligned" if a else "whitened", alignment=a)
            solution = mfo.solve(problem, backend="closed_form")
            c = mfo.compare(problem, solution, seeds=20, steps=8000 if d == 2 else 6000, examine=2)
            body = c.summary()
            body["alignment"] = a
            table.append(body)
            far = c.values("distance")[c.reached]
            print(
                f"d={d} a={a}: {int(c.reached.sum())}/20 within 1e-4 (certificate {c.certificate.verdict}, "
                f"{c.certificate.relative_gap:.0e}), worst |K-K*| {far.max():.1e}, worst PS "
                f"{c.values('parallelism')[c.reached].min():.6f}, median gap {body['gap']['median']:.1e}, {c.seconds:.0f} s",
                flush=True,
            )
            for row in body["escapes"]:
                print("   escape", row["before"], row["control"], row["gaps"], flush=True)
    (HERE / "hypercubes.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Hypercubes d = 2, 3, 4, whitened and aligned (a = 0.5), 20 seeds: do trained networks reach the certified optimum?

python benchmarks/validation/hypercubes.py [d ...]        (writes results/hypercubes.json)
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import meanfield_opt as mfo

HERE = Path(__file__).parent / "results"


def main() -> None:
    table: list[dict[str, Any]] = []
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "only", nargs="*", type=int, metavar="d", help="part of the table; the other rows of the file are kept"
    )
    given = parser.parse_args().only
    only = given or [2, 3, 4]
    file = HERE / "hypercubes.json"
    if given and file.exists():
        table = [row for row in json.loads(file.read_text()) if row["latents"] not in only]
    for d in only:
        for a in (0.0, 0.5):
            problem = mfo.problems.hypercube(d, geometry="aligned" if a else "whitened", alignment=a)
            solution = mfo.solve(problem, backend="closed_form")
            begin = time.process_time()
            c = mfo.compare(problem, solution, seeds=20, steps={2: 8000, 3: 6000, 4: 15000}[d], examine=2)
            body = c.summary()
            body["latents"], body["alignment"] = d, a
            body["cpu_seconds"] = time.process_time() - begin
            table.append(body)
            body["reached_with_kernel_within_1e-2"] = int((c.values("distance")[c.reached] <= 1e-2).sum())
            body["reached_with_parallelism_0.999"] = int((c.values("parallelism")[c.reached] >= 0.999).sum())
            far = c.values("distance")[c.reached]
            print(
                f"d={d} a={a}: {int(c.reached.sum())}/20 within 1e-4 (certificate {c.certificate.verdict}, "
                f"{c.certificate.relative_gap:.0e}), of those {body['reached_with_kernel_within_1e-2']} with |K-K*| within 1e-2, "
                f"{body['reached_with_parallelism_0.999']} with PS >= 0.999, worst |K-K*| {far.max():.1e}, worst PS "
                f"{c.values('parallelism')[c.reached].min():.6f}, median gap {body['gap']['median']:.1e}, {c.seconds:.0f} s",
                flush=True,
            )
            for row in body["escapes"]:
                print("   escape", row["before"], row["control"], row["gaps"], flush=True)
    table.sort(key=lambda row: (row["latents"], row["alignment"]))
    file.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Branch-and-bound proofs, solving included: python benchmarks/bnb.py [FAMILY ...] [--out FILE]

Random labels, no symmetry. Prints a line a case: certified gap, seconds to solve, to prove and to check, size of the file.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from arguments import one_of

import meanfield_opt as mfo
from meanfield_opt.certificate.close_gap import close_gap

Builder = Callable[[], mfo.TwoLayerProblem]


def random_inputs(dimension: int, samples: int, outputs: int, strength: float) -> Builder:
    """X standard normal, labels random signs, l1 = l2 = strength sqrt(P)."""

    def build() -> mfo.TwoLayerProblem:
        rng = np.random.default_rng(7)
        x, y = rng.standard_normal((samples, dimension)), np.sign(rng.standard_normal((samples, outputs)))
        penalty = strength * samples**0.5
        return mfo.problems.dataset(x, y, lambda1=penalty, lambda2=penalty)

    return build


def whitened(outputs: int, samples: int, strength: float) -> Builder:
    """K_X = I + 1 1^T, labels random signs."""

    def build() -> mfo.TwoLayerProblem:
        y = np.sign(np.random.default_rng(7).standard_normal((outputs, samples)))
        space = mfo.DiagonalPlusLowRank(np.ones(samples), np.ones((samples, 1)), np.ones(1))
        penalty = strength * samples**0.5
        return mfo.TwoLayerProblem(mfo.activation("relu"), mfo.loss("squared"), space, y, penalty, penalty)

    return build


def digits(penalty: float) -> Builder:
    """Handwritten digits, two principal components, 300 samples."""
    return lambda: mfo.problems.digits(components=2, samples=300, lambda1=penalty, lambda2=penalty)


def hypercube(activation: str, latents: int, width: float) -> Builder:
    """Whitened hypercube under a width."""
    return lambda: mfo.problems.hypercube(latents, activation=activation, width=width, lambda1=0.05, lambda2=0.05)


FAMILIES: dict[str, dict[str, Builder]] = {
    "r2": {f"r=2 P=2000 d_Y=3 s={s}": random_inputs(1, 2000, 3, s) for s in (0.3, 0.1)},
    "r3": {f"r=3 P=1000 d_Y=2 s={s}": random_inputs(2, 1000, 2, s) for s in (0.3, 0.1)},
    "r4": {f"r=4 P=200 d_Y=2 s={s}": random_inputs(3, 200, 2, s) for s in (0.3, 0.1)},
    "r5": {f"r=5 P=60 d_Y=2 s={s}": random_inputs(4, 60, 2, s) for s in (0.3, 0.1)},
    "whitened": {
        f"whitened d_Y={d} P={p}": whitened(d, p, 0.3) for d, p in ((2, 512), (2, 16384), (3, 1024), (4, 128))
    },
    "digits": {f"digits 2 components l={penalty}": digits(penalty) for penalty in (10.0, 1.0, 0.1)},
    "width": {
        f"{name} d={d} M={m}": hypercube(name, d, m)
        for name in ("tanh", "hard_sigmoid", "sigmoid")
        for d in (2, 3)
        for m in (4, 16, 64)
    },
}


def run(label: str, build: Builder, gap: float) -> dict[str, object]:
    """Solve and prove in turn, save, verify."""
    problem = build()
    begun, begun_cpu = time.perf_counter(), time.process_time()
    _, certificate = close_gap(problem, gap=gap, time_limit=120)
    proved, proved_cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.json"
        certificate.save(path)
        size = path.stat().st_size
        saved, saved_cpu = time.perf_counter(), time.process_time()
        mfo.verify(path, problem)
        checked, checked_cpu = time.perf_counter(), time.process_time()
    kind = None if certificate.supremum is None else certificate.supremum.kind
    return {
        "case": label,
        "gap": certificate.relative_gap,
        "verdict": certificate.verdict,
        "kind": kind,
        "proof": certificate.proof,
        "energy": certificate.upper_bound,
        "solve_and_prove_seconds": round(proved - begun, 3),
        "last_proof_seconds": round(certificate.stats["seconds"], 3),
        "check_seconds": round(checked - saved, 3),
        "solve_and_prove_cpu": round(proved_cpu - begun_cpu, 3),
        "check_cpu": round(checked_cpu - saved_cpu, 3),
        "check_over_finding": round((checked_cpu - saved_cpu) / (proved_cpu - begun_cpu), 3),
        "file_bytes": size,
    }


def main() -> None:
    """Run the chosen families."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", type=one_of(FAMILIES), metavar="NAME", help=", ".join(FAMILIES))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--gap", type=float, default=1e-6)
    options = parser.parse_args()
    # compile once, outside the timings
    run("warm-up", random_inputs(2, 12, 2, 0.1), 1e-4)
    run("warm-up", whitened(2, 12, 0.1), 1e-4)
    rows = []
    for family in options.families or FAMILIES:
        for label, build in FAMILIES[family].items():
            try:
                row = run(label, build, options.gap)
            except mfo.MeanFieldError as error:
                row = {"case": label, "error": str(error)}
            rows.append(row)
            print(row, flush=True)
    if options.out:
        versions = {"python": platform.python_version(), "numpy": np.__version__, "meanfield-opt": mfo.__version__}
        options.out.write_text(json.dumps({"versions": versions, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

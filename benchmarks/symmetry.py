"""What symmetry buys: hypercube tasks up to 2^20 samples, full against reduced relaxations, theta'.

    python benchmarks/symmetry.py [--largest 16] [--output benchmarks/results/symmetry.json]

Seconds are wall-clock on whatever machine runs it; compare them within one run.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy

import meanfield_opt as mfo
from meanfield_opt.symmetry.detect import detect
from meanfield_opt.symmetry.relaxation import data_matrices, reduced_relaxation
from meanfield_opt.symmetry.theta import circulant_graph, polarity_graph, theta_prime


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """A result and its wall-clock seconds."""
    start = time.perf_counter()
    result = work()
    return result, round(time.perf_counter() - start, 4)


def hypercube(latents: int, geometry: str, alignment: float, copies: int, penalty: float) -> dict[str, Any]:
    """Solve, certify and check one task through the public functions."""
    problem, build = timed(
        lambda: mfo.problems.hypercube(
            latents, geometry=geometry, alignment=alignment, samples_per_class=copies, lambda1=penalty, lambda2=penalty
        )
    )
    solution, solve = timed(lambda: mfo.solve(problem))
    certificate, prove = timed(lambda: mfo.certify(problem, solution))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.json"
        certificate.save(path)
        _, check = timed(lambda: mfo.verify(path, problem))
        size = path.stat().st_size
    return {
        "latents": latents,
        "geometry": geometry,
        "copies": copies,
        "samples": problem.n_samples,
        "verdict": certificate.verdict,
        "relative_gap": certificate.relative_gap,
        "error": abs(solution.energy / problem.known.energy - 1),
        "seconds": {"build": build, "solve": solve, "certify": prove, "check": check},
        "certificate_bytes": size,
        "peak_megabytes_so_far": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def full_relaxation(problem: mfo.TwoLayerProblem) -> float:
    """The order-2P doubly nonnegative relaxation written out in cvxpy."""
    import cvxpy

    p, q, y = problem.n_samples, np.linalg.inv(data_matrices(problem)[0]), problem.targets
    w = cvxpy.Variable((2 * p, 2 * p), PSD=True)
    fit = cvxpy.Variable((y.shape[0], y.shape[0]), symmetric=True)
    schur = cvxpy.bmat([[fit, y], [y.T, problem.lambda2 * np.eye(p) + w[:p, :p]]])
    cost = problem.lambda1 * cvxpy.trace(np.block([[q, -q], [-q, q]]) @ w) + problem.lambda2 * cvxpy.trace(fit)
    program = cvxpy.Problem(cvxpy.Minimize(cost), [w >= 0, cvxpy.diag(w[:p, p:]) == 0, schur >> 0])
    program.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return float(program.value)


def relaxation(latents: int, alignment: float) -> dict[str, Any]:
    """Full and reduced relaxation of one hypercube task."""
    problem = mfo.problems.hypercube(latents, geometry="aligned", alignment=alignment)
    reduced, short = timed(lambda: reduced_relaxation(problem))
    full, long = timed(lambda: full_relaxation(problem))
    return {
        "latents": latents,
        "alignment": alignment,
        "full": full,
        "reduced": reduced.value,
        "difference": abs(full - reduced.value),
        "classes": reduced.classes,
        "seconds": {"full": long, "reduced": short},
    }


def theta(name: str, graph: Any, *, full: bool) -> dict[str, Any]:
    """theta' of a graph, reduced and (where small) in full."""
    result, seconds = timed(lambda: theta_prime(graph))
    row: dict[str, Any] = {
        "graph": name,
        "value": result.value,
        "proved_upper": result.upper,
        "classes": result.classes,
    }
    row |= {"blocks": list(result.blocks), "seconds": {"reduced": seconds}}
    if full:
        whole, long = timed(lambda: theta_prime(graph, symmetry=False))
        row["difference"] = abs(whole.value - result.value)
        row["seconds"]["full"] = long
    return row


def main() -> None:
    """Run everything and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=16, help="largest number of latent labels")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/symmetry.json"))
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    mfo.certify(small := mfo.problems.hypercube(2), mfo.solve(small))  # imports and first-use work, not timed
    tasks = [(10, "whitened", 0.0, 1), (10, "aligned", 0.5, 1), (10, "aligned", 2.0, 1), (10, "whitened", 0.0, 4)]
    tasks += [(16, "whitened", 0.0, 1), (16, "aligned", 2.0, 1), (16, "whitened", 0.0, 3)]
    tasks += [(19, "whitened", 0.0, 2), (20, "whitened", 0.0, 1), (20, "aligned", 2.0, 1)]
    rng = np.random.default_rng(0)
    found, seconds = timed(lambda: detect(mfo.problems.hypercube(10)))
    results = {
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "meanfield_opt": mfo.__version__,
        },
        "machine": {"system": f"{platform.system()}-{platform.machine()}", "processor": platform.machine()},
        "hypercube": [hypercube(*task, 1e-3) for task in tasks if task[0] <= options.largest],
        "relaxation": [relaxation(d, a) for d, a in ((2, 0.0), (3, 0.5), (3, 2.0), (4, 0.0))],
        "theta": [
            theta("ER(7)", polarity_graph(7), full=False),
            theta("random circulant 13", circulant_graph(13, rng.choice(np.arange(1, 7), 2, replace=False)), full=True),
            theta("random circulant 17", circulant_graph(17, rng.choice(np.arange(1, 9), 3, replace=False)), full=True),
            theta(
                "random circulant 20", circulant_graph(20, rng.choice(np.arange(1, 10), 3, replace=False)), full=True
            ),
        ],
        "detection": {"task": "hypercube(10)", "group": found.describe() if found else None, "seconds": seconds},
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

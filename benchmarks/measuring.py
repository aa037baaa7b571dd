"""What the parts of ``speed.py`` have in common: a solve with its times, and the random teacher."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import meanfield_opt as mfo

Row = dict[str, Any]


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Result, seconds on the clock, seconds of processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    out = work()
    return out, time.perf_counter() - wall, time.process_time() - cpu


def ours(problem: mfo.TwoLayerProblem, name: str, **options: Any) -> tuple[mfo.Solution, Row]:
    solution, wall, cpu = timed(lambda: mfo.solve(problem, **options))
    row = {
        "solver": name,
        "seconds": wall,
        "cpu_seconds": cpu,
        "energy": solution.energy,
        "atoms": solution.measure.n_atoms,
        "status": solution.status.name,
        "gap": solution.stats.get("sampled_gap"),
    }
    if "history" in solution.stats:
        row["history"] = [[round(t, 3), e, (e - low) / e, n] for t, e, low, n in solution.stats["history"]]
    return solution, row


def teacher_problem(penalty: float, samples: int = 200, inputs: int = 10, outputs: int = 3) -> mfo.TwoLayerProblem:
    """Inputs N(0,1), 5 hidden ReLU units, labels = sign(output - median), default_rng(0)."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((samples, inputs))
    w, b, v = rng.standard_normal((5, inputs)), rng.standard_normal(5), rng.standard_normal((outputs, 5))
    f = np.maximum(x @ w.T + b, 0) @ v.T
    return mfo.problems.dataset(x, np.where(f > np.median(f, axis=0), 1.0, -1.0), lambda1=penalty, lambda2=penalty)

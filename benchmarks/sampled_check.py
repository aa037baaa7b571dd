"""How much a sampled gap can be believed: an independent wide search at the dual point that a solve of digits (64 inputs) returned.

    python benchmarks/sampled_check.py --labels parity magnitude --penalty 2.577 --limit 400 --starts 20000

The search shares no code with the backend: ascent in numpy, its own starts of eight kinds and seed; the best of each block go on for 200 steps
and are measured in double precision. A top above the one that was claimed refutes the claim; none found proves nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import meanfield_opt as mfo

Array = NDArray[Any]

STEPS, LAST_STEPS, BLOCK, BEST = 80, 200, 150, 8


def units(x: Array) -> Array:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30))


def kinds(rows: Array, dual: Array, atoms: Array, count: int, rng: np.random.Generator) -> dict[str, Array]:
    """Starts: random, sparse, atoms with parts of one or two others, opposite to atoms, near them, pushed along samples, aimed by Z."""
    n, size = rows.shape[1], (count, rows.shape[1])

    def draw(of: Array) -> Array:
        return np.asarray(of[rng.integers(of.shape[0], size=count)])

    def part(low: float, high: float) -> Array:
        return np.asarray(rng.uniform(low, high, (count, 1)) * rng.choice([-1.0, 1.0], (count, 1)))

    few = rng.random((count, rows.shape[0])) < 0.1
    return {
        "random": rng.standard_normal(size),
        "sparse": rng.standard_normal(size) * (rng.random(size) < max(0.3, 2.0 / n)),
        "atom and atom": draw(atoms) + part(0.1, 0.7) * draw(atoms),
        "three atoms": draw(atoms) + part(0.1, 0.6) * draw(atoms) + part(0.1, 0.6) * draw(atoms),
        "opposite": rng.uniform(0.0, 1.0, (count, 1)) * units(rng.standard_normal(size)) - draw(atoms),
        "near": draw(atoms) + rng.uniform(0.1, 1.5, (count, 1)) * units(rng.standard_normal(size)),
        "along samples": draw(atoms) + part(0.1, 0.7) * units(draw(rows)),
        "aimed": ((rng.standard_normal((count, dual.shape[0])) @ dual) * few) @ rows,
    }


def climb(x: Array, rows: Array, dual: Array, tau: float, steps: int) -> tuple[Array, Array]:
    """Where ascents end (of unit length, ReLU), and the levels there in double precision."""
    a, z = rows.astype(np.float32), dual.astype(np.float32)
    at = np.ascontiguousarray(a.T)
    trial = units(x).astype(np.float32)
    now, up, last = trial.copy(), np.zeros_like(trial), np.zeros_like(trial)
    best, gamma = np.full(len(x), -1.0, np.float32), np.ones(len(x), np.float32)
    for step in range(steps + 1):
        trial = units(trial).astype(np.float32)
        h = trial @ at
        q = np.maximum(h, 0) @ z.T
        value = np.einsum("ik,ik->i", q, q)
        better = value > best
        last = np.where(better[:, None], trial - now, np.float32(0.0))
        now[better], best[better] = trial[better], value[better]
        up[better] = ((h[better] > 0) * (q[better] @ z)) @ a
        if step:
            gamma *= np.where(better, np.float32(1.1), np.float32(0.7))
        # momentum: along the gradient alone ascents stick at kinks
        trial = now + gamma[:, None] * (up / np.maximum(best, 1e-20)[:, None] - now) + np.float32(0.9) * last
    end = units(now.astype(np.float64))
    q = np.maximum(end @ rows.T, 0.0) @ dual.T
    return end, np.asarray(np.einsum("ik,ik->i", q, q) / tau)


def check(problem: mfo.TwoLayerProblem, dual: Array, neurons: Array, energy: float, starts: int) -> dict[str, Any]:
    """The tops of each kind of starts, how many ends exceed 1.001, and the gap that the highest implies for this dual point."""
    rows = np.ascontiguousarray(problem.geometry.preactivation(np.eye(problem.geometry.n_parameters)).T)
    out: dict[str, Any] = {}
    top = 0.0
    for name, x in kinds(rows, dual, units(neurons), starts // 8, np.random.default_rng(987)).items():
        found = []
        for begin in range(0, len(x), BLOCK):
            end, level = climb(x[begin : begin + BLOCK], rows, dual, problem.tau, STEPS)
            best = np.argsort(-level)[:BEST]
            found += [level, climb(end[best], rows, dual, problem.tau, LAST_STEPS)[1]]
        level = np.concatenate(found)
        top = max(top, float(level.max()))
        out[name] = {"top": float(level.max()), "ends above 1.001": int((level > 1.001).sum())}
    scale = problem.loss.best_scale(dual, problem.targets, 1.0 / np.sqrt(max(top, 1e-300)))
    lower = float(problem.loss.dual_value(scale * dual, problem.targets))
    return {**out, "top": top, "implied gap": (energy - lower) / energy}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", nargs="+", default=["parity", "magnitude"])
    parser.add_argument("--penalty", type=float, required=True)
    parser.add_argument("--limit", type=float, default=300.0)
    parser.add_argument("--starts", type=int, default=20_000)
    given = parser.parse_args()
    task = mfo.problems.digits(labels=tuple(given.labels), samples=None, lambda1=given.penalty, lambda2=given.penalty)
    clock: Callable[[], float] = time.process_time
    before = clock()
    solution = mfo.solve(task, tolerance=1e-3, time_limit=given.limit)
    assert solution.measure.neurons is not None
    row = {"energy": solution.energy, "reported gap": solution.stats["sampled_gap"], "cpu_seconds": clock() - before}
    row.update(check(task, solution.dual, solution.measure.neurons, solution.energy, given.starts))
    print(json.dumps(row, indent=1))

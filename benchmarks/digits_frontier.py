"""Digits in 64 dimensions: seconds to sampled gaps against the penalty, and the penalty that validation picks (parts of ``speed.py``).

Penalties are fractions of the critical one, above which the zero network is optimal: lambda_max = sup |Y phi(h)| / sqrt(c(h)), here the
best of many ascents, which is an estimate from below.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

import meanfield_opt as mfo
from meanfield_backends.colgen.ascent import ascend
from meanfield_opt.backend import Progress

Row = dict[str, Any]

LABELS = (("parity", "magnitude"), ("onehot",))
FRACTIONS = (1 / 3, 1 / 10, 1 / 30, 1 / 100, 1 / 300)
GAPS = (1e-1, 1e-2, 1e-3)


def critical(problem: mfo.TwoLayerProblem) -> float:
    """lambda_max of lambda1 = lambda2, from 512 ascents."""
    rows = problem.geometry.preactivation(np.eye(problem.geometry.n_parameters)).T
    start = np.random.default_rng(0).standard_normal((512, rows.shape[1]))
    _, level = ascend(problem, rows, 2.0 * problem.targets, start, 300, ())
    return float(np.sqrt(level.max() * problem.tau) / 2.0)


def solved(problem: mfo.TwoLayerProblem, limit: float, tolerance: float) -> tuple[mfo.Solution, Row]:
    """A solve, and the seconds on the clock and of the processor after which the sampled gap was first below each of GAPS."""
    begin, first = time.process_time(), {}
    wall = time.perf_counter()

    def see(at: Progress) -> None:
        for gap in GAPS:
            if gap not in first and at.energy - at.lower_estimate <= gap * at.energy:
                first[gap] = [round(at.seconds, 1), round(time.process_time() - begin, 1)]

    solution = mfo.solve(problem, tolerance=tolerance, time_limit=limit, progress=see)
    row = {f"gap {gap:g}: seconds, cpu": first.get(gap) for gap in GAPS}
    row.update(
        seconds=round(time.perf_counter() - wall, 1), cpu_seconds=round(time.process_time() - begin, 1), energy=solution.energy,
        gap=solution.stats["sampled_gap"], atoms=solution.measure.n_atoms, status=solution.status.name,
    )  # fmt: skip
    return solution, row


def frontier(limit: float = 300.0) -> Iterator[Row]:
    """Both label sets; the fractions, then lambda = 1."""
    tiny = mfo.problems.digits(samples=60, lambda1=5.0, lambda2=5.0)
    mfo.solve(tiny, tolerance=1e-1, time_limit=5.0)  # compiles
    for labels in LABELS:
        problem = mfo.problems.digits(labels=labels, samples=None)
        top = critical(problem)
        for penalty in [*(top * fraction for fraction in FRACTIONS), 1.0]:
            row = solved(problem.with_penalties(penalty, penalty), limit, 1e-3)[1]
            yield {"labels": labels, "lambda_max": top, "fraction": penalty / top, "lambda": penalty, **row}


def validation(limit: float = 30.0) -> Iterator[Row]:
    """A third held out (599 digits): its squared error and accuracy for each penalty, networks fitted to a gap of 1e-2 or for ``limit`` seconds.

    The penalty acts on a sum over samples: on two thirds of them it is two thirds of what the row says.
    """
    for labels in LABELS:
        whole = mfo.problems.digits(labels=labels, samples=None)
        x, y = whole.geometry.preactivation(np.eye(whole.geometry.n_parameters)).T[:, :-1], whole.targets
        order = np.random.default_rng(0).permutation(x.shape[0])
        test, train = order[: x.shape[0] // 3], order[x.shape[0] // 3 :]
        top = critical(whole)
        for penalty in [*(top * fraction for fraction in FRACTIONS[1:]), top / 1000, top / 3000]:
            share = penalty * train.size / x.shape[0]
            problem = mfo.problems.dataset(x[train], y[:, train].T, lambda1=share, lambda2=share)
            solution, row = solved(problem, limit, 1e-2)
            measure = solution.measure
            assert measure.neurons is not None
            hidden = np.maximum(np.hstack([x[test], np.ones((test.size, 1))]) @ measure.neurons.T, 0.0)
            out = (problem.readout(measure) * measure.masses) @ hidden.T
            square = ((out - y[:, test]) ** 2).mean(axis=0)
            if y.shape[0] == 10:
                right = out.argmax(axis=0) == y[:, test].argmax(axis=0)
            else:
                right = ((out > 0) == (y[:, test] > 0)).all(axis=0)
            yield {
                "labels": labels, "fraction": penalty / top, "lambda": penalty,
                "test_error": float(square.mean()), "standard_error": float(square.std() / np.sqrt(test.size)),
                "accuracy": float(right.mean()), **row,
            }  # fmt: skip

"""Speed of the default backend, and of others on the same problems in the same run.

    python benchmarks/speed.py PART [--out benchmarks/results] [--limit seconds]

PART: hypercube, few, late, uneven, teacher, networks, digits, validation, scaling, large, masters, exponents, path,
losses.
Each part prints its rows and writes speed_<part>.json with versions and machine. Times are given twice: seconds on the clock, and seconds
of processor time, which a busy machine distorts less. "gap" is the sampled one, an estimate; "certified" is proved.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import inspect
import json
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from bnb import whitened
from digits_frontier import frontier, validation
from large_data import large, masters, scaling
from measuring import Row, ours, teacher_problem, timed
from other_losses import losses, noisy_teacher

import meanfield_opt as mfo


def network(problem: mfo.TwoLayerProblem, units: int, seed: int, steps: int = 3000) -> float:
    """The energy of a network trained by L-BFGS (SciPy) from a random start."""
    from scipy import optimize

    rng = np.random.default_rng(seed)
    r, d = problem.geometry.n_parameters, problem.n_outputs
    shape = (units, r + d)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        theta, v = flat.reshape(shape)[:, :r], flat.reshape(shape)[:, r:]
        h = problem.geometry.preactivation(theta)
        phi = problem.features(h)
        out = v.T @ phi
        back = problem.loss.gradient(out, problem.targets)
        slope = problem.activation.derivative(h) * (v @ back)
        grad = np.hstack(
            [problem.geometry.pullback(slope) + 2 * problem.lambda1 * theta, phi @ back.T + 2 * problem.lambda2 * v]
        )
        value = problem.loss.value(out, problem.targets)
        value += problem.lambda1 * float(np.vdot(theta, theta)) + problem.lambda2 * float(np.vdot(v, v))
        return value, grad.ravel()

    start = rng.standard_normal(shape) / np.sqrt(r)
    done = optimize.minimize(
        objective, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": steps, "maxfun": 2 * steps}
    )
    return float(done.fun)


def networks(problem: mfo.TwoLayerProblem, units: int, seeds: int) -> Row:
    energies, wall, cpu = timed(lambda: [network(problem, units, seed) for seed in range(seeds)])
    return {
        "solver": f"L-BFGS, {units} units, best of {seeds} seeds",
        "seconds": wall,
        "cpu_seconds": cpu,
        "energy": min(energies),
        "median": float(np.median(energies)),
    }


def hypercube() -> Iterator[Row]:
    """Whitened ReLU tasks with known optimum: full and reduced solve, the certificate, networks, a conic master."""
    mfo.solve(mfo.problems.hypercube(2), symmetry=False)
    for d in (3, 4, 5, 6):
        problem = mfo.problems.hypercube(d)
        best = problem.known.energy  # type: ignore[union-attr]
        for name, options in (("column generation", {"symmetry": False}), ("column generation by orbits", {})):
            solution, row = ours(problem, name, tolerance=1e-6, **options)
            certificate, wall, cpu = timed(lambda p=problem, s=solution: mfo.certify(p, s))
            row.update(
                certify_seconds=wall, certify_cpu=cpu, verdict=certificate.verdict, certified=certificate.relative_gap
            )
            yield {"task": d, **row, "error": (row["energy"] - best) / best}
        value, wall, cpu = timed(lambda p=problem: conic_master(p, 500))
        yield {"task": d, "solver": "cvxpy + Clarabel, true + 500 random atoms", "seconds": wall, "cpu_seconds": cpu,
                     "energy": value, "error": (value - best) / best}  # fmt: skip


def conic_master(problem: mfo.TwoLayerProblem, atoms: int) -> float:
    """The group lasso on the known and random atoms as a conic program."""
    import cvxpy

    known = problem.known.measure().atoms  # type: ignore[union-attr, misc]
    h = np.vstack([known, np.random.default_rng(0).standard_normal((atoms, problem.n_samples))])
    phi = problem.features(h)
    weights = 2 * np.sqrt(problem.lambda1 * problem.lambda2 * problem.geometry.cost(h))
    v = cvxpy.Variable((problem.n_outputs, h.shape[0]))
    objective = cvxpy.sum_squares(v @ phi - problem.targets) + cvxpy.norm(v, axis=0) @ weights
    return float(cvxpy.Problem(cvxpy.Minimize(objective)).solve(solver=cvxpy.CLARABEL))


def random_labels(
    inputs: int, penalty: float, samples: int, outputs: int = 2, factor: float = 1.0
) -> mfo.TwoLayerProblem:
    """Inputs N(0,1), the first column times ``factor``, labels random signs, default_rng(0)."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((samples, inputs)), np.sign(rng.standard_normal((samples, outputs)))
    x[:, 0] *= factor
    return mfo.problems.dataset(x, y, lambda1=penalty, lambda2=penalty)


def few() -> Iterator[Row]:
    """Few inputs, to a sampled gap of 1e-6."""
    mfo.solve(random_labels(1, 1.0, 10))
    tasks = {
        "random labels d_X=2 P=1000 lambda 1": random_labels(2, 1.0, 1000),
        "digits 2 components 300 samples lambda 1": mfo.problems.digits(
            components=2, samples=300, lambda1=1.0, lambda2=1.0
        ),
        "random labels d_X=2 P=60 lambda 0.3": random_labels(2, 0.3, 60),
        "random labels d_X=1 P=40 lambda 0.2": random_labels(1, 0.2, 40),
        "random labels d_X=3 P=60 lambda 0.3": random_labels(3, 0.3, 60),
    }
    for name, problem in tasks.items():
        yield {"task": name, **ours(problem, "column generation", tolerance=1e-6, time_limit=120.0)[1]}


def late(limit: float = 15.0) -> Iterator[Row]:
    """A search that uses up the time: whitened inputs, P = 16,384, random signs, lambda 0.3 sqrt(P), about a seventh of lambda_max."""
    problem = whitened(2, 16_384, 0.3)()
    for symmetry in (False, True):
        yield {"symmetry": symmetry, **ours(problem, "column generation", time_limit=limit, symmetry=symmetry)[1]}


def uneven(limit: float = 30.0) -> Iterator[Row]:
    """One input column many times the others."""
    for factor in (1e3, 1e6):
        problem = random_labels(3, 0.3, 60, factor=factor)
        yield {"factor": factor, **ours(problem, "column generation", tolerance=1e-4, time_limit=limit)[1]}


def teacher(limit: float = 120.0) -> Iterator[Row]:
    """Random teacher d_X = 10, P = 200, d_Y = 3, to sampled gaps of 1e-3 and 1e-5."""
    mfo.solve(teacher_problem(1.0, 20, 1, 1))
    for penalty in (5.0, 0.1):
        for tolerance in (1e-3, 1e-5):
            row = ours(teacher_problem(penalty), "column generation", time_limit=limit, tolerance=tolerance)[1]
            yield {"lambda": penalty, "tolerance": tolerance, **row}


def trained(limit: float = 60.0) -> Iterator[Row]:
    """Networks of 512 units on the random teacher."""
    for penalty in (5.0, 0.1):
        yield {"lambda": penalty, **networks(teacher_problem(penalty), 512, 10 if limit >= 60 else 2)}


def exponents() -> Iterator[Row]:
    """Processor time to a sampled gap of 1e-3 on random teachers against P, d_X, d_Y and the penalty, one at a time; fitted powers."""
    base = {"samples": 100, "inputs": 4, "outputs": 2, "penalty": 1.0}
    grids: dict[str, tuple[float, ...]] = {
        "samples": (50, 100, 200, 400), "inputs": (1, 2, 4, 8), "outputs": (1, 2, 4, 8), "penalty": (4.0, 2.0, 1.0, 0.5),
    }  # fmt: skip
    mfo.solve(teacher_problem(1.0, 20, 1, 1))
    for name, values in grids.items():
        seen = []
        for value in values:
            task = {**base, name: value}
            # the penalty acts on the sum over samples: hold it fixed per sample where P varies
            penalty = task["penalty"] * task["samples"] / 100 if name == "samples" else task["penalty"]
            problem = teacher_problem(penalty, int(task["samples"]), int(task["inputs"]), int(task["outputs"]))
            _, row = ours(problem, name, tolerance=1e-3, time_limit=90.0)
            row.pop("history", None)
            seen.append((value, row["cpu_seconds"]))
            yield {"vary": name, "value": value, **row}
        x, t = np.log(np.array(seen)).T
        yield {"vary": name, "exponent": float(np.polyfit(x, t, 1)[0])}


def signs(samples: int, inputs: int, outputs: int) -> mfo.TwoLayerProblem:
    """Signs of random linear functions, logistic loss."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((samples, inputs))
    return mfo.problems.dataset(x, np.sign(x @ rng.standard_normal((inputs, outputs))), loss="logistic")


def path() -> Iterator[Row]:
    """Ten penalties, warm-started, against one solve at the last and ten from scratch."""
    mfo.solve(teacher_problem(1.0, 20, 1, 1))
    tasks = (
        ("d_X=1 P=100", teacher_problem(1.0, 100, 1, 2), (4.0, 0.4), 1e-4),
        ("d_X=4 P=100", teacher_problem(1.0, 100, 4, 2), (20.0, 1.0), 1e-3),
        ("teacher", teacher_problem(5.0), (150.0, 5.0), 1e-3),
        ("teacher, close penalties", teacher_problem(5.0), (10.0, 5.0), 1e-3),
        ("logistic, d_X=4 P=100", signs(100, 4, 2), (3.0, 0.3), 1e-3),
        ("logistic, noisy teacher, d_X=10 P=200", noisy_teacher("logistic", 200, 10, 2, 1.0), (5.0, 0.1), 1e-3),
        ("digits, 64 inputs, P=200", mfo.problems.digits(samples=200), (20.0, 1.0), 1e-3),
    )
    for name, problem, ends, tolerance in tasks:
        penalties = list(np.geomspace(*ends, 10))

        def solved(x: float, problem: Any = problem, tolerance: float = tolerance) -> mfo.Solution:
            return mfo.solve(problem.with_penalties(x, x), tolerance=tolerance)

        one, wall, cpu = timed(lambda last=penalties[-1], solved=solved: solved(last))
        yield {"task": name, "solver": "last penalty alone", "seconds": wall, "cpu_seconds": cpu, "energy": one.energy}
        warm, wall, cpu = timed(lambda p=problem, x=penalties, t=tolerance: mfo.path(p, x, tolerance=t))
        yield {"task": name, "solver": "path of 10", "seconds": wall, "cpu_seconds": cpu, "energy": warm[-1].energy}
        cold, wall, cpu = timed(lambda x=penalties, solved=solved: [solved(y) for y in x])
        excess = max(a.energy / b.energy - 1.0 for a, b in zip(warm, cold, strict=True))
        yield {"task": name, "solver": "10 solves from scratch", "seconds": wall, "cpu_seconds": cpu,
                     "energy": cold[-1].energy, "most_excess_of_path": excess}  # fmt: skip


def run(name: str, rows: Iterator[Row], folder: Path) -> None:
    """Write each row as it comes, with versions and machine: a part that is cut short keeps what it has measured."""
    versions = {p: importlib.metadata.version(p) for p in ("meanfield-opt", "numpy", "scipy", "cvxpy", "clarabel")}
    machine = {
        "system": f"{platform.system()}-{platform.machine()}",
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    done: list[Row] = []
    for row in rows:
        print({k: v for k, v in row.items() if k != "history"}, flush=True)
        done.append(row)
        report = {"part": name, "versions": versions, "machine": machine, "load": os.getloadavg()[0], "rows": done}
        (folder / f"speed_{name}.json").write_text(json.dumps(report, indent=1) + "\n")


PARTS: dict[str, Callable[..., Iterator[Row]]] = {
    "hypercube": hypercube, "few": few, "late": late, "uneven": uneven, "teacher": teacher, "networks": trained, "digits": frontier, "validation": validation, "scaling": scaling, "large": large, "masters": masters,
    "exponents": exponents, "path": path, "losses": losses,
}  # fmt: skip

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=sorted(PARTS))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--limit", type=float, help="seconds a solve, where the part has a limit")
    given = parser.parse_args()
    if given.limit is not None and "limit" not in inspect.signature(PARTS[given.part]).parameters:
        parser.error(f"{given.part} has no --limit")
    run(given.part, PARTS[given.part](**({} if given.limit is None else {"limit": given.limit})), given.out)

"""The master on 20,000 fixed atoms: ours, celer and skglm in one run, to a duality gap of 1e-9.

    python benchmarks/peers/master.py [--atoms 20000] [--out benchmarks/results]

Random atoms and labels; with and without the atoms of the known optimum of the hypercube among them. The gap of every answer is computed
here, over all atoms, from the same dual point: the residual, scaled to feasibility. The rivals' tolerance is tightened until that gap is
below 1e-9 or a minute has passed. skglm and celer compile or load before the watch starts.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import meanfield_opt as mfo
from meanfield_backends.colgen.dictionary import solve_dictionary
from meanfield_opt.threads import blas_threads

Array = np.ndarray


def instance(latents: int, penalty: float, atoms: int, known: bool) -> tuple[Array, Array, Array, float]:
    """features (J, P) of unit cost, targets, cost 1, l."""
    problem = mfo.problems.hypercube(latents, lambda1=penalty, lambda2=penalty)
    h = np.random.default_rng(0).standard_normal((atoms, problem.n_samples))
    if known:
        h = np.vstack([problem.known.measure().atoms, h])  # type: ignore[union-attr, misc]
    phi = problem.features(h) / np.sqrt(problem.geometry.cost(h))[:, None]
    return phi, np.array(problem.targets), np.ones(phi.shape[0]), penalty


def gap_of(phi: Array, y: Array, l: float, v: Array) -> tuple[float, float]:
    """Relative duality gap and energy of readouts v (d, J)."""
    residual = y - v @ phi
    energy = float(np.sum(residual**2)) + 2.0 * l * float(np.linalg.norm(v, axis=0).sum())
    z = 2.0 * residual
    top = float(np.linalg.norm(phi @ z.T, axis=1).max())
    scale = min(2.0 * l / top, 2.0 * float(np.vdot(z, y)) / float(np.vdot(z, z)))
    lower = scale * float(np.vdot(z, y)) - 0.25 * scale**2 * float(np.vdot(z, z))
    return (energy - lower) / energy, energy


def with_celer(phi: Array, y: Array, l: float, tolerance: float) -> Array:
    from celer.homotopy import mtl_path  # its estimator does not run on the present scikit-learn

    x, t = np.asfortranarray(phi.T), np.asfortranarray(y.T)
    options = {"alphas": np.array([l / y.shape[1]]), "tol": tolerance, "max_iter": 200, "max_epochs": 100_000}
    return np.asarray(mtl_path(x, t, **options)[1][:, :, 0])


def with_skglm(phi: Array, y: Array, l: float, tolerance: float) -> Array:
    from skglm.datafits import QuadraticMultiTask
    from skglm.penalties import L2_1
    from skglm.solvers import MultiTaskBCD

    x, t = np.asfortranarray(phi.T), np.asfortranarray(y.T)
    datafit, penalty = QuadraticMultiTask(), L2_1(l / y.shape[1])
    solver = MultiTaskBCD(max_iter=200, max_epochs=100_000, tol=tolerance, fit_intercept=False)
    return np.asarray(solver.solve(x, t, datafit, penalty)[0].T)


def measured(work: Callable[..., Array], phi: Array, y: Array, l: float) -> dict[str, Any]:
    """Tighten the tolerance tenfold until the gap is 1e-9; the seconds of the last, sufficient call alone."""
    tolerance, row, begin = 1e-6, {}, time.perf_counter()
    while tolerance >= 1e-13 and time.perf_counter() - begin < 60.0:
        wall, cpu = time.perf_counter(), time.process_time()
        v = work(phi, y, l, tolerance)
        row = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu, "tolerance": tolerance}
        row["gap"], row["energy"] = gap_of(phi, y, l, v)
        row["used"] = int(np.count_nonzero(np.linalg.norm(v, axis=0) > 1e-9))
        if row["gap"] <= 1e-9:
            break
        tolerance *= 0.1
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--atoms", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    versions = {p: importlib.metadata.version(p) for p in ("meanfield-opt", "numpy", "scipy", "celer", "skglm")}
    machine = {"cores": os.cpu_count(), "threads": os.environ.get("OMP_NUM_THREADS"), "load": os.getloadavg()[0]}
    rows = []
    works: dict[str, Callable[..., Array]] = {
        "ours": lambda phi, y, l, tol: solve_dictionary(phi, y, np.ones(phi.shape[0]), l, l, min(tol, 1e-9)).readouts,
        "celer": with_celer,
        "skglm": with_skglm,
    }
    tiny = instance(3, 0.1, 200, True)
    for work in works.values():
        work(tiny[0], tiny[1], tiny[3], 1e-6)
    for latents, penalty, known in ((5, 0.01, False), (6, 0.01, False), (6, 0.1, False), (6, 0.01, True)):
        phi, y, _, l = instance(latents, penalty, given.atoms, known)
        for name, work in works.items():
            with blas_threads(0):
                row = measured(work, phi, y, l)
            rows.append({"latents": latents, "penalty": penalty, "true atoms": known, "solver": name, **row})
            print(rows[-1], flush=True)
            report = {"versions": versions, "machine": machine, "atoms": given.atoms, "rows": rows}
            (given.out / "master.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()

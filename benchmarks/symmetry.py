"""What symmetry buys: hypercube tasks up to 2^20 samples, full against reduced relaxations, theta', one chamber of cones.

    python benchmarks/symmetry.py [--largest 16] [--output benchmarks/results/symmetry.json]

Seconds are wall-clock, cpu_seconds those of the process, on whatever machine runs it; compare them within one run. Each
hypercube task runs in a process of its own, whose peak memory is reported.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import resource
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import scipy
from symmetry_tasks import ARRANGED, LOW_RANK, RELAXED, full_relaxation

import meanfield_opt as mfo
from meanfield_backends.clarabel_ import SOLVER
from meanfield_opt.certificate import ENGINES, Limits, Outcome, Question
from meanfield_opt.certificate.bnb import input_view
from meanfield_opt.checker.replays import REPLAYS
from meanfield_opt.formulation import ArrangementSDP, ConicLimits
from meanfield_opt.symmetry.detect import detect
from meanfield_opt.symmetry.inputs import input_group
from meanfield_opt.symmetry.relaxation import reduced_relaxation
from meanfield_opt.symmetry.theta import circulant_graph, polarity_graph, theta_prime

Seconds = tuple[float, float]


def timed(work: Callable[[], Any]) -> tuple[Any, Seconds]:
    """A result, its wall-clock seconds and the process's."""
    start, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, (round(time.perf_counter() - start, 4), round(time.process_time() - cpu, 4))


def split(**times: Seconds) -> dict[str, dict[str, float]]:
    """Two tables, of wall-clock and of process seconds."""
    return {
        "seconds": {name: wall for name, (wall, _) in times.items()},
        "cpu_seconds": {name: cpu for name, (_, cpu) in times.items()},
    }


def hypercube(latents: int, geometry: str, alignment: float, copies: int, penalty: float) -> dict[str, Any]:
    """Solve, certify and check one task through the public functions."""
    mfo.certify(small := mfo.problems.hypercube(2), mfo.solve(small))  # imports and first-use work, not timed
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
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        _, check = timed(lambda: mfo.verify(path, problem))
        _, alone = timed(lambda: mfo.verify(path))
        size = path.stat().st_size
    return {
        "latents": latents,
        "geometry": geometry,
        "alignment": alignment,
        "copies": copies,
        "samples": problem.n_samples,
        "verdict": certificate.verdict,
        "proof": certificate.proof,
        "relative_gap": certificate.relative_gap,
        "error": abs(solution.energy / problem.known.energy - 1),
        **split(build=build, solve=solve, certify=prove, check=check, check_from_file_alone=alone),
        "certificate_bytes": size,
        "peak_megabytes": {
            "solve and certify": peak,
            "all": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        },
    }


def apart(task: tuple[int, str, float, int], penalty: float) -> dict[str, Any]:
    """One hypercube task in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(hypercube, *task, penalty).result()


def relaxation(name: str) -> dict[str, Any]:
    """Full and reduced relaxation of one task."""
    problem = RELAXED[name]()
    reduced, short = timed(lambda: reduced_relaxation(problem))
    full, long = timed(lambda: full_relaxation(problem))
    return {
        "task": name,
        "full": full,
        "reduced": reduced.value,
        "difference": abs(full - reduced.value),
        "classes": reduced.classes,
        "blocks": list(reduced.blocks),
        **split(full=long, reduced=short),
    }


def theta(name: str, graph: Any, *, full: bool) -> dict[str, Any]:
    """theta' of a graph, reduced and (where small) in full."""
    result, short = timed(lambda: theta_prime(graph))
    row: dict[str, Any] = {
        "graph": name,
        "value": result.value,
        "proved_upper": result.upper,
        "classes": result.classes,
        "blocks": list(result.blocks),
    }
    if not full:
        return row | split(reduced=short)
    whole, long = timed(lambda: theta_prime(graph, symmetry=False))
    return row | {"difference": abs(whole.value - result.value)} | split(reduced=short, full=long)


def chamber(name: str, target: float) -> dict[str, Any]:
    """The input view in one chamber of the symmetry group and in all, at the same dual point."""
    problem = LOW_RANK[name]()
    solution, solve = timed(lambda: mfo.solve(problem, tolerance=1e-5))
    group, detecting = timed(lambda: input_group(problem))
    dual = group.average(np.asarray(solution.dual))
    engine, limits = ENGINES.get("input_view"), Limits(seconds=200.0, target=target, workers=1)

    def prove() -> Outcome:
        return engine.prove(Question(problem, dual), limits)

    def check(outcome: Outcome) -> float:
        return REPLAYS["input_view"](problem, dual, outcome.proof.bound, outcome.proof.artefact)

    one, reduced = timed(prove)
    _, reduced_check = timed(lambda: check(one))
    with mock.patch.object(input_view, "input_group", return_value=None):
        all_, full = timed(prove)
    _, full_check = timed(lambda: check(all_))
    certificate, certify = timed(lambda: mfo.certify(problem, solution))
    return {
        "task": name,
        "samples": problem.n_samples,
        "rank": problem.geometry.n_parameters,
        "group": group.order,
        "target": target,
        "sigma": {"one chamber": one.proof.bound, "all": all_.proof.bound},
        "complete": {"one chamber": one.complete, "all": all_.complete},
        "cones": {"one chamber": one.stats["cones"], "all": all_.stats["cones"]},
        "certificate": {"relative_gap": certificate.relative_gap, "proof": certificate.proof},
        **split(
            solve=solve,
            detect=detecting,
            prove_one_chamber=reduced,
            check_one_chamber=reduced_check,
            prove_all=full,
            check_all=full_check,
            certify=certify,
        ),
    }


def arrangement(name: str) -> dict[str, Any]:
    """The arrangement program with all cells and with one an orbit."""
    problem = ARRANGED[name]()
    rows: dict[str, Any] = {"task": name, "samples": problem.n_samples, "rank": problem.geometry.n_parameters}
    times, values, cells = {}, {}, {}
    for label, symmetry in (("one an orbit", True), ("all", False)):
        form = ArrangementSDP.enumerated(problem, symmetry=symmetry)
        program = form.lower(problem)
        answer, times[label] = timed(lambda p=program: SOLVER.solve(p, ConicLimits(1e-9), SOLVER.options_type()))
        values[label], cells[label] = program.objective(answer.x), form.cells.shape[0]
    difference = abs(values["all"] - values["one an orbit"])
    return rows | {"cells": cells, "values": values, "difference": difference} | split(**times)


def main() -> None:
    """Run everything and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=16, help="largest number of latent labels")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/symmetry.json"))
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    tasks = [(10, "whitened", 0.0, 1), (10, "aligned", 0.5, 1), (10, "aligned", 2.0, 1), (10, "whitened", 0.0, 4)]
    tasks += [(10, "aligned", 2.0, 4), (16, "whitened", 0.0, 1), (16, "aligned", 0.5, 1), (16, "aligned", 2.0, 1)]
    tasks += [(16, "whitened", 0.0, 3), (16, "aligned", 2.0, 3), (20, "whitened", 0.0, 1), (20, "aligned", 0.5, 1)]
    tasks += [(20, "aligned", 2.0, 1), (20, "whitened", 0.0, 2), (20, "aligned", 2.0, 2)]
    rng = np.random.default_rng(0)
    warm = RELAXED["hypercube 2, whitened"]()
    reduced_relaxation(warm)  # cvxpy's import
    mfo.certify(warm, mfo.solve(warm))
    small = LOW_RANK["circle of 40, rank 3"]()
    ENGINES.get("input_view").prove(Question(small, small.targets), Limits(seconds=60.0, target=1e-3))
    found, seconds = timed(lambda: detect(mfo.problems.hypercube(10)))
    results = {
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "meanfield_opt": mfo.__version__,
        },
        "machine": {"system": f"{platform.system()}-{platform.machine()}", "processor": platform.machine()},
        "hypercube": [apart(task, 1e-3) for task in tasks if task[0] <= options.largest],
        "relaxation": [relaxation(name) for name in RELAXED],
        "theta": [
            theta("ER(7)", polarity_graph(7), full=False),
            theta("random circulant 13", circulant_graph(13, rng.choice(np.arange(1, 7), 2, replace=False)), full=True),
            theta("random circulant 17", circulant_graph(17, rng.choice(np.arange(1, 9), 3, replace=False)), full=True),
            theta(
                "random circulant 20", circulant_graph(20, rng.choice(np.arange(1, 10), 3, replace=False)), full=True
            ),
        ],
        "detection": {
            "task": "hypercube(10)",
            "group": found.describe() if found else None,
            **split(detect=seconds),
        },
        "arrangement": [arrangement(name) for name in ARRANGED],
        "chamber": [chamber(name, 1e-6) for name in LOW_RANK],
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

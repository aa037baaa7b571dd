"""How tight the relaxations are: DNN lifts of hypercube tasks against the known optimum, the arrangement program on 2-d data.

All values are a solver's floating-point values: comparisons, not certificates (``mfo.certify`` proves).

    python benchmarks/relaxations.py [hypercubes] [five] [arrangement] [--out benchmarks/results/relaxations.json]
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from arguments import one_of

import meanfield_opt as mfo
from meanfield_backends.conic import solve_formulation
from meanfield_opt.backend import BACKENDS
from meanfield_opt.errors import MeanFieldError
from meanfield_opt.formulation import ArrangementSDP, ConicLimits, DNNLift, GroupLasso
from meanfield_opt.formulation.support import initial_support

PARTS = ("hypercubes", "five", "arrangement")
SPREAD = {2: (0.0, 0.5), 3: (0.0, 0.3, 0.8), 4: (0.0, 0.3, 0.8, 1.0)}


def geometries(latents: int) -> dict[str, dict[str, Any]]:
    return {
        "whitened": {},
        "aligned, a=0.5": {"geometry": "aligned", "alignment": 0.5},
        "anisotropic": {"geometry": "anisotropic", "alignment": SPREAD[latents]},
    }


def solvers() -> list[Any]:
    """Installed conic solvers with a PSD cone."""
    found = [BACKENDS.get(name).conic for name in mfo.backends() if BACKENDS.builtin(name)]
    return [s for s in found if s is not None and "psd" in s.cones and s.availability().installed]


def solve_row(solver: Any, problem: mfo.TwoLayerProblem, label: str) -> dict[str, Any]:
    begin = time.perf_counter()
    row: dict[str, Any] = {"problem": label, "solver": solver.name}
    try:
        form = DNNLift()
        _, answer = solve_formulation(solver, form, problem, ConicLimits(1e-9, time_limit=float("inf")))
        assert answer.x is not None
        assert problem.known is not None
        value = form.lower(problem).objective(answer.x)
        row |= {"value": value, "relative_error": (value - problem.known.energy) / problem.known.energy}
        row["status"] = answer.status.name.lower()
    except MeanFieldError as error:
        row["note"] = str(error)[:120]
    row["seconds"] = time.perf_counter() - begin
    print(row, flush=True)
    return row


def arrangement() -> dict[str, Any]:
    """P = 12 random labels on 2-d data: all cells, a lower bound; the best measure found is an upper bound."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((12, 2)), np.sign(rng.standard_normal((12, 1)))
    problem = mfo.problems.dataset(x, y, lambda1=0.1, lambda2=0.1)
    form = ArrangementSDP.enumerated(problem)
    clarabel = BACKENDS.get("clarabel").conic
    assert clarabel is not None
    begin = time.perf_counter()
    lifted, answer = solve_formulation(clarabel, form, problem, ConicLimits(1e-9))
    seconds = time.perf_counter() - begin
    assert answer.x is not None
    solution = mfo.solve(problem, "clarabel")
    certificate = mfo.certify(problem, solution, time_limit=30.0)
    row = {
        "cells": int(form.cells.shape[0]),
        "value": form.lower(problem).objective(answer.x),
        "seconds": seconds,
        "extraction": lifted.reason or "atoms extracted at the program's value",
        "best_energy": min(solution.energy, problem.energy(lifted.measure) if lifted.measure else np.inf),
        "certified_lower": certificate.lower_bound,
        "certified_upper": certificate.upper_bound,
        "verdict": certificate.verdict,
        "coarse_dictionary_energy": _dictionary_value(problem, clarabel),
    }
    row["distance"] = (row["best_energy"] - row["value"]) / row["best_energy"]
    print(row, flush=True)
    return row


def _dictionary_value(problem: mfo.TwoLayerProblem, solver: Any) -> float:
    lifted, _ = solve_formulation(solver, GroupLasso(initial_support(problem, 40, 0)), problem, ConicLimits(1e-9))
    assert lifted.measure is not None
    return problem.energy(lifted.measure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", type=one_of(PARTS), metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "relaxations.json")
    arguments = parser.parse_args()
    arguments.parts = arguments.parts or PARTS
    document: dict[str, Any] = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    if "hypercubes" in arguments.parts:
        document["hypercubes"] = [
            solve_row(solver, mfo.problems.hypercube(latents, **keywords), f"d={latents} {label}")
            for latents in (2, 3, 4)
            for label, keywords in geometries(latents).items()
            for solver in solvers()
        ]
    if "five" in arguments.parts:
        five = [s for s in solvers() if s.name in ("clarabel", "scs")]
        document["five"] = [solve_row(s, mfo.problems.hypercube(5), "d=5 whitened, order 64") for s in five]
    if "arrangement" in arguments.parts:
        document["arrangement"] = arrangement()
    document["versions"] = {n: version(n) for n in ("cvxpy", "clarabel", "scs", "picos", "cvxopt", "numpy")}
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()

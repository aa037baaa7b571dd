"""Column generation for every activation on random points: energies, sampled gaps, seconds; networks and fixed atoms beside it.

python benchmarks/ordinary.py [--inputs 1 2] [--samples 20 60] [--widths 4] [--seconds 20] [--peers] [--out benchmarks/results/ordinary.csv]

Inputs are standard normal with a bias, labels random signs, lambda1 = lambda2 = 0.1, width 0: free mass. "checked" is the gap after another,
wider search at the dual point returned (of other random numbers); it proves nothing either. --peers adds the best of five networks of 40
units trained by L-BFGS (the units' masses too), and the group lasso on 1000 random neurons solved by Clarabel.
"""

from __future__ import annotations

import argparse
import csv
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import meanfield_opt as mfo
from meanfield_backends.colgen import bank, corners, scout
from meanfield_backends.colgen.carrier import ThetaCarrier
from meanfield_backends.colgen.peaks import EPSILONS, Pricing, climb, rows_of
from meanfield_backends.colgen.slide import Particles, slide
from meanfield_backends.conic import solve_formulation
from meanfield_opt.backend import BACKENDS
from meanfield_opt.errors import MeanFieldError, NotAttainedError
from meanfield_opt.formulation import ConicLimits, GroupLasso

ACTIVATIONS: dict[str, Any] = {
    **{name: name for name in ("relu", "leaky_relu", "absolute", "linear", "hard_tanh", "hard_sigmoid", "relu6")},
    **{name: name for name in ("shifted_relu", "step", "tanh", "erf", "softsign", "sin", "sigmoid", "gelu", "silu")},
    "ternary sign": mfo.activation("sign", threshold=1.0),
    **{name: name for name in ("softplus", "squared_relu", "cubic", "sign")},
}
FIELDS = ("activation", "inputs", "samples", "width", "energy", "sampled_gap", "checked_gap", "mass", "atoms", "rounds", "status",
          "cpu_seconds", "seconds", "networks", "fixed_atoms", "reason")  # fmt: skip


def problem_of(name: str, inputs: int, samples: int, width: float) -> mfo.TwoLayerProblem:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((samples, inputs)), np.sign(rng.standard_normal((samples, 1)))
    bound = None if width == 0 else width
    return mfo.problems.dataset(x, y, activation=ACTIVATIONS[name], lambda1=0.1, lambda2=0.1, width=bound)


def checked(problem: mfo.TwoLayerProblem, solution: mfo.Solution, starts: int = 400) -> float:
    """The sampled gap after a search of its own."""
    if problem.width is not None and not problem.width_binds:
        problem = problem.with_free_mass()
    rows, rng = rows_of(problem.geometry), np.random.default_rng(99)
    known = solution.measure.neurons
    assert known is not None
    top, cost = Pricing(problem, rows, solution.dual, 0.0).parts(known)
    kappa = float((top / (4.0 * problem.lambda2) - problem.lambda1 * cost).max(initial=0.0))
    pricing = Pricing(problem, rows, solution.dual, kappa if problem.width is not None else 0.0)
    first = scout.starting_points(pricing, starts, rng)
    found = [known, first]
    if problem.activation.levels is None:
        found += [climb(pricing, first, EPSILONS[k:], 8, lambda: False) for k in (0, 1, 2)]
    elif corners.thresholds(problem.activation) is not None:
        found.append(corners.price(pricing, corners.listed(rows, problem.activation, rng), 200)[0])
    top, cost = pricing.parts(np.vstack(found))
    return (solution.energy - bank.best_scale(problem, solution.dual, top, cost)[1]) / abs(solution.energy)


def networks(problem: mfo.TwoLayerProblem, units: int = 40, runs: int = 5) -> float:
    """The least energy of random units whose weights, readouts and masses descend together."""
    best = np.inf
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        theta = 2.0 * rng.standard_normal((units, problem.geometry.n_parameters))
        mass = np.full(units, (problem.width or 4.0) / (2 * units))
        first = Particles(theta, 0.1 * rng.standard_normal((problem.n_outputs, units)), mass)
        moved = slide(problem, ThetaCarrier(problem.geometry), first, iterations=2000)
        measure = mfo.Measure(problem.geometry.preactivation(moved.x), moved.masses, moved.x)
        best = min(best, problem.energy(problem.within_width(measure)))
    return best


def fixed_atoms(problem: mfo.TwoLayerProblem, count: int = 1000) -> float:
    """The least energy over the masses of random neurons of many lengths."""
    rng = np.random.default_rng(0)
    theta = rng.standard_normal((count, problem.geometry.n_parameters)) * 10.0 ** rng.uniform(-0.5, 1.3, (count, 1))
    solver = BACKENDS.get("clarabel").conic
    assert solver is not None
    lifted, _ = solve_formulation(solver, GroupLasso(problem.geometry.preactivation(theta)), problem, ConicLimits(1e-8))
    assert lifted.measure is not None
    return problem.energy(lifted.measure)


def row(name: str, inputs: int, samples: int, width: float, seconds: float, peers: bool) -> dict[str, Any]:
    problem = problem_of(name, inputs, samples, width)
    out: dict[str, Any] = {"activation": name, "inputs": inputs, "samples": samples, "width": width}
    begin, cpu = time.perf_counter(), time.process_time()
    try:
        solution = mfo.solve(problem, time_limit=seconds)
    except NotAttainedError as error:
        return {
            **out,
            "status": "not attained",
            "reason": str(error),
            "cpu_seconds": round(time.process_time() - cpu, 1),
        }
    out |= {"seconds": round(time.perf_counter() - begin, 1), "cpu_seconds": round(time.process_time() - cpu, 1)}
    out |= {
        "energy": solution.energy,
        "sampled_gap": solution.stats["sampled_gap"],
        "status": solution.status.name.lower(),
    }
    out |= {"mass": solution.measure.total_mass, "atoms": solution.measure.n_atoms, "rounds": solution.stats["rounds"]}
    out["checked_gap"] = checked(problem, solution)
    if peers:
        for label, peer in (("networks", networks), ("fixed_atoms", fixed_atoms)):
            try:
                out[label] = peer(problem)
            except MeanFieldError as error:
                out["reason"] = f"{label}: {error}"
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--activations", nargs="*", choices=ACTIVATIONS, default=list(ACTIVATIONS))
    parser.add_argument("--inputs", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--samples", type=int, nargs="*", default=[20, 60])
    parser.add_argument("--widths", type=float, nargs="*", default=[4.0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/ordinary.csv"))
    given = parser.parse_args()
    with given.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        file.write(f"# meanfield-opt {version('meanfield-opt')}, numpy {version('numpy')}, {platform.machine()}\n")
        writer.writeheader()
        for name in given.activations:
            for inputs in given.inputs:
                for samples in given.samples:
                    for width in given.widths:
                        made = row(name, inputs, samples, width, given.seconds, given.peers)
                        writer.writerow(made)
                        file.flush()
                        print(*(made.get(f, "") for f in FIELDS), flush=True)


if __name__ == "__main__":
    main()

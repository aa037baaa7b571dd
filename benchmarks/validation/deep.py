"""Deep networks of 2, 3, 4 hidden layers on whitened hypercubes: measured kernels and energies against two forms.

    python benchmarks/validation/deep.py            (writes results/deep.json)

For every depth, with and without regularised deeper biases (and free ones at depth 2), ReLU and tanh: the best of the
seeds, its kernels projected on span{1 1^T, K_Y}, its energy against the published form x = d y, against the
conjectured optimum with constant neurons, and layer-wise certificates of that conjecture.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

import meanfield_opt as mfo
from meanfield_opt.metrics import parallelism_score, span_fit
from meanfield_opt.validation.deep_objective import DeepObjective
from meanfield_opt.validation.layerwise import certify_layers
from meanfield_opt.validation.training import train
from meanfield_problems.deep_hypercube import deep_hypercube, deep_law

HERE = Path(__file__).parent / "results"
SEEDS = 10


def layers_of(problem: Any, weights: list[Any]) -> list[dict[str, float]]:
    out = []
    for rho in problem.measures(weights):
        kernel = problem.kernel(rho)
        fit = span_fit(kernel, problem.targets)
        try:
            ps = parallelism_score(kernel, problem.targets)
        except mfo.errors.UndefinedMetricError:
            ps = float("nan")
        out.append({"x": fit.constant, "y": fit.strength, "residual": fit.residual, "parallelism": ps})
    return out


def study(d: int, layers: int, bias: str, activation: str, steps: int) -> dict[str, Any]:
    problem = deep_hypercube(d, layers, bias=bias, activation=activation)
    objective = DeepObjective(problem, 8 * d)
    run = train(objective, SEEDS, mfo.TrainOptions(steps=steps, rate=0.05), scale=1.0)
    order = np.argsort(run.energies)
    best = objective.weights(run.parameters[order[0]])
    mean_field = problem.energy(problem.measures(best))
    body: dict[str, Any] = {
        "latents": d,
        "layers": layers,
        "bias": bias,
        "activation": activation,
        "width": objective.width,
        "steps": steps,
        "energies": run.energies[order].tolist(),
        "weight_energy_minus_mean_field": float(run.energies[order[0]] - mean_field),
        "best": layers_of(problem, best),
    }
    if problem.known is not None:
        published = deep_law(d, layers, problem.penalty, bias=bias, free_constant=False)
        body["conjecture"] = {"energy": problem.known.energy, "x": problem.known.constant, "y": problem.known.strength}
        body["published"] = {"energy": published.energy, "x": published.constant, "y": published.strength}
        body["best_above_conjecture"] = float(run.energies[order[0]] / problem.known.energy - 1.0)
        body["best_above_published"] = float(run.energies[order[0]] / published.energy - 1.0)
        body["beats_conjecture"] = bool(run.energies[order[0]] < problem.known.energy * (1 - 1e-9))
        if bias != "free":
            body["layer_certificates"] = [
                asdict(c) for c in certify_layers(problem, problem.known.measures, time_limit=10)
            ]
    return body


def main() -> None:
    torch.set_num_threads(1)
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    table: list[dict[str, Any]] = []
    cases = [(2, L, b, "relu") for L in (2, 3, 4) for b in ("none", "regularised")]
    cases += [(2, 2, "free", "relu"), (3, 2, "none", "relu"), (3, 2, "regularised", "relu")]
    cases += [(2, L, b, "tanh") for L in (2, 3, 4) for b in ("none", "regularised")]
    cases += [(3, 3, "none", "relu"), (3, 3, "regularised", "relu")]
    for d, layers, bias, activation in cases:
        body = study(d, layers, bias, activation, steps)
        table.append(body)
        shown = [
            f"x={b['x']:.4f} y={b['y']:.4f} res={b['residual']:.0e} PS={b['parallelism']:.5f}" for b in body["best"]
        ]
        print(d, layers, bias, activation, f"{body['energies'][0]:.8f}", shown, flush=True)
        if "conjecture" in body:
            gaps = [f"{c['gap']:.0e} {c['verdict']}" for c in body.get("layer_certificates", [])]
            print(
                f"   above conjecture {body['best_above_conjecture']:.1e}, above published {body['best_above_published']:.1e},"
                f" layers {gaps}",
                flush=True,
            )
        (HERE / "deep.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()

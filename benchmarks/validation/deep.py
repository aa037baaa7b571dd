"""Deep networks of 2, 3, 4 hidden layers on whitened hypercubes: measured kernels and energies against two forms.

    python benchmarks/validation/deep.py [none|regularised|free|tanh|cube ...] [--steps N]     (writes results/deep.json)

For every depth, without deeper biases, with regularised and with free ones, ReLU (d = 2, 3) and tanh (d = 2): the best
of 10 seeds, its kernels projected on span{1 1^T, K_Y}, its energy against the published form x = d y, against the
conjectured optimum with constant neurons, and layer-wise certificates of that conjecture. tanh: against the law of one
number a layer at the same width (validation.odd_law) and the deep linear limit of infinite width.
Naming parts recomputes those rows alone; the other rows of the file are kept.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import meanfield_opt as mfo
from meanfield_opt.metrics import parallelism_score, span_fit
from meanfield_opt.validation.deep_objective import DeepObjective
from meanfield_opt.validation.layerwise import certify_layers
from meanfield_opt.validation.odd_law import linear_limit, odd_law
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
        inner = kernel - kernel.mean(axis=0) - kernel.mean(axis=1)[:, None] + kernel.mean()
        out.append(
            {
                "x": fit.constant,
                "y": fit.strength,
                "residual": fit.residual,
                "centred_residual": span_fit(inner, problem.targets).residual,  # where the constant part is free
                "parallelism": ps,
            }
        )
    return out


def at_own_counts(problem: Any, objective: Any, run: Any, row: int) -> dict[str, Any]:
    """How many units each label has in this network, layer by layer, and its energy above the law at those counts."""
    counts, purity = [], 1.0
    for rho in problem.measures(objective.weights(run.parameters[row])):
        atoms = rho.atoms[np.linalg.norm(rho.atoms, axis=1) > 1e-3]
        cosine = (
            np.abs(atoms @ problem.targets.T) / np.linalg.norm(atoms, axis=1)[:, None] / problem.targets.shape[1] ** 0.5
        )
        counts.append(np.bincount(cosine.argmax(axis=1), minlength=problem.targets.shape[0]).tolist())
        purity = min(purity, float(cosine.max(axis=1).min()))
    out: dict[str, Any] = {"counts": counts, "least_cosine_to_a_label": purity}
    if np.min(counts) > 0:
        law = odd_law(
            problem.activation,
            problem.targets,
            problem.layers,
            objective.width,
            problem.penalty,
            counts=np.array(counts),
        )
        out["above_law_of_counts"] = float(run.energies[row] / law.energy - 1.0)
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
        body["beats_conjecture"] = bool(run.energies[order[0]] < problem.known.energy * (1 - 1e-7))
        body["layer_certificates"] = [asdict(c) for c in certify_layers(problem, problem.known.measures, time_limit=10)]
    else:
        law = odd_law(problem.activation, problem.targets, layers, objective.width, problem.penalty)
        body["law"] = {"energy": law.energy, "y": law.strength[:, 0].tolist()}
        body["law"]["infinite_width"] = linear_limit(d, layers, 0.01)
        body["best_above_law"] = float(run.energies[order[0]] / law.energy - 1.0)
        body["worst_strength_off_law"] = max(abs(b["y"] / y[0] - 1.0) for b, y in zip(body["best"], law.strength))
        body["seeds_at_their_own_counts"] = [at_own_counts(problem, objective, run, int(i)) for i in order]
    return body


PARTS = {
    "none": [(2, layers, "none", "relu") for layers in (2, 3, 4)],
    "regularised": [(2, layers, "regularised", "relu") for layers in (2, 3, 4)],
    "free": [(2, layers, "free", "relu") for layers in (2, 3, 4)],
    "tanh": [(2, layers, bias, "tanh") for layers in (2, 3, 4) for bias in ("none", "regularised")],
    "cube": [(3, layers, bias, "relu") for layers in (2, 3) for bias in ("none", "regularised")],
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--steps", type=int, default=12000)
    arguments = parser.parse_args()
    file = HERE / "deep.json"
    cases = [case for part in (arguments.parts or PARTS) for case in PARTS[part]]
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    if file.exists() and arguments.parts:
        rows = {
            (r["latents"], r["layers"], r["bias"], r["activation"]): r for r in json.loads(file.read_text())["rows"]
        }
    for case in cases:
        begin = time.process_time()
        body = study(*case, arguments.steps)
        body["cpu_seconds"] = time.process_time() - begin
        rows[case] = body
        shown = [
            f"x={b['x']:.4f} y={b['y']:.4f} res={b['residual']:.0e} PS={b['parallelism']:.5f}" for b in body["best"]
        ]
        print(*case, f"{body['energies'][0]:.8f}", shown, f"{body['cpu_seconds']:.0f} s", flush=True)
        if "conjecture" in body:
            gaps = [f"{c['gap']:.0e} {c['verdict']}" for c in body["layer_certificates"]]
            print(
                f"   above conjecture {body['best_above_conjecture']:.1e}, above published {body['best_above_published']:.1e},"
                f" layers {gaps}",
                flush=True,
            )
        else:
            print(
                f"   above law {body['best_above_law']:.1e}, y off by {body['worst_strength_off_law']:.1e}", flush=True
            )
        versions = {name: version(name) for name in ("numpy", "torch", "meanfield-opt")}
        file.write_text(json.dumps({"versions": versions, "rows": list(rows.values())}, indent=1) + "\n")


if __name__ == "__main__":
    main()

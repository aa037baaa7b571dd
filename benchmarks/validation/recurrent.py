"""Recurrent ReLU networks on the whitened square and cube: what do the state kernels look like after 2, 3, 4 steps?

    python benchmarks/validation/recurrent.py [--latents 2 3] [--steps N] [--seeds N]    (writes results/recurrent.json)

drive "first": the input enters at the first step only (the bias at every step); "every": at every step. The best of the
seeds is held against the five-number law (validation.recurrent_law). Rows of other latents in the file are kept.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import meanfield_opt as mfo
from meanfield_opt.metrics import parallelism_score, span_fit
from meanfield_opt.validation.deep import RecurrentProblem
from meanfield_opt.validation.deep_objective import RecurrentObjective
from meanfield_opt.validation.recurrent_law import recurrent_law
from meanfield_opt.validation.training import train
from meanfield_problems.hypercube import hypercube

HERE = Path(__file__).parent / "results"


def recurrent_problem(d: int, steps: int, drive: str, penalty: float = 0.01) -> RecurrentProblem:
    flat = hypercube(d, lambda1=penalty, lambda2=penalty)
    rows = flat.geometry.preactivation(np.eye(flat.geometry.n_parameters)).T
    quiet = np.zeros_like(rows)
    quiet[:, -1] = 1.0  # the bias alone
    inputs = (rows,) + ((rows if drive == "every" else quiet),) * (steps - 1)
    return RecurrentProblem(flat.activation, flat.loss, inputs, flat.targets, penalty)


def study(d: int, steps: int, drive: str, training: int, seeds: int) -> dict[str, Any]:
    problem = recurrent_problem(d, steps, drive)
    objective = RecurrentObjective(problem, 8 * d)
    run = train(objective, seeds, mfo.TrainOptions(steps=training, rate=0.05))
    order = np.argsort(run.energies)
    part = run.weights(int(order[0]))
    states = problem.states(part["recurrent"], part["feed"])
    kernels = []
    for h in states:
        phi = problem.activation(h)
        kernel = phi.T @ phi
        if np.abs(kernel).max() < 1e-12:
            kernels.append({"x": 0.0, "y": 0.0, "residual": 0.0, "parallelism": None})
            continue
        fit = span_fit(kernel, problem.targets)
        try:
            ps: float | None = parallelism_score(kernel, problem.targets)
        except mfo.errors.UndefinedMetricError:
            ps = None
        kernels.append({"x": fit.constant, "y": fit.strength, "residual": fit.residual, "parallelism": ps})
    active = [(problem.activation(h).max(axis=1) > 1e-3) for h in states]
    groups: dict[str, int] = {}
    for row in np.array(active).T:
        word = "".join("1" if a else "0" for a in row)
        groups[word] = groups.get(word, 0) + 1
    return {
        "latents": d,
        "steps": steps,
        "drive": drive,
        "width": objective.width,
        "training_steps": training,
        "energies": run.energies[order].tolist(),
        "weight_energy_minus_mean_field": float(run.energies[order[0]] - problem.energy(states)),
        "kernels": kernels,
        "neurons_active_at": groups,
    }


def with_law(body: dict[str, Any]) -> dict[str, Any]:
    """The measured figures beside the five-number law, without and with constant neurons."""
    d, steps, drive = body["latents"], body["steps"], body["drive"]
    law = recurrent_law(d, steps, 0.01, drive=drive)
    more = recurrent_law(d, steps, 0.01, drive=drive, constants=True)
    body["law"] = {"energy": law.energy, "x": law.constant, "y": law.strength, "with_constant_neurons": more.energy}
    body["best_above_law"] = body["energies"][0] / law.energy - 1.0
    return body


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--latents", type=int, nargs="*", default=[2, 3])
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    file = HERE / "recurrent.json"
    table: list[dict[str, Any]] = []
    if file.exists() and set(arguments.latents) != {2, 3}:
        table = [row for row in json.loads(file.read_text())["rows"] if row["latents"] not in arguments.latents]
    for d in arguments.latents:
        for drive in ("first", "every"):
            for steps in (2, 3, 4):
                begin = time.process_time()
                body = with_law(study(d, steps, drive, arguments.steps, arguments.seeds))
                body["cpu_seconds"] = time.process_time() - begin
                table.append(body)
                shown = [f"x={k['x']:.4f} y={k['y']:.4f} res={k['residual']:.0e}" for k in body["kernels"]]
                print(
                    d,
                    drive,
                    steps,
                    f"{body['energies'][0]:.8f} law {body['law']['energy']:.8f} ({body['best_above_law']:+.1e})",
                    shown,
                    body["neurons_active_at"],
                    f"{body['cpu_seconds']:.0f} s",
                    flush=True,
                )
                versions = {name: version(name) for name in ("numpy", "torch", "meanfield-opt")}
                table.sort(key=lambda row: (row["latents"], row["drive"] == "every", row["steps"]))
                file.write_text(json.dumps({"versions": versions, "rows": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()

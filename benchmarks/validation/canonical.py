"""Canonical representations of a 3-layer ReLU network on digits, as weight decay and gradient noise vary.

    python benchmarks/validation/canonical.py            (writes results/canonical.json)

Three fully connected layers (64 - 32 - 32 - 2) on 200 digits (parity and magnitude), SGD without and with small batches,
four weight decays, several seeds each. Six alignments a layer, both definitions, random rotations as a baseline;
the trend is the slope of the mean alignment against log10(weight decay), its error from the seeds.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import meanfield_opt as mfo
from meanfield_opt.errors import UndefinedMetricError
from meanfield_opt.validation.alignment import (
    DEFINITIONS,
    RELATIONS,
    alignments,
    dense,
    elementwise,
    layer_moments,
    matrix_alignment,
    power_law,
)
from meanfield_opt.validation.collapse import neural_collapse
from meanfield_opt.validation.deep import DeepProblem
from meanfield_opt.validation.deep_objective import DeepObjective
from meanfield_opt.validation.training import train

HERE = Path(__file__).parent / "results"
DECAYS = (1e-3, 1e-2, 1e-1, 1.0)
SEEDS = 5


def network(weights: list[Any]) -> Any:
    layers: list[Any] = []
    for w in weights[:-1]:
        layers += [dense(w, None), elementwise(torch.relu)]
    return torch.nn.Sequential(*layers, dense(weights[-1], None))


def six(model: Any, rows: Any, targets: Any, definition: str) -> np.ndarray:
    """Alignments (layer, side, relation)."""

    def loss(out: Any) -> Any:
        return (out.T - torch.from_numpy(np.array(targets))).square().sum()

    out = []
    for layer in layer_moments(model, rows, loss, definition=definition):
        for held in (layer.a, layer.b):
            row = []
            for p, q in RELATIONS.values():
                try:
                    row.append(matrix_alignment(held[p], held[q]))
                except UndefinedMetricError:
                    row.append(np.nan)
            out.append(row)
    return np.array(out).reshape(-1, 2, 3)


def trend(x: Any, values: Any) -> dict[str, float]:
    """Slope of values (decays, seeds) against x (decays,), its standard error over seeds."""
    slopes = np.array([np.polyfit(x, column, 1)[0] for column in np.asarray(values).T])
    return {"slope": float(slopes.mean()), "error": float(slopes.std(ddof=1) / np.sqrt(slopes.size))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("steps", nargs="?", type=int, default=3000)
    steps = parser.parse_args().steps
    flat = mfo.problems.digits(samples=200, seed=0)
    rows = flat.geometry.preactivation(np.eye(flat.geometry.n_parameters)).T
    versions = {name: version(name) for name in ("numpy", "torch", "meanfield-opt")}
    body: dict[str, Any] = {"versions": versions, "decays": DECAYS, "seeds": SEEDS, "steps": steps, "cases": []}
    for batch in (None, 20):
        values: dict[str, list[Any]] = {k: [] for k in DEFINITIONS}
        for decay in DECAYS:
            problem = DeepProblem(flat.activation, flat.loss, flat.geometry, flat.targets, decay, 2)
            objective = DeepObjective(problem, 32)
            watched: list[dict[str, float]] = []

            def observe(step: int, x: Any, o: Any = objective, log: Any = watched) -> None:
                model = network(o.weights(x[0]))
                log.append(
                    {"step": step, **{k: float(np.nanmean(six(model, rows, flat.targets, k))) for k in DEFINITIONS}}
                )

            options = mfo.TrainOptions(
                method="sgd",
                steps=steps,
                rate=5e-4,
                momentum=0.9,
                batch=batch,
                schedule="linear",
                record_every=steps // 10,
            )
            run = train(objective, SEEDS, options, observe=observe)
            case: dict[str, Any] = {"batch": batch, "decay": decay, "energies": run.energies.tolist(), "time": watched}
            models = [network(objective.weights(x)) for x in run.parameters]
            for definition, held in values.items():
                found = np.array([six(m, rows, flat.targets, definition) for m in models])
                held.append(found)
                case[definition] = {
                    "mean": np.nanmean(found, axis=0).tolist(),
                    "error": (np.nanstd(found, axis=0, ddof=1) / np.sqrt(SEEDS)).tolist(),
                }
            moments = layer_moments(
                models[0], rows, lambda o: (o.T - torch.from_numpy(np.array(flat.targets))).square().sum()
            )
            case["with_random_baseline"] = [asdict(a) for a in alignments(moments, draws=10)]
            laws = []
            for layer in moments:
                for side, matrices in (("a", layer.a), ("b", layer.b)):
                    for relation, (p, q) in RELATIONS.items():
                        try:
                            law = asdict(power_law(matrices[p], matrices[q], cutoff=1e-8, draws=10))
                        except UndefinedMetricError:
                            continue
                        laws.append({"layer": layer.name, "side": side, "relation": relation, **law})
            case["power_laws"] = laws
            last = models[0][:-1](torch.from_numpy(rows)).detach().numpy()
            case["neural_collapse"] = asdict(neural_collapse(last, flat.targets))
            body["cases"].append(case)
            print(
                f"batch {batch} decay {decay:g}: energy {np.mean(run.energies):.4g}, diverged {int(run.diverged.sum())}, raw "
                f"{np.nanmean(values['raw'][-1]):.3f}, covariance {np.nanmean(values['covariance'][-1]):.3f}, "
                f"NC1 {case['neural_collapse']['variability']:.3f}",
                flush=True,
            )
        x = np.log10(DECAYS)
        for definition, held in values.items():
            table = np.array(held)  # (decay, seed, layer, side, relation)
            part = {"batch": batch, "definition": definition, "all": trend(x, np.nanmean(table, axis=(2, 3, 4)))}
            for i, name in enumerate(RELATIONS):
                part[name] = trend(x, np.nanmean(table[..., i], axis=(2, 3)))
            body.setdefault("trends", []).append(part)
            print(part, flush=True)
        (HERE / "canonical.json").write_text(json.dumps(body, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Deep networks with regularised biases that beat the symmetric conjecture: neurons (1 + s v_i)/2 of unequal sign masses.

    python benchmarks/validation/one_sided.py            (writes results/one_sided.json)

With a bias in every layer a label needs one neuron a layer, not a pair: the bias supplies the constant. Here the masses
of the two signs (and of a constant neuron) are free in each layer; the energy is that of the explicit network.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize

from meanfield_opt.measure import Measure
from meanfield_opt.validation.deep import DeepProblem
from meanfield_problems.deep_hypercube import deep_hypercube

HERE = Path(__file__).parent / "results"


def measures(problem: DeepProblem, z: Any) -> list[Measure]:
    """z (layers, 2): logarithms of the masses of (1 + v_i)/2 and (1 - v_i)/2, equal over labels."""
    v = problem.targets
    out = []
    for plus, minus in np.exp(np.asarray(z).reshape(problem.layers, 2)):
        atoms = np.vstack([0.5 * (1 + v), 0.5 * (1 - v)])
        out.append(Measure(atoms, np.repeat([plus, minus], v.shape[0])))
    return out


def main() -> None:
    table = []
    for d, layers in ((2, 2), (2, 3), (2, 4), (3, 3)):
        problem = deep_hypercube(d, layers, bias="regularised")
        assert problem.known is not None
        best: Any = None
        symmetric = np.log(2 * np.array(problem.known.strength))
        for seed in range(4):
            rng = np.random.default_rng(seed)
            start = np.repeat(symmetric[:, None], 2, axis=1)
            # all but the last `seed` layers lean on one sign
            start[: layers - seed, 1] -= 3.0
            start += 0.1 * rng.standard_normal(start.shape)
            found = optimize.minimize(
                lambda z, p=problem: p.energy(measures(p, z)),
                start.ravel(),
                method="L-BFGS-B",
                bounds=[(-16.0, 3.0)] * start.size,
                options={"maxiter": 300, "ftol": 1e-14, "gtol": 1e-10},
            )
            if best is None or found.fun < best.fun:
                best = found
        rho = measures(problem, best.x)
        weights = problem.weights(rho)
        row = {
            "latents": d,
            "layers": layers,
            "conjecture": problem.known.energy,
            "energy": float(best.fun),
            "weight_energy": problem.weight_energy(weights),
            "relative_to_conjecture": float(best.fun / problem.known.energy - 1),
            "masses": np.exp(best.x).reshape(layers, 2).tolist(),
        }
        table.append(row)
        print(row, flush=True)
    (HERE / "one_sided.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()

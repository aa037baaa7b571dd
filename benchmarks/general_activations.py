"""Proved gaps for every registered activation on ordinary data: random points of the line, the plane and space, random labels.

    python benchmarks/general_activations.py [FAMILY ...] [--only NAME ...] [--solve SECONDS] [--prove SECONDS] [--out FILE]

Families: line, plane20, plane100, plane300, space50, free. Each row: seconds (wall and processor) to solve, to certify and to
check the saved file; the proved relative gap; and what the proof itself loses of it, the rest being the dual point's.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from arguments import one_of

import meanfield_opt as mfo

BOUNDED = ["tanh", "erf", "softsign", "sigmoid", "sin", "hard_tanh", "hard_sigmoid", "relu6", "step", "sign"]
GROWING = ["gelu", "silu", "softplus", "shifted_relu"]
EXACT = ["relu", "leaky_relu", "absolute", "linear"]
REFUSED = ["squared_relu", "cubic"]

#: family -> (inputs, samples, activations, width)
FAMILIES: dict[str, tuple[int, int, list[str], float | None]] = {
    "line": (1, 100, BOUNDED + GROWING + EXACT + REFUSED, 6.0),
    "plane20": (2, 20, BOUNDED + GROWING + EXACT + REFUSED, 6.0),
    "plane100": (2, 100, ["tanh", "sigmoid", "sin", "hard_sigmoid", "gelu"], 6.0),
    "plane300": (2, 300, ["tanh", "hard_sigmoid"], 6.0),
    "space50": (3, 50, ["tanh", "sigmoid", "hard_sigmoid", "gelu"], 6.0),
    "free": (2, 20, ["hard_sigmoid", "relu6", "gelu", "silu"], None),
}


def problem_of(inputs: int, samples: int, name: str, width: float | None) -> mfo.TwoLayerProblem:
    """Normal inputs, the sign of x_1 x_d + 0.1, penalties in proportion to the samples."""
    x = np.random.default_rng(0).standard_normal((samples, inputs))
    y = np.sign(x[:, :1] * x[:, -1:] + 0.1) if inputs > 1 else np.sign(np.sin(3.0 * x))
    level = 0.1 * samples / 20
    return mfo.problems.dataset(x, y, activation=name, width=width, lambda1=level, lambda2=level)


class Clock:
    """Wall and processor seconds."""

    def __init__(self) -> None:
        self.begun = time.monotonic(), time.process_time()

    def read(self) -> list[float]:
        return [round(time.monotonic() - self.begun[0], 2), round(time.process_time() - self.begun[1], 2)]


def row(family: str, name: str, solving: float, proving: float) -> dict[str, Any]:
    """One case: solved, certified, saved and checked."""
    inputs, samples, _, width = FAMILIES[family]
    problem = problem_of(inputs, samples, name, width)
    entry: dict[str, Any] = {"family": family, "activation": name, "inputs": inputs, "samples": samples, "width": width}
    clock = Clock()
    try:
        solution = mfo.solve(problem, time_limit=solving)
    except mfo.MeanFieldError as error:
        return entry | {"error": f"{type(error).__name__}: {error}"}
    entry["solve_s"], clock = clock.read(), Clock()
    certificate = mfo.certify(problem, solution, time_limit=proving, refute=float("inf"))
    entry["certify_s"] = clock.read()
    with tempfile.TemporaryDirectory() as folder:
        certificate.save(Path(folder) / "c.json")
        entry["bytes"], clock = (Path(folder) / "c.json").stat().st_size, Clock()
        mfo.verify(Path(folder) / "c.json", problem)
        entry["check_s"] = clock.read()
    proof = certificate.supremum
    margins = [
        e["margin"]
        for e in certificate.stats["engines"]
        if proof is not None and e.get("bound") == proof.bound and "margin" in e
    ]
    entry |= {
        "energy": solution.energy,
        "mass": solution.measure.total_mass,
        "verdict": certificate.verdict,
        "proof": certificate.proof,
        "gap": certificate.relative_gap,
        "lost_by_the_proof": margins[0] if margins else None,
    }
    return entry


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", type=one_of(FAMILIES), metavar="NAME", help=", ".join(FAMILIES))
    parser.add_argument("--only", nargs="*", default=None, help="activations")
    parser.add_argument("--solve", type=float, default=10.0)
    parser.add_argument("--prove", type=float, default=30.0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "general_activations.json")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    mfo.certify(problem_of(1, 6, "tanh", 2.0), mfo.Measure.zero(6), time_limit=1.0)  # imports
    for family in options.families or FAMILIES:
        for name in FAMILIES[family][2]:
            if options.only is not None and name not in options.only:
                continue
            entry = row(family, name, options.solve, options.prove)
            print(
                family,
                name,
                entry.get("gap", entry.get("error")),
                entry.get("certify_s"),
                entry.get("check_s"),
                flush=True,
            )
            saved = json.loads(options.out.read_text()) if options.out.exists() else {"rows": []}
            kept = [r for r in saved["rows"] if (r["family"], r["activation"]) != (family, name)]
            limits = {"solve": options.solve, "prove": options.prove}
            versions = {"python": platform.python_version(), "numpy": np.__version__, "meanfield_opt": mfo.__version__}
            options.out.write_text(
                json.dumps({"rows": [*kept, entry | {"limits": limits}], **versions}, indent=1) + "\n"
            )


if __name__ == "__main__":
    main()

"""The map of docs/map.md: run with a journal path; it resumes. Usage: python benchmarks/map.py JOURNAL CSV [PART ...].

Parts: "core" (d = 2, 3 at penalty 0.05: 138 cells), "penalties", "labels" (d = 4), "widths", "copies"; all by default.
Beside the CSV a JSON file of the same name holds the versions that made it.
"""

from __future__ import annotations

import argparse
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from arguments import one_of

import meanfield_opt as mfo

FREE: list[Any] = ["relu", "leaky_relu", "absolute", "linear", "step", ("sign", {"threshold": 1.0})]
THRESHOLD = ["step", "hard_sigmoid", "relu6", "shifted_relu"]
ODD: list[Any] = ["tanh", "erf", "softsign", "sin", "hard_tanh", ("sign", {"threshold": 1.0}), "sign", "cubic"]
OTHER = ["sigmoid", "softplus", "gelu", "silu", "squared_relu"]
WIDE = [*ODD, *THRESHOLD, *OTHER]

#: (latents, penalties, widths of those that need one, copies); activations of FREE take free mass
PARTS: dict[str, list[tuple[int, tuple[float, ...], tuple[float, ...], int]]] = {
    "core": [(2, (0.05,), (8.0,), 1), (3, (0.05,), (8.0,), 1)],
    "penalties": [(2, (0.01, 0.2), (8.0,), 1), (3, (0.01, 0.2), (8.0,), 1)],
    "labels": [(4, (0.05,), (8.0,), 1)],
    "widths": [(2, (0.05,), (4.0, 32.0), 1)],
    "copies": [(2, (0.05,), (8.0,), 3)],
}


def main(journal: str, target: str, parts: list[str]) -> None:
    """Free mass where activations are homogeneous or finite-valued, a width otherwise."""
    import pandas

    tables = []
    for part in parts:
        for d, penalties, widths, copies in PARTS[part]:
            common: dict[str, Any] = {"alignments": (0.0, 0.5, 2.0), "penalties": penalties, "latents": (d,)}
            common |= {"copies": (copies,), "journal": journal, "workers": 1, "time_limit": 20.0}
            if part != "widths":
                tables.append(mfo.scan(FREE, **common))
            tables.append(mfo.scan(WIDE, widths=widths, **common))
    pandas.concat(tables, ignore_index=True).to_csv(target, index=False, float_format="%.10g")
    about = {"python": platform.python_version(), "parts": parts}
    about |= {name: version(name) for name in ("meanfield-opt", "numpy", "scipy", "python-flint")}
    Path(target).with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("journal")
    parser.add_argument("csv")
    parser.add_argument("parts", nargs="*", type=one_of(PARTS), metavar="NAME", help=", ".join(PARTS))
    given = parser.parse_args()
    main(given.journal, given.csv, given.parts or list(PARTS))

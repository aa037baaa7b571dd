"""The map of docs/map.md: run with a journal path; it resumes. Usage: python benchmarks/map.py JOURNAL CSV [LATENTS ...]."""

from __future__ import annotations

import sys

import meanfield_opt as mfo

HOMOGENEOUS = ["relu", "leaky_relu", "absolute", "linear"]
THRESHOLD = ["step", "hard_sigmoid", "relu6", "shifted_relu"]
ODD = ["tanh", "erf", "softsign", "sin", "hard_tanh", ("sign", {"threshold": 1.0}), "sign", "cubic"]
OTHER = ["sigmoid", "softplus", "gelu", "silu", "squared_relu"]


def main(journal: str, target: str, latents: list[int]) -> None:
    """Free mass where activations are homogeneous or finite-valued, width 8 otherwise."""
    common = {"alignments": (0.0, 0.5, 2.0), "penalties": (0.05,), "journal": journal, "workers": 1, "time_limit": 20.0}
    import pandas

    tables = []
    for d in latents:
        tables.append(mfo.scan([*HOMOGENEOUS, "step", ("sign", {"threshold": 1.0})], latents=(d,), **common))
        tables.append(mfo.scan([*ODD, *THRESHOLD, *OTHER], latents=(d,), widths=(8.0,), **common))
    pandas.concat(tables, ignore_index=True).to_csv(target, index=False, float_format="%.10g")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], [int(x) for x in sys.argv[3:]] or [2, 3])

"""Attack the certificates: 100,000 truth tests, 10,000 tampered files as they are and 10,000 with the digest recomputed.

Writes benchmarks/attack_certificates.json; an entry of another seed is kept beside the first, as "KIND, seed N".

python benchmarks/attack_certificates.py [KIND ...] [--truth 100000] [--tamper 10000] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
import warnings
from pathlib import Path

import attack_cases
import attack_tampering
import attack_truth
import numpy as np

import meanfield_opt as mfo

SHARE = {
    "forms": 0.5,
    "energies": 0.3,
    "logistic": 0.09,
    "suprema": 0.06,
    "widths": 0.01,
    "optima": 0.04,
    "boxes": 0.2,
    "cells": 0.1,
    "neurons": 0.005,
}

#: mode of tampering -> whether the digest is left as it was
MODES = {"tampering, as is": True, "tampering, recomputed": False}


def truth(kind: str, count: int, seed: int) -> dict[str, object]:
    """One family, in pieces of 500 tests with seeds (seed, piece), so that any piece can be repeated alone."""
    made, claims, false = 0, 0, []
    begun = time.monotonic()
    for piece in range(-(-count // 500)):
        m, c, f = attack_truth.run(kind, min(500, count - made), (seed, piece))
        made, claims, false = made + m, claims + c, false + f
        if made >= count:
            break
    print(kind, made, claims, len(false), *false[:5], sep="\n  ", flush=True)
    return {"tests": made, "claims": claims, "false": len(false), "seconds": round(time.monotonic() - begun, 1)}


def tampering(count: int, seed: int, *, as_is: bool) -> dict[str, object]:
    """Tampered files of every kind, in pieces of 2500 with seeds (seed, piece)."""
    begun, total = time.monotonic(), attack_tampering.Tally()
    with tempfile.TemporaryDirectory() as folder:
        targets = attack_cases.targets(Path(folder))
        for piece in range(-(-count // 2500)):
            tally = attack_tampering.attack(
                targets, min(2500, count - total.files), (seed, piece), as_is=as_is, transplants=piece == 0
            )
            print(tally.rejected, tally.harmless, *tally.wrong[:5], *tally.crashed[:5], sep="\n  ", flush=True)
            total.add(tally)
    return {
        "files": total.files,
        "rejected": total.rejected,
        "accepted and still true": total.harmless,
        "accepted and not proved": len(total.wrong),
        "other exceptions": len(total.crashed),
        "kinds": dict(total.kinds.most_common()),
        "certificates": dict(total.cases.most_common()),
        "fields of the harmless": dict(total.harmless_fields.most_common(30)),
        "seconds": round(time.monotonic() - begun, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=[*SHARE, *MODES])
    parser.add_argument("--truth", type=int, default=100_000)
    parser.add_argument("--tamper", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for kind in options.kinds:
        if kind in MODES:
            entry = tampering(options.tamper, options.seed, as_is=MODES[kind])
        else:
            entry = truth(kind, round(SHARE[kind] * options.truth), options.seed)
        result = json.loads(options.output.read_text()) if options.output.exists() else {}
        other = kind in result and result[kind]["seed"] != options.seed
        result[f"{kind}, seed {options.seed}" if other else kind] = {**entry, "seed": options.seed}
        result |= {"python": platform.python_version(), "numpy": np.__version__, "meanfield_opt": mfo.__version__}
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

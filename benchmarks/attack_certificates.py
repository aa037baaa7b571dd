"""Attack the certificates: 100,000 truth tests and 10,000 tampered files. Writes benchmarks/attack_certificates.json.

python benchmarks/attack_certificates.py [--truth 100000] [--tamper 12000] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
import warnings
from pathlib import Path

import attack_tampering
import attack_truth
import numpy as np

SHARE = {"forms": 0.5, "energies": 0.3, "logistic": 0.09, "suprema": 0.1, "widths": 0.01}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--truth", type=int, default=100_000)
    parser.add_argument("--tamper", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    result: dict[str, object] = {"seed": options.seed, "python": platform.python_version(), "numpy": np.__version__}
    for kind, share in SHARE.items():
        begun = time.monotonic()
        made, claims, false = attack_truth.run(kind, int(share * options.truth), options.seed)
        result[kind] = {
            "tests": made,
            "claims": claims,
            "false": len(false),
            "seconds": round(time.monotonic() - begun, 1),
        }
        print(kind, result[kind], *false[:5], sep="\n  ", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        tally = attack_tampering.attack(Path(folder), options.tamper, options.seed)
    result["tampering"] = {
        "files": tally.rejected + tally.harmless + len(tally.wrong) + len(tally.crashed),
        "rejected": tally.rejected,
        "accepted and still true": tally.harmless,
        "accepted and false": len(tally.wrong),
        "other exceptions": len(tally.crashed),
        "kinds": dict(tally.kinds),
        "fields of the harmless": dict(tally.harmless_fields.most_common(30)),
        "seconds": round(time.monotonic() - begun, 1),
    }
    print(json.dumps(result["tampering"], indent=1), *tally.wrong[:5], *tally.crashed[:5], sep="\n")
    options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

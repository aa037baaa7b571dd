"""Draws docs/scaling.png from what ``speed.py exponents`` measured: processor time to a sampled gap of 1e-3 with its fitted powers.

python benchmarks/scaling_plot.py [--results benchmarks/results/speed_exponents.json] [--out docs/scaling.png]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

NAMES = {"samples": "samples P", "inputs": "inputs d_X", "outputs": "outputs d_Y", "penalty": "penalty"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/speed_exponents.json"))
    parser.add_argument("--out", type=Path, default=Path("docs/scaling.png"))
    given = parser.parse_args()
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = json.loads(given.results.read_text())["rows"]
    figure, axes = pyplot.subplots(1, len(NAMES), figsize=(12, 3), sharey=True, layout="constrained")
    for axis, (key, name) in zip(axes, NAMES.items()):
        seen = [(row["value"], row["cpu_seconds"]) for row in rows if row["vary"] == key and "value" in row]
        power = next(row["exponent"] for row in rows if row["vary"] == key and "exponent" in row)
        x, seconds = zip(*seen)
        # the fitted line goes through the means of the logarithms
        centre = [1.0, 1.0]
        for value, second in seen:
            centre = [centre[0] * value ** (1 / len(seen)), centre[1] * second ** (1 / len(seen))]
        axis.loglog(x, seconds, "o")
        axis.loglog(x, [centre[1] * (value / centre[0]) ** power for value in x], "-", label=f"power {power:.2f}")
        axis.set_xticks(x, [f"{value:g}" for value in x])
        axis.minorticks_off()
        axis.set_xlabel(name)
        axis.legend()
    marks = [0.2, 0.5, 1, 2, 5, 10, 20, 50]
    low, high = axes[0].get_ylim()
    axes[0].set_yticks(marks, [f"{mark:g}" for mark in marks])
    axes[0].set_ylim(low, high)
    axes[0].set_ylabel("processor seconds to 1e-3")
    figure.savefig(given.out, dpi=110)


if __name__ == "__main__":
    main()

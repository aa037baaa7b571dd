"""Every claim of docs/map.md against the rows of docs/data/map.csv. Usage: python benchmarks/map_claims.py [CSV]."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas

import meanfield_opt as mfo

#: how far a proved interval may lie from a closed form to count as the same
SAME = 2e-6


def eigenvalues(row: Any) -> tuple[int, float, float]:
    """P and q0, q1 of Q = K_X^-1 on 1 and on the labels."""
    p = int(row.copies * 2**row.latents)
    return p, 1.0 / (1.0 + p), 1.0 / (1.0 + row.alignment * p)


def energy(row: Any, c: float) -> float:
    """E* = d (2 (l1 l2 C)^(1/2) - l1 l2 C / P), or the energy of the zero measure where the optimum is zero."""
    p, _, _ = eigenvalues(row)
    l, d = row.penalty, row.latents
    return float(d * (2.0 * l * math.sqrt(c) - l * l * c / p)) if math.sqrt(1.0 / c) > l / p else float(d * p)


def least(row: Any) -> float:
    """C = P inf (q0 (t + u)^2 + q1 (t - u)^2) / (phi(t) - phi(u))^2 by a search of the plane."""
    p, q0, q1 = eigenvalues(row)
    phi = mfo.activation(row.activation, **json.loads(row.parameters))
    size = np.geomspace(1e-8, 1e8, 129)
    first = second = np.concatenate([size, -size, np.linspace(-8, 8, 161), [1.0 - 1e-12]])
    best, t, u = 0.0, 0.0, 0.0
    for k in range(14):
        with np.errstate(all="ignore"):
            gap = np.square(phi(first)[:, None] - phi(second))
            ratio = gap / (q0 * np.square(first[:, None] + second) + q1 * np.square(first[:, None] - second))
        ratio = np.nan_to_num(ratio, nan=0.0, posinf=0.0)
        i, j = np.unravel_index(int(ratio.argmax()), ratio.shape)
        if ratio[i, j] > best:
            best, t, u = float(ratio[i, j]), float(first[i]), float(second[j])
        step = 0.3 * max(abs(t), abs(u)) * 0.4**k * np.linspace(-1, 1, 41)
        first, second = np.append(t + step, t), np.append(u + step, u)
    return p / best


def agrees(row: Any, value: float) -> bool:
    return bool(row.lower <= value * (1 + SAME) and value * (1 - SAME) <= row.upper)


def main(path: Path) -> None:
    table = pandas.read_csv(path)
    proved = table[table.verdict == "proved"]
    limit = table[table.verdict == "not attained"]
    print(
        f"{len(table)} cells: {len(proved)} proved, {len(limit)} not attained, {len(table) - len(proved) - len(limit)} others"
    )
    print(
        f"largest gap {proved.gap.max():.2g}; above 1e-6: {int((proved.gap > 1e-6).sum())}; above 1e-5: {int((proved.gap > 1e-5).sum())}"
    )
    for row in proved[proved.gap > 1e-6].itertuples():
        print("  ", row.activation, row.latents, row.alignment, row.penalty, row.width, f"{row.gap:.1e}")
    print(
        f"residual of K in span(1 1^T, K_Y): at most {proved.residual.max():.2g}; PS at least {proved.parallelism.min():.9f}"
    )
    print("\nthe theorem: E* by C(phi), where mass is free or to spare")
    for name, rows in proved[proved.activation != "sign"].groupby("activation"):
        spare = [r for r in rows.itertuples() if math.isnan(r.width) or r.mass < 0.98 * r.width]
        if spare:
            print(f"  {name}: {sum(agrees(r, energy(r, least(r))) for r in spare)} of {len(spare)}")
    ternary = [r for r in proved[(proved.activation == "sign") & (proved.parameters != "{}")].itertuples()]
    spare = [r for r in ternary if math.isnan(r.width) or r.mass < 0.98 * r.width]
    print(f"  ternary sign: {sum(agrees(r, energy(r, least(r))) for r in spare)} of {len(spare)}")
    print("\nthe published candidate (theory section 4): equal / below the proved interval / above it")
    for (name, alignment), rows in proved[proved.candidate.notna()].groupby(["activation", "alignment"]):
        cells = list(rows.itertuples())
        same = sum(agrees(r, r.candidate) for r in cells)
        under = sum(r.candidate < r.lower * (1 - SAME) for r in cells)
        print(f"  {name} a={alignment:g}: {same} / {under} / {len(cells) - same - under}")
    print("\ninfima that are not attained: largest relative gap, largest upper bound")
    for name, rows in limit.groupby("activation"):
        print(f"  {name}: {len(rows)} cells, gap {rows.gap.max():.1e}, upper {rows.upper.max():.3g}")
        known = rows[rows.activation.isin(["softplus", "shifted_relu"])]
        if len(known):
            relu = proved[proved.activation == "relu"].set_index(["alignment", "penalty", "latents", "copies"])
            there = [r for r in known.itertuples() if (r.alignment, r.penalty, r.latents, r.copies) in relu.index]
            same = [
                r
                for r in there
                if abs(r.lower / relu.loc[(r.alignment, r.penalty, r.latents, r.copies)].upper - 1) < 1e-7
            ]
            print(f"    the optimum of relu: {len(same)} of {len(there)}")
    excess = (proved.network - proved.lower) / proved.lower
    print("\nnetworks of the width: relative excess over the measure's lower bound (median, largest)")
    for (name, latents, alignment), part in proved[proved.network.notna()].groupby(
        ["activation", "latents", "alignment"]
    ):
        print(
            f"  {name} d={latents} a={alignment:g}: {excess[part.index].median():.2g}, {excess[part.index].max():.2g}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("csv", nargs="?", type=Path, default=Path(__file__).parents[1] / "docs" / "data" / "map.csv")
    main(parser.parse_args().csv)

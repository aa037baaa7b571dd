"""The map as a picture: one column of a scan over two of its axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError
from .files import figure_suffix, replacing
from .validate import shown


def phase_diagram(
    table: Any, path: str | Path, *, value: str = "residual", rows: str = "activation", columns: str = "width"
) -> None:
    """A heat map of one column of a scan over two axes (first of several cells in a place); grey where there is no result."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not hasattr(table, "columns"):
        raise InputError(f"phase_diagram takes the table that scan returns, not {shown(table)}.")
    suffix = figure_suffix(path)
    for name in (value, rows, columns):
        if not isinstance(name, str) or name not in table.columns:
            raise InputError(f"the table has no column {shown(name)}; it has {', '.join(map(str, table.columns))}.")
    names = [list(dict.fromkeys(map(str, table[axis]))) for axis in (rows, columns)]
    grid = np.full((len(names[0]), len(names[1])), np.nan)
    for a, b, v in zip(table[rows], table[columns], table[value]):
        at = names[0].index(str(a)), names[1].index(str(b))
        if np.isnan(grid[at]) and v is not None:
            grid[at] = float(v)
    figure = Figure(figsize=(2.5 + 0.7 * grid.shape[1], 1.5 + 0.35 * grid.shape[0]), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_facecolor("0.85")
    image = axes.imshow(np.ma.masked_invalid(grid), aspect="auto", cmap="viridis")
    axes.set_xticks(range(grid.shape[1]), names[1])
    axes.set_yticks(range(grid.shape[0]), names[0])
    axes.set_xlabel(columns)
    axes.set_ylabel(rows)
    figure.colorbar(image, ax=axes, label=value)
    with replacing(path, "the figure") as part:
        figure.savefig(part, format=suffix)

"""The figures of a comparison page: matplotlib without pyplot, so no global state and no display."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..pattern import merge_rays
from ..validation.comparison import Comparison

Array = NDArray[np.float64]

INK, ACCENT, SECOND = "#24323d", "#b5472f", "#2f6f8f"
MOST_SAMPLES = 256
#: what is smaller is drawn here (gaps may be zero or negative by rounding, logarithms may not)
FLOOR = 1e-15


def embed(drawing: Any) -> str:
    """A figure as a base64 data address."""
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="png", dpi=130)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _sheet(columns: int, width: float = 4.1, height: float = 3.5) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(width * columns, height), layout="constrained")
    return drawing, np.atleast_1d(drawing.subplots(1, columns))


def _order(c: Comparison) -> NDArray[np.intp]:
    order = np.lexsort(c.problem.targets[::-1])
    if order.size > MOST_SAMPLES:
        order = order[np.linspace(0, order.size - 1, MOST_SAMPLES).astype(np.intp)]
    return np.asarray(order)


def kernels(c: Comparison) -> Any:
    """The input kernel, the certified optimum's, and those of the best and the worst network."""
    order = _order(c)
    gaps = c.values("gap")
    space = c.problem.geometry
    best, worst = int(gaps.argmin()), int(gaps.argmax())
    rows = space.preactivation(np.eye(space.n_parameters))[:, order]
    hidden = c.solution.features[:, order]
    shown = [("input kernel", rows.T @ rows), ("certified optimum K*", hidden.T @ hidden)]
    for name, row in (("best network", best), ("worst network", worst)):
        part = c.trained.weights(row)
        phi = c.problem.features(space.preactivation(part["theta"]))[:, order]
        shown.append((f"{name} (seed {c.seeds[row].seed}, gap {gaps[row]:.1e})", phi.T @ phi))
    drawing, axes = _sheet(4, 3.6)
    top = max(float(np.abs(k).max()) for _, k in shown[1:]) or 1.0
    for i, (axis, (title, k)) in enumerate(zip(axes, shown)):
        scale = float(np.abs(k).max()) or 1.0
        picture = axis.imshow(k, cmap="RdBu_r", vmin=-(scale if i == 0 else top), vmax=scale if i == 0 else top)
        axis.set_title(title, fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
        drawing.colorbar(picture, ax=axis, shrink=0.75)
    return drawing


def gaps(c: Comparison) -> Any:
    """Certified gaps, kernel distances against gaps, and representation metrics of every seed."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    drawing, axes = _sheet(3)
    floor = FLOOR
    values = np.maximum(np.sort(c.values("gap")), floor)
    axes[0].semilogy(np.arange(1, values.size + 1), values, "o", color=SECOND)
    axes[0].axhline(c.threshold, color=ACCENT, lw=1, ls="--", label=f"threshold {c.threshold:g}")
    axes[0].axhline(max(c.certificate.relative_gap, floor), color=INK, lw=1, ls=":", label="the certificate's own gap")
    axes[0].set(xlabel="seed, sorted", ylabel="certified relative gap", title="distance from the proved bound")
    axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].legend(fontsize=8)
    for name, colour, label in (("distance", SECOND, "|K - K*| / |K*|"), ("procrustes", ACCENT, "Procrustes")):
        axes[1].loglog(
            np.maximum(c.values("gap"), floor), np.maximum(c.values(name), floor), "o", color=colour, label=label
        )
    axes[1].set(xlabel="certified relative gap", ylabel="distance to K*", title="energy against representation")
    for scale in (axes[1].xaxis, axes[1].yaxis):  # within a decade or so, labels of all minor ticks run together
        if np.ptp(np.log10(scale.get_view_interval())) < 2.0:
            scale.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}"))
        scale.set_minor_formatter(NullFormatter())
    axes[1].legend(fontsize=8)
    names = [("parallelism", "PS"), ("ccgp", "CCGP"), ("cka", "CKA")]
    spread = np.linspace(-0.18, 0.18, len(c.seeds))
    for i, (name, _) in enumerate(names):
        axes[2].plot(i + spread, c.values(name), "o", color=SECOND, ms=4, label="networks" if i == 0 else None)
        reference = 1.0 if name == "cka" else c.optimum[name]
        axes[2].plot([i - 0.3, i + 0.3], [reference] * 2, color=ACCENT, lw=2, label="optimum" if i == 0 else None)
    axes[2].set_xticks(range(3), [label for _, label in names])
    axes[2].set(title="representation metrics")
    axes[2].legend(fontsize=8)
    return drawing


def dynamics(c: Comparison) -> Any:
    """gap(t), PS(t) and CKA to K*(t) of every seed."""
    drawing, axes = _sheet(3)
    d = c.dynamics
    panels = (
        (d.gap, "certified relative gap", True),
        (d.parallelism, "parallelism score", False),
        (d.cka, "CKA to K*", False),
    )
    for axis, (values, title, log) in zip(axes, panels):
        shown = np.maximum(values, FLOOR) if log else values
        axis.plot(d.steps, shown, color=SECOND, lw=0.8, alpha=0.6)
        if np.isfinite(shown).any():
            axis.plot(d.steps, np.nanmedian(np.where(np.isfinite(shown), shown, 0.0), axis=1), color=INK, lw=2)
        if log:
            axis.set_yscale("log")
        axis.set(xlabel="training step", title=title)
    return drawing


def neurons(c: Comparison) -> Any:
    """Certified atoms, and how much of each the networks carry."""
    from matplotlib.ticker import MaxNLocator

    drawing, axes = _sheet(2, 6.0)
    atoms = merge_rays(c.problem, c.solution.measure).atoms[:24]
    order = _order(c)
    scale = float(np.abs(atoms).max()) if atoms.size else 1.0
    if atoms.size:
        picture = axes[0].imshow(
            atoms[:, order], cmap="RdBu_r", vmin=-scale, vmax=scale, aspect="auto", interpolation="nearest"
        )
        drawing.colorbar(picture, ax=axes[0], shrink=0.8)
    axes[0].set(title="certified preactivation patterns (unit peak)", xlabel="sample, by class", ylabel="pattern")
    coverage = np.array([s.matching.coverage[:24] for s in c.seeds])
    for row in coverage:
        axes[1].plot(np.arange(row.size), row, "o", color=SECOND, ms=3, alpha=0.5)
    axes[1].axhline(1.0, color=ACCENT, lw=1)
    axes[1].set(
        title="trained share of each pattern's kernel",
        xlabel="pattern",
        ylabel="trained / certified",
    )
    for scale in (axes[0].xaxis, axes[0].yaxis, axes[1].xaxis):
        scale.set_major_locator(MaxNLocator(integer=True))
    return drawing

"""One figure of a certified optimum: kernel, patterns, representation, convergence of both bounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backend import Progress
from ..certificate import Certificate
from ..files import figure_suffix, replacing
from ..pattern import Pattern
from ..problem import TwoLayerProblem
from ..solution import Solution

Array = NDArray[np.float64]

MOST_SAMPLES = 256
MOST_ATOMS = 24


def save_figure(
    path: str | Path,
    solution: Solution,
    certificate: Certificate,
    found: Sequence[Pattern],
    history: Sequence[Progress],
) -> None:
    """Draw ``figure`` and write it to ``path`` (png, pdf or svg by suffix)."""
    suffix = figure_suffix(path)
    drawing = figure(solution, certificate, found, history)
    with replacing(path, "the figure") as part:
        drawing.savefig(part, dpi=160, format=suffix)


def figure(solution: Solution, certificate: Certificate, found: Sequence[Pattern], history: Sequence[Progress]) -> Any:
    """A matplotlib Figure with four panels (no global state of pyplot is touched)."""
    from matplotlib.figure import Figure

    problem = solution.two_layer
    drawing = Figure(figsize=(11.0, 8.2), layout="constrained")
    axes = drawing.subplots(2, 2)
    order = _class_order(problem)
    draw_kernel(axes[0, 0], solution, order)
    draw_patterns(axes[0, 1], solution, order)
    draw_representation(axes[1, 0], solution)
    draw_convergence(axes[1, 1], certificate, history)
    drawing.suptitle(
        f"{problem.name}   E in [{certificate.lower_bound:.8g}, {certificate.upper_bound:.8g}]   {certificate.verdict}",
        fontsize=11,
    )
    return drawing


def _class_order(problem: TwoLayerProblem) -> NDArray[np.intp]:
    """Samples sorted by their labels (at most MOST_SAMPLES of them, evenly spread)."""
    order = np.lexsort(problem.targets[::-1])
    if order.size > MOST_SAMPLES:
        order = order[np.linspace(0, order.size - 1, MOST_SAMPLES).astype(np.intp)]
    return np.asarray(order)


def draw_kernel(axis: Any, solution: Solution, order: NDArray[np.intp]) -> None:
    """The hidden kernel K, samples sorted by label."""
    features = solution.features[:, order]
    image = axis.imshow(features.T @ features, cmap="magma", interpolation="nearest")
    axis.set(title="hidden kernel K*", xlabel="sample, sorted by label", ylabel="sample")
    axis.figure.colorbar(image, ax=axis, shrink=0.85)


def draw_patterns(axis: Any, solution: Solution, order: NDArray[np.intp]) -> None:
    """The heaviest atoms h_j over the samples, each scaled by its largest entry."""
    measure = solution.measure
    weight = measure.masses * np.abs(measure.atoms).max(axis=1, initial=0.0) ** 2
    heavy = np.argsort(-weight)[:MOST_ATOMS]
    rows = measure.atoms[heavy][:, order]
    peak = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    rows = np.divide(rows, peak, out=np.zeros_like(rows), where=peak > 0)
    if rows.size:
        image = axis.imshow(rows, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
        axis.figure.colorbar(image, ax=axis, shrink=0.85)
    axis.set(
        title=f"preactivation patterns (heaviest {rows.shape[0]} of {measure.n_atoms})",
        xlabel="sample, sorted by label",
        ylabel="atom, heaviest first",
    )


def draw_representation(axis: Any, solution: Solution) -> None:
    """The samples' hidden representation on its first two principal components, coloured by label combination."""
    problem = solution.two_layer
    features = solution.features
    axis.set(title="hidden representation (PCA)", xlabel="component 1", ylabel="component 2")
    if features.shape[0] == 0:
        return
    centred = features - features.mean(axis=1, keepdims=True)
    _, vectors = np.linalg.eigh(centred @ centred.T)  # J x J, never P x P
    plane = vectors[:, ::-1][:, :2].T @ centred
    plane = np.vstack([plane, np.zeros((2 - plane.shape[0], plane.shape[1]))])
    shown = problem.targets[: min(4, problem.n_outputs)]
    classes, index = np.unique(np.sign(shown).T, axis=0, return_inverse=True)
    step = max(1, plane.shape[1] // 4000)
    for k, label in enumerate(classes):
        here = np.flatnonzero(index.ravel() == k)[::step]
        text = "".join("+" if s > 0 else "-" if s < 0 else "0" for s in label)
        axis.scatter(plane[0, here], plane[1, here], s=18, color=f"C{k % 10}", label=text, alpha=0.8, linewidths=0)
    axis.legend(
        title="labels", fontsize=7, title_fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0)
    )
    axis.set_aspect("equal", adjustable="datalim")


def draw_convergence(axis: Any, certificate: Certificate, history: Sequence[Progress]) -> None:
    """Energy and the solver's lower estimate against seconds; the certified interval as a band."""
    shown = [event for event in history if np.isfinite(event.energy)]
    upper, lower = certificate.upper_bound, certificate.lower_bound
    scale = max(abs(upper), 1e-300)
    floor = 1e-16
    if shown:
        seconds = [event.seconds for event in shown]
        axis.semilogy(
            seconds, [max((e.energy - lower) / scale, floor) for e in shown], label="energy above the proved bound"
        )
        estimate = [
            max((upper - e.lower_estimate) / scale, floor) if np.isfinite(e.lower_estimate) else np.nan for e in shown
        ]
        axis.semilogy(seconds, estimate, "--", label="energy - lower estimate (not proved)")
    axis.axhline(
        max((upper - lower) / scale, floor), color="k", lw=1.2, label=f"certified gap {certificate.relative_gap:.1e}"
    )
    axis.set(title="convergence of both bounds", xlabel="seconds", ylabel="relative gap", yscale="log")
    axis.legend(fontsize=8, frameon=False)

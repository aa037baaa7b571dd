"""Optima that a formula gives: known answers of named problems, linear networks, and the zero measure."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import meanfield_opt
from meanfield_opt.backend import Availability, Backend, SolveOptions
from meanfield_opt.errors import InputError, RefusalError
from meanfield_opt.measure import Measure
from meanfield_opt.problem import MeanFieldProblem, TwoLayerProblem
from meanfield_opt.solution import Solution, Status

Array = NDArray[np.float64]

#: how far K_X may be from leaving the row space of Y invariant, relative to its size
COMMUTES = 1e-10


@dataclass(frozen=True)
class ClosedForm(Backend):
    """Applies a formula where there is one and refuses elsewhere. The dual point comes from the optimality conditions."""

    name = "closed_form"
    summary = (
        "formulas of theory section 4, soft-thresholded SVD of linear networks, the zero measure at large penalties"
    )

    def availability(self) -> Availability:
        return Availability(True, meanfield_opt.__version__)

    def refusal(self, problem: MeanFieldProblem) -> str | None:
        found = _formula(problem)
        return found if isinstance(found, str) else None

    def solve(self, problem: MeanFieldProblem, options: SolveOptions) -> Solution:
        if options.extra:
            raise InputError(f"closed_form has no options of its own, but was given {', '.join(options.extra)}.")
        begin = time.perf_counter()
        found = _formula(problem)
        if isinstance(found, str):
            raise RefusalError(f"backend 'closed_form' refuses {problem.name}: {found}")
        measure, source = found
        dual = problem.dual_point(measure)
        stats = {"formula": source, "seconds": time.perf_counter() - begin, "iterations": 0}
        return Solution(problem, measure, dual, Status.SOLVED, self.name, stats)


def _formula(problem: MeanFieldProblem) -> tuple[Measure, str] | str:
    """An optimal measure and where the formula is from; or the reason why there is none."""
    known = problem.known
    if known is not None and known.measure is not None and known.provenance != "conjectured":
        return known.measure(), f"{known.reference} ({known.provenance})"
    if not isinstance(problem, TwoLayerProblem):
        return f"no formula is known for problems of kind {type(problem).__name__}."
    if math.sqrt(problem.lambda1 * problem.lambda2) >= problem.trivial_above():
        return Measure.zero(problem.n_samples), "zero is optimal: the norm bound on the first variation at zero"
    if problem.activation.name == "linear":
        return linear_optimum(problem)
    if known is not None and known.provenance == "conjectured":
        return "its known answer is only conjectured; use column_generation and certify the result."
    return (
        "no closed form is known for these data (there is one for hypercube tasks with relu and squared loss, for "
        "linear networks whose K_X and K_Y commute, and for penalties so large that zero is optimal)."
    )


def linear_optimum(problem: TwoLayerProblem) -> tuple[Measure, str] | str:
    """Soft-thresholded SVD for phi(t) = t, where K_X and K_Y = Y^T Y commute.

    E = |Y - F|^2 + 2 sqrt(l1 l2) |F K_X^(+1/2)|_*. On common eigenvectors v_i of K_Y (eigenvalue y_i^2) and K_X (s_i^2)
    this decouples into f_i = max(0, y_i - sqrt(l1 l2)/s_i), one atom v_i each; Z = 2 (Y - F) is feasible because
    |Z K_X^(1/2)|_2^2 = max_i 4 min(y_i, sqrt(l1 l2)/s_i)^2 s_i^2 <= tau.
    """
    if problem.loss.name != "squared":
        return f"the linear network has a formula for the squared loss only, not for {problem.loss.name}."
    if problem.width is not None:
        return "the formula of the linear network is for free mass; a width was given."
    _, sigma, rows = np.linalg.svd(problem.targets, full_matrices=False)
    rows = rows[sigma > 1e-12 * sigma[0]]
    sigma = sigma[: rows.shape[0]]
    image = problem.geometry.apply(rows)
    block = image @ rows.T
    size = max(float(np.linalg.norm(image, 2)), 1e-300)
    if np.linalg.norm(image - block @ rows) > COMMUTES * size * math.sqrt(sigma.size):
        return "K_X does not leave the row space of Y invariant, so the singular values do not decouple."
    block = 0.5 * (block + block.T) / size
    spectrum = (sigma / sigma[0]) ** 2
    if np.abs(block * (spectrum[:, None] - spectrum)).max() > COMMUTES:
        return "K_X and K_Y do not commute, so the singular values do not decouple."
    # a generic combination of two commuting matrices has their common eigenvectors
    _, turn = np.linalg.eigh(np.diag(spectrum) + math.pi / 10.0 * block)
    common = turn.T @ rows
    strengths = np.linalg.norm(problem.targets @ common.T, axis=0)
    kernel = np.einsum("ip,ip->i", common, problem.geometry.apply(common))
    root = math.sqrt(problem.lambda1 * problem.lambda2)
    keep = (kernel > 1e-12 * size) & (strengths**2 * kernel > root**2)
    source = "soft-thresholded singular values of a linear network (K_X and K_Y commute)"
    if not keep.any():
        return Measure.zero(problem.n_samples), source
    s = np.sqrt(kernel[keep])
    fitted = strengths[keep] - root / s
    masses = math.sqrt(problem.lambda2 / problem.lambda1) * s * fitted
    return Measure(common[keep], masses), source


BACKEND = ClosedForm()

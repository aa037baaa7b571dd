"""Whitened inputs with few kinds of labels: the problem on kinds of samples that is equivalent to the one on samples.

For relu, squared loss and a kernel K_X = Lambda + w b b^T with b of one sign, patterns constant on samples of equal
(lambda, b, target) suffice (see ``meanfield_opt.checker.exchange``). With n_c samples of kind c and u = sqrt(n_c) h that is
a problem of the same form on T samples: Lambda_c, sqrt(n_c) b_c, targets sqrt(n_c) Y_c, because relu is homogeneous.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.checker.lift import reducible
from meanfield_opt.geometry import DiagonalPlusLowRank
from meanfield_opt.measure import Measure
from meanfield_opt.problem import TwoLayerProblem
from meanfield_opt.solution import Solution

Array = NDArray[np.float64]
MOST_KINDS = 4096


def quotient(problem: TwoLayerProblem) -> tuple[TwoLayerProblem, NDArray[np.intp], Array] | None:
    """(the problem on kinds, the kind of each sample, sqrt of the counts); None where it does not apply or gain."""
    space = problem.geometry
    if not isinstance(space, DiagonalPlusLowRank) or problem.activation.name != "relu" or not reducible(problem):
        return None
    if problem.loss.name != "squared" or problem.loss.parameters:
        return None
    rows = np.vstack([space.diagonal, space.columns.T, problem.targets + 0.0])
    unique, kind, counts = np.unique(rows, axis=1, return_inverse=True, return_counts=True)
    if 2 * counts.size > problem.n_samples or counts.size > MOST_KINDS:
        return None
    root = np.sqrt(counts)
    k = space.weight.size
    columns = (unique[1 : 1 + k] * root).T
    geometry = DiagonalPlusLowRank(unique[0], columns, space.weight) if k else None
    if geometry is None:
        return None
    small = replace(
        problem,
        geometry=geometry,
        targets=unique[1 + k :] * root,
        label=f"{problem.label}, kinds of samples",
        recipe_=None,
        known_=None,
        symmetry=None,
    )
    return small, kind.ravel(), root


def lifted(problem: TwoLayerProblem, solution: Solution, kind: NDArray[np.intp], root: Array, begin: float) -> Solution:
    """The solution on samples that a solution on kinds stands for."""
    measure = solution.measure
    atoms = (measure.atoms / root)[:, kind]
    whole = Measure(atoms, measure.masses, None, measure.readout)
    stats = {**solution.stats, "symmetry": f"{kind.size} samples are exchangeable within {root.size} kinds"}
    stats["seconds"] = time.perf_counter() - begin
    return Solution(problem, whole, (solution.dual / root)[:, kind], solution.status, solution.backend, stats)

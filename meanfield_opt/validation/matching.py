"""Which certified pattern does each trained neuron carry?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..measure import Measure
from ..pattern import merge_rays
from ..problem import TwoLayerProblem

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Matching:
    """Trained neurons against certified atoms (merged on common rays).

    assignment (J,): the nearest certified atom of each neuron that responds at all. cosine (J,): to it, between
    preactivations. share (J,): the neuron's part of the kernel's trace. explained: share of neurons with cosine >= the
    threshold. coverage (A,): trace carried by the neurons assigned (and close) to an atom over the certified one.
    """

    assignment: NDArray[np.intp]
    cosine: Array
    share: Array
    explained: float
    coverage: Array
    mean_cosine: float


def match(problem: TwoLayerProblem, trained: Measure, certified: Measure, *, threshold: float = 0.99) -> Matching:
    """Assign every neuron of ``trained`` to the atom of ``certified`` with the largest cosine."""
    reference = merge_rays(problem, certified)
    trace = trained.masses * np.square(problem.features(trained.atoms)).sum(axis=1)
    total = float(trace.sum())
    keep = trace > 1e-12 * max(total, 1e-300)
    if reference.n_atoms == 0 or not keep.any():
        nothing = np.zeros(0)
        return Matching(np.zeros(0, np.intp), nothing, nothing, 0.0, np.zeros(reference.n_atoms), 0.0)
    atoms, share = trained.atoms[keep], trace[keep] / total
    unit = atoms / np.linalg.norm(atoms, axis=1, keepdims=True)
    other = reference.atoms / np.linalg.norm(reference.atoms, axis=1, keepdims=True)
    cosines = unit @ other.T
    if problem.activation.odd:
        cosines = np.abs(cosines)  # (h, w) and (-h, -w) are the same neuron
    assignment = cosines.argmax(axis=1)
    cosine = cosines[np.arange(assignment.size), assignment]
    close = cosine >= threshold
    own = reference.masses * np.square(problem.features(reference.atoms)).sum(axis=1)
    carried = np.bincount(assignment[close], weights=(share * total)[close], minlength=reference.n_atoms)
    return Matching(
        assignment,
        np.asarray(cosine),
        np.asarray(share),
        float(share[close].sum()),
        np.asarray(carried / np.maximum(own, 1e-300)),
        float(share @ cosine),
    )

"""PSD + N for matrices with much symmetry: N may be taken constant on the classes of the coherent closure.

When the classes' matrices commute, all are diagonal in one orthonormal basis and the split is a linear program in one
unknown a class: the eigenvalues of M - N must be nonnegative (Schrijver 1979 for Delsarte's bound).
"""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checker.psd import Rows
from ..symmetry.coherent import LARGEST_ORDER, coherent_closure
from .spn import accept

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
log = logging.getLogger(__name__)

MOST_CLASSES = 64


def coherent_classes(matrix: Rows) -> Labels | None:
    """Class numbers (n, n) of the symmetric coherent closure of M, None if there are too many classes."""
    values = sorted({v for row in matrix for v in row})
    if len(values) > MOST_CLASSES or len({matrix[i][i] for i in range(len(matrix))}) > 1:
        return None
    if len(matrix) > LARGEST_ORDER:
        return None
    number = {v: k for k, v in enumerate(values)}
    ranks = np.array([[number[v] for v in row] for row in matrix], dtype=np.int64)
    closure = coherent_closure([ranks], most_classes=MOST_CLASSES, symmetric=True)
    return None if closure is None else closure.classes


def prove_by_classes(matrix: Rows) -> dict[str, Any] | None:
    """An exact "spn" proof with N constant on classes, or None."""
    from scipy.optimize import linprog

    n = len(matrix)
    labels = coherent_classes(matrix)
    if labels is None:
        return None
    count = int(labels.max()) + 1
    log.debug("order %d: %d symmetrised classes", n, count)
    rng = np.random.default_rng(1)
    _, basis = np.linalg.eigh(rng.standard_normal(count)[labels])
    first = [tuple(np.argwhere(labels == k)[0]) for k in range(count)]
    entry = [matrix[i][j] for i, j in first]
    size = float(max(abs(v) for v in entry)) or 1.0
    spectra = np.empty((n, count))
    for k in range(count):
        image = (labels == k) @ basis
        spectra[:, k] = np.einsum("ij,ij->j", basis, image)
        if np.abs(image - basis * spectra[:, k]).max() > 1e-6 * n:
            return None  # the classes do not commute
    diagonal = [k for k, (i, j) in enumerate(first) if i == j]
    eigenvalues = spectra @ np.array([float(v) / size for v in entry])
    # least total weight first, so that the solution is a vertex with short numbers
    bounds = [(0.0, 0.0) if k in diagonal else (0.0, None) for k in range(count)]
    rows = np.unique(np.round(np.hstack([spectra, eigenvalues[:, None]]), 9), axis=0)
    for direction in (1.0, -1.0):
        result = linprog(
            direction * np.array([np.count_nonzero(labels == k) / n for k in range(count)]),
            A_ub=rows[:, :-1],
            b_ub=rows[:, -1] + 1e-11,
            bounds=bounds,
            method="highs",
        )
        if result.x is None:
            return None
        for limit in (1, 12, 1000, 10**6):
            amounts = [Fraction(float(v) * size).limit_denominator(limit) for v in result.x]
            q = int(np.lcm.reduce([v.denominator for v in amounts]))
            entries = {
                f"{i},{j}": int(amounts[int(labels[i, j])] * q)
                for i in range(n)
                for j in range(i + 1, n)
                if amounts[int(labels[i, j])] > 0
            }
            proof = accept(matrix, q, entries)
            if proof is not None:
                return proof
    return None

"""Numerical block-diagonalisation of a coherent algebra by random elements; it proposes, it proves nothing.

A random symmetric element has one eigenspace for each basis vector of each irreducible module (Murota, Kanno, Kojima
and Kojima 2010; de Klerk, Dobre and Pasechnik 2011). The algebra applied to one vector of such an eigenspace spans one
copy of the module, whatever its type (real, complex, quaternionic); restricted to an orthonormal basis of it, a matrix of
the algebra becomes a small block, and it is PSD exactly if its blocks of all modules are.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import SolveError
from .coherent import Configuration

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Block:
    """One irreducible module: ``basis`` (n, s), its copies count ``multiplicity``, the classes' blocks (rank, s, s)."""

    basis: Array
    multiplicity: int
    classes: Array

    def of(self, values: Array) -> Array:
        """The block (s, s) of sum_k values_k A_k."""
        return np.asarray(np.tensordot(values, self.classes, axes=1))


def block_diagonalise(configuration: Configuration, *, seed: int = 0) -> list[Block]:
    """The irreducible modules; trace(M) = sum_t multiplicity_t trace(block_t(M)). SolveError on numerical trouble."""
    n = configuration.order
    if configuration.rank == n * n:
        eye = np.eye(n)
        return [Block(eye, 1, np.asarray(np.einsum("ia,jb->ijab", eye, eye).reshape(n * n, n, n)))]
    for attempt in range(5):
        blocks = _attempt(configuration, np.random.default_rng([seed, attempt]))
        if blocks is not None:
            return blocks
    raise SolveError(f"the algebra of {configuration.rank} classes on {n} points could not be block-diagonalised.")


def _attempt(configuration: Configuration, rng: np.random.Generator) -> list[Block] | None:
    n = configuration.order
    # entries of either sign, scaled so that no class dominates
    values = rng.standard_normal(configuration.rank) / np.sqrt(configuration.sizes / n)
    element = values[configuration.classes]
    eigenvalues, vectors = np.linalg.eigh(element + element.T)
    gap = 1e-7 * max(1.0, float(np.abs(eigenvalues).max()))
    starts = np.concatenate([[0], np.flatnonzero(np.diff(eigenvalues) > gap) + 1, [n]])
    spaces = [vectors[:, a:b] for a, b in itertools.pairwise(starts)]
    open_ = [True] * len(spaces)
    blocks: list[Block] = []
    covered = 0
    for k, space in enumerate(spaces):
        if not open_[k]:
            continue
        images = configuration.images(space[:, 0])
        basis, singular, _ = np.linalg.svd(images, full_matrices=False)
        size = int((singular > 1e-8 * singular[0]).sum())
        if size < singular.size and singular[size] > 1e-10 * singular[0]:
            return None  # no clear rank
        basis = basis[:, :size]
        total = 0
        for other, candidate in enumerate(spaces):
            overlap = float(np.linalg.norm(candidate.T @ basis))
            if overlap > 1e-6:
                if not open_[other]:
                    return None
                open_[other] = False
                total += candidate.shape[1]
        if total % size:
            return None
        covered += total
        blocks.append(Block(basis, total // size, _restrict(configuration, basis)))
    return blocks if covered == n else None


def _restrict(configuration: Configuration, basis: Array) -> Array:
    out = np.empty((configuration.rank, basis.shape[1], basis.shape[1]))
    for b in range(basis.shape[1]):
        out[:, :, b] = (basis.T @ configuration.images(basis[:, b])).T
    return out

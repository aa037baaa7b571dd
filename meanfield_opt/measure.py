"""Positive measures over preactivation patterns: the primal unknown of every problem."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .label_patterns import LabelPatterns
from .validate import numbers_of, real_array

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Measure:
    """rho = sum_j masses_j delta(atoms_j).

    atoms: (J, P) preactivation patterns, one a row.
    masses: (J,) nonnegative.
    neurons: (J, r) weights theta that realise the atoms in the problem's geometry, where known.
    readout: (d_Y, J) output weights w of one unit of mass at each atom, where known: F = sum_j m_j w_j phi(h_j)^T.
    compact: the atoms as tables over few labels, where they are that; bounds and files use it instead of ``atoms``.
    """

    atoms: Array
    masses: Array
    neurons: Array | None = None
    readout: Array | None = None
    compact: LabelPatterns | None = None

    def __post_init__(self) -> None:
        atoms = numbers_of(self.atoms, "atoms")
        if atoms.ndim != 2:
            raise InputError(f"atoms must be (J, P), one pattern a row; their shape is {atoms.shape}.")
        masses = numbers_of(self.masses, "masses")
        if masses.shape != (atoms.shape[0],):
            raise InputError(f"masses must be (J,) = ({atoms.shape[0]},); their shape is {masses.shape}.")
        if atoms.size:
            if not all(np.isfinite(atom).all() for atom in atoms):
                raise InputError("atoms contain NaN or infinity.")
            real_array(masses, "masses")
            if (masses < 0).any():
                raise InputError("masses must be nonnegative: a measure here is positive.")
        object.__setattr__(self, "atoms", atoms)
        object.__setattr__(self, "masses", masses)
        for name, axis in (("neurons", 0), ("readout", 1)):
            extra = getattr(self, name)
            if extra is None:
                continue
            extra = numbers_of(extra, name)
            if extra.ndim != 2 or extra.shape[axis] != masses.size or not np.isfinite(extra).all():
                raise InputError(f"{name} must be a finite 2-d array with {masses.size} entries on axis {axis}.")
            object.__setattr__(self, name, extra)
        if self.compact is not None and len(self.compact) != masses.size:
            raise InputError(f"compact must describe {masses.size} atoms; it describes {len(self.compact)}.")

    @staticmethod
    def zero(n_samples: int) -> Measure:
        """The zero measure over P samples."""
        return Measure(np.zeros((0, n_samples)), np.zeros(0))

    @property
    def n_atoms(self) -> int:
        """J."""
        return int(self.masses.size)

    @property
    def total_mass(self) -> float:
        """int d rho."""
        return float(self.masses.sum())

    def take(self, keep: NDArray[np.intp] | NDArray[np.bool_]) -> Measure:
        """The restriction to some atoms."""
        return Measure(
            self.atoms[keep],
            self.masses[keep],
            None if self.neurons is None else self.neurons[keep],
            None if self.readout is None else self.readout[:, keep],
            None if self.compact is None else self.compact.take(keep),
        )

    def rescaled(self, factor: float) -> Measure:
        """Neurons times ``factor``, masses over factor^2: the same energy where phi is homogeneous of degree 1."""
        return Measure(
            self.atoms * factor,
            self.masses / factor**2,
            None if self.neurons is None else self.neurons * factor,
            None if self.readout is None else self.readout * factor,
        )

    def support(self) -> Measure:
        """The restriction to atoms of positive mass."""
        return self if (self.masses > 0).all() else self.take(self.masses > 0)

    @staticmethod
    def of_labels(compact: LabelPatterns, masses: Array, targets: Array, readout: Array | None = None) -> Measure:
        """A measure on patterns that depend on few labels; ``targets`` is Y (d_Y, P), a matrix of signs."""
        return Measure(compact.arrays(targets), masses, None, readout, compact)

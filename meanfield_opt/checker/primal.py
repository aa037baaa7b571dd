"""The primal witness of a certificate: its energy, and where that needs no patterns of length P, without forming them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..problem import TwoLayerProblem
from ..rounding import sum_bounds
from .bounds import network_energy_upper
from .codec import decode_array, expect_keys
from .compact import decode_patterns
from .document import decode_measure
from .invariant import tables_energy_upper


def primal_energy_upper(problem: TwoLayerProblem, value: Any, what: str) -> float:
    """A rigorous upper bound on the energy of the measure that a certificate holds; CertificateError where it is malformed."""
    reduced = _from_tables(problem, value, what)
    return network_energy_upper(problem, decode_measure(problem, value, what)) if reduced is None else reduced


def _from_tables(problem: TwoLayerProblem, value: Any, what: str) -> float | None:
    """The bound for well-formed patterns over few labels; None for anything else."""
    expect_keys(value, {"masses", "atoms", "neurons", "readout"}, what)
    atoms = value["atoms"]
    if not isinstance(atoms, dict) or "labels" not in atoms or value["neurons"] is not None or value["readout"] is None:
        return None
    compact = decode_patterns(atoms)
    masses = decode_array(value["masses"], f"{what}: masses", ndim=1)
    readout = decode_array(value["readout"], f"{what}: readout", ndim=2)
    if masses.size == 0 or masses.shape != (len(compact),) or readout.shape != (problem.n_outputs, masses.size):
        return None
    if not (np.isfinite(masses).all() and (masses > 0).all() and np.isfinite(readout).all()):
        return None
    if problem.width is not None and not sum_bounds(masses)[1] <= problem.width:
        return None
    return tables_energy_upper(problem, compact, masses, readout)

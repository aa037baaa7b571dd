"""Symmetry: where it comes from (declared, or detected from the data, exactly) and what it reduces.

Here: the interface and what the core needs. ``symmetry.detect``, ``symmetry.generators``, ``symmetry.relaxation`` and
``symmetry.theta`` are imported where they are used.
"""

from .base import Symmetry, average_over_hypercube
from .coherent import Configuration, coherent_closure, discrete
from .hypercube_group import hypercube_generators
from .signed import SignedPermutation

__all__ = [
    "Configuration",
    "SignedPermutation",
    "Symmetry",
    "average_over_hypercube",
    "coherent_closure",
    "discrete",
    "hypercube_generators",
]

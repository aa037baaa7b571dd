"""Named problem families, one a file, each instance with its known answer where there is one."""

import meanfield_opt  # noqa: F401  first: it imports the modules below, one by one, while this package is still empty

from .dataset import dataset
from .deep_hypercube import deep_hypercube
from .design import OptimalDesign, optimal_design
from .digits import digits
from .hypercube import hypercube
from .quadratic import (
    StandardQuadraticProgram,
    planted_quadratic_program,
    stability_program,
    standard_quadratic_program,
)

__all__ = [
    "OptimalDesign",
    "StandardQuadraticProgram",
    "dataset",
    "deep_hypercube",
    "digits",
    "hypercube",
    "optimal_design",
    "planted_quadratic_program",
    "stability_program",
    "standard_quadratic_program",
]

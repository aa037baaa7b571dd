"""The named problem families: built-in ones as functions, those of plug-ins by attribute or through ``family``."""

from typing import Any

from meanfield_problems.dataset import dataset
from meanfield_problems.deep_hypercube import deep_hypercube
from meanfield_problems.design import optimal_design
from meanfield_problems.digits import digits
from meanfield_problems.hypercube import hypercube
from meanfield_problems.quadratic import (
    planted_quadratic_program,
    stability_program,
    standard_quadratic_program,
)

from .plugins import FAMILIES

names = FAMILIES.names
family = FAMILIES.get

__all__ = [
    "dataset",
    "deep_hypercube",
    "digits",
    "family",
    "hypercube",
    "names",
    "optimal_design",
    "planted_quadratic_program",
    "stability_program",
    "standard_quadratic_program",
]


def __getattr__(name: str) -> Any:
    """A plug-in's family."""
    if name in FAMILIES.names():
        return FAMILIES.get(name)
    raise AttributeError(f"there is no problem family {name!r}; known: {', '.join(FAMILIES.names())}.")

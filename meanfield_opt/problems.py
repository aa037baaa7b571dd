"""The named problem families (built-in ones as functions; any registered one through ``family``)."""

from meanfield_problems import (
    dataset,
    deep_hypercube,
    digits,
    hypercube,
    optimal_design,
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

"""Truth tests: claimed bounds against exact values, on inputs chosen to break them.

Each test takes one claim (a matrix proved PSD or copositive, an energy bounded from above or below, a dual value bounded
from below, a supremum bounded from above, a lower bound on the optimum) and compares it, in exact rationals or ball
arithmetic, with the truth or with a value that is independently known to be attained.
``run(kind, count, seed)`` returns (tests made, claims made, false claims).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from truth_data import Result, Rng
from truth_forms import forms
from truth_neurons import boxes, cells, neurons
from truth_optima import optima
from truth_suprema import suprema, widths
from truth_values import energies, logistic_duals

KINDS: dict[str, Callable[[int, Rng], Result]] = {
    "forms": forms,
    "energies": energies,
    "logistic": logistic_duals,
    "suprema": suprema,
    "widths": widths,
    "optima": optima,
    "boxes": boxes,
    "cells": cells,
    "neurons": neurons,
}


def run(kind: str, count: int, seed: int | tuple[int, ...]) -> Result:
    """One family of truth tests."""
    return KINDS[kind](count, np.random.default_rng(seed))

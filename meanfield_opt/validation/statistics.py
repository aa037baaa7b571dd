"""Numbers over seeds in short: means with standard errors, quantiles, and JSON without NaN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def spread(values: Array) -> dict[str, Any]:
    """Mean, standard error over seeds, least and greatest of the finite values; None where there are none."""
    fine = values[np.isfinite(values)]
    if fine.size == 0:
        return {"mean": None, "standard_error": None, "least": None, "greatest": None}
    error = float(fine.std(ddof=1) / math.sqrt(fine.size)) if fine.size > 1 else 0.0
    return {
        "mean": float(fine.mean()),
        "standard_error": error,
        "least": float(fine.min()),
        "greatest": float(fine.max()),
    }


def extreme(values: Array, largest: bool) -> float | None:
    """The greatest or the least finite value."""
    fine = values[np.isfinite(values)]
    if fine.size == 0:
        return None
    return float(fine.max() if largest else fine.min())


def quantiles(values: Array) -> dict[str, float]:
    """Least, quartiles and greatest of all values."""
    names = {"least": 0.0, "quarter": 0.25, "median": 0.5, "three_quarters": 0.75, "greatest": 1.0}
    return {name: float(np.quantile(values, q)) for name, q in names.items()}


def jsonable(value: Any) -> Any:
    """NaN and infinity are no JSON: they become null; numpy numbers become plain ones."""
    if isinstance(value, dict):
        return {k: jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(v) for v in value]
    if isinstance(value, np.ndarray):
        return jsonable(value.tolist())
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value

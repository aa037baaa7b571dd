"""What ``certify`` returns: two-sided bounds and how they were proved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checker.assumptions import assumptions
from ..checker.document import write_document
from ..measure import Measure
from ..problem import MeanFieldProblem, TwoLayerProblem
from .engine import SupremumProof
from .improve import Refutation

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Certificate:
    """Two-sided bounds on inf E over measures.

    verdict: "proved": the lower bound is rigorous, rounding included, whatever the size of the gap;
    "open": no proof was found, lower_bound is only the trivial one; "refuted": the candidate is proved not optimal:
    ``refutation.better`` has provably less energy, and ``neuron`` lowers the energy. The bounds stay valid in each case.
    neuron: the worst neuron theta (r,) met, a next column for column generation, or None.
    document: the certificate in JSON values, for problems that are not two-layer ones (their certifier fills it).
    interrupted: by the user (Ctrl-C); the bounds are those that were proved until then.
    """

    problem: MeanFieldProblem
    measure: Measure
    dual: Array
    lower_bound: float
    upper_bound: float
    verdict: str
    proof: str
    supremum: SupremumProof | None
    scale: float
    neuron: Array | None = None
    stats: dict[str, Any] = field(default_factory=dict)
    refutation: Refutation | None = None
    document: Mapping[str, Any] | None = None
    interrupted: bool = False

    @property
    def relative_gap(self) -> float:
        """(upper - lower) / max(1e-300, |upper|)."""
        return (self.upper_bound - self.lower_bound) / max(1e-300, abs(self.upper_bound))

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the bounds take for granted beyond IEEE arithmetic, one sentence each: e.g. ranges that a user's class declares."""
        return assumptions(self.problem) if isinstance(self.problem, TwoLayerProblem) else ()

    def uninterrupted(self) -> Certificate:
        """Itself; KeyboardInterrupt where the user interrupted it: for loops and long work that are to end then."""
        if self.interrupted:
            raise KeyboardInterrupt
        return self

    def save(self, path: str | Path) -> None:
        """Write the self-contained certificate file (JSON)."""
        write_document(self, path)

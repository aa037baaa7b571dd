"""The one global question behind every bound, and what an engine that answers it must return."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..plugins import Registry
from ..problem import TwoLayerProblem

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Question:
    """The supremum of the first variation at a dual point Z (d_Y, P), over all patterns h.

    Free mass ("ratio"): how large is sigma = sup_h |Z phi(h)| / sqrt(tau c(h))?
    Width M ("excess"): how large is kappa = max(0, sup_h |Z phi(h)|^2 / (4 l2) - l1 c(h))?
    movable: an engine may answer for another dual point that bounds the energy better (``Outcome.dual``).
    """

    problem: TwoLayerProblem
    dual: Array
    movable: bool = False

    @property
    def mode(self) -> str:
        """ "ratio" for free mass, "excess" under a width."""
        return "ratio" if self.problem.width is None else "excess"


@dataclass(frozen=True, eq=False)
class SupremumProof:
    """A proved upper bound on the supremum, with everything the independent checker needs to see it again.

    kind: the replay in ``meanfield_opt.checker`` that understands ``artefact`` (JSON values; arrays by
    ``document.encode_array``). words: the proof in one sentence. bound: sigma ("ratio") or kappa ("excess").
    """

    kind: str
    words: str
    bound: float
    artefact: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """When an engine may stop. It always stops with a valid bound, or with none.

    seconds: wall-clock limit. target: stop as soon as the bound is within this factor: sigma <= best seen (1 + target).
    workers: threads. progress: called with (proved upper, best lower, open nodes). checkpoint: a file to resume from.
    """

    seconds: float = 60.0
    target: float = 1e-7
    workers: int = 2
    progress: Callable[[float, float, int], None] | None = None
    checkpoint: str | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """An engine's answer: a proof (or None), and the worst neuron theta (r,) it met: the next column if not optimal.

    complete: False when a limit stopped the engine before it reached ``Limits.target``. interrupted: by the user (Ctrl-C),
    and the proof is what was finished before; an engine that has nothing finished lets KeyboardInterrupt pass. dual: the dual point that the
    proof is for, where the question is movable and another one suits the engine's relaxation better.
    """

    proof: SupremumProof | None
    neuron: Array | None = None
    complete: bool = True
    stats: dict[str, Any] = field(default_factory=dict)
    dual: Array | None = None
    interrupted: bool = False


class ProofEngine(ABC):
    """A way to prove the supremum. Stateless."""

    name: str

    @abstractmethod
    def refusal(self, question: Question) -> str | None:
        """None if the engine applies, otherwise the reason."""

    @abstractmethod
    def predicted_seconds(self, question: Question) -> float:
        """A rough cost estimate, used to choose; math.inf for "only when asked by name"."""

    @abstractmethod
    def tightness(self, question: Question) -> int:
        """0: closes the gap when given time; 1: usually tight; 2: a relaxation; 9: a crude fallback."""

    @abstractmethod
    def prove(self, question: Question, limits: Limits) -> Outcome:
        """Answer the question."""


ENGINES: Registry[ProofEngine] = Registry("meanfield_opt.engines", "proof engine", lambda x: isinstance(x, ProofEngine))


def applicable(question: Question) -> list[ProofEngine]:
    """Engines that take the question, best first: by tightness, then by predicted cost."""
    engines = [ENGINES.get(name) for name in ENGINES.names()]
    usable = [e for e in engines if e.refusal(question) is None and e.predicted_seconds(question) < math.inf]
    return sorted(usable, key=lambda e: (e.tightness(question), e.predicted_seconds(question)))

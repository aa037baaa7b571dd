"""What a solver backend is, and ``solve``."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError, RefusalError, SolveError
from .free_bias import solve_free_bias, surrogate
from .measure import Measure
from .plugins import Registry
from .problem import MeanFieldProblem, TwoLayerProblem
from .solution import Solution
from .threads import blas_threads, entries_of
from .validate import flag, instance, integer, nonnegative, seconds, shown

if TYPE_CHECKING:
    from .formulation.solver import ConicSolver


@dataclass(frozen=True)
class Progress:
    """What a progress hook receives: all numbers are floating-point estimates, none is a certificate."""

    stage: str
    iteration: int
    energy: float
    lower_estimate: float
    seconds: float
    atoms: int


@dataclass(frozen=True)
class SolveOptions:
    """Options every backend understands. ``extra`` holds backend-specific ones, checked by the backend."""

    tolerance: float = 1e-6
    time_limit: float = math.inf
    max_iterations: int | None = None
    seed: int = 0
    start: Measure | None = None
    progress: Callable[[Progress], None] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < nonnegative(self.tolerance, "tolerance") < 1:
            raise InputError(f"tolerance must lie in (0, 1), not {self.tolerance!r}.")
        seconds(self.time_limit, "time_limit")
        if self.max_iterations is not None:
            integer(self.max_iterations, "max_iterations", least=1)
        integer(self.seed, "seed", least=0)
        if self.start is not None:
            instance(self.start, Measure, "start", "a Measure (solution.measure, or mfo.from_torch(network, X))")
        if self.progress is not None and not callable(self.progress):
            raise InputError(f"progress must be a function of a Progress, not {shown(self.progress)}.")


@dataclass(frozen=True)
class Availability:
    """Whether a backend can run here, found out without importing the solver: version if installed, else the reason."""

    installed: bool
    version: str | None = None
    reason: str | None = None


class Backend(ABC):
    """A solver. Stateless; finds and fails loudly; certifies nothing."""

    name: str
    #: in one sentence: what it does and for which problems
    summary: str
    #: the conic solver behind it, if there is one: its cones and licence state are listed
    conic: ConicSolver | None = None

    @abstractmethod
    def availability(self) -> Availability:
        """Installed or not, and why not; must not import the solver."""

    @abstractmethod
    def refusal(self, problem: MeanFieldProblem) -> str | None:
        """None if the backend takes the problem; otherwise the reason why not, as a sentence."""

    @abstractmethod
    def solve(self, problem: MeanFieldProblem, options: SolveOptions) -> Solution:
        """Solve; raise SolveError, LicenseError or MissingDependencyError rather than return nothing."""


class Remembering(Backend):
    """A backend that takes the option ``memory``, a dict that it fills and reads again when the same data come under other penalties."""

    @abstractmethod
    def reconsider(
        self, solution: Solution, memory: dict[str, Any], others: Sequence[dict[str, Any]], options: SolveOptions
    ) -> Solution:
        """``solution`` judged again by what runs under other penalties have met since.

        memory: what the option of that name held after this solve; others: after those of other penalties. A claim that they refute becomes
        INACCURATE, and what refutes it goes into ``memory``, for another solve.
        """


#: general backends are listed; those for one class of problems (special) are found by name
BACKENDS: Registry[Backend] = Registry(
    "meanfield_opt.backends", "backend", lambda item: isinstance(item, Backend), "meanfield_opt.special_backends"
)


def backends(*, special: bool = False) -> list[str]:
    """Names of the registered backends for two-layer problems; with ``special`` also of those for one narrow class
    (copositive programs, designs, step activations). Imports none of them."""
    return BACKENDS.names(special=flag(special, "special"))


def solve(
    problem: MeanFieldProblem,
    backend: str | Backend = "column_generation",
    *,
    tolerance: float = 1e-6,
    time_limit: float = math.inf,
    max_iterations: int | None = None,
    seed: int = 0,
    start: Measure | None = None,
    progress: Callable[[Progress], None] | None = None,
    **extra: Any,
) -> Solution:
    """Solve ``problem`` with a named backend; raises on failure, and never falls back on another solver.

    tolerance: relative duality gap aimed at. time_limit: seconds after which no new step is begun; the one at hand ends, and the
    best so far is returned. start: a measure to start from.
    progress: called now and then with a ``Progress``. extra: options of that backend. An unpenalised hidden bias is
    solved for with a very small penalty (``free_bias``), and the solution taken back; its energy is the problem's own.
    """
    if not isinstance(problem, MeanFieldProblem):
        raise InputError(f"solve needs a MeanFieldProblem, not {type(problem).__name__}.")
    chosen = backend if isinstance(backend, Backend) else BACKENDS.get(backend)
    free_bias = isinstance(problem, TwoLayerProblem) and problem.geometry.free_parameters > 0
    posed = surrogate(problem) if free_bias and isinstance(problem, TwoLayerProblem) else problem
    reason = chosen.refusal(posed)
    if reason is not None:
        raise RefusalError(f"backend {chosen.name!r} refuses {problem.name}: {reason}")
    options = SolveOptions(tolerance, time_limit, max_iterations, seed, start, progress, dict(extra))
    if start is not None and isinstance(problem, TwoLayerProblem) and start.atoms.shape[1] != problem.n_samples:
        raise InputError(f"start has patterns over {start.atoms.shape[1]} samples, the problem {problem.n_samples}.")
    try:
        with blas_threads(entries_of(problem)):
            if free_bias and isinstance(problem, TwoLayerProblem):
                return solve_free_bias(chosen, problem, options)
            return chosen.solve(problem, options)
    except (np.linalg.LinAlgError, ArithmeticError) as error:
        raise SolveError(
            f"backend {chosen.name!r} broke down numerically on {problem.name} ({error}); bring inputs and targets to order one."
        ) from error

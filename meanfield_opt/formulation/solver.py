"""What a conic solver is: a program in, an answer in the project's conventions out."""

from __future__ import annotations

import importlib.util
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, fields
from importlib import metadata
from typing import Any, TypeVar

from ..backend import Availability
from ..errors import InputError, MissingDependencyError, SolveError
from ..solution import Status
from .program import ConicAnswer, ConicProgram

T = TypeVar("T")


@dataclass(frozen=True)
class ConicLimits:
    """tolerance: asked of the solver's own stopping rule. time_limit: seconds. max_iterations: None for the solver's own."""

    tolerance: float = 1e-9
    time_limit: float = math.inf
    max_iterations: int | None = None


class ConicSolver(ABC):
    """A solver of conic programs. Stateless; maps every status word; falls back on nothing."""

    name: str
    #: the cones it takes, out of ``program.CONES``: zero, nonnegative, second_order, psd, exponential
    cones: frozenset[str]
    #: its typed options
    options_type: type

    @abstractmethod
    def availability(self) -> Availability:
        """Installed or not, without importing."""

    @abstractmethod
    def solve(self, program: ConicProgram, limits: ConicLimits, options: Any) -> ConicAnswer:
        """Solve the program; LicenseError or MissingDependencyError if the solver cannot run here."""

    @abstractmethod
    def licence(self) -> str:
        """The licence state in words, without importing: "open source", "licence file found", ..."""


def cone_refusal(solver: ConicSolver, program: ConicProgram) -> str | None:
    """None if the solver takes the cones of the program, otherwise the reason."""
    missing = sorted(program.cones.kinds() - solver.cones)
    if missing:
        return f"{solver.name} does not take the {' and '.join(missing)} cone of the {program.label}."
    return None


def package_availability(package: str, distribution: str, extra: str | None) -> Availability:
    """Whether a package is there, and its version, from metadata alone."""
    if importlib.util.find_spec(package) is None:
        install = f"pip install 'meanfield-opt[{extra}]'" if extra else f"pip install {distribution}"
        return Availability(False, None, f"{package} is not installed: {install}.")
    try:
        return Availability(True, metadata.version(distribution))
    except metadata.PackageNotFoundError:
        return Availability(True, "unknown")


def import_solver(name: str, availability: Availability, load: Callable[[], T]) -> T:
    """Import a solver's module: missing and broken are different errors."""
    if not availability.installed:
        raise MissingDependencyError(f"backend {name!r} is missing its solver: {availability.reason}")
    try:
        return load()
    except ImportError as error:
        raise SolveError(f"backend {name!r} is installed but broken: {error}; reinstall it.") from error


def parse_options(kind: type[T], name: str, extra: dict[str, Any]) -> T:
    """Typed options from keyword arguments; unknown names and wrong types are InputErrors."""
    known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(extra) - set(known))
    if unknown:
        raise InputError(
            f"backend {name!r} has no option {', '.join(map(repr, unknown))}; it has {', '.join(sorted(known)) or 'none'}."
        )
    for key, value in extra.items():
        default = known[key].default
        wanted = type(default)
        good = isinstance(value, (int, float)) if wanted is float else isinstance(value, wanted)
        if default is not None and (not good or (isinstance(value, bool) and wanted is not bool)):
            raise InputError(f"option {key!r} of backend {name!r} must be {wanted.__name__}, not {value!r}.")
    return kind(**extra)


S = TypeVar("S", Status, Status | None)


def map_status(table: dict[Any, S], word: Any, name: str) -> S:
    """The status of a solver's word; one that is not in the table is an error, never a guess."""
    if word not in table:
        raise SolveError(f"{name} ended with {word!r}, a status this adapter does not know; please report it.")
    return table[word]


class Recorded(list[str]):
    """Warnings that a solver gave."""

    def status(self, status: Status) -> Status:
        """A solved program with a warning is an inaccurate one."""
        return Status.INACCURATE if self and status is Status.SOLVED else status

    def words(self, words: str) -> str:
        """The solver's words and the warnings."""
        return "; ".join([words, *self])


@contextmanager
def recorded_warnings() -> Any:
    """Collect Python warnings as texts instead of showing them."""
    record = Recorded()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield record
        finally:
            record += [f"warning: {item.message}" for item in caught if not _is_housekeeping(item)]


def _is_housekeeping(item: warnings.WarningMessage) -> bool:
    """Deprecations and matrix format conversions say nothing about the answer."""
    return issubclass(item.category, (DeprecationWarning, PendingDeprecationWarning, FutureWarning)) or (
        "Converting" in str(item.message)
    )

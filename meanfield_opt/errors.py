"""Every error the package raises on purpose. Each says what was asked, what stands in the way and what to do.

``exit_code`` is what the command line returns for that error.
"""

from __future__ import annotations

from typing import Any


class MeanFieldError(Exception):
    """Base class of all deliberate errors of meanfield-opt."""

    exit_code = 2


class InputError(MeanFieldError, ValueError):
    """The input cannot be used as given: shape, NaN, sign of a penalty, unreadable file, ..."""


class UnknownNameError(InputError):
    """A name (backend, problem, activation, loss, ...) that nothing is registered under."""


class NotAttainedError(InputError):
    """The infimum of the problem is not attained, so there is no optimal measure to return.

    approach: a measure whose energy comes near the infimum, where one was found, else None. A value in the message is an
    estimate; ``mfo.certify(problem, error.approach)`` proves bounds on both sides of the infimum.
    """

    def __init__(self, message: str, approach: Any = None) -> None:
        super().__init__(message)
        self.approach = approach


class RefusalError(InputError):
    """A backend or engine declines this problem; the message carries its reason."""


class SolveError(MeanFieldError):
    """A solver ended without a usable answer."""

    exit_code = 1


class MissingDependencyError(MeanFieldError, ImportError):
    """An optional package that the request needs is not installed."""

    exit_code = 4


class LicenseError(MeanFieldError):
    """A commercial solver is installed but has no usable licence."""

    exit_code = 4


class BrokenPluginError(MeanFieldError):
    """A plug-in is registered but cannot be loaded, or does not implement its extension point."""

    exit_code = 4


class CertificateError(MeanFieldError):
    """A certificate is corrupt, belongs to another problem, or does not prove what it claims."""

    exit_code = 3


class UndefinedMetricError(InputError):
    """A representation metric has no value for this input (too few labels or conditions, a zero representation)."""

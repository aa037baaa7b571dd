"""Two-layer torch networks to and from measures. torch is imported inside."""

from __future__ import annotations

from typing import Any

from ..errors import MissingDependencyError
from ..measure import Measure
from ..problem import TwoLayerProblem


def import_torch() -> Any:
    """The torch module; MissingDependencyError with the install line if it is absent."""
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError("this needs torch: pip install 'meanfield-opt[torch]'.") from error
    return torch


def network_from_measure(problem: TwoLayerProblem, measure: Measure) -> Any:
    """A torch.nn.Module whose forward pass on the problem's inputs is the measure's network."""
    raise MissingDependencyError("networks are not part of this build yet.")


def measure_from_network(problem: TwoLayerProblem, module: Any) -> Measure:
    """The measure of a trained two-layer torch network."""
    raise MissingDependencyError("networks are not part of this build yet.")

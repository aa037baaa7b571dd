"""Certified optima against networks trained in torch. torch is imported only inside functions."""

from .comparing import compare
from .comparison import Comparison
from .networks import from_torch, measure_from_network, network_from_measure
from .options import TrainingProgress, TrainOptions
from .seed_result import SeedResult

__all__ = [
    "Comparison",
    "SeedResult",
    "TrainOptions",
    "TrainingProgress",
    "compare",
    "from_torch",
    "measure_from_network",
    "network_from_measure",
]

"""The input geometry: K_X^+ as an operator, in whichever structure the data have."""

from .base import Enclosure, Geometry
from .dense import DenseGeometry
from .factor import FactorGeometry, features_with_bias
from .free_bias import FreeBiasGeometry
from .low_rank import DiagonalPlusLowRank

__all__ = [
    "DenseGeometry",
    "DiagonalPlusLowRank",
    "Enclosure",
    "FactorGeometry",
    "FreeBiasGeometry",
    "Geometry",
    "features_with_bias",
]

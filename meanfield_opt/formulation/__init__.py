"""Problems as conic programs, and the way back."""

from .arrangement import cell_count_bound, enumerate_cells, sample_cells
from .arrangement_sdp import ArrangementSDP
from .base import Formulation, Lifted
from .dnn_lift import DNNLift
from .group_lasso import GroupLasso
from .moment import MomentProgram
from .parrilo import ParriloLift
from .program import Cones, ConicAnswer, ConicProgram
from .solver import ConicLimits, ConicSolver

__all__ = [
    "ArrangementSDP",
    "Cones",
    "ConicAnswer",
    "ConicLimits",
    "ConicProgram",
    "ConicSolver",
    "DNNLift",
    "Formulation",
    "GroupLasso",
    "Lifted",
    "MomentProgram",
    "ParriloLift",
    "cell_count_bound",
    "enumerate_cells",
    "sample_cells",
]

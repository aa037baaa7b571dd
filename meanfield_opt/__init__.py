"""meanfield-opt: find and prove global optima of problems over measures."""

from . import copositive, errors, metrics, problems
from .activation import Activation
from .activations.check import check_activation
from .activations.user import activation_from
from .backend import Backend, SolveOptions, backends, solve
from .certificate import Certificate, certify, close_gap
from .checker.verify import VerifiedBound, verify
from .errors import CertificateError, InputError, MeanFieldError, RefusalError, SolveError, UnknownNameError
from .geometry import DenseGeometry, DiagonalPlusLowRank, FactorGeometry, Geometry
from .integer_width import IntegerWidth, integer_width
from .loss import Loss
from .losses.user import loss_from
from .map_plot import phase_diagram
from .measure import Measure
from .network_bound import NetworkBound, network_bound
from .path import path
from .pattern import Pattern, patterns
from .plugins import activation, loss, register_activation, register_loss
from .problem import KnownAnswer, MeanFieldProblem, TwoLayerProblem
from .scan import scan
from .solution import Solution, Status
from .validation import Comparison, TrainOptions, compare, from_torch

__version__ = "0.1.0"

__all__ = [
    "Activation",
    "Backend",
    "Certificate",
    "CertificateError",
    "Comparison",
    "DenseGeometry",
    "DiagonalPlusLowRank",
    "FactorGeometry",
    "Geometry",
    "InputError",
    "IntegerWidth",
    "KnownAnswer",
    "Loss",
    "MeanFieldError",
    "MeanFieldProblem",
    "Measure",
    "NetworkBound",
    "Pattern",
    "RefusalError",
    "Solution",
    "SolveError",
    "SolveOptions",
    "Status",
    "TrainOptions",
    "TwoLayerProblem",
    "UnknownNameError",
    "VerifiedBound",
    "activation",
    "activation_from",
    "backends",
    "certify",
    "check_activation",
    "close_gap",
    "compare",
    "copositive",
    "errors",
    "from_torch",
    "integer_width",
    "loss",
    "loss_from",
    "metrics",
    "network_bound",
    "path",
    "patterns",
    "phase_diagram",
    "problems",
    "register_activation",
    "register_loss",
    "scan",
    "solve",
    "verify",
]

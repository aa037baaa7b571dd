"""The proofs of suprema that the checker understands, and the replay of one of them, which may hold others inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CertificateError
from ..geometry import FreeBiasGeometry
from ..problem import TwoLayerProblem
from . import envelope, free_bias, input_view, levels, neurons, output_view, pairs, shor, sign_cells, two_scales
from .codec import decode_float, expect_keys
from .exchange import replay_exchange
from .lift import replay_lift
from .norm import norm_sigma
from .symmetric import replay_hypercube

Array = NDArray[np.float64]

#: kind of proof -> replay(problem, dual, claimed bound, artefact) -> a rigorous bound on the supremum (or an error)
Replay = Callable[[TwoLayerProblem, Array, float, dict[str, Any]], float]
REPLAYS: dict[str, Replay] = {
    "envelope": envelope.replay,
    "input_view": input_view.replay,
    "output_view": output_view.replay,
    "levels": levels.replay,
    "neurons": neurons.replay,
    "norm": lambda problem, dual, claimed, artefact: norm_sigma(problem, dual),
    "hypercube": replay_hypercube,
    "shor": shor.replay,
    "copositive": replay_lift,
    "exchange": replay_exchange,
    "pairs": pairs.replay,
    "cells": sign_cells.replay,
    "free_bias": lambda problem, dual, claimed, artefact: _free_bias(problem, dual, artefact),
    "two_scales": two_scales.replay_two_scales,
}
#: kind of proof -> the suprema that its replay bounds: "ratio" (sigma, free mass), "excess" (kappa, under a width).
#: A ratio says nothing about the excess: where sigma > 1 and phi is homogeneous, kappa is infinite.
PROVES: dict[str, frozenset[str]] = {
    "envelope": frozenset({"excess"}),
    "input_view": frozenset({"ratio"}),
    "output_view": frozenset({"ratio"}),
    "levels": frozenset({"ratio", "excess"}),
    "neurons": frozenset({"excess"}),
    "norm": frozenset({"ratio"}),
    "hypercube": frozenset({"ratio"}),
    "shor": frozenset({"ratio"}),
    "copositive": frozenset({"ratio"}),
    "exchange": frozenset({"ratio"}),
    "pairs": frozenset({"ratio", "excess"}),
    "cells": frozenset({"ratio"}),
    "free_bias": frozenset({"ratio"}),
    "two_scales": frozenset({"ratio"}),
}


def supremum(problem: TwoLayerProblem, dual: Array, proof: Any) -> float:
    """The bound that a proof claims, once its replay has given it."""
    expect_keys(proof, {"kind", "words", "bound", "artefact"}, "the proof")
    kind = proof["kind"]
    if not isinstance(kind, str) or kind not in REPLAYS:
        raise CertificateError(f"proofs of kind {kind!r} are unknown to this checker.")
    if not isinstance(proof["words"], str) or not isinstance(proof["artefact"], dict):
        raise CertificateError("the proof needs words and an artefact.")
    if ("ratio" if problem.width is None else "excess") not in PROVES[kind]:
        mass = "free mass" if problem.width is None else "a width"
        raise CertificateError(f"a proof of kind {kind!r} does not bound the supremum under {mass}.")
    if problem.geometry.free_parameters and kind != "free_bias":
        # all other replays take the cost of a pattern for a norm, and here it is none along 1
        raise CertificateError(
            f"a proof of kind {kind!r} does not bound the supremum under an unpenalised hidden bias."
        )
    claimed = decode_float(proof["bound"], "the supremum")
    bound = REPLAYS[kind](problem, dual, claimed, proof["artefact"])
    if not 0 <= bound <= claimed:
        raise CertificateError(f"the proof gives the supremum {bound!r}, not the claimed {claimed!r}.")
    return claimed


def _free_bias(problem: TwoLayerProblem, dual: Array, artefact: dict[str, Any]) -> float:
    """The supremum under an unpenalised bias from a proof for the surrogate."""
    if not isinstance(problem.geometry, FreeBiasGeometry):
        raise CertificateError("a proof for a free bias is for a problem whose hidden bias is unpenalised.")
    centre, column, inner = free_bias.decode(artefact)
    sigma = supremum(free_bias.surrogate_of(problem, centre, column), dual, inner)
    return free_bias.free_bias_sigma(problem, dual, centre, column, sigma)

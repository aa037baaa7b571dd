"""The strongest claims that given witnesses allow, found with the checker's own functions: what a forger would write."""

from __future__ import annotations

from typing import Any

import numpy as np

import meanfield_opt as mfo
from meanfield_opt.checker.bounds import best_rigorous_scale, lower_from_proof
from meanfield_opt.checker.codec import encode_float
from meanfield_opt.checker.compact import decode_dual
from meanfield_opt.checker.embed import problem_entry
from meanfield_opt.checker.replays import REPLAYS
from meanfield_opt.errors import CertificateError
from meanfield_opt.problem import TwoLayerProblem


def strongest(body: dict[str, Any], problem: TwoLayerProblem) -> dict[str, Any]:
    """The certificate of the zero measure with these dual point and proof for ``problem``, claiming all it can.

    CertificateError where the replay already refuses, or breaks down over numbers of the wrong kind.
    """
    zero = np.zeros_like(problem.targets)
    whole = problem
    problem = problem if problem.width_binds else problem.with_free_mass()
    try:
        with np.errstate(all="ignore"):
            dual = decode_dual(body["dual"], problem.targets)
            kind = body["proof"]["kind"]
            bound = float(REPLAYS[kind](problem, dual, np.inf, body["proof"]["artefact"]))
            scale = best_rigorous_scale(problem, dual, bound)
            lower = lower_from_proof(problem, dual, scale, bound)
            upper = problem.loss.value_upper(zero, zero, problem.targets)
            claims = {"lower": encode_float(lower), "upper": encode_float(upper), "verdict": "proved"}
    except (
        mfo.MeanFieldError,
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        ArithmeticError,
        AttributeError,
        AssertionError,
    ) as error:
        raise CertificateError(f"nothing to claim: {error}") from error
    nothing = {"shape": [0, problem.n_samples], "f8": ""}
    by_neurons = body["primal"]["neurons"] is not None
    primal = {
        "masses": {"shape": [0], "f8": ""},
        "atoms": None if by_neurons else nothing,
        "neurons": {"shape": [0, problem.geometry.n_parameters], "f8": ""} if by_neurons else None,
        "readout": None,
    }
    return {
        **body,
        "problem": problem_entry(whole),
        "primal": primal,
        "proof": {**body["proof"], "bound": encode_float(bound)},
        "scale": encode_float(scale),
        "refutation": None,
        "claims": claims,
    }

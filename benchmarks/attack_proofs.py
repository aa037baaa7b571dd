"""Proofs in a form that an engine gives only now and then, so that every form is there to be attacked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import meanfield_opt as mfo
from meanfield_opt.certificate import Limits, Question, SupremumProof
from meanfield_opt.certificate.envelope_search import EnvelopeSearch
from meanfield_opt.checker.bounds import best_rigorous_scale, lower_from_proof
from meanfield_opt.checker.codec import encode_float
from meanfield_opt.checker.copositive_file import encode
from meanfield_opt.checker.exchange import integer_form, types_of
from meanfield_opt.checker.symmetric import sqrt_upper, tau_exact
from meanfield_opt.problem import TwoLayerProblem


def with_proof(certificate: mfo.Certificate, proof: SupremumProof) -> mfo.Certificate:
    """The certificate with another proof about its dual point, claiming what that gives."""
    problem, dual = certificate.problem, certificate.dual
    assert isinstance(problem, TwoLayerProblem)
    scale = best_rigorous_scale(problem, dual, proof.bound)
    lower = lower_from_proof(problem, dual, scale, proof.bound)
    return replace(certificate, supremum=proof, scale=scale, lower_bound=lower)


def exact_exchange(certificate: mfo.Certificate) -> SupremumProof:
    """An exact copositivity proof in the place of the exchange engine's split, at a larger t."""
    problem, proof = certificate.problem, certificate.supremum
    assert isinstance(problem, TwoLayerProblem)
    assert proof is not None
    types, t = types_of(problem, certificate.dual), 1.01 * float.fromhex(proof.artefact["t"])
    assert types is not None
    answer = mfo.copositive.check(integer_form(types, t))
    assert isinstance(answer, mfo.copositive.Copositive)
    artefact = json.loads(json.dumps({"t": encode_float(t), "copositivity": encode(answer.proof.artefact)}))
    return SupremumProof("exchange", proof.words, sqrt_upper(Fraction(t) / tau_exact(problem)), artefact)


def split_envelope(certificate: mfo.Certificate) -> SupremumProof:
    """The envelope engine's proof with beta as a coordinate of its own."""
    problem = certificate.problem
    assert isinstance(problem, TwoLayerProblem)
    search = EnvelopeSearch(Question(problem, certificate.dual), Limits(target=2e-2), split=True)
    search.run(time.monotonic() + 2.0)
    proof = search.outcome().proof
    assert proof is not None
    return proof


#: name of a case -> what replaces the engine's own proof
OTHER_FORMS: dict[str, Callable[[mfo.Certificate], SupremumProof]] = {
    "exchange, exact": exact_exchange,
    "envelope, split": split_envelope,
}

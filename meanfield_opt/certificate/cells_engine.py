"""Sign cells of few samples, one an orbit of the data's symmetry: each is an exact copositivity question."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checker import sign_cells
from ..checker.codec import encode_float
from ..checker.copositive_file import encode
from ..checker.slopes import left_slope
from ..copositive import Copositive, NotCopositive, check
from ..errors import CertificateError
from ..geometry import FactorGeometry
from ..problem import TwoLayerProblem
from ..rounding import up
from .engine import Limits, Outcome, ProofEngine, Question, SupremumProof
from .improve import best_response, worth_averaging

Array = NDArray[np.float64]
log = logging.getLogger(__name__)

FIRST_RAISE = 1e-9
MOST_ROUNDS = 40
MOST_IMAGES = 200


@dataclass(frozen=True)
class CellsEngine(ProofEngine):
    """relu, leaky relu, |t| or linear neurons, at most ten samples, K_X of full rank: exact up to rounding."""

    name = "cells"

    def refusal(self, question: Question) -> str | None:
        problem = question.problem
        if question.mode != "ratio":
            return "sign cells are for free mass."
        if left_slope(problem) is None:
            return f"sign cells need phi(t) = t for t >= 0 and s t for t <= 0; {problem.activation.name} is not of that form."
        if problem.n_samples > sign_cells.MOST_SAMPLES:
            return f"2^{problem.n_samples} sign cells are too many (at most {sign_cells.MOST_SAMPLES} samples)."
        if isinstance(problem.geometry, FactorGeometry) and problem.geometry.n_parameters < problem.n_samples:
            return "K_X does not have full rank; use the input view."
        return None

    def predicted_seconds(self, question: Question) -> float:
        return 0.02 * 2.0**question.problem.n_samples

    def tightness(self, question: Question) -> int:
        return 0

    def prove(self, question: Question, limits: Limits) -> Outcome:
        problem = question.problem
        deadline = time.monotonic() + limits.seconds
        dual, generators = _symmetric(question)
        tau = 4.0 * problem.lambda1 * problem.lambda2
        # a search by samples is a good start where the supremum is above 1
        best, theta = best_response(problem, dual)
        neurons = _images(problem, problem.geometry.preactivation(theta[None])[0], generators) if best > tau else None
        t, raise_ = float(up(max(tau, best) * (1.0 + FIRST_RAISE))), FIRST_RAISE
        for _ in range(MOST_ROUNDS):
            try:
                cells = sign_cells.Cells(problem, dual, t)
                maps = [sign_cells.cell_permutation(cells.kernel, dual, g) for g in generators]
            except CertificateError as error:
                log.debug("sign cells: %s", error)
                return _outcome(None, neurons)
            codes = sorted(set(sign_cells.orbits(cells.samples, maps).tolist()))
            proofs, witness = _prove_cells(cells, codes, deadline)
            if proofs is not None:
                words = (
                    f"sign cells: {len(codes)} of {1 << cells.samples} (one an orbit of the symmetry), "
                    "each proved by an exact copositivity test"
                )
                artefact = {"t": encode_float(t), "generators": generators, "proofs": proofs}
                proof = SupremumProof("cells", words, sign_cells.cells_sigma(problem, t), artefact)
                moved = None if np.array_equal(dual, question.dual) else dual
                return _outcome(proof, neurons, moved)
            if witness is None:
                return _outcome(None, neurons)
            code, u = witness
            sign = np.array([-1.0 if code >> p & 1 else 1.0 for p in range(len(u))])
            neurons = _images(problem, sign * [float(v / max(u)) for v in u], generators)
            raise_ *= 2.0
            try:
                t = float(up(max(t, float(cells.ratio(code, u))) * (1.0 + raise_)))
            except OverflowError:
                return _outcome(None, neurons)
        return _outcome(None, neurons)


def _symmetric(question: Question) -> tuple[Array, list[dict[str, Any]]]:
    """The dual point, averaged over the symmetry of the data where the question leaves us free, and the generators that
    fix it exactly."""
    from ..errors import MissingDependencyError
    from ..symmetry.detect import detect

    dual = np.asarray(question.dual, dtype=np.float64)
    try:
        found = detect(question.problem)
    except MissingDependencyError as error:
        log.debug("sign cells without symmetry: %s", error)
        found = None
    if found is None:
        return dual, []
    if question.movable:
        averaged = found.average_dual(dual)
        dual = averaged if worth_averaging(question.problem, dual, averaged) else dual
    return dual, [
        {"samples": g.samples.tolist(), "outputs": g.outputs.tolist(), "signs": [int(s) for s in g.signs]}
        for g in found.generators
        if np.array_equal(g.act(dual), dual)
    ]


def _prove_cells(
    cells: sign_cells.Cells, codes: list[int], deadline: float
) -> tuple[dict[str, Any] | None, tuple[int, Sequence[Fraction]] | None]:
    """All proofs, or None and a cell with a witness u against it (None where a cell stayed open)."""
    proofs: dict[str, Any] = {}
    for code in codes:
        left = deadline - time.monotonic()
        if left <= 0:
            return None, None
        answer = check(cells.matrix(code), time_limit=left)
        if isinstance(answer, NotCopositive):
            return None, (code, answer.witness)
        if not isinstance(answer, Copositive):
            return None, None
        proofs[str(code)] = encode(answer.proof.artefact)
    return proofs, None


def _images(problem: TwoLayerProblem, pattern: Array, generators: list[dict[str, Any]]) -> Array:
    """theta (n, r), each of length 1, of a pattern h and of its images: if h violates the average of a dual point over the
    group, one of them violates that dual point."""
    h = tuple(pattern.tolist())
    orbit, edge = {h}, [h]
    while edge and len(orbit) < MOST_IMAGES:
        edge = [image for image in {tuple(h[p] for p in g["samples"]) for h in edge for g in generators} - orbit]
        orbit.update(edge)
    theta = problem.geometry.weights(np.array([h, *(orbit - {h})]))
    return np.asarray(theta / np.maximum(np.linalg.norm(theta, axis=1, keepdims=True), 1e-300))


def _outcome(proof: SupremumProof | None, neurons: Array | None, dual: Array | None = None) -> Outcome:
    stats = {} if neurons is None else {"neurons": neurons}
    return Outcome(proof, None if neurons is None else neurons[0], proof is not None, stats, dual)


ENGINE = CellsEngine()

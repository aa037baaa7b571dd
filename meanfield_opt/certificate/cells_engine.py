"""Sign cells of few samples, one an orbit of the data's symmetry: each is an exact copositivity question."""

from __future__ import annotations

import logging
import time
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
from ..rounding import up
from .engine import Limits, Outcome, ProofEngine, Question, SupremumProof

Array = NDArray[np.float64]
log = logging.getLogger(__name__)

FIRST_RAISE = 1e-9
MOST_ROUNDS = 40


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
        t, raise_ = float(up(tau * (1.0 + FIRST_RAISE))), FIRST_RAISE
        for _ in range(MOST_ROUNDS):
            try:
                cells = sign_cells.Cells(problem, dual, t)
                maps = [sign_cells.cell_permutation(cells.kernel, dual, g) for g in generators]
            except CertificateError as error:
                log.debug("sign cells: %s", error)
                return Outcome(None, complete=False)
            codes = sorted(set(sign_cells.orbits(cells.samples, maps).tolist()))
            proofs, ratio = _prove_cells(cells, codes, deadline)
            if proofs is not None:
                words = (
                    f"sign cells: {len(codes)} of {1 << cells.samples} (one an orbit of the symmetry), "
                    "each proved by an exact copositivity test"
                )
                artefact = {"t": encode_float(t), "generators": generators, "proofs": proofs}
                proof = SupremumProof("cells", words, sign_cells.cells_sigma(problem, t), artefact)
                return Outcome(proof, dual=None if np.array_equal(dual, question.dual) else dual)
            if ratio is None:
                return Outcome(None, complete=False)
            raise_ *= 2.0
            try:
                t = float(up(max(t, float(ratio)) * (1.0 + raise_)))
            except OverflowError:
                return Outcome(None, complete=False)
        return Outcome(None, complete=False)


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
        if np.abs(averaged - dual).max() <= 1e-2 * np.abs(dual).max():
            dual = averaged
    return dual, [
        {"samples": g.samples.tolist(), "outputs": g.outputs.tolist(), "signs": [int(s) for s in g.signs]}
        for g in found.generators
        if np.array_equal(g.act(dual), dual)
    ]


def _prove_cells(
    cells: sign_cells.Cells, codes: list[int], deadline: float
) -> tuple[dict[str, Any] | None, Fraction | None]:
    """All proofs, or None and the ratio |Z phi|^2 / c at a witness (None where a cell stayed open)."""
    proofs: dict[str, Any] = {}
    for code in codes:
        left = deadline - time.monotonic()
        if left <= 0:
            return None, None
        answer = check(cells.matrix(code), time_limit=left)
        if isinstance(answer, NotCopositive):
            return None, cells.ratio(code, answer.witness)
        if not isinstance(answer, Copositive):
            return None, None
        proofs[str(code)] = encode(answer.proof.artefact)
    return proofs, None


ENGINE = CellsEngine()

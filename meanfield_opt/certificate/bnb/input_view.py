"""Proof engine for few parameters: branch and bound over cones of theta in R^r, for activations with one kink at 0."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...checker.chamber import Chamber
from ...checker.cone_tree import encode_tree
from ...checker.document import encode_float
from ...checker.input_view import InputForm, input_chamber, input_form, input_sigma
from ...checker.norm import norm_sigma
from ...checker.slopes import float_slopes
from ...errors import CertificateError
from ...geometry import FactorGeometry
from ...problem import TwoLayerProblem
from ...symmetry.inputs import input_group
from ..engine import Limits, Outcome, ProofEngine, Question, SupremumProof
from ..improve import worth_averaging
from ..stored import question_digest
from .driver import MOST_POINTS, search
from .forest import whole_space
from .orbits import roots_in_chamber, symmetry_artefact
from .view import Refined, View

Array = NDArray[np.float64]
log = logging.getLogger(__name__)

#: cut across single rows once at most this many are undecided on a cone
FEW = 12
MOST_PARAMETERS = 10
#: relative loss in the bound up to which a chamber is worth it
WORTH = 1e-6


@dataclass(frozen=True, eq=False)
class InputView(View):
    """The compiled search on the normal form."""

    form: InputForm
    label: str
    chamber: Chamber | None = None

    @property
    def dimension(self) -> int:
        return int(self.form.rows.shape[1])

    @property
    def rows(self) -> int:
        return int(self.form.rows.shape[0])

    @property
    def digest(self) -> str:
        return self.label

    def refine(self, cones: Array, level: float, final: float, budget: int) -> Refined:
        from .input_kernel import refine_input
        from .kernels import MAX_DEPTH, workspace

        r = self.dimension
        out = Refined.room(cones)
        f = self.form
        d = f.weight.shape[1]
        pool, cone_stack, spots = workspace(self.rows, r)
        out.done = refine_input(
            cones,
            f.rows,
            f.size,
            f.weight,
            f.base[None],
            f.metric,
            level,
            final,
            FEW,
            budget,
            out.ops,
            out.leaves,
            out.status,
            out.best,
            out.spans,
            pool,
            cone_stack,
            spots,
            np.empty((MAX_DEPTH, d, r)),
            *np.empty((3, d, r)),
            *np.empty((4, r, r)),
            np.empty(d),
            np.empty((d, 1)),
            np.empty((self.rows, r + 1)),
        )
        return out

    def roots(self) -> tuple[NDArray[np.int32], Array]:
        return whole_space(self.dimension) if self.chamber is None else roots_in_chamber(self.chamber, self.rows)

    def outside(self, cones: Array) -> NDArray[np.bool_]:
        return np.zeros(cones.shape[0], np.bool_) if self.chamber is None else self.chamber.outside(cones)

    def start(self) -> tuple[float, Array]:
        """Projected gradient ascent of |q|^2 on the sphere, from seeded random directions."""
        f = self.form
        p, r = f.rows.shape
        count = int(min(200, max(8, 4_000_000 // (p * (r + f.weight.shape[1])) // 30)))
        theta = np.random.default_rng(0).standard_normal((count, r))
        root = np.sqrt(f.metric)
        best, point = 0.0, theta[0]
        for step in range(30):
            theta /= np.maximum(np.sqrt((theta**2).sum(axis=1, keepdims=True)), 1e-300)
            lengths = ((theta * root) ** 2).sum(axis=1)
            h = theta @ f.rows.T
            q = np.maximum(h, 0.0) @ f.weight + theta @ f.base.T
            value = (q**2).sum(axis=1) / np.maximum(lengths, 1e-300)
            if value.max() > best:
                best, point = float(value.max()), theta[value.argmax()].copy()
            slope = ((q @ f.weight.T) * (h > 0)) @ f.rows + q @ f.base
            if root.min() < 1.0:  # the ratio, not |q|^2 on the sphere, is what is to grow
                slope -= value[:, None] * f.metric * theta
            norm = np.maximum(np.sqrt((slope**2).sum(axis=1, keepdims=True)), 1e-300)
            theta = theta + (3.0 if step < 15 else 0.3) * slope / norm
        return best, point


@dataclass(frozen=True)
class InputViewEngine(ProofEngine):
    """sup over theta of |Z phi(A theta)|^2 - sigma^2 tau |theta|^2, exactly where few rows are undecided."""

    name = "input_view"

    def refusal(self, question: Question) -> str | None:
        problem = question.problem
        if question.mode != "ratio":
            return "the input view proves the ratio of free mass; under a width use the interval engine."
        if not isinstance(problem.geometry, FactorGeometry):
            return "the input view needs K_X = A A^T with few columns; this geometry has no such factor."
        if float_slopes(problem) is None:
            return (
                f"the input view needs an activation with one kink, at 0; {problem.activation.name} is not of the kind."
            )
        r = problem.geometry.n_parameters
        if r > MOST_PARAMETERS:
            return f"{r} parameters are too many for a partition of theta space (at most {MOST_PARAMETERS})."
        return None

    def predicted_seconds(self, question: Question) -> float:
        """Grows like a power of the number of rows that rises with r; measured on random labels."""
        p, r = question.problem.n_samples, question.problem.geometry.n_parameters
        if r == 1:
            return 0.01
        return float(0.1 + 7e-5 * (5.0 * p**0.31) ** (r - 1))

    def tightness(self, question: Question) -> int:
        return 0

    def prove(self, question: Question, limits: Limits) -> Outcome:
        problem = question.problem
        dual, symmetry = _symmetric(question)
        form = input_form(problem, dual)
        assert form is not None
        if not dual.any():
            return Outcome(SupremumProof("norm", "the dual point is zero", norm_sigma(problem, dual)))
        chamber = None if symmetry is None else _chamber(problem, dual, form, symmetry)
        label = question_digest("input view" if chamber is None else "input view, one chamber", problem, dual)
        found = search(InputView(form, label, chamber), limits)
        neurons = found.points if chamber is None else _images(chamber, found.points)
        stats: dict[str, Any] = {
            "nodes": found.nodes,
            "stages": found.stages,
            "neurons": neurons * np.sqrt(form.metric),
        }
        point = found.point * np.sqrt(form.metric)
        neuron = np.asarray(point / max(float(np.linalg.norm(point)), 1e-300))
        if found.partition is None:
            return Outcome(None, neuron, False, stats)
        from .kernels import depths

        depth = depths(found.partition.ops)
        bound = input_sigma(problem, form, found.partition.level, int(depth.max()) + 1, chamber) * (1.0 + 2.0**-44)
        if not math.isfinite(bound):
            return Outcome(None, neuron, False, stats, interrupted=found.interrupted)
        stats["cones"] = found.proved
        artefact = {
            "level": encode_float(found.partition.level),
            **encode_tree(form.rows.shape[1], found.partition.ops, depth),
        }
        words = f"input view: {found.proved} cones of R^{form.rows.shape[1]}, each proved by a copositive relaxation"
        if chamber is not None:
            artefact["symmetry"] = symmetry
            words = (
                f"symmetry: {words}, in one chamber of a group of order {chamber.order} found in the data "
                f"(residual {chamber.residual:.1e}, paid for)"
            )
        moved = None if dual is question.dual else dual
        return Outcome(
            SupremumProof("input_view", words, bound, artefact), neuron, found.complete, stats, moved, found.interrupted
        )


def _symmetric(question: Question) -> tuple[Array, dict[str, Any] | None]:
    """The dual point, averaged where the data have a symmetry and the question leaves us free, and the chamber's artefact."""
    dual = np.ascontiguousarray(question.dual)
    group = input_group(question.problem)
    if group is None:
        return question.dual, None
    averaged = group.average(dual)
    distance = float(np.abs(averaged - dual).max(initial=0.0))
    if distance <= 1e-13 * float(np.abs(dual).max(initial=0.0)):
        return question.dual, symmetry_artefact(group)
    if question.movable and worth_averaging(question.problem, dual, averaged):
        return averaged, symmetry_artefact(group)
    return question.dual, None


def _images(chamber: Chamber, points: Array) -> Array:
    """The images under the group of the best points: a search of one chamber sees one neuron of each orbit."""
    few = points[: max(1, MOST_POINTS // chamber.order)]
    return np.asarray((chamber.turns @ few.T).transpose(0, 2, 1).reshape(-1, points.shape[1]))


def _chamber(problem: TwoLayerProblem, dual: Array, form: InputForm, symmetry: dict[str, Any]) -> Chamber | None:
    """The chamber as the checker will see it; None where leaving cones out would cost more than it is worth."""
    try:
        chamber = input_chamber(problem, dual, form, symmetry)
    except CertificateError as error:
        log.debug("no chamber: %s", error)
        return None
    # a level that a bound of the size of the data's own would have
    typical = 1e-3 * form.mass
    return chamber if chamber.extended(typical, form.mass, 1e-14) <= typical * (1.0 + WORTH) else None


ENGINE = InputViewEngine()

"""Proof engine for few outputs and K_X = diagonal + low rank: branch and bound over cones in d_Y + k dimensions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...checker.cone_tree import encode_tree
from ...checker.document import encode_float
from ...checker.norm import norm_sigma
from ...checker.output_view import OutputForm, output_form, output_sigma
from ...checker.slopes import float_slopes
from ...geometry import DiagonalPlusLowRank
from ..engine import Limits, Outcome, ProofEngine, Question, SupremumProof
from ..stored import question_digest
from .driver import search
from .forest import whole_space
from .view import Refined, View

Array = NDArray[np.float64]

MOST_DIMENSIONS = 10


@dataclass(frozen=True, eq=False)
class OutputView(View):
    """The compiled search on the normal form."""

    form: OutputForm
    label: str

    @property
    def dimension(self) -> int:
        return int(self.form.first.shape[1])

    @property
    def rows(self) -> int:
        return int(self.form.first.shape[0])

    @property
    def digest(self) -> str:
        return self.label

    def refine(self, cones: Array, level: float, final: float, budget: int) -> Refined:
        from .kernels import MAX_DEPTH, workspace
        from .output_kernel import refine_output

        n = self.dimension
        out = Refined.room(cones)
        f = self.form
        pool, cone_stack, spots = workspace(self.rows, n)
        columns = f.columns if f.columns.size else np.zeros((1, 1))
        out.done = refine_output(
            cones,
            f.first,
            f.second,
            f.size,
            columns,
            f.outputs,
            level,
            final,
            budget,
            out.ops,
            out.leaves,
            out.status,
            out.best,
            out.spans,
            pool,
            cone_stack,
            spots,
            np.empty((MAX_DEPTH, n, n)),
            *np.empty((5, n, n)),
            np.empty(n),
        )
        return out

    def roots(self) -> tuple[NDArray[np.int32], Array]:
        return whole_space(self.dimension)

    def outside(self, cones: Array) -> NDArray[np.bool_]:
        return np.zeros(cones.shape[0], np.bool_)

    def start(self) -> tuple[float, Array]:
        """f is convex, so omega <- N^-1 grad f(omega) / 2 at the current ratio never lowers the ratio."""
        f = self.form
        d, n = f.outputs, self.dimension
        count = int(min(64, max(8, 40_000_000 // (60 * f.first.size))))
        omega = np.random.default_rng(0).standard_normal((count, n))
        inverse = np.linalg.inv(f.columns) if n > d else np.zeros((0, 0))
        best, point = 0.0, omega[0]
        for _ in range(30):
            x, y = omega @ f.first.T, omega @ f.second.T
            one, two = np.where((x > y) & (x > 0), x, 0.0), np.where((y >= x) & (y > 0), y, 0.0)
            value = (one**2).sum(axis=1) + (two**2).sum(axis=1)
            value -= np.einsum("jk,kl,jl->j", omega[:, d:], f.columns, omega[:, d:])
            size = (omega[:, :d] ** 2).sum(axis=1)
            ratio = np.where(size > 0, value / np.where(size > 0, size, 1.0), 0.0)
            top = int(ratio.argmax())
            if ratio[top] > best:
                best, point = float(ratio[top]), omega[top].copy()
            slope = one @ f.first + two @ f.second
            ratio = np.maximum(ratio, max(1e-3 * best, 1e-250))
            omega = np.hstack([slope[:, :d] / ratio[:, None], slope[:, d:] @ inverse])
            omega /= np.maximum(np.sqrt((omega**2).sum(axis=1, keepdims=True)), 1e-300)
        return best, point

    def pattern(self, omega: Array, diagonal: Array) -> Array:
        """The preactivation pattern that a point omega stands for (up to a positive factor)."""
        x, y = self.form.first @ omega, self.form.second @ omega
        return np.asarray(np.sqrt(diagonal) * np.where((x > y) & (x > 0), x, np.where(y > 0, -y, 0.0)))


@dataclass(frozen=True)
class OutputViewEngine(ProofEngine):
    """sup over (w, beta) of a difference of quadratic-like forms in d_Y + k dimensions; P may be large."""

    name = "output_view"

    def refusal(self, question: Question) -> str | None:
        problem = question.problem
        if question.mode != "ratio":
            return "the output view proves the ratio of free mass; under a width use the interval engine."
        if not isinstance(problem.geometry, DiagonalPlusLowRank):
            return "the output view needs K_X = diagonal + low rank."
        if float_slopes(problem) is None:
            return f"the output view needs an activation with one kink, at 0; {problem.activation.name} is not of the kind."
        n = problem.n_outputs + problem.geometry.weight.size
        if n > MOST_DIMENSIONS:
            return f"d_Y + k = {n} dimensions are too many for a partition (at most {MOST_DIMENSIONS})."
        return None

    def predicted_seconds(self, question: Question) -> float:
        """Measured on random labels at ordinary penalties; weak penalties make flat dual points and cost up to 50 times more."""
        problem = question.problem
        assert isinstance(problem.geometry, DiagonalPlusLowRank)
        n = problem.n_outputs + problem.geometry.weight.size
        return float(0.1 + 1e-6 * problem.n_samples * n + 1e-4 * problem.n_samples**0.6 * 9.0 ** (n - 1))

    def tightness(self, question: Question) -> int:
        return 0

    def prove(self, question: Question, limits: Limits) -> Outcome:
        problem, dual = question.problem, np.ascontiguousarray(question.dual)
        space = problem.geometry
        assert isinstance(space, DiagonalPlusLowRank)
        form = output_form(problem, dual)
        if form is None:
            return Outcome(None, None, False, {"reason": "the numbers over- or underflow in the normal form"})
        if not dual.any():
            return Outcome(SupremumProof("norm", "the dual point is zero", norm_sigma(problem, dual)))
        view = OutputView(form, question_digest("output view", problem, dual))
        found = search(view, limits)
        theta = space.weights(np.array([view.pattern(point, space.diagonal) for point in found.points]))
        theta = theta / np.maximum(np.sqrt((theta**2).sum(axis=1, keepdims=True)), 1e-300)
        stats: dict[str, Any] = {"nodes": found.nodes, "stages": found.stages, "neurons": theta}
        neuron = np.asarray(theta[0])
        if found.partition is None:
            return Outcome(None, neuron, False, stats)
        from .kernels import depths

        depth = depths(found.partition.ops)
        bound = output_sigma(problem, form, found.partition.level, int(depth.max()) + 1) * (1.0 + 2.0**-44)
        if not math.isfinite(bound):
            return Outcome(None, neuron, False, stats, interrupted=found.interrupted)
        n = form.first.shape[1]
        artefact = {"level": encode_float(found.partition.level), **encode_tree(n, found.partition.ops, depth)}
        cones = int((found.partition.ops == 0).sum())
        words = f"output view: {cones} cones of R^{n}, each proved by a copositive relaxation"
        return Outcome(
            SupremumProof("output_view", words, bound, artefact), neuron, found.complete, stats, None, found.interrupted
        )


ENGINE = OutputViewEngine()

"""The default backend: column generation with sliding atoms (theory sections 2 and 3). Parts: ``colgen``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from meanfield_opt.backend import Availability, Backend, SolveOptions
from meanfield_opt.errors import InputError, NotAttainedError
from meanfield_opt.measure import Measure
from meanfield_opt.problem import MeanFieldProblem, TwoLayerProblem
from meanfield_opt.solution import Solution
from meanfield_opt.validate import integer

from .colgen.carrier import choose_carrier
from .colgen.loop import Settings, State, run


@dataclass(frozen=True)
class ColumnGeneration(Backend):
    """Group-lasso master on the active atoms, batched local search for violated patterns, sliding, merging, pruning."""

    name = "column_generation"
    summary = "column generation with sliding atoms: any smooth loss, any activation with attained optimum, large data"

    def availability(self) -> Availability:
        return Availability(True, "built in")

    def refusal(self, problem: MeanFieldProblem) -> str | None:
        if not isinstance(problem, TwoLayerProblem):
            return "it solves two-layer problems only."
        if not np.isfinite(problem.loss.curvature()):
            return f"the {problem.loss.name} loss is not smooth; use a smooth loss or the cvxpy backend."
        return None

    def solve(self, problem: MeanFieldProblem, options: SolveOptions) -> Solution:
        assert isinstance(problem, TwoLayerProblem)
        check_attained(problem)
        settings = read_settings(options.extra)
        state, status, stats = run(problem, options, settings)
        dual = state.dual if state.best_dual is None else state.best_dual
        return Solution(problem, to_measure(problem, state), dual, status, self.name, stats)


def read_settings(extra: dict[str, Any]) -> Settings:
    """The backend's own options; InputError for unknown names or bad values."""
    known = {field.name for field in fields(Settings)}
    unknown = sorted(set(extra) - known)
    if unknown:
        raise InputError(
            f"column_generation does not know the option {', '.join(unknown)}; it takes {', '.join(sorted(known))}."
        )
    return Settings(**{name: integer(value, name, least=1) for name, value in extra.items()})


def check_attained(problem: TwoLayerProblem) -> None:
    """Refuse free mass where the infimum is known not to be attained (mass escapes to infinitesimal neurons)."""
    phi = problem.activation
    if problem.width is None and phi.pieces is None and phi.degree is None and np.isfinite(phi.ratio_bound()):
        slope = float(phi.derivative(np.zeros(1))[0])
        if slope > 0 and abs(slope - phi.ratio_bound()) <= 1e-9 * slope:
            raise NotAttainedError(
                f"with free mass the infimum for {phi.name} is not attained: |phi(t)/t| is largest only as t -> 0, so mass "
                f"escapes to infinitely many infinitesimal neurons; its value is that of activation 'linear' scaled by "
                f"{slope:.6g}. Give width=M."
            )


def to_measure(problem: TwoLayerProblem, state: State) -> Measure:
    """The measure of the best state. For degree 1 atoms have unit cost, so that masses compare neurons."""
    carrier = choose_carrier(problem.geometry, problem.activation)
    particles = state.particles
    if particles.count == 0:
        return Measure.zero(problem.n_samples)
    x, masses, readouts = particles.x, particles.masses, particles.readouts
    if problem.activation.degree == 1.0 and problem.width is None:
        norm = np.sqrt(carrier.cost(x))
        x = x / norm[:, None]
        readouts = readouts * norm
        masses = np.sqrt(problem.lambda2 / problem.lambda1) * np.sqrt(np.einsum("kj,kj->j", readouts, readouts))
    order = np.argsort(-masses, kind="stable")
    x, masses, readouts = x[order], masses[order], readouts[:, order]
    return Measure(carrier.patterns(x), masses, carrier.neurons(x), readouts / masses)


BACKEND = ColumnGeneration()

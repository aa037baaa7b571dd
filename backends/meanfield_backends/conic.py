"""From a conic solver to a backend: discretise the support, solve, search for violated patterns, refine."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.backend import Availability, Backend, SolveOptions
from meanfield_opt.errors import RefusalError, SolveError
from meanfield_opt.formulation import (
    ArrangementSDP,
    ConicAnswer,
    ConicLimits,
    ConicProgram,
    ConicSolver,
    DNNLift,
    Formulation,
    GroupLasso,
    Lifted,
    MomentProgram,
    ParriloLift,
)
from meanfield_opt.formulation.loss_terms import loss_refusal
from meanfield_opt.formulation.solver import cone_refusal, parse_options
from meanfield_opt.problem import MeanFieldProblem, TwoLayerProblem
from meanfield_opt.solution import Solution, Status

from .refine import DictionaryStep, DiscretisationOptions, Refinement, limits_of, worse

Array = NDArray[np.float64]

#: of MOSEK, called directly or by another solver's door
NO_LICENCE = (
    "MOSEK is installed but has no usable licence: put mosek.lic into ~/mosek (free for academics at mosek.com), "
    "or choose another backend such as clarabel."
)

#: violation of the cones, relative to the point, beyond which an answer is not taken for solved
VIOLATION = 1e-5

#: solver statuses after which there is a point worth lifting
USABLE = {Status.SOLVED, Status.INACCURATE, Status.ITERATION_LIMIT, Status.TIME_LIMIT, Status.INTERRUPTED}


def split_options(solver: ConicSolver, extra: dict[str, Any]) -> tuple[DiscretisationOptions, Any]:
    """Keyword options, parted into those of the discretisation and those of the solver."""
    own = {item.name for item in fields(DiscretisationOptions)}
    mine = {key: value for key, value in extra.items() if key in own}
    rest = {key: value for key, value in extra.items() if key not in own}
    return (
        parse_options(DiscretisationOptions, solver.name, mine),
        parse_options(solver.options_type, solver.name, rest),
    )


@dataclass(frozen=True, eq=False)
class ConicBackend(Backend):
    """A conic solver behind the backend's door. By default the group lasso on a refined discretised support."""

    conic: ConicSolver = field()  # field(): a dataclass would take the inherited None for its default
    summary: str
    name: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.conic.name)

    def availability(self) -> Availability:
        return self.conic.availability()

    def refusal(self, problem: MeanFieldProblem) -> str | None:
        if not isinstance(problem, TwoLayerProblem):
            return f"conic formulations are for two-layer problems, not {type(problem).__name__}."
        return loss_refusal(problem, self.conic.cones) or not_attained(problem)

    def solve(self, problem: MeanFieldProblem, options: SolveOptions) -> Solution:
        problem = accepted(self, problem)
        if problem.width is not None and not problem.width_binds:
            return in_width(problem, self.solve(problem.with_free_mass(), options))
        grid, own = split_options(self.conic, options.extra)
        if grid.formulation in ("group_lasso", "moment"):
            run = Refinement(problem, options, grid, self.name, self._dictionary_step(problem, grid, own))
            return run.solve()
        return self._relaxation(problem, options, grid, own)

    def _dictionary_step(self, problem: TwoLayerProblem, grid: DiscretisationOptions, own: Any) -> DictionaryStep:
        def step(atoms: Array, limits: ConicLimits) -> tuple[Lifted, ConicAnswer]:
            form: Formulation = MomentProgram(atoms) if grid.formulation == "moment" else GroupLasso(atoms)
            return solve_formulation(self.conic, form, problem, limits, own)

        return step

    def _relaxation(
        self, problem: TwoLayerProblem, options: SolveOptions, grid: DiscretisationOptions, own: Any
    ) -> Solution:
        begin = time.perf_counter()
        form = relaxation(grid.formulation, problem)
        lifted, answer = solve_formulation(self.conic, form, problem, limits_of(options, 0.0), own)
        if lifted.measure is None or lifted.dual is None:
            raise SolveError(f"no measure could be read off the {form.name} answer: {lifted.reason}")
        assert answer.x is not None
        stats = {
            "formulation": form.name,
            "bound": form.bound,
            "program_value": form.lower(problem).objective(answer.x),
            "extraction": lifted.reason or "the measure reaches the program's value",
            "solver_words": answer.words,
            "solver_iterations": answer.iterations,
            "setup_seconds": answer.setup_seconds,
            "solver_seconds": answer.seconds,
            "seconds": time.perf_counter() - begin,
        }
        status = answer.status if lifted.reason is None else worse(answer.status, Status.INACCURATE)
        return Solution(problem, lifted.measure, lifted.dual, status, self.name, stats)


def accepted(backend: Backend, problem: MeanFieldProblem) -> TwoLayerProblem:
    """The problem, or RefusalError with the backend's reason."""
    reason = backend.refusal(problem)
    if reason is not None or not isinstance(problem, TwoLayerProblem):
        raise RefusalError(f"backend {backend.name!r} refuses {problem.name}: {reason}")
    return problem


def in_width(problem: TwoLayerProblem, part: Solution) -> Solution:
    """A solution with free mass as one under a width that excludes nothing (degree 1)."""
    return replace(part, problem=problem, measure=problem.within_width(part.measure))


def relaxation(name: str, problem: TwoLayerProblem) -> Formulation:
    """The relaxation of that name, with its default form for the problem."""
    if name == "dnn_lift":
        return DNNLift()
    if name == "parrilo":
        return ParriloLift()
    return ArrangementSDP.enumerated(problem)


def solve_formulation(
    solver: ConicSolver, form: Formulation, problem: TwoLayerProblem, limits: ConicLimits, own: Any = None
) -> tuple[Lifted, ConicAnswer]:
    """Lower, solve, lift; RefusalError with the reason, SolveError if the solver has no point to lift."""
    reason = form.refusal(problem)
    if reason is not None:
        raise RefusalError(f"formulation {form.name!r} refuses {problem.name}: {reason}")
    program = form.lower(problem)
    reason = cone_refusal(solver, program)
    if reason is not None:
        raise RefusalError(f"backend {solver.name!r} refuses the {form.name} program: {reason}")
    answer = solver.solve(program, limits, solver.options_type() if own is None else own)
    if answer.status not in USABLE or answer.x is None or not answer.usable:
        raise SolveError(f"{solver.name} found no solution of the {program.label}: {answer.words}.")
    answer = scrutinised(program, answer, answer.x)
    return form.lift(problem, answer), answer


def scrutinised(program: ConicProgram, answer: ConicAnswer, x: Array) -> ConicAnswer:
    """The answer, called inaccurate if its point plainly violates the program, whatever the solver says."""
    violation = program.violation(x)
    if violation <= VIOLATION * max(1.0, float(np.abs(x).max(initial=0.0))):
        return answer
    words = f"{answer.words}; its point violates the program by {violation:.1e}"
    return replace(answer, status=worse(answer.status, Status.INACCURATE), words=words)


def not_attained(problem: TwoLayerProblem) -> str | None:
    """Why the infimum is approached but not attained, or a search for it has no end, from what the activation declares."""
    phi = problem.activation
    if problem.width is None and phi.degree is not None and phi.degree != 1.0:
        return (
            f"with free mass the infimum for {phi.name} (degree {phi.degree:g}) is not attained: scaling neurons makes "
            "them ever cheaper. Give a width."
        )
    for limit in phi.escapes:
        finite = math.isfinite(limit.left) and math.isfinite(limit.right)
        if limit.where == "infinity" and not finite:
            return (
                f"the infimum for {phi.name} is not attained under any width: it grows faster than |t|, so that ever "
                "larger neurons of vanishing mass cost nothing."
            )
        if limit.where == "infinity" and problem.width is not None:
            return (
                f"ever larger neurons of vanishing mass, which no width excludes, keep gaining for {phi.name} on its limit "
                f"(slopes {limit.left:g}, {limit.right:g}), so that the search for patterns has no end here; column_generation starts "
                "from the limit's optimum."
            )
        if problem.width is None:
            where = "infinitely many infinitesimal" if limit.where == "zero" else "ever larger"
            return (
                f"the free-mass infimum for {phi.name} is not attained: mass escapes to {where} neurons; give a width."
            )
    return None

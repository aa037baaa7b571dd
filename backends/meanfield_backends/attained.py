"""Whether the infimum of a problem is attained, told before and after a run of column generation; NotAttainedError where it is not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from meanfield_opt.activation import Activation, Limit
from meanfield_opt.activations.piecewise import Absolute, LeakyReLU, Linear, ReLU
from meanfield_opt.backend import SolveOptions
from meanfield_opt.checker.hypercube import hypercube_of
from meanfield_opt.errors import NotAttainedError
from meanfield_opt.loss import SummedLoss
from meanfield_opt.losses.output_bias import OutputBias
from meanfield_opt.measure import Measure
from meanfield_opt.problem import TwoLayerProblem

from .approach import along_limit, ever_larger, with_constant
from .colgen import bank, scout
from .colgen.carrier import choose_carrier
from .colgen.loop import run, to_measure
from .colgen.search import search
from .colgen.state import Settings, State

#: how much longer the first neurons are than the limit's, where phi has one at infinity
LONG = 10.0
#: seconds for an estimate of a limit that goes into a message only
ESTIMATE = 20.0
#: what a limit value in a message is
BOUNDED = "an estimate; certify(problem, error.approach) bounds it"


def limit_problem(problem: TwoLayerProblem, limit: Limit) -> TwoLayerProblem | None:
    """The problem of the homogeneous limit of phi that free mass may escape to; None where it has no finite slopes.

    A factor c on phi is a factor 1 / c^2 on lambda2.
    """
    left, right = limit.left, limit.right
    if limit.offset != 0.0 or not (math.isfinite(left) and math.isfinite(right) and right > 0 and abs(left) <= right):
        return None
    phi: Activation
    if left == right:
        phi = Linear()
    elif left == -right:
        phi = Absolute()
    else:
        phi = ReLU() if left == 0 else LeakyReLU(left / right)
    return TwoLayerProblem(
        phi, problem.loss, problem.geometry, problem.targets, problem.lambda1, problem.lambda2 / right**2
    )


def check_attained(problem: TwoLayerProblem, options: SolveOptions) -> Measure | None:
    """NotAttainedError where free mass escapes: where the optimum of the activation's limit also beats every finite pattern.

    That last comparison is sampled. Otherwise, where there is a limit at infinity: its optimum on long neurons, to start
    from. From the zero measure the search would run after ever longer ones.
    """
    phi = problem.activation
    if problem.width is not None:
        return check_attained_under_width(problem, options)
    start: Measure | None = None
    if phi.degree is not None and phi.degree != 1.0:
        raise NotAttainedError(
            f"with free mass the infimum for {phi.name} (degree {phi.degree:g}) is not attained: scaling neurons makes them "
            "ever cheaper. Give width=M.",
            ever_larger(problem),
        )
    for limit in phi.escapes:
        relaxed = limit_problem(problem, limit)
        if relaxed is None:
            continue
        inner = SolveOptions(max(options.tolerance, 1e-8), options.time_limit, None, options.seed)
        state, _, _ = run(relaxed, inner, Settings())
        carrier = choose_carrier(problem.geometry, phi)
        none = np.zeros((0, carrier.dimension))
        found = search(problem, carrier, state.dual, none, np.random.default_rng(options.seed))
        if state.particles.count and found.top <= 1.0 + 10.0 * inner.tolerance:
            where = "infinitely many infinitesimal" if limit.where == "zero" else "ever larger"
            raise NotAttainedError(
                f"with free mass the infimum for {phi.name} is not attained: mass escapes to {where} neurons, where it tends to "
                f"{state.energy:.10g} (the optimum for slopes {limit.left:g}, {limit.right:g}; {BOUNDED}). Give width=M.",
                along_limit(problem, limit, to_measure(relaxed, state)),
            )
        if limit.where == "infinity":
            start = long_neurons(problem, relaxed, state)
    if any(limit.where == "zero" and limit.offset != 0.0 for limit in phi.escapes):
        check_constant(problem, options)
    return start


def check_constant(problem: TwoLayerProblem, options: SolveOptions) -> None:
    """NotAttainedError where ever more mass on a neuron of no cost gives the outputs a constant for nothing, phi(0) != 0.

    The limit is then the optimum with a free output bias; without a need for one it is attained.
    """
    loss, where, nearby = problem.loss, "", None
    if isinstance(loss, OutputBias) and loss.penalty == 0.0:
        return
    if balanced_at_zero(problem) and hypercube_of(problem) is not None:
        return  # symmetric labels stay balanced
    if not isinstance(loss, OutputBias) and not (isinstance(loss, SummedLoss) and loss.columnwise):
        free = OutputBias(loss, 0.0)
        biased = replace(problem, loss=free, known_=None, recipe_=None)
        inner = replace(options, start=None, progress=None, time_limit=min(options.time_limit, ESTIMATE))
        try:
            far = check_attained(biased, inner)
        except NotAttainedError as error:
            nearby = None if error.approach is None else with_constant(problem, error.approach)
            raise NotAttainedError(f"{error} There a constant is given by mass that costs nothing.", nearby) from error
        state, _, stats = run(biased, replace(inner, start=far), Settings())
        measure = to_measure(biased, state)
        constant = free.bias(biased.outputs(measure), biased.targets)
        if stats["sampled_gap"] <= 1e-4:
            if float(np.abs(constant).max()) <= 1e-8 * float(np.abs(problem.targets).max()):
                return
            where = f", where it tends to {state.energy:.10g} (the optimum with a free output bias; {BOUNDED})"
            nearby = with_constant(problem, measure)
    phi = problem.activation
    raise NotAttainedError(
        f"with free mass the infimum for {phi.name} is not attained: {phi.name}(0) is not 0, so that ever more mass on a "
        f"neuron that costs nothing gives the outputs a constant for nothing{where}. Give width=M.",
        nearby,
    )


def check_size(problem: TwoLayerProblem, measure: Measure, energy: float) -> None:
    """NotAttainedError where part of the mass has escaped to neurons as small as the bank lets them become."""
    if problem.width is not None or not any(limit.where == "zero" for limit in problem.activation.escapes):
        return
    if measure.n_atoms and float(np.sqrt(np.mean(np.square(measure.atoms), axis=1)).min()) <= 2.0 * scout.SMALLEST:
        raise NotAttainedError(
            f"with free mass the infimum for {problem.activation.name} is not attained: part of the mass escapes to infinitely many "
            f"infinitesimal neurons, where the energy tends to {energy:.10g} ({BOUNDED}). Give width=M.",
            measure,
        )


def balanced_at_zero(problem: TwoLayerProblem) -> bool:
    """Whether a constant added to the outputs of the zero measure gains nothing, as with balanced labels."""
    dual = problem.dual_point(Measure.zero(problem.n_samples))
    return bool(np.abs(dual.sum(axis=1)).max() <= 1e-12 * np.abs(dual).sum())


def long_neurons(problem: TwoLayerProblem, limit: TwoLayerProblem, state: State) -> Measure | None:
    """The optimum of the limit (degree 1) on neurons ten times as long or longer, within a quarter of the width."""
    measure = to_measure(limit, state).support()
    if measure.n_atoms == 0:
        return None
    factor = LONG if problem.width is None else max(LONG, 2.0 * math.sqrt(measure.total_mass / problem.width))
    far = measure.rescaled(factor)
    return Measure(far.atoms, far.masses, far.neurons)


def check_attained_under_width(problem: TwoLayerProblem, options: SolveOptions) -> Measure | None:
    """NotAttainedError where ever larger neurons of vanishing mass, which no width excludes, do as well as any pattern.

    Otherwise where to start from, as for ``check_attained``.
    """
    phi = problem.activation
    for limit in phi.escapes:
        if limit.where != "infinity":
            continue
        if not (math.isfinite(limit.left) and math.isfinite(limit.right)):
            raise NotAttainedError(
                f"the infimum for {phi.name} is not attained under any width: it grows faster than |t|, so that ever larger "
                f"neurons of vanishing mass cost nothing; its value is the least loss without penalties ({BOUNDED}).",
                ever_larger(problem),
            )
        relaxed = limit_problem(problem, limit)
        if relaxed is None:
            continue
        relaxed = replace(relaxed, width=None)
        inner = SolveOptions(max(options.tolerance, 1e-8), options.time_limit, None, options.seed)
        state, _, _ = run(relaxed, inner, Settings())
        carrier = choose_carrier(problem.geometry, phi)
        none = np.zeros((0, carrier.dimension))
        found = search(problem, carrier, state.dual, none, np.random.default_rng(options.seed))
        assert problem.width is not None
        # a finite pattern can only help if its excess at the limit's dual point is positive
        top = found.top
        if top * problem.width <= 1e-5 * state.energy and bank.refusal(problem) is None:
            top = max(top, scout.highest_excess(problem, state.dual, options.seed))
        if state.particles.count and top * problem.width <= 1e-5 * state.energy:
            raise NotAttainedError(
                f"the infimum for {phi.name} is not attained under a width: mass tends to zero on ever larger neurons, where "
                f"the energy tends to {state.energy:.10g} (the optimum for slopes {limit.left:g}, {limit.right:g}; {BOUNDED}).",
                along_limit(problem, limit, to_measure(relaxed, state)),
            )
        return long_neurons(problem, relaxed, state)
    return None

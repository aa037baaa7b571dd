"""The bank's master: the saddle point on all its columns, tried again on fewer where linear algebra fails, and on as few atoms as do no harm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.loss import ConicTerms
from meanfield_opt.losses.output_bias import OutputBias
from meanfield_opt.problem import TwoLayerProblem

from . import tangents
from .bound import affordable
from .carrier import Carrier
from .master import master_energy
from .peaks import Pricing, rows_of
from .reduce import caratheodory, merge, shares
from .saddle import Parts, Saddle, of_form, solve_saddle
from .scout import Bank
from .slide import Particles
from .state import State
from .tangents import Tangents

Array = NDArray[np.float64]

#: masters for one set of columns, at most, until tangents agree with the loss
MOST_TANGENT_STEPS = 8
#: the most violated columns, and half of those in use, that a failed master is tried again with
FEW = 100


def parts_of(problem: TwoLayerProblem) -> Parts | None:
    """The dual of the loss in parts, or None where it is not given by residuals."""
    loss, bias = problem.loss, None
    if isinstance(loss, OutputBias):
        loss, bias = loss.base, loss.penalty
    form = loss.residual_form(problem.targets) if isinstance(loss, ConicTerms) else None
    return None if form is None else of_form(form, bias)


def model_of(problem: TwoLayerProblem) -> Parts | Tangents | None:
    """The dual of the loss in parts, or tangents of the loss, or None where it is not a sum over entries."""
    parts = parts_of(problem)
    if parts is not None:
        return parts
    return Tangents.around_zero(problem.loss, problem.targets) if tangents.applies(problem.loss) else None


def solve(
    problem: TwoLayerProblem, model: Parts | Tangents, features: Array, cost: Array, scale: float, accuracy: float
) -> Saddle | None:
    """The master on these columns."""
    price, l2, width = problem.lambda1 * cost, problem.lambda2, problem.width
    if isinstance(model, Parts):
        return solve_saddle(model, features, price, l2, width, scale, accuracy)
    for _ in range(MOST_TANGENT_STEPS):
        done = solve_saddle(model.parts(), features, price, l2, width, scale, accuracy)
        if done is None:
            return None
        done = replace(done, dual=model.clipped(done.dual))
        outputs = done.readouts @ features
        if model.miss(outputs) <= 0.1 * accuracy * scale:
            break
        model.refine(outputs)
    return done


def master(
    problem: TwoLayerProblem,
    model: Parts | Tangents,
    carrier: Carrier,
    state: State,
    bank: Bank,
    scale: float,
    accuracy: float,
) -> bool:
    """Solve the master on the bank; the state takes its dual point, and its atoms where the energy fell. False where it fails."""
    if bank.cost.size == 0:
        return True
    done = solve(problem, model, bank.features, bank.cost, scale, accuracy)
    if done is None or not done.gap < 1e-2:
        # too many near-parallel columns of very different size: those in use and the most violated ones
        level = Pricing(problem, rows_of(problem.geometry), state.dual, state.kappa).level(bank.theta)
        massive = np.argsort(-bank.masses, kind="stable")[: 2 * FEW]
        worst = np.argsort(-level, kind="stable")[:FEW]
        bank.take(np.unique(np.concatenate([massive[bank.masses[massive] > 0], worst])).astype(np.intp))
        done = solve(problem, model, bank.features, bank.cost, scale, accuracy)
    if (done is None or not done.gap < 1e-2) and bank.masses.any():
        # neurons on their way to infinity: none much longer than those in use
        bank.take(np.flatnonzero(bank.cost <= bank.cost[bank.masses > 0].max()))
        done = solve(problem, model, bank.features, bank.cost, scale, accuracy)
    if done is None or not done.gap < 1e-2:
        return False
    bank.masses, bank.readouts = done.masses, done.readouts
    state.dual, state.kappa = problem.loss.project_dual(done.dual, problem.targets), done.kappa
    used = shares(done.masses, done.readouts, bank.features) > 1e-3 * accuracy / done.masses.size
    masses, readouts = done.masses[used], done.readouts[:, used]
    if problem.width is not None:
        masses = masses * min(1.0, problem.width / max(float(masses.sum()), 1e-300))
    energy = master_energy(problem, bank.features[used], bank.cost[used], readouts, masses)
    if energy < state.energy:
        state.energy = energy
        state.particles = Particles(carrier.from_neurons(bank.theta[used]), readouts, masses)
    return True


def finish(problem: TwoLayerProblem, carrier: Carrier, state: State, tolerance: float) -> None:
    """As few atoms as do no harm: near ones merged, then dependent ones dropped; the dual point stays as it is."""
    model = model_of(problem)
    if model is None or state.particles.count < 2:
        return
    scale = max(problem.loss.value(np.zeros_like(problem.targets), problem.targets), 1e-300)
    most = affordable(state.energy, state.lower, tolerance, 0.1)
    for angle in (3e-2, 3e-3, 3e-4, 3e-5, 0.0):
        few = merge(problem, carrier, state.particles, angle) if angle else state.particles
        if angle and few.count == state.particles.count:
            continue
        for _ in range(2):
            features, cost = problem.features(carrier.patterns(few.x)), carrier.cost(few.x)
            done = solve(problem, model, features, cost, scale, 1e-3 * tolerance)
            if done is None:
                break
            masses, readouts = done.masses, done.readouts
            if problem.width is not None:
                masses = masses * min(1.0, problem.width / max(float(masses.sum()), 1e-300))
            energy = master_energy(problem, features, cost, readouts, masses)
            if energy > most:
                break
            keep = shares(masses, readouts, features) > 1e-4 * tolerance / masses.size
            energy = master_energy(problem, features[keep], cost[keep], readouts[:, keep], masses[keep])
            if energy > most:
                break
            state.particles, state.energy = Particles(few.x[keep], readouts[:, keep], masses[keep]), energy
            price = problem.lambda1 * cost[keep] + done.kappa
            factor = caratheodory(features[keep], price, readouts[:, keep])
            few = state.particles.take(factor > 0)
            if few.count == state.particles.count:
                break
        if state.particles.count <= few.count:
            break

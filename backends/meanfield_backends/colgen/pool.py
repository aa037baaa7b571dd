"""Few dimensions: exact pricing and an accurate master on all local maxima kept so far, instead of sliding.

Near the optimum many atoms lie in neighbouring cells, resting on kinks, where first-order sliding crawls. Columns at exact
local maxima (``ascent``) and an interior-point master (``masses``) close the gap as a cutting-plane method does. Maxima are many and
their basins small (a few in a thousand random starts reach each): first-order ascent of many starts finds them, Newton's method
is spent on the best.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.backend import SolveOptions
from meanfield_opt.geometry import FactorGeometry
from meanfield_opt.losses.squared import Squared
from meanfield_opt.measure import Measure
from meanfield_opt.problem import TwoLayerProblem

from .ascent import unit_rows
from .basins import MOST_BASINS, copied, different
from .carrier import Carrier, ThetaCarrier
from .columns import chosen, features_of, lengths, outputs
from .glide import glide
from .improve import with_random
from .masses import interior_point
from .master import masses_of, master_energy
from .memory import comparable
from .pricing import MOST_NEW
from .reduce import merge, prune
from .search import Found, evening, spread
from .slide import Particles
from .smooth_energy import curved
from .state import State, Stopwatch, first_state
from .work import UNEVEN, in_use, masters_a_search
from .working import FEW, MANY, working_master

Array = NDArray[np.float64]

MOST_DIMENSIONS, MOST_SAMPLES = 100, 20_000
#: columns kept after a master; those it uses are always kept
MOST_COLUMNS, KEPT = 400, 2.0
#: entries of the features of the columns kept in many dimensions, where a master costs little for columns without mass
MOST_ENTRIES = 8_000_000
#: and as many at the least, even where a master is dear: with fewer it forgets what the search finds
MOST_WIDE = 2500
#: slack, relative to that of no response at all, above which columns are dropped: their basins are remembered
SLACK = 0.03
#: what the option ``memory`` holds
REMEMBERED = {"problem", "columns", "masses", "basins", "dual", "unknown"}
#: relative gap to expect from the columns of another penalty: at most, and beside the change of the penalty's logarithm
RECALLED, CHANGED = 0.15, 0.4
#: share of the starts of a search where basins of another penalty are known: beside the change of the penalty's logarithm, at least and at most.
#: What one penalty's search has met is known to the next, and judges the claims before it in the end (``revise``), so that starts are spent on
#: the path as a whole. Teacher and d_X = 4, ten penalties: 126 claims with 0.3 held against 60,000 starts each; with 0.2 three of 42 did not,
#: without that judgement one of 35 with 0.7. With other losses dual points rest on fewer samples: of 120 claims (Huber, d_X = 4) four failed with 0.3,
#: one with 0.4
THRIFT, THRIFT_MORE, LEAST_THRIFT, MOST_THRIFT = 0.3, 0.4, 0.05, 1.0
#: share of these starts in searches that confirm, beside those of a single solve. With a quarter of it three of 120 claims on paths of the teacher failed
#: against 40,000 starts, with about so many none
TRUST = 0.75
#: steps of a first slide, at most: atoms that the optimum keeps apart come together in longer ones
SLIDE_STEPS = 100
#: weights and bias above which atoms also slide every round: maxima are too costly to be exact (``wide``)
SLIDING = 16
#: masters that cost as much as a search, above which they run on working sets
CHEAP = 1.5


def applies(problem: TwoLayerProblem, carrier: Carrier) -> bool:
    """Whether pools are for the problem: smooth loss over the entries, degree 1 with kinks, free mass, few dimensions."""
    pieces = problem.activation.pieces
    return (
        curved(problem.loss, problem.targets)
        and isinstance(carrier, ThetaCarrier)
        and isinstance(problem.geometry, FactorGeometry)
        and problem.activation.degree == 1.0
        and pieces is not None
        and len(pieces) > 1
        and problem.width is None
        and carrier.dimension <= MOST_DIMENSIONS
        and problem.n_samples <= MOST_SAMPLES
    )


def begin(
    problem: TwoLayerProblem,
    carrier: Carrier,
    state: State,
    rng: np.random.Generator,
    watch: Stopwatch,
) -> None:
    """The first pool: the atoms there are, or where many random ones come to rest when they slide."""
    size = int(np.clip(36 * carrier.dimension, 64, 400))
    moved = state.particles
    if moved.count == 0:
        moved = with_random(problem, carrier, moved, size, rng)
        if spread(carrier.geometry) > UNEVEN:  # sliding in weights would follow the largest inputs
            state.columns, state.column_masses = (
                unit_rows(moved.x @ evening(carrier.geometry)[0]),
                np.zeros(moved.count),
            )
            return
        rows = carrier.patterns(np.eye(carrier.dimension)).T
        for eps in (0.03, 0.01, 3e-3):
            moved = glide(
                problem, carrier, rows, moved, eps=eps, iterations=SLIDE_STEPS, watch=watch.over, threads=state.threads
            )
            moved = merge(problem, carrier, prune(carrier, moved, 1e-6), min(0.02, eps))
            take(problem, carrier, state, moved, watch)
    add(carrier, state, problem, moved)


def take(problem: TwoLayerProblem, carrier: Carrier, state: State, moved: Particles, watch: Stopwatch) -> None:
    """These atoms become the best so far where their energy is lower, so that what ends a run before its first master returns them."""
    features, cost = problem.features(carrier.patterns(moved.x)), carrier.cost(moved.x)
    masses = masses_of(problem, cost, moved.readouts, moved.masses)
    energy = master_energy(problem, features, cost, moved.readouts, masses)
    if energy < state.energy:
        state.particles, state.energy = Particles(moved.x, moved.readouts, masses), energy
        state.history.append((watch.seconds(), energy, state.lower, moved.count))


def remember(problem: TwoLayerProblem, state: State, memory: dict[str, Any] | None) -> None:
    """Columns, masses and basins go into the option ``memory``, where there is one."""
    if memory is not None and state.columns is not None:
        memory.update(
            problem=problem,
            columns=state.columns,
            masses=state.column_masses,
            basins=state.basins,
            dual=state.dual,
            unknown=state.unknown,
        )


def recalled(
    problem: TwoLayerProblem, carrier: Carrier, start: Measure | None, memory: dict[str, Any] | None, threads: int
) -> State | None:
    """A first state from ``memory`` of the same inputs under other penalties: the master on its columns and the atoms of ``start``.

    None where there is no such memory, pools are not for the problem, or the master fails.
    """
    if not memory or not memory.keys() >= REMEMBERED:
        return None
    known = memory["problem"]
    if not isinstance(known, TwoLayerProblem) or known.geometry is not problem.geometry:
        return None
    if not applies(problem, carrier):
        return None
    state = first_state(problem, carrier, None)
    state.columns, state.column_masses, state.basins = memory["columns"], memory["masses"], memory["basins"]
    pairs = ((known.lambda1, problem.lambda1), (known.lambda2, problem.lambda2))
    alike = comparable(known, problem)  # other basins say nothing about how many starts are needed
    change = max(abs(math.log(new / old)) for old, new in pairs) if alike else math.inf
    if alike:  # the levels of columns tell which of them the master begins with
        state.dual = memory["dual"] * math.sqrt(problem.tau / known.tau)
        state.unknown = memory["unknown"]
    share = THRIFT if isinstance(problem.loss, Squared) else THRIFT_MORE
    state.threads, state.thrift = threads, float(np.clip(share * change, LEAST_THRIFT, MOST_THRIFT))
    state.trust = min(1.0, TRUST * state.thrift)
    extra = np.zeros((0, carrier.dimension))
    if start is not None and start.neurons is not None and start.neurons.shape[1] == carrier.dimension:
        x = carrier.from_neurons(start.neurons)
        extra, energy = unit_rows(x), problem.energy(start)
        if energy < state.energy:  # the master is as exact as this energy asks, not that of no atoms
            readouts = problem.readout(start) * start.masses
            state.particles, state.energy = Particles(x, readouts, start.masses), energy
    state.recalled = float(np.clip(CHANGED * change, 1e-2, RECALLED))
    return state if master(problem, carrier, state, extra, 1e-2 * state.recalled, state.recalled) else None


def add(carrier: Carrier, state: State, problem: TwoLayerProblem, particles: Particles) -> None:
    """These atoms with their masses as columns, in place of all masses so far, and of the columns that they are."""
    size = np.sqrt(carrier.cost(particles.x))
    length = np.sqrt(np.einsum("kj,kj->j", particles.readouts, particles.readouts))
    masses = np.sqrt(problem.lambda2 / problem.lambda1) * length * size
    x = particles.x / np.maximum(size, 1e-300)[:, None]
    if state.columns is None or state.column_masses is None:
        state.columns, state.column_masses = x, masses
    else:
        # copies share their mass in an interior solution, so that all of them would stay: 2500 columns of 114 after twenty penalties of a path
        others = state.columns[~copied(state.columns, x, evening(carrier.geometry)[1])]
        state.columns, state.column_masses = np.vstack([others, x]), np.concatenate([np.zeros(others.shape[0]), masses])


def master(problem: TwoLayerProblem, carrier: Carrier, state: State, new: Array, accuracy: float, gap: float) -> bool:
    """The master on all columns and ``new`` ones; False (and no new dual point) where linear algebra fails.

    The best atoms are replaced if the energy fell. accuracy and gap (the present one): relative to the energy.
    """
    assert state.columns is not None
    assert state.column_masses is not None
    new = new[~copied(new, state.columns, evening(carrier.geometry)[1])]
    x = np.vstack([state.columns, new])
    start = np.concatenate([state.column_masses, np.zeros(new.shape[0])])
    features = features_of(problem, carrier, x, state.threads)
    none = problem.loss.value(np.zeros_like(problem.targets), problem.targets)
    wanted = max(1e-15, accuracy * state.energy / none)
    near = max(gap, 1e-9) * state.energy / none
    l1, l2 = problem.lambda1, problem.lambda2
    if carrier.dimension > SLIDING or masters_a_search(problem, carrier, start) > CHEAP:
        working = MANY if carrier.dimension > SLIDING else FEW
        centre = working_master(
            features,
            problem.targets,
            l1,
            l2,
            start,
            state.dual,
            wanted,
            gap,
            near,
            working,
            threads=state.threads,
            loss=problem.loss,
        )
    else:
        centre = interior_point(
            features, problem.targets, l1, l2, start, wanted, near=near, threads=state.threads, loss=problem.loss
        )
    if centre is None:
        return False
    share = centre.masses / float(centre.masses.sum())
    # small masses may still matter to the outputs where inputs are large
    effect = np.linalg.norm(centre.readouts, axis=0) * lengths(features, state.threads) / np.sqrt(none)
    dust = 1e-12 if carrier.dimension <= SLIDING else 1e-8
    used = np.maximum(share, effect) > max(dust, 10.0 * accuracy / share.size)
    atoms = Particles(x[used], centre.readouts[:, used], centre.masses[used])
    energy = master_energy(
        problem,
        chosen(features, np.flatnonzero(used), state.threads),
        carrier.cost(atoms.x),
        atoms.readouts,
        atoms.masses,
    )
    if energy <= state.energy:
        state.particles, state.energy = atoms, energy
    fit = outputs(centre.readouts, features, state.threads)
    state.dual = problem.loss.project_dual(-problem.loss.gradient(fit, problem.targets), problem.targets)
    slack = centre.slacks / problem.lambda1
    heavy = share > slack  # complementary: one of them tends to zero
    rank = np.where(heavy, -share, slack)
    most = max(MOST_COLUMNS, int(KEPT * in_use(centre.masses)))
    if carrier.dimension > SLIDING:
        most = max(MOST_WIDE, MOST_ENTRIES // problem.n_samples)
    keep = np.argsort(rank, kind="stable")[: max(most, int(heavy.sum()))]
    keep = keep[rank[keep] < SLACK]
    state.columns, state.column_masses = x[keep], centre.masses[keep]
    return True


def round_(
    problem: TwoLayerProblem, carrier: Carrier, state: State, found: Found | None, gap: float, options: SolveOptions
) -> bool:
    """Add the violated maxima and solve the master; False where that failed."""
    new = np.zeros((0, carrier.dimension))
    if found is not None:
        new = different(
            found.x[found.level > 1.0 + worth(carrier, gap, options.tolerance)][: 4 * MOST_BASINS],
            MOST_NEW,
            min(0.05, gap),
            evening(carrier.geometry)[1],
        )
    return master(problem, carrier, state, new, master_accuracy(problem, carrier, state, gap, options.tolerance), gap)


def worth(carrier: Carrier, gap: float, tolerance: float) -> float:
    """Violations below this are not worth a column at this gap: what is left of them shows later. On uneven inputs any is."""
    return max(0.02 * gap, 0.1 * tolerance) if spread(carrier.geometry) <= UNEVEN else 0.0


def master_accuracy(problem: TwoLayerProblem, carrier: Carrier, state: State, gap: float, tolerance: float) -> float:
    """How exact a master is worth being at this gap, relative to the energy."""
    assert state.column_masses is not None
    # cheap masters are followed by others; their dual points may be more central
    share = 0.05 if masters_a_search(problem, carrier, state.column_masses) > CHEAP else 0.01
    accuracy = max(1e-13, min(share * gap, max(share * tolerance, 0.1 * share * gap)))
    uneven = spread(carrier.geometry)
    # a slight error of the dual point is a great violation along the largest inputs
    return max(1e-13, accuracy / uneven) if uneven > UNEVEN else accuracy

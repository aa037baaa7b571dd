"""Column generation over orbits: hypercube tasks of any size as a problem in a few numbers.

The group of the task (translations of the cube with sign changes of outputs; cyclic shifts of the labels where all
labels are alike) makes some optimum invariant. An invariant measure is a mixture of orbits, one representative h each,
and acts on label i through one number kappa_i(h) = <v_i, phi(h)>^2 / P, so that with F_i = f_i v_i

    E(m) = l1 sum_j m_j c(h_j) + P sum_i r_i(sum_j m_j kappa_i(h_j)),    r_i(k) = l2 / (l2 + k)      (squared loss).

The master problem minimises E over m >= 0. Pricing maximises |Z phi(h)|^2 / c(h), Z = diag(zeta) Y, over patterns that
are fixed by a large subgroup, functions of at most two labels, and is exact there. That restriction is a way to find
columns, not a proof: whether any other pattern is better is for the certificate to say.
"""

from __future__ import annotations

import functools
import itertools
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.backend import Progress, SolveOptions
from meanfield_opt.checker.hypercube import Hypercube, hypercube_of
from meanfield_opt.checker.slopes import two_slopes
from meanfield_opt.label_patterns import LabelPatterns
from meanfield_opt.measure import Measure
from meanfield_opt.problem import MeanFieldProblem, TwoLayerProblem
from meanfield_opt.solution import Solution, Status

Array = NDArray[np.float64]

MOST_LABELS_OF_A_PATTERN = 2
MOST_ENTRIES = 2**27  # of the expanded atoms: 1 GiB


def refusal(problem: MeanFieldProblem) -> str | None:
    """None if the orbit reduction applies, otherwise the reason."""
    if not isinstance(problem, TwoLayerProblem):
        return "not a two-layer problem."
    if problem.width is not None or problem.loss.name != "squared":
        return "orbits are implemented for free mass and the squared loss."
    if two_slopes(problem.activation) is None:
        return f"orbits are implemented for activations with one kink, at 0; {problem.activation.name} has not that."
    cube = hypercube_of(problem)
    if cube is None or cube.ridge == 0:
        return "the data are not exactly a hypercube task with a nonsingular kernel."
    return None


@dataclass(frozen=True)
class Orbit:
    """A representative: a table over some labels, its cost, and kappa (d,) of the orbit's normalised measure."""

    labels: tuple[int, ...]
    table: Array
    cost: float
    kappa: Array


@dataclass(frozen=True)
class Reduced:
    """The data of the task that matter: eigenvalues of K_X, slopes of phi, penalties, sizes."""

    cube: Hypercube
    slopes: tuple[float, float]
    lambda1: float
    lambda2: float

    @property
    def shifts(self) -> bool:
        """Whether the labels are alike, so that their cyclic shifts are symmetries too."""
        return len(set(self.cube.weights)) == 1

    def phi(self, h: Array) -> Array:
        """The activation."""
        return np.where(h > 0, self.slopes[1], self.slopes[0]) * h

    def eigenvalues(self, labels: tuple[int, ...]) -> Array:
        """Of K_X on the characters of tables over ``labels``, in the order of their codes."""
        p = self.cube.samples
        out = np.full(1 << len(labels), float(self.cube.ridge))
        out[0] += p * float(self.cube.constant)
        for bit, label in enumerate(labels):
            out[1 << bit] += p * float(self.cube.weights[label])
        return out

    def orbit(self, labels: tuple[int, ...], table: Array) -> Orbit:
        """The orbit of a table, scaled to largest value 1."""
        table = table / np.abs(table).max()
        h = hadamard(len(labels))
        p, size = self.cube.samples, table.size
        cost = p * float(((h @ table / size) ** 2 / self.eigenvalues(labels)).sum())
        kappa = np.zeros(self.cube.labels)
        for bit, label in enumerate(labels):
            kappa[label] = p * float(h[1 << bit] @ self.phi(table) / size) ** 2
        if self.shifts:
            kappa[:] = kappa.mean()
        return Orbit(labels, table, cost, kappa)


def hadamard(bits: int) -> Array:
    """The characters as rows, by code: entry (S, x) = (-1)^|S & x|."""
    code = np.arange(1 << bits)
    parity = np.zeros((code.size, code.size), dtype=np.int64)
    for bit in range(bits):
        parity ^= (code[:, None] >> bit) & (code[None, :] >> bit) & 1
    return np.asarray(1.0 - 2.0 * parity, dtype=np.float64)


@functools.lru_cache(maxsize=4)
def faces(bits: int) -> Array:
    """All sign vectors in {-1, 0, 1} over the entries of a table, without the zero vector."""
    return np.array([f for f in itertools.product((1.0, 0.0, -1.0), repeat=1 << bits) if any(f)])


def price(reduced: Reduced, zeta: Array, labels: tuple[int, ...]) -> tuple[float, Array]:
    """The largest ratio |Z phi(h)|^2 / (tau c(h)) over all tables on ``labels`` at Z = diag(zeta) Y, and its table.

    Exact up to rounding: on each face of the arrangement of the kinks phi is linear, a maximiser inside the face is a
    leading generalised eigenvector, and every face is tried.
    """
    bits, p = len(labels), reduced.cube.samples
    size = 1 << bits
    h, face = hadamard(bits), faces(bits)
    own = h[[1 << bit for bit in range(bits)]] * np.abs(zeta[list(labels)])[:, None]
    inverse = (h / reduced.eigenvalues(labels)) @ h / size
    free = face != 0
    cost = np.where(free[:, :, None] & free[:, None, :], inverse, 0.0)
    cost[:, np.arange(size), np.arange(size)] += ~free
    rows = own[None] * np.where(face > 0, reduced.slopes[1], np.where(face < 0, reduced.slopes[0], 0.0))[:, None, :]
    root = np.linalg.inv(np.linalg.cholesky(cost))  # cost = L L^T, root = L^-1
    whitened = rows @ root.transpose(0, 2, 1)
    _, vectors = np.linalg.eigh(whitened.transpose(0, 2, 1) @ whitened)
    tables = np.einsum("fki,fk->fi", root, vectors[:, :, -1])
    tables = np.vstack([tables, -tables])
    top = ((reduced.phi(tables) @ own.T) ** 2).sum(axis=1) / size
    bottom = np.einsum("fi,ij,fj->f", tables, inverse, tables)
    ratios = p * top / (bottom * 4.0 * reduced.lambda1 * reduced.lambda2)
    k = int(np.argmax(ratios))
    return float(ratios[k]), tables[k]


def same(one: Orbit, other: Orbit) -> bool:
    """Whether two orbits are one to rounding, up to translations of the cube."""
    if one.labels != other.labels:
        return False
    code = np.arange(one.table.size)
    return any(float(np.abs(one.table[code ^ flip] - other.table).max()) <= 1e-9 for flip in range(code.size))


def label_sets(labels: int, alike: bool) -> list[tuple[int, ...]]:
    """Label sets worth pricing: one of each size if the labels are alike, else all of each size."""
    sizes = range(1, min(labels, MOST_LABELS_OF_A_PATTERN) + 1)
    if alike:
        return [tuple(range(bits)) for bits in sizes]
    return [chosen for bits in sizes for chosen in itertools.combinations(range(labels), bits)]


def master(reduced: Reduced, orbits: list[Orbit], start: Array) -> Array:
    """Masses m >= 0 of the orbits that minimise E: projected Newton in the variables x = m c."""
    p, l1, l2 = reduced.cube.samples, reduced.lambda1, reduced.lambda2
    cost, kappa = np.array([o.cost for o in orbits]), np.array([o.kappa for o in orbits])
    rows = kappa / cost[:, None]

    def value(x: Array) -> float:
        return l1 * float(x.sum()) + p * l2 * float((1 / (l2 + x @ rows)).sum())

    def slope(x: Array) -> Array:
        return np.asarray(l1 - p * l2 * (rows @ (l2 + x @ rows) ** -2))

    def residual(x: Array) -> float:
        g = slope(x)
        return float(np.abs(np.where(x > 0, g, np.minimum(g, 0.0))).max(initial=0.0))

    x = start * cost
    best = value(x)
    for _ in range(300):
        left = l2 + x @ rows
        gradient = slope(x)
        hessian = 2 * p * l2 * (rows * left**-3) @ rows.T
        on = np.flatnonzero((x > 0) | (gradient < 0))
        part = hessian[np.ix_(on, on)]
        part[np.diag_indices(on.size)] *= 1 + 1e-14
        step = np.zeros_like(x)
        step[on] = -np.linalg.lstsq(part, gradient[on], rcond=1e-13)[0]
        length = 1.0
        while length > 1e-12:
            new = np.maximum(x + length * step, 0.0)
            # near the optimum values no longer tell points apart, but optimality residuals do
            if value(new) < best or (value(new) <= best * (1 + 1e-15) and residual(new) < residual(x)):
                break
            length /= 2
        else:
            break  # no descent left in floating point
        x, best = new, value(new)
    return np.asarray(x / cost)


def dual_scales(reduced: Reduced, orbits: list[Orbit], masses: Array) -> Array:
    """zeta (d,) with Z = diag(zeta) Y the dual point of the invariant measure."""
    total = sum((m * o.kappa for m, o in zip(masses, orbits)), np.zeros(reduced.cube.labels))
    return np.asarray(2 * reduced.lambda2 / (reduced.lambda2 + total))


def expand(reduced: Reduced, orbits: list[Orbit], masses: Array, zeta: Array) -> tuple[LabelPatterns, Array, Array]:
    """All members of the orbits of positive mass: patterns, masses (J,), readout weights w = Z phi(h) / (2 l2) (d, J)."""
    d, p = reduced.cube.labels, reduced.cube.samples
    labels, tables, weights, readout = [], [], [], []
    for orbit, mass in zip(orbits, masses):
        if mass <= 0:
            continue
        h = hadamard(len(orbit.labels))
        moments = h @ reduced.phi(orbit.table) / orbit.table.size
        shifts = range(d) if reduced.shifts else range(1)
        code = np.arange(orbit.table.size)
        for shift in shifts:
            chosen = tuple((label + shift) % d for label in orbit.labels)
            for flip in range(orbit.table.size):
                w = np.zeros(d)
                for bit, label in enumerate(chosen):
                    w[label] = zeta[label] * p * moments[1 << bit] / (2 * reduced.lambda2) * h[1 << bit, flip]
                labels.append(chosen)
                tables.append(tuple(float(v) for v in orbit.table[code ^ flip]))
                weights.append(mass / (len(shifts) * orbit.table.size))
                readout.append(w)
    return LabelPatterns(tuple(labels), tuple(tables)), np.array(weights), np.array(readout).reshape(-1, d).T


def solve_orbits(problem: TwoLayerProblem, options: SolveOptions, backend: str) -> Solution | None:
    """Solve in the reduced space; None if the optimum found needs more atoms than can be expanded."""
    begin = time.perf_counter()
    cube, slopes = hypercube_of(problem), two_slopes(problem.activation)
    assert cube is not None
    assert slopes is not None
    reduced = Reduced(cube, (float(slopes[0]), float(slopes[1])), problem.lambda1, problem.lambda2)
    orbits: list[Orbit] = []
    masses = np.zeros(0)
    sets = label_sets(cube.labels, reduced.shifts)
    status, rounds, worst = Status.ITERATION_LIMIT, 0, 0.0
    limit = 50 if options.max_iterations is None else options.max_iterations
    for rounds in range(1, limit + 1):
        zeta = dual_scales(reduced, orbits, masses)
        fresh, worst = [], 0.0
        alone: dict[int, float] = {}
        for labels in sets:
            ratio, table = price(reduced, zeta, labels)
            worst = max(worst, ratio)
            # two labels are worth a column only where they beat each of them alone
            if len(labels) == 1:
                alone[labels[0]] = ratio
            elif ratio <= (1 + 1e-10) * max(alone.get(label, 0.0) for label in labels):
                continue
            orbit = reduced.orbit(labels, table)
            if ratio > 1 + 1e-13 and not any(same(orbit, other) for other in orbits):
                fresh.append(orbit)
        if options.progress is not None:
            energy = reduced.cube.samples * float((zeta / 2).sum()) + problem.lambda1 * float(
                sum(m * o.cost for m, o in zip(masses, orbits))
            )
            lower = problem.n_samples * float((zeta - zeta**2 / 4 / max(worst, 1.0)).sum() / max(worst, 1.0) ** 0.5)
            options.progress(
                Progress("orbits", rounds, energy, lower, time.perf_counter() - begin, int((masses > 0).sum()))
            )
        if worst <= 1 + min(1e-12, options.tolerance) or not fresh:
            status = Status.SOLVED if worst <= 1 + options.tolerance else Status.INACCURATE
            break
        if time.perf_counter() - begin > options.time_limit:
            status = Status.TIME_LIMIT
            break
        keep = [k for k in range(len(orbits)) if masses[k] > 0]
        orbits, masses = [orbits[k] for k in keep] + fresh, np.concatenate([masses[keep], np.zeros(len(fresh))])
        scale = 1e-3 * reduced.lambda2 / max(max(o.kappa.max() for o in orbits), 1e-300)
        masses = master(reduced, orbits, np.maximum(masses, scale))
    zeta = dual_scales(reduced, orbits, masses)
    patterns, weights, readout = expand(reduced, orbits, masses, zeta)
    if len(patterns) * problem.n_samples > MOST_ENTRIES:
        return None
    stats: dict[str, Any] = {
        "symmetry": "translations of the hypercube" + (" and shifts of its labels" if reduced.shifts else ""),
        "orbits": int((masses > 0).sum()),
        "rounds": rounds,
        "worst_ratio": worst**0.5,
        "seconds": time.perf_counter() - begin,
    }
    if len(patterns):
        measure = Measure.of_labels(patterns, weights, problem.targets, readout)
    else:
        measure = Measure.zero(problem.n_samples)
    return Solution(problem, measure, zeta[:, None] * problem.targets, status, backend, stats)

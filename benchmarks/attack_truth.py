"""Truth tests: claimed bounds against exact values, on inputs chosen to break them.

Each test takes one claim (a matrix proved PSD or copositive, an energy bounded from above or below, a dual value bounded
from below, a supremum bounded from above) and compares it, in exact rationals, with the truth or with a value that is
independently known to be attained. ``run(kind, count, seed)`` returns (tests made, claims made, false claims).
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import combinations

import flint
import mpmath
import numpy as np

from meanfield_opt.certificate import ENGINES, Limits, Question
from meanfield_opt.checker.bounds import energy_upper
from meanfield_opt.checker.definite import proved_copositive_batch, proved_psd, proved_psd_batch
from meanfield_opt.checker.exact import is_psd
from meanfield_opt.checker.refute import measure_energy_lower
from meanfield_opt.geometry import DenseGeometry, DiagonalPlusLowRank, FactorGeometry, Geometry
from meanfield_opt.measure import Measure
from meanfield_opt.plugins import activation, loss
from meanfield_opt.problem import TwoLayerProblem

Rng = np.random.Generator
Array = np.ndarray
Result = tuple[int, int, list[str]]


# data chosen to break things ------------------------------------------------------------------------------------------
def nasty_rows(rng: Rng, p: int, r: int) -> Array:
    """Rows: plain, small integers, nearly parallel, repeated / antiparallel / zero, mixed scales, denormal entries."""
    style = int(rng.integers(7))
    a = rng.standard_normal((p, r))
    if style == 1:
        a = rng.integers(-2, 3, (p, r)).astype(float)
    elif style == 2:
        a = a[:1] * rng.choice([-1.0, 1.0], (p, 1)) + 10.0 ** -rng.integers(3, 17) * rng.standard_normal((p, r))
    elif style == 3:
        a = a[rng.integers(0, p, p)] * rng.choice([-1.0, 0.0, 1.0], (p, 1))
    elif style == 4:
        a = a * 10.0 ** rng.integers(-60, 61, (p, 1))
    elif style == 5:
        a = np.where(rng.random((p, r)) < 0.4, 5e-324 * rng.integers(-3, 4, (p, r)), a)
    elif style == 6:
        a = a * 10.0 ** float(rng.choice([-120, -30, 30, 120]))
    return np.asarray(a)


def nasty_geometry(rng: Rng, p: int) -> Geometry:
    kind = int(rng.integers(4))
    if kind <= 1:
        return FactorGeometry(nasty_rows(rng, p, int(rng.integers(1, 4))))
    if kind == 2:
        k = int(rng.integers(1, 3))
        columns = np.ones((p, 1)) if k == 1 else rng.standard_normal((p, k))
        diagonal = 10.0 ** rng.uniform(-3, 3, p) if rng.random() < 0.5 else np.ones(p)
        return DiagonalPlusLowRank(diagonal, columns, 10.0 ** rng.uniform(-2, 2, k))
    g = rng.standard_normal((p, p + 1)) * 10.0 ** float(rng.choice([0, 0, -8, 8, -100]))
    return DenseGeometry(np.tril(g @ g.T) + np.tril(g @ g.T, -1).T)


def nasty_problem(rng: Rng, phi: str = "relu", loss_name: str = "squared") -> TwoLayerProblem:
    p, d = int(rng.integers(1, 6)), int(rng.integers(1, 3))
    y = np.sign(rng.standard_normal((d, p)))
    if loss_name == "squared":
        y = y * 10.0 ** float(rng.choice([0, 0, 0, -40, 40]))
    l1, l2 = (float(x) for x in 10.0 ** rng.choice([-9.0, -2.0, -0.3, 0.7, 6.0], 2))
    return TwoLayerProblem(activation(phi), loss(loss_name), nasty_geometry(rng, p), y, l1, l2)


# exact values ---------------------------------------------------------------------------------------------------------
def exact_rows(array: Array) -> list[list[Fraction]]:
    return [[Fraction(float(x)) for x in row] for row in array]


def exact_kernel(geometry: Geometry) -> list[list[Fraction]]:
    """K_X in rationals."""
    if isinstance(geometry, DenseGeometry):
        return exact_rows(geometry.kernel)
    assert isinstance(geometry, DiagonalPlusLowRank)
    b, w = exact_rows(geometry.columns), [Fraction(float(x)) for x in geometry.weight]
    n = geometry.n_samples
    return [
        [
            sum((b[i][k] * w[k] * b[j][k] for k in range(len(w))), Fraction(0))
            + (Fraction(float(geometry.diagonal[i])) if i == j else 0)
            for j in range(n)
        ]
        for i in range(n)
    ]


def dot(x: list[Fraction], y: list[Fraction]) -> Fraction:
    return sum((a * b for a, b in zip(x, y, strict=True)), Fraction(0))


def exact_pattern(problem: TwoLayerProblem, coordinates: Array) -> tuple[list[Fraction], Fraction]:
    """(h, cost) exactly: h = A theta of cost |theta|^2, or h = K x of cost x^T K x."""
    v = [Fraction(float(x)) for x in coordinates]
    if isinstance(problem.geometry, FactorGeometry):
        return [dot(row, v) for row in exact_rows(problem.geometry.factor)], dot(v, v)
    h = [dot(row, v) for row in exact_kernel(problem.geometry)]
    return h, dot(v, h)


def exact_phi(problem: TwoLayerProblem, t: Fraction) -> Fraction:
    pieces = problem.activation.pieces
    assert pieces is not None
    piece = next(q for q in pieces if q.right is None or t <= q.right)
    return piece.slope * t + piece.intercept


def exact_ratio(problem: TwoLayerProblem, dual: Array, coordinates: Array) -> Fraction | None:
    """|Z phi(h)|^2 / (4 l1 l2 c(h)) of one pattern, exactly; None for a pattern of no cost."""
    h, cost = exact_pattern(problem, coordinates)
    if cost == 0:
        return None
    phi = [exact_phi(problem, t) for t in h]
    top = sum((dot(row, phi) ** 2 for row in exact_rows(dual)), Fraction(0))
    return top / (4 * Fraction(problem.lambda1) * Fraction(problem.lambda2) * cost)


def good_coordinates(problem: TwoLayerProblem, dual: Array, rng: Rng) -> list[Array]:
    """Coordinates of patterns of large ratio: ascent from random starts, in floating point."""
    geometry = problem.geometry
    theta = rng.standard_normal((24, geometry.n_parameters))
    with np.errstate(all="ignore"):
        for _ in range(30):
            theta = theta / np.maximum(np.linalg.norm(theta, axis=1, keepdims=True), 1e-300)
            h = geometry.preactivation(theta)
            response = dual @ problem.features(h).T
            step = geometry.pullback((dual.T @ response).T * problem.activation.derivative(h))
            size = np.linalg.norm(step, axis=1, keepdims=True)
            theta = np.where(np.isfinite(size) & (size > 0), 0.1 * theta + step / size, theta)
        value = np.einsum("kj,kj->j", response, response)
        best = theta[int(np.argmax(np.where(np.isfinite(value), value, -1.0)))]
        if isinstance(geometry, FactorGeometry):
            return [best, theta[0]]
        kernel = np.array([[float(x) for x in row] for row in exact_kernel(geometry)])
        x = np.linalg.lstsq(kernel, geometry.preactivation(best[None, :])[0], rcond=None)[0]
    return [x if np.isfinite(x).all() else np.ones(geometry.n_samples)]


def hadeler(matrix: Array) -> bool:
    """Exact copositivity of a small matrix (Hadeler's criterion on all principal submatrices)."""
    n = matrix.shape[0]
    entries = [[flint.fmpq(*float(x).as_integer_ratio()) for x in row] for row in matrix]
    for size in range(1, n + 1):
        for chosen in combinations(range(n), size):
            b = flint.fmpq_mat(size, size, [entries[i][j] for i in chosen for j in chosen])
            det = b.det()
            if size == 1:
                if det < 0:
                    return False
            elif det < 0:
                inverse = b.inv()
                if all(inverse[i, j] <= 0 for i in range(size) for j in range(size)):
                    return False
    return True


# the tests ------------------------------------------------------------------------------------------------------------
def near_boundary(rng: Rng, n: int) -> Array:
    """A form at distance 1e-6 .. 1e-30 (or 0) from the boundary of the PSD or copositive cone, at any scale."""
    g = rng.integers(-2, 3, (int(rng.integers(1, n + 1)), n)).astype(float)
    m = g.T @ g
    if rng.random() < 0.5:  # copositive but indefinite before the push
        m = m + np.triu(rng.integers(0, 3, (n, n)), 1) + np.triu(rng.integers(0, 3, (n, n)), 1).T
        m = np.minimum(m, m.T)
    push = float(rng.choice([0.0, 1.0, -1.0])) * 10.0 ** -float(rng.integers(6, 31))
    m = m + push * np.eye(n) * max(1.0, float(np.trace(m)))
    if rng.random() < 0.3:
        i, j = rng.integers(0, n, 2)
        m[i, j] = m[j, i] = np.nextafter(m[i, j], -np.inf)
    if rng.random() < 0.5:
        d = np.exp2(rng.integers(-40, 41, n))
        m = m * d[:, None] * d[None, :]
    if rng.random() < 0.2:
        m = m * float(rng.choice([1e-300, 1e-310, 1e280, 5e-324]))
    return np.asarray(np.tril(m) + np.tril(m, -1).T)


def forms(count: int, rng: Rng) -> Result:
    """PSD and copositivity tests of small forms."""
    claims, false = 0, []
    made = 0
    while made < count:
        n = int(rng.integers(2, 5))
        stack = np.stack([near_boundary(rng, n) for _ in range(50)])
        psd, cop = proved_psd_batch(stack), proved_copositive_batch(stack)
        for m, one, two in zip(stack, psd, cop, strict=True):
            single = proved_psd(m)
            made += 3
            claims += int(one) + int(two) + int(single)
            if (one or single) and not is_psd(m):
                false.append(f"psd {m!r}")
            if two and not hadeler(m):
                false.append(f"copositive {m!r}")
    return made, claims, false


def energies(count: int, rng: Rng) -> Result:
    """Energies of measures from above and from below, dual values from below (squared loss)."""
    claims, false, made = 0, [], 0
    while made < count:
        problem = nasty_problem(rng, str(rng.choice(["relu", "leaky_relu", "absolute", "hard_tanh"])))
        geometry = problem.geometry
        j = int(rng.integers(1, 4))
        coordinates = rng.standard_normal((j, geometry.n_parameters)) * 10.0 ** float(rng.choice([0, -5, 5]))
        masses = 10.0 ** rng.uniform(-3, 3, j)
        weights = rng.standard_normal((problem.n_outputs, j)) * 10.0 ** float(rng.choice([0, -3, 3]))
        with np.errstate(all="ignore"):
            atoms = geometry.preactivation(coordinates)
            if not np.isfinite(atoms).all():
                continue
            measure = Measure(atoms, masses, coordinates, weights)
            measure, above = energy_upper(problem, measure)
            below = measure_energy_lower(problem, measure)
        assert measure.readout is not None
        exact = exact_energy(problem, measure)
        made += 2
        if exact is not None:
            claims += int(np.isfinite(above)) + int(np.isfinite(below))
            if np.isfinite(above) and Fraction(above) < exact:
                false.append(f"energy_upper {above!r} < {float(exact)!r}: {problem.describe()}")
            if np.isfinite(below) and Fraction(below) > exact:
                false.append(f"energy_lower {below!r} > {float(exact)!r}: {problem.describe()}")
        z = rng.standard_normal(problem.targets.shape) * 10.0 ** float(rng.choice([0, -160, 150, -308, 20]))
        s = float(10.0 ** rng.uniform(-3, 3))
        with np.errstate(all="ignore"):
            lower = problem.loss.dual_lower(z, problem.targets, s)
        made += 1
        if np.isfinite(lower):
            claims += 1
            fz, fy, fs = exact_rows(z), exact_rows(problem.targets), Fraction(s)
            value = fs * sum(map(dot, fz, fy)) - fs**2 * sum(map(dot, fz, fz)) / 4
            if Fraction(lower) > value:
                false.append(f"dual_lower {lower!r} > {float(value)!r}")
    return made, claims, false


def exact_energy(problem: TwoLayerProblem, measure: Measure) -> Fraction | None:
    """The energy of the measure with its readout: exact for piecewise linear phi (patterns as stored, exact costs)."""
    assert measure.readout is not None
    v = exact_rows(measure.readout * measure.masses)  # the output weights are fl(m w), as everywhere
    outputs = [[Fraction(0)] * problem.n_samples for _ in range(problem.n_outputs)]
    total = Fraction(0)
    for k in range(measure.n_atoms):
        mass = Fraction(float(measure.masses[k]))
        if isinstance(problem.geometry, FactorGeometry):
            assert measure.neurons is not None
            h, cost = exact_pattern(problem, measure.neurons[k])
        else:
            h = [Fraction(float(x)) for x in measure.atoms[k]]
            n = len(h)
            matrix = flint.fmpq_mat(
                n, n, [flint.fmpq(x.numerator, x.denominator) for row in exact_kernel(problem.geometry) for x in row]
            )
            x = matrix.solve(flint.fmpq_mat(n, 1, [flint.fmpq(t.numerator, t.denominator) for t in h]))
            cost = sum((h[i] * Fraction(int(x[i, 0].p), int(x[i, 0].q)) for i in range(n)), Fraction(0))
        total += Fraction(problem.lambda1) * mass * cost
        phi = [exact_phi(problem, t) for t in h]
        for i in range(problem.n_outputs):
            total += Fraction(problem.lambda2) * v[i][k] ** 2 / mass
            for q in range(problem.n_samples):
                outputs[i][q] += v[i][k] * phi[q]
    y = exact_rows(problem.targets)
    for i in range(problem.n_outputs):
        total += sum(((y[i][q] - outputs[i][q]) ** 2 for q in range(problem.n_samples)), Fraction(0))
    return total


def logistic_duals(count: int, rng: Rng) -> Result:
    """The logistic dual value from below, against 60 digits, also at the ends of its domain."""
    claims, false = 0, []
    ell = loss("logistic")
    with mpmath.workdps(60):
        for _ in range(count):
            y = np.sign(rng.standard_normal((1, 3)))
            t = np.where(
                rng.random((1, 3)) < 0.4,
                rng.choice([0.0, 1.0, 5e-324, 1e-300, 1 - 2.0**-53], (1, 3)),
                rng.random((1, 3)),
            )
            s = float(rng.choice([0.0, 1.0, 0.5, 1 - 2.0**-53, 1 + 2.0**-52, 1e-300, rng.random()]))
            lower = ell.dual_lower(y * t, y, s)
            exact = mpmath.mpf(0)
            inside = True
            for x in t.ravel():
                p = mpmath.mpf(s) * mpmath.mpf(float(x))
                inside &= bool(p <= 1)
                if 0 < p < 1:
                    exact -= p * mpmath.log(p) + (1 - p) * mpmath.log(1 - p)
            if np.isfinite(lower):
                claims += 1
                if not inside or mpmath.mpf(lower) > exact:
                    false.append(f"logistic {lower!r} > {exact} at s={s!r}, t={t!r}")
    return count, claims, false


def suprema(count: int, rng: Rng) -> Result:
    """Proved suprema of every engine that applies, against exactly evaluated patterns."""
    claims, false, made = 0, [], 0
    while made < count:
        problem = nasty_problem(rng, str(rng.choice(["relu", "relu", "relu", "leaky_relu", "absolute"])))
        z = nasty_rows(rng, problem.n_outputs, problem.n_samples)
        question = Question(problem, z)
        known = [x for x in (exact_ratio(problem, z, c) for c in good_coordinates(problem, z, rng)) if x is not None]
        for name in ENGINES.names():
            engine = ENGINES.get(name)
            if engine.refusal(question) is not None:
                continue
            if name in ("copositive", "orbital") and rng.random() < 0.95:  # semidefinite programs take most of the time
                continue
            with np.errstate(all="ignore"):
                proof = engine.prove(question, Limits(seconds=0.2, target=1e-9, workers=1)).proof
            made += 1
            if proof is None or not np.isfinite(proof.bound):
                continue
            claims += 1
            if any(Fraction(proof.bound) ** 2 < x for x in known):
                worst = max(float(x / Fraction(proof.bound) ** 2) if proof.bound else np.inf for x in known)
                false.append(
                    f"{name}: bound {proof.bound!r} too small by {worst - 1:.3g} (squared) in {problem.describe()}"
                )
    return made, claims, false


def widths(count: int, rng: Rng) -> Result:
    """Proved excesses under a width: kappa >= |Z phi(h)|^2 / (4 l2) - l1 c(h), at exactly evaluated patterns."""
    claims, false, made = 0, [], 0
    while made < count:
        base = nasty_problem(rng, str(rng.choice(["hard_tanh", "hard_sigmoid", "relu", "leaky_relu"])))
        problem = TwoLayerProblem(
            base.activation,
            base.loss,
            base.geometry,
            base.targets,
            base.lambda1,
            base.lambda2,
            float(rng.integers(1, 9)),
        )
        z = nasty_rows(rng, problem.n_outputs, problem.n_samples)
        question = Question(problem, z)
        known = []
        for c in good_coordinates(problem, z, rng):
            size = (
                np.abs(problem.geometry.preactivation(c[None, :])).max()
                if c.size == problem.geometry.n_parameters
                else 1.0
            )
            for length in (
                1.0,
                1.0 / size if size > 0 and np.isfinite(size) else 1.0,
                float(10.0 ** rng.uniform(-2, 2)),
            ):
                x = c * length
                if not np.isfinite(x).all():
                    continue
                h, cost = exact_pattern(problem, x)
                phi = [exact_phi(problem, t) for t in h]
                gain = sum((dot(row, phi) ** 2 for row in exact_rows(z)), Fraction(0)) / (4 * Fraction(problem.lambda2))
                known.append(gain - Fraction(problem.lambda1) * cost)
        for name in ENGINES.names():
            engine = ENGINES.get(name)
            if engine.refusal(question) is not None:
                continue
            with np.errstate(all="ignore"):
                proof = engine.prove(question, Limits(seconds=0.2, target=1e-6, workers=1)).proof
            made += 1
            if proof is None or not np.isfinite(proof.bound):
                continue
            claims += 1
            if any(Fraction(proof.bound) < x for x in known):
                false.append(f"{name}: excess {proof.bound!r} < {float(max(known))!r} in {problem.describe()}")
    return made, claims, false


KINDS: dict[str, Callable[[int, Rng], Result]] = {
    "forms": forms,
    "energies": energies,
    "logistic": logistic_duals,
    "suprema": suprema,
    "widths": widths,
}


def run(kind: str, count: int, seed: int | tuple[int, ...]) -> Result:
    """One family of truth tests."""
    return KINDS[kind](count, np.random.default_rng(seed))

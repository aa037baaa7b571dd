"""Truth tests of values: energies from above and below, dual values from below, in exact rationals or 60 digits."""

from __future__ import annotations

from fractions import Fraction

import flint
import mpmath
import numpy as np
from truth_data import Result, Rng, dot, exact_kernel, exact_pattern, exact_phi, exact_rows, nasty_problem

from meanfield_opt.checker.bounds import energy_upper
from meanfield_opt.checker.refute import measure_energy_lower
from meanfield_opt.geometry import FactorGeometry
from meanfield_opt.measure import Measure
from meanfield_opt.plugins import loss
from meanfield_opt.problem import TwoLayerProblem


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

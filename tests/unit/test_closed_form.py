"""The closed-form backend: its formulas are optimal (feasible dual of equal value), and it refuses the rest."""

from __future__ import annotations

import numpy as np
import pytest

import meanfield_opt as mfo

RNG = np.random.default_rng(3)


def duality_gap_linear(problem: mfo.TwoLayerProblem, solution: mfo.Solution) -> float:
    """Energy minus the dual value at Z shrunk to exact feasibility: sup ratio = |Z K_X^(1/2)| / sqrt(tau)."""
    k = problem.geometry.apply(np.eye(problem.n_samples))
    sigma = np.sqrt(np.linalg.eigvalsh(solution.dual @ k @ solution.dual.T)[-1] / problem.tau)
    return solution.energy - problem.dual_value(solution.dual * min(1.0, 1.0 / sigma))


@pytest.mark.parametrize("geometry", [("whitened", 0.0), ("aligned", 1.5), ("anisotropic", (0.0, 0.3, 2.0))])
@pytest.mark.parametrize("copies", [1, 2])
def test_linear_networks_on_hypercubes(geometry: tuple[str, object], copies: int) -> None:
    problem = mfo.problems.hypercube(
        3, samples_per_class=copies, geometry=geometry[0], alignment=geometry[1], activation="linear", lambda1=0.05
    )
    solution = mfo.solve(problem, backend="closed_form")
    assert abs(duality_gap_linear(problem, solution)) < 1e-10 * solution.energy
    assert solution.measure.n_atoms == 3


def test_linear_network_with_orthogonal_inputs_and_generic_targets() -> None:
    q, _ = np.linalg.qr(RNG.standard_normal((12, 5)))
    problem = mfo.problems.dataset(
        3 * q, RNG.standard_normal((12, 2)) @ np.diag([1.0, 4.0]), activation="linear", bias=False
    )
    assert "invariant" in str(mfo.backend.BACKENDS.get("closed_form").refusal(problem))
    problem = mfo.problems.dataset(
        3 * q, q @ RNG.standard_normal((5, 2)), activation="linear", bias=False, lambda1=0.3, lambda2=0.2
    )
    solution = mfo.solve(problem, backend="closed_form")
    assert abs(duality_gap_linear(problem, solution)) < 1e-10 * solution.energy


def test_zero_is_found_at_large_penalties() -> None:
    problem = mfo.problems.dataset(
        RNG.standard_normal((8, 2)), RNG.standard_normal((8, 1)), lambda1=200.0, lambda2=200.0, activation="relu"
    )
    solution = mfo.solve(problem, backend="closed_form")
    assert solution.measure.n_atoms == 0
    assert mfo.certify(problem, solution).relative_gap < 1e-12


def test_known_hypercube_answers_and_refusals() -> None:
    problem = mfo.problems.hypercube(3, geometry="aligned", alignment=2.0)
    solution = mfo.solve(problem, backend="closed_form")
    assert solution.energy == pytest.approx(0.066517869700874, rel=1e-12)
    with pytest.raises(mfo.InputError, match="no options"):
        mfo.solve(problem, backend="closed_form", depth=3)
    other = mfo.problems.dataset(RNG.standard_normal((8, 2)), RNG.standard_normal((8, 1)))
    with pytest.raises(mfo.RefusalError, match="no closed form is known"):
        mfo.solve(other, backend="closed_form")

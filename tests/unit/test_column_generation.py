"""The default backend on problems with known answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo


@pytest.mark.parametrize(
    "task",
    [
        {"latents": 2},
        {"latents": 3},
        {"latents": 4},
        {"latents": 2, "samples_per_class": 3},
        {"latents": 3, "geometry": "aligned", "alignment": 0.5},
        {"latents": 2, "geometry": "aligned", "alignment": 2.0},
        {"latents": 3, "geometry": "anisotropic", "alignment": (0.0, 0.5, 2.0)},
    ],
)
def test_hypercube_reaches_the_known_optimum_with_its_atoms(task: dict[str, Any]) -> None:
    problem = mfo.problems.hypercube(**task)
    assert problem.known is not None
    solution = mfo.solve(problem, tolerance=1e-8, symmetry=False)
    assert solution.energy == pytest.approx(problem.known.energy, rel=1e-8)
    assert solution.status is mfo.Status.SOLVED
    assert solution.measure.n_atoms == 2 * task["latents"]
    np.testing.assert_allclose(
        problem.geometry.preactivation(solution.measure.neurons),
        solution.measure.atoms,
        atol=1e-9,  # type: ignore[arg-type]
    )
    assert problem.known.kernel is not None
    np.testing.assert_allclose(solution.kernel, problem.known.kernel(), atol=1e-5)


def test_zero_is_returned_where_it_is_optimal() -> None:
    problem = mfo.problems.hypercube(2, lambda1=10.0, lambda2=10.0)
    solution = mfo.solve(problem)
    assert solution.measure.n_atoms == 0
    assert solution.energy == pytest.approx(8.0)
    assert solution.status is mfo.Status.SOLVED


def test_unknown_options_are_refused() -> None:
    with pytest.raises(mfo.InputError, match="does not know the option nonsense"):
        mfo.solve(mfo.problems.hypercube(2), nonsense=3)
    with pytest.raises(mfo.InputError, match="starts"):
        mfo.solve(mfo.problems.hypercube(2), starts=0)

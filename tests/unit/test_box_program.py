"""The inner problem of piecewise linear losses through its dual over a box."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.box_program import solve_inner

LOSSES = [
    mfo.loss("hinge"),
    mfo.loss_from(above=0.2, below=0.8),
    mfo.loss("weighted", base="hinge", output_weights=(3.0, 0.1)),
    mfo.loss("output_bias", base="hinge", penalty=0.1),
    mfo.loss("output_bias", base="hinge", penalty=0.0),
]


@pytest.mark.parametrize("shape", [(3, 5), (9, 5), (40, 40), (30, 200), (1200, 2), (5, 1100)])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: f"{loss.name} {loss.parameters}"[:40])
def test_the_inner_problem_closes_its_gap(loss: Any, shape: tuple[int, int]) -> None:
    """Primal value and dual bound meet, in both orders of the linear systems, with free features and without."""
    from meanfield_opt.fit import inner_problem

    rng = np.random.default_rng(1)
    y, phi = np.sign(rng.standard_normal((2, shape[1]))), rng.standard_normal(shape)
    for ridge in (1.0, 1e-2):
        v, z = inner_problem(loss, phi, y, ridge)
        z = loss.project_dual(z, y)
        primal = loss.value(v @ phi, y) + ridge * float(np.vdot(v, v))
        dual = loss.dual_value(z, y) - float(np.sum(np.square(z @ phi.T))) / (4 * ridge)
        assert dual <= primal + 1e-9 * (1 + abs(primal))
        assert primal - dual <= 1e-7 * (1 + abs(primal))


def test_dual_points_stay_in_their_box() -> None:
    rng = np.random.default_rng(2)
    y, phi = np.sign(rng.standard_normal((1, 30))), rng.standard_normal((40, 30))
    form = mfo.loss("hinge").residual_form(y)  # type: ignore[attr-defined]
    _, z = solve_inner(form, phi, np.full(40, 1e-3))
    assert (y * z >= 0).all()
    assert (y * z <= 1).all()
    _, z = solve_inner(form, np.zeros((2, 30)), np.ones(2))  # no feature does anything: the linear part decides
    np.testing.assert_allclose(z, y, atol=1e-9)

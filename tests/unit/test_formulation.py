"""Laws of the formulations: embedding keeps the energy, duality holds, orders and cells are right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import meanfield_opt as mfo
from meanfield_opt.formulation import (
    ArrangementSDP,
    ConicAnswer,
    DNNLift,
    Formulation,
    GroupLasso,
    MomentProgram,
    ParriloLift,
    cell_count_bound,
    enumerate_cells,
)
from meanfield_opt.formulation.search import ascend
from meanfield_opt.formulation.symmetric import smat, svec, unpacking, upper_order

SEED = 5


def planar(samples: int = 7, outputs: int = 2) -> mfo.TwoLayerProblem:
    rng = np.random.default_rng(SEED)
    return mfo.problems.dataset(
        rng.standard_normal((samples, 2)), rng.standard_normal((samples, outputs)), lambda1=0.2, lambda2=0.1
    )


def cases() -> list[tuple[str, mfo.TwoLayerProblem, mfo.Measure, Formulation]]:
    rng = np.random.default_rng(SEED)
    out: list[tuple[str, mfo.TwoLayerProblem, mfo.Measure, Formulation]] = []
    for label, problem in {
        "whitened": mfo.problems.hypercube(2),
        "aligned": mfo.problems.hypercube(2, geometry="aligned", alignment=2.0),
        "planar": planar(),
        "fewer samples than atoms": planar(3, 1),
    }.items():
        neurons = rng.standard_normal((5, problem.geometry.n_parameters))
        atoms = problem.geometry.preactivation(neurons)
        measure = mfo.Measure(atoms, rng.uniform(0.1, 1.0, 5))
        # the group lasso holds balanced masses only: l1 c m = l2 |w|^2 m, which its own optimum has
        forms: list[Formulation] = [MomentProgram(atoms), DNNLift()]
        if problem.n_samples <= 4:
            forms.append(ParriloLift())
        if label in ("planar", "fewer samples than atoms"):
            forms.append(ArrangementSDP.enumerated(problem))
        out += [(f"{form.name}, {label}", problem, measure, form) for form in forms]
    return out


@pytest.mark.parametrize(("label", "problem", "measure", "form"), cases(), ids=[c[0] for c in cases()])
def test_embedding_is_feasible_and_keeps_the_energy(
    label: str, problem: mfo.TwoLayerProblem, measure: mfo.Measure, form: Formulation
) -> None:
    assert form.refusal(problem) is None
    program = form.lower(problem)
    x = form.embed(problem, measure)
    assert program.objective(x) == pytest.approx(problem.energy(measure), rel=1e-12)
    assert program.violation(x) <= 1e-10 * max(1.0, np.abs(x).max())


@pytest.mark.parametrize("width", [None, 3.0])
@pytest.mark.parametrize("problem", [mfo.problems.hypercube(2), planar(12)], ids=["hypercube", "planar"])
def test_group_lasso_keeps_the_energy_of_balanced_measures(problem: mfo.TwoLayerProblem, width: float | None) -> None:
    rng = np.random.default_rng(SEED)
    problem = mfo.TwoLayerProblem(
        problem.activation, problem.loss, problem.geometry, problem.targets, 0.2, 0.1, width, "with width"
    )
    atoms = problem.geometry.preactivation(rng.standard_normal((5, problem.geometry.n_parameters)))
    form = GroupLasso(atoms)
    masses = rng.uniform(0.1, 0.3, 5)
    if width is None:  # one step of the balancing map, then the energy of the group lasso's own readout
        w = problem.readout(mfo.Measure(atoms, masses))
        v = w * masses
        masses = np.sqrt(0.1 / (0.2 * problem.geometry.cost(atoms))) * np.linalg.norm(v, axis=0)
        expected = problem.loss.value(v @ problem.features(atoms), problem.targets) + 2 * np.sqrt(0.02) * float(
            np.sqrt(problem.geometry.cost(atoms)) @ np.linalg.norm(v, axis=0)
        )
        scaled = (v * np.sqrt(problem.geometry.cost(atoms))).T
        template = form.embed(problem, mfo.Measure(atoms, masses))
        x = template.copy()
        x[: scaled.size] = scaled.ravel()
        x[scaled.size : scaled.size + 5] = np.linalg.norm(scaled, axis=1)
        program = form.lower(problem)
        residual = problem.targets - v @ problem.features(atoms)
        g = (expected - program.objective(np.concatenate([x[:-1], [0.0]]))) / program.c[-1]
        x[-1] = g
        assert program.violation(x) < 1e-12 * (1 + float(np.vdot(residual, residual)))
        assert program.objective(x) == pytest.approx(expected, rel=1e-12)
    else:
        measure = mfo.Measure(atoms, masses)
        program = form.lower(problem)
        x = form.embed(problem, measure)
        assert program.objective(x) == pytest.approx(problem.energy(measure), rel=1e-12)
        assert program.violation(x) < 1e-12
        lifted = form.lift(problem, ConicAnswer(mfo.Status.SOLVED, x, None, "embedded"))
        assert lifted.measure is not None
        np.testing.assert_allclose(lifted.measure.masses, masses, rtol=1e-12)


@given(st.integers(1, 7), st.integers(0, 10**6))
@settings(max_examples=25, derandomize=True, deadline=None)
def test_svec_is_an_isometry_and_upper_order_is_clarabels(order: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, order, order))
    a, b = a + a.T, b + b.T
    assert svec(a) @ svec(b) == pytest.approx(float(np.vdot(a, b)), abs=1e-10)
    np.testing.assert_allclose(smat(svec(a)), a, atol=1e-14)
    full = np.reshape(unpacking(order) @ svec(a), (order, order), order="F")
    np.testing.assert_allclose(full, a, atol=1e-14)
    upper = [a[i, j] * (1.0 if i == j else np.sqrt(2.0)) for j in range(order) for i in range(j + 1)]
    np.testing.assert_allclose(svec(a)[upper_order(order)], upper, atol=1e-14)


def brute_cells(factor: NDArray[np.float64], count: int) -> set[tuple[bool, ...]]:
    theta = np.random.default_rng(1).standard_normal((count, factor.shape[1]))
    return {tuple(row) for row in (theta @ factor.T > 0)}


@given(st.integers(1, 4), st.integers(1, 8), st.integers(0, 10**6), st.booleans())
@settings(max_examples=25, derandomize=True, deadline=None)
def test_cells_contain_every_sampled_cell_and_respect_the_count(
    rank: int, samples: int, seed: int, degenerate: bool
) -> None:
    rng = np.random.default_rng(seed)
    factor = rng.standard_normal((samples, rank))
    if degenerate:  # small integers: parallel, opposite, coplanar and zero rows
        factor = rng.integers(-1, 2, (samples, rank)).astype(float)
    cells = {tuple(row) for row in enumerate_cells(factor)}
    assert brute_cells(factor, 3000) <= cells
    assert len(cells) <= max(cell_count_bound(samples, rank), 1)
    if not degenerate:
        assert len(cells) == cell_count_bound(samples, rank)  # general position: Cover's count is attained
    # every cell is real: a linear program finds a point strictly inside
    from scipy.optimize import linprog

    live = factor.any(axis=1)
    for cell in list(cells)[:30]:
        sign = np.where(np.array(cell), 1.0, -1.0)[live]
        if not live.any():
            continue
        result = linprog(
            np.zeros(rank), A_ub=-sign[:, None] * factor[live], b_ub=-np.ones(int(live.sum())), bounds=(None, None)
        )
        assert result.status == 0


def test_sampled_cells_refuse_to_be_a_bound() -> None:
    problem = planar()
    assert ArrangementSDP.enumerated(problem).bound == "lower"
    assert ArrangementSDP.sampled(problem, 20, 0).bound == "none"
    with pytest.raises(mfo.InputError, match="too many to enumerate"):
        enumerate_cells(np.random.default_rng(0).standard_normal((200, 5)))


def test_refusals_have_reasons() -> None:
    tanh = mfo.problems.hypercube(2, activation="tanh", width=4.0)
    logistic = mfo.problems.hypercube(2, loss="logistic")
    big = mfo.problems.hypercube(7)
    assert "relu" in str(DNNLift().refusal(tanh))
    assert DNNLift().refusal(logistic) is None
    assert "order 256" in str(DNNLift().refusal(big))
    assert "24" in str(ParriloLift().refusal(mfo.problems.hypercube(4)))
    assert "positive off-diagonal" in str(
        DNNLift(reduced=True).refusal(mfo.problems.hypercube(2, geometry="aligned", alignment=2.0))
    )
    assert DNNLift(reduced=True).refusal(mfo.problems.hypercube(2)) is None
    assert "samples" in str(GroupLasso(np.ones((2, 3))).refusal(tanh))
    assert "factor" in str(ArrangementSDP.enumerated(planar()).refusal(tanh))
    assert "other data" in str(ArrangementSDP.enumerated(planar()).refusal(planar(6)))


@pytest.mark.parametrize("problem", [mfo.problems.hypercube(3), planar(20)], ids=["hypercube", "planar"])
def test_local_search_never_loses(problem: mfo.TwoLayerProblem) -> None:
    rng = np.random.default_rng(SEED)
    dual = rng.standard_normal(problem.targets.shape)
    starts = problem.geometry.preactivation(rng.standard_normal((20, problem.geometry.n_parameters)))
    before, after = problem.ratio(dual, starts), problem.ratio(dual, ascend(problem, dual, starts))
    assert (after >= before * (1 - 1e-9)).all()

"""The lift where K_X is singular: an interior, the same optimum as the plain lift, and samples on one line taken together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import meanfield_opt as mfo
from meanfield_backends.clarabel_ import SOLVER
from meanfield_opt.formulation import ArrangementSDP, ConicLimits, DNNLift, Formulation, ParriloLift, lifted
from meanfield_opt.formulation.arrangement import parallel_rows
from meanfield_opt.formulation.symmetric import smat

LIFTS = [DNNLift(), ParriloLift()]


def planar(samples: int = 5, seed: int = 1, **extra: Any) -> mfo.TwoLayerProblem:
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((samples, 2)), np.sign(rng.standard_normal((samples, 1)))
    return mfo.problems.dataset(x, y, **{"lambda1": 0.1, "lambda2": 0.1, **extra})


def with_repeats() -> tuple[mfo.TwoLayerProblem, mfo.TwoLayerProblem]:
    """(samples of which two are given twice and one is given as a multiple and zero, the same with weights)."""
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((4, 2)), np.array([[1.0], [-1.0], [1.0], [-1.0]])
    twice = mfo.problems.dataset(
        np.vstack([x, x[:2]]), np.vstack([y, y[:2]]), lambda1=0.1, lambda2=0.1, bias=False, name="given twice"
    )
    weights = mfo.loss("weighted", sample_weights=(2.0, 2.0, 1.0, 1.0))
    return twice, mfo.problems.dataset(x, y, lambda1=0.1, lambda2=0.1, bias=False, loss=weights, name="weighted")


def value_of(form: Formulation, problem: mfo.TwoLayerProblem) -> float:
    """The optimum by Clarabel, primal and dual in agreement."""
    assert form.refusal(problem) is None
    program = form.lower(problem)
    answer = SOLVER.solve(program, ConicLimits(1e-9), SOLVER.options_type())
    assert answer.status in (mfo.Status.SOLVED, mfo.Status.INACCURATE), answer.words
    assert answer.x is not None
    assert answer.y is not None
    value = program.objective(answer.x)
    assert program.dual_objective(answer.y) == pytest.approx(value, rel=1e-6)
    return value


@pytest.mark.parametrize("form", LIFTS, ids=lambda form: form.name)
@pytest.mark.parametrize(
    "problem",
    [
        mfo.problems.hypercube(2),
        mfo.problems.hypercube(2, geometry="aligned", alignment=2.0),
        planar(3),
        mfo.problems.hypercube(2, loss="huber"),
    ],
    ids=["whitened", "aligned", "factor", "huber"],
)
def test_both_forms_have_one_optimum_where_k_x_has_full_rank(
    form: Formulation, problem: mfo.TwoLayerProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = value_of(form, problem)
    assert lifted.signed_lift(problem, reduced=False).coordinates is None
    monkeypatch.setattr(lifted, "SINGULAR", 2.0)
    assert lifted.signed_lift(problem, reduced=False).coordinates is not None
    assert value_of(form, problem) == pytest.approx(plain, rel=1e-6)


@pytest.mark.parametrize(
    "problem", [planar(7), planar(6, bias=False), with_repeats()[0]], ids=["bias", "none", "repeats"]
)
@pytest.mark.parametrize("form", LIFTS, ids=lambda form: form.name)
def test_a_generic_measure_is_an_interior_point(form: Formulation, problem: mfo.TwoLayerProblem) -> None:
    rng = np.random.default_rng(0)
    neurons = rng.standard_normal((4000, problem.geometry.n_parameters))
    measure = mfo.Measure(problem.geometry.preactivation(neurons), np.full(4000, 1e-3))
    program = form.lower(problem)
    point = form.embed(problem, measure)
    slack = program.slack(point)
    assert program.violation(point) < 1e-9
    assert program.objective(point) == pytest.approx(problem.energy(measure), rel=1e-12)
    blocks = [(kind, rows) for kind, rows, _ in program.cones.blocks() if kind in ("psd", "nonnegative")]
    for kind, rows in [block for block in blocks if block[0] == "psd"][1:]:  # the first holds T, optimal in ``embed``
        assert np.linalg.eigvalsh(smat(slack[rows]))[0] > 1e-8 * np.abs(slack[rows]).max(), kind
    if isinstance(form, DNNLift):  # three half-planes may have no point in common
        signs = next(slack[rows] for kind, rows in blocks if kind == "nonnegative")
        assert signs.min() > 1e-8 * signs.max()


def test_a_loose_relaxation_still_gives_a_measure_that_is_better_than_none() -> None:
    """Where no pattern was tight for the relaxation's dual point, the zero network came back."""
    problem = planar(12, 0)
    form = DNNLift()
    program = form.lower(problem)
    answer = SOLVER.solve(program, ConicLimits(1e-9), SOLVER.options_type())
    lifted_answer = form.lift(problem, answer)
    assert lifted_answer.measure is not None
    assert "not tight" in str(lifted_answer.reason)
    best = 4.6107731  # of the enumerated arrangement program
    zero = problem.energy(mfo.Measure.zero(12))
    assert best * (1 - 1e-6) <= problem.energy(lifted_answer.measure) < 0.5 * zero


def test_random_labels_on_twelve_points_of_the_plane_are_solved() -> None:
    """Clarabel ended with NumericalError where the range equations left no interior."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((12, 2)), np.sign(rng.standard_normal((12, 1)))
    problem = mfo.problems.dataset(x, y, lambda1=0.1, lambda2=0.1)
    program = DNNLift().lower(problem)
    answer = SOLVER.solve(program, ConicLimits(1e-9), SOLVER.options_type())
    assert answer.status is mfo.Status.SOLVED
    assert answer.x is not None
    assert program.objective(answer.x) == pytest.approx(3.34582637, rel=1e-7)
    assert program.objective(answer.x) < 4.6107731  # the optimum
    assert program.cones.psd == (13, 12 + 3)


@pytest.mark.parametrize("form", LIFTS, ids=lambda form: form.name)
def test_the_bound_lies_below_the_tight_arrangement_program(form: Formulation) -> None:
    for seed in (1, 2):
        problem = planar(5, seed)
        exact = value_of(ArrangementSDP.enumerated(problem), problem)
        assert value_of(form, problem) <= exact * (1 + 1e-6)
    doubly, cubic = (value_of(lift, planar(5)) for lift in LIFTS)
    assert cubic > doubly * 1.1  # level 1 is strictly better here


@pytest.mark.parametrize("form", LIFTS, ids=lambda form: form.name)
def test_a_sample_given_twice_is_a_sample_of_weight_two(form: Formulation) -> None:
    twice, weighted = with_repeats()
    assert lifted.signed_lift(twice, reduced=False).size == lifted.signed_lift(weighted, reduced=False).size == 8
    assert value_of(form, twice) == pytest.approx(value_of(form, weighted), rel=1e-6)


def test_opposite_multiple_and_zero_samples_share_a_line() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((4, 2))
    y = np.sign(rng.standard_normal((7, 1)))
    problem = mfo.problems.dataset(
        np.vstack([x, x[:1], -2.0 * x[1:2], np.zeros((1, 2))]), y, lambda1=0.1, lambda2=0.1, bias=False
    )
    exact = value_of(ArrangementSDP.enumerated(problem), problem)
    for form in LIFTS:
        assert value_of(form, problem) == pytest.approx(exact, rel=1e-6)  # tight here
    lift = lifted.signed_lift(problem, reduced=False)
    theta = rng.standard_normal((3, 2))
    h = problem.geometry.preactivation(theta)
    z = lift.points(h) @ lift.matrix.T
    np.testing.assert_allclose(
        lift.factor * z[:, lift.place], np.hstack([np.maximum(h, 0), np.maximum(-h, 0)]), atol=1e-14
    )


@given(st.integers(1, 8), st.integers(1, 4), st.integers(0, 10**6))
@settings(max_examples=30, derandomize=True, deadline=None)
def test_rows_are_multiples_of_the_kept_ones_and_the_kept_ones_are_not(samples: int, rank: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    factor = rng.integers(-1, 2, (samples, rank)) * 2.0 ** rng.integers(-3, 4, (samples, 1))
    if not factor.any():
        with pytest.raises(mfo.InputError, match="all inputs are zero"):
            parallel_rows(factor)
        return
    kept, line, ratio = parallel_rows(factor)
    np.testing.assert_array_equal(factor, ratio[:, None] * factor[kept][line])
    for i in range(kept.size):
        for j in range(i):
            assert np.linalg.matrix_rank(factor[kept[[i, j]]]) == 2
    nudged = factor.copy()
    nudged[kept[0]] = np.nextafter(nudged[kept[0]], np.inf)
    assert parallel_rows(nudged)[0].size >= kept.size  # parallel is exact, not nearly so


def test_what_cannot_be_lifted_is_refused() -> None:
    nothing = replace(planar(3), geometry=mfo.FactorGeometry(np.zeros((3, 2))))
    wide = np.random.default_rng(0).standard_normal((90, 70))
    wide[:, -1] = wide[:, 0]
    inputs = np.vstack([wide, wide[:5]])
    long = mfo.problems.dataset(inputs, np.sign(inputs[:, 1]), lambda1=0.1, lambda2=0.1)
    for form in LIFTS:
        assert "all inputs are zero" in str(form.refusal(nothing))
    assert "matrix entries" in str(DNNLift().refusal(long))
    assert "full rank" in str(DNNLift(reduced=True).refusal(planar(5)))

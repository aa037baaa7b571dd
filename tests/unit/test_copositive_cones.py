"""Separators, splits, completely positive factorisations and cvxpy constraints against known cones."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import cvxpy
import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.copositive.catalogue import Instance, catalogue, cycle, cycle_form, horn, plus

KNOWN = [i for i in catalogue(largest=17) if i.spn is not None]


@pytest.mark.parametrize("item", KNOWN, ids=[i.name for i in KNOWN])
def test_inside_or_outside_psd_plus_nonnegative(item: Instance) -> None:
    separator = mfo.copositive.spn_separator(item.matrix)
    assert (separator is not None) == (not item.spn)
    if separator is not None:
        separator.replay()
        with pytest.raises(mfo.CertificateError):
            dataclasses.replace(separator, value=separator.value * 2).replay()
    split = mfo.copositive.spn_split(item.matrix)
    if split is not None:
        assert item.spn
        split.replay()


def test_splits_on_the_boundary() -> None:
    for name in (
        "8 indefinite",
        "9 Horn+1/4I",
        "10 Z(Petersen)+",
        "13 Z(Petersen)",
        "14 chain",
        "11 J-2A(C6)",
        "12 10I-J",
    ):
        item = next(i for i in catalogue() if i.name == name)
        split = mfo.copositive.spn_split(item.matrix)
        assert split is not None, name
        split.replay()


def test_separators_of_matrices_that_are_not_copositive() -> None:
    for matrix in ([[-1]], [[0, -1], [-1, 3]], [[1, -2], [-2, 1]], plus(horn(), Fraction(-1, 1000))):
        separator = mfo.copositive.spn_separator(matrix)
        assert separator is not None
        separator.replay()
    assert mfo.copositive.spn_separator([[1, 0], [0, 0]]) is None


def test_factorisations() -> None:
    rng = np.random.default_rng(0)
    for k in (
        np.eye(3),
        np.array([[2, 1], [1, 2]]),
        np.array([[3, 1, 1], [1, 3, 1], [1, 1, 3]]),
        *(b @ b.T + 0.3 * np.eye(n) for n in (4, 6) for b in [rng.random((n, 2 * n))]),
    ):
        answer = mfo.copositive.cp_factorization(k)
        assert isinstance(answer, mfo.copositive.Factorization)
        assert answer.exact
        answer.replay()
        assert answer.B.min() >= 0
        assert np.allclose(answer.B @ answer.B.T, k, atol=1e-9)
        with pytest.raises(mfo.CertificateError):
            dataclasses.replace(answer, weights=(answer.weights[0] + 1, *answer.weights[1:])).replay()
    b = rng.integers(0, 9, (4, 2))  # rank 2: on the boundary of the cone
    answer = mfo.copositive.cp_factorization(b @ b.T, tolerance=1e-6)
    assert isinstance(answer, mfo.copositive.Factorization)
    answer.replay()
    assert float(answer.residual) < 1e-6


def test_matrices_that_are_not_completely_positive() -> None:
    a = np.array(cycle(5))
    dnn = (5 * np.eye(5) + 3 * a).astype(int)  # <Horn, 5I + 3A(C5)> = -5
    for matrix, words in (
        ([[1, -1], [-1, 1]], "negative"),
        ([[1, 2], [2, 1]], "not positive semidefinite"),
        (dnn, "Horn"),
        (np.kron(np.eye(2, dtype=int), dnn), "separates it"),
    ):
        answer = mfo.copositive.cp_factorization(matrix)
        assert isinstance(answer, mfo.copositive.NotCompletelyPositive)
        assert words in answer.reason
        answer.replay()
        with pytest.raises(mfo.CertificateError):
            dataclasses.replace(answer, value=answer.value * 2).replay()


def least_shift(matrix: list[list[int]], **options: object) -> float:
    """The least t with M + t I inside the approximation."""
    t = cvxpy.Variable()
    n = len(matrix)
    x = np.array(matrix, dtype=float) + t * np.eye(n)
    problem = cvxpy.Problem(cvxpy.Minimize(t), mfo.copositive.constraint(x, **options))  # type: ignore[arg-type]
    problem.solve(solver="CLARABEL")
    return float(t.value)


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
def test_copositive_constraints_on_horn() -> None:
    assert least_shift(horn(), level=0) == pytest.approx(np.sqrt(5) - 2, abs=1e-6)
    assert least_shift(horn(), level=1) == pytest.approx(0, abs=1e-5)
    assert least_shift(cycle_form(7), level=1) == pytest.approx(0, abs=1e-5)
    inner = [least_shift(horn(), level=r, kind="polyhedral") for r in (2, 3)]
    outer = [least_shift(horn(), level=r, kind="polyhedral", side="outer") for r in (0, 2)]
    assert inner[0] > 0.1
    assert inner[1] > 0.1
    assert max(outer) <= 1e-7


def least_value(matrix: list[list[int]], **options: object) -> float:
    """min <M,X> over the approximation of the completely positive cone with <J,X> = 1."""
    n = len(matrix)
    x = cvxpy.Variable((n, n), symmetric=True)
    rows = mfo.copositive.constraint(x, cone="completely_positive", **options)  # type: ignore[arg-type]
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum(cvxpy.multiply(np.array(matrix), x))), [*rows, cvxpy.sum(x) == 1])
    return float(problem.solve(solver="CLARABEL"))


def test_completely_positive_constraints_are_the_duals() -> None:
    # Lovasz-Schrijver bound of C5: min <I + A, X> = 1 / theta' = 1 / sqrt 5, and 1 / alpha = 1 / 2 at level 1
    form = (np.eye(5, dtype=int) + np.array(cycle(5))).tolist()
    assert least_value(form, level=0) == pytest.approx(1 / np.sqrt(5), abs=1e-6)
    assert least_value(form, level=1) == pytest.approx(0.5, abs=1e-5)
    assert least_value(form, level=2, kind="polyhedral") <= 0.5 + 1e-7
    assert least_value(form, level=2, kind="polyhedral", side="inner") >= 0.5 - 1e-7


@pytest.mark.parametrize(
    "options", [{"cone": "x"}, {"side": "x"}, {"kind": "x"}, {"level": -1}, {"level": 2}, {"side": "outer"}]
)
def test_constraint_input(options: dict[str, object]) -> None:
    with pytest.raises(mfo.InputError):
        mfo.copositive.constraint(cvxpy.Variable((3, 3)), **options)  # type: ignore[arg-type]
    with pytest.raises(mfo.InputError, match="square"):
        mfo.copositive.constraint(cvxpy.Variable((3, 2)))


@pytest.mark.parametrize("name", ["Hoffman-Pereira", "J - 2A(C7)"])
def test_separators_beyond_horn(name: str) -> None:
    """Doubly nonnegative K that only separators of order 7 cut off: found in Parrilo's cone, proved copositive."""
    import cvxpy

    from meanfield_opt.copositive.catalogue import cycle_form, hoffman_pereira

    form = np.array(hoffman_pereira() if name.startswith("Hoff") else cycle_form(7), dtype=float)
    x = cvxpy.Variable((7, 7), PSD=True)
    inside = [x >= 0.001, cvxpy.trace(x) == 1, x - 0.002 * np.eye(7) >> 0]
    cvxpy.Problem(cvxpy.Minimize(cvxpy.trace(form @ x)), inside).solve(solver=cvxpy.CLARABEL)
    k = [[Fraction(round(float(x.value[i, j] + x.value[j, i]) * 5000), 10000) for j in range(7)] for i in range(7)]
    answer = mfo.copositive.cp_factorization(k)
    assert isinstance(answer, mfo.copositive.NotCompletelyPositive)
    answer.replay()
    assert "Parrilo" in answer.reason


def test_random_completely_positive_matrices() -> None:
    """B random, orders 5-8, full and low rank: never refuted; inside the cone exact, on its boundary a small residual."""
    rng = np.random.default_rng(1)
    exact = 0
    for n in (5, 6, 7, 8):
        for columns in (n, 2 * n):
            b = rng.integers(0, 5, (n, columns))
            answer = mfo.copositive.cp_factorization((b @ b.T).tolist())
            assert isinstance(answer, mfo.copositive.Factorization)
            answer.replay()
            assert answer.residual <= Fraction(1, 10**8) * int((b @ b.T).max())
            exact += answer.exact
    assert exact >= 6

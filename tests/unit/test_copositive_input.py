"""The copositivity test: odd and bad input, time limits, files."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction

import flint
import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.copositive.catalogue import horn, rescaled


def name_of(answer: object) -> str:
    if isinstance(answer, mfo.copositive.Copositive):
        return {True: "strict", False: "boundary", None: "copositive"}[answer.strict]
    return "no" if isinstance(answer, mfo.copositive.NotCopositive) else "undecided"


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ([[0]], "boundary"),
        ([[3]], "strict"),
        ([[-1]], "no"),
        (np.zeros((4, 4)), "boundary"),
        ([[0, -1], [-1, 5]], "no"),
        ([[0, 1], [1, 0]], "boundary"),
        ([[10**400, -(10**400)], [-(10**400), 10**400]], "boundary"),
        ([[10**400, -(10**400) - 1], [-(10**400) - 1, 10**400]], "no"),
        (np.array([[1e300, -1e-300], [-1e-300, 1e-300]]), "strict"),
        (np.array([[1e-300, -1e300], [-1e300, 1e300]]), "no"),
        (flint.fmpz_mat([[1, -1], [-1, 1]]), "boundary"),
        (flint.fmpq_mat(2, 2, [flint.fmpq(1, 3), flint.fmpq(-1, 3), flint.fmpq(-1, 3), flint.fmpq(1, 2)]), "strict"),
        ([[Decimal("0.1"), Decimal("-0.1")], [Decimal("-0.1"), Decimal("0.1")]], "boundary"),
        (np.array(horn(), dtype=np.int8), "boundary"),
        (np.array(horn(), dtype=np.float32) * np.float32(0.1), "boundary"),
    ],
)
def test_odd_input(matrix: object, expected: str) -> None:
    answer = mfo.copositive.check(matrix)
    assert name_of(answer) == expected
    answer.replay()


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        ([], "empty"),
        ([[1, 2]], "not square"),
        ([[1, 2], [3, 1]], "not symmetric"),
        ([[1, float("nan")], [float("nan"), 1]], "NaN"),
        (np.array([[1, 1j], [1j, 1]]), "complex"),
        (np.ones(3), "shape"),
        ([["a"]], "not a number"),
        ([[True]], "numbers"),
        ([[None]], "NoneType"),
        ("text", "matrix"),
        (5, "matrix"),
    ],
)
def test_bad_input(matrix: object, words: str) -> None:
    with pytest.raises(mfo.InputError, match=words):
        mfo.copositive.check(matrix)


def test_time_limit_is_an_answer() -> None:
    n = 20
    rng = np.random.default_rng(0)
    b = rng.integers(-50, 50, (n, n))
    matrix = (b @ b.T + 10**6 * np.eye(n, dtype=int)).tolist()
    assert name_of(mfo.copositive.check(matrix)) == "strict"
    with pytest.raises(mfo.InputError, match="time_limit"):
        mfo.copositive.check(matrix, time_limit=-1)


def test_files(tmp_path: object) -> None:
    path = tmp_path / "c.json"  # type: ignore[operator]
    for matrix, word in (
        (horn(), "copositive"),
        (rescaled(horn(), [1, 2, 3, 4, 5]), "copositive"),
        ([[-1]], "not copositive"),
    ):
        mfo.copositive.check(matrix).save(path)
        assert mfo.copositive.verify(path, matrix).answer == word
        assert mfo.copositive.verify(path).answer == word
        with pytest.raises(mfo.CertificateError, match="another matrix"):
            mfo.copositive.verify(path, [[7]])
        body = json.loads(path.read_text())
        body["denominator"] = 2
        path.write_text(json.dumps(body))
        with pytest.raises(mfo.CertificateError, match="digest"):
            mfo.copositive.verify(path, matrix)
    np.save(tmp_path / "h.npy", np.array(horn()))  # type: ignore[operator]
    assert mfo.copositive.load_matrix(tmp_path / "h.npy") == horn()  # type: ignore[operator]
    (tmp_path / "h.csv").write_text("1, 0.1\n1/10, 2e-1\n")  # type: ignore[operator]
    assert mfo.copositive.load_matrix(tmp_path / "h.csv") == [[1, Fraction(1, 10)], [Fraction(1, 10), Fraction(1, 5)]]  # type: ignore[operator]
    (tmp_path / "h.json").write_text('[[1, 0.1], ["1/10", 2]]')  # type: ignore[operator]
    assert mfo.copositive.load_matrix(tmp_path / "h.json") == [[1, Fraction(1, 10)], [Fraction(1, 10), 2]]  # type: ignore[operator]
    for name, text in (
        ("x.json", "{"),
        ("x.csv", "a,b"),
        ("x.csv", ""),
        ("x.png", ""),
        ("x.json", "[[1e999, NaN]]"),
        ("x.json", "[[1e99999999]]"),
    ):
        (tmp_path / name).write_text(text)  # type: ignore[operator]
        with pytest.raises(mfo.InputError):
            mfo.copositive.load_matrix(tmp_path / name)  # type: ignore[operator]
    with pytest.raises(mfo.InputError, match="cannot read"):
        mfo.copositive.load_matrix(tmp_path / "none.npy")  # type: ignore[operator]

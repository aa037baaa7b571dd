"""The copositivity test against known answers, an independent exact test, disguises, odd input and tampering."""

from __future__ import annotations

import copy
import itertools
from fractions import Fraction

import flint
import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.checker.copositive import replay
from meanfield_opt.checker.psd import psd_rank
from meanfield_opt.copositive.catalogue import Instance, catalogue, horn, rescaled

SMALL = list(catalogue(largest=31))


def name_of(answer: object) -> str:
    if isinstance(answer, mfo.copositive.Copositive):
        return {True: "strict", False: "boundary", None: "copositive"}[answer.strict]
    return "no" if isinstance(answer, mfo.copositive.NotCopositive) else "undecided"


def hadeler(matrix: list[list[int]]) -> bool:
    """Independent: not copositive iff some principal submatrix has det < 0 and adjugate >= 0 (Hadeler 1983)."""
    n = len(matrix)
    for k in range(1, n + 1):
        for s in itertools.combinations(range(n), k):
            block = flint.fmpz_mat([[matrix[i][j] for j in s] for i in s])
            if block.det() < 0:
                inverse = block.inv()
                if all(inverse[i, j] <= 0 for i in range(k) for j in range(k)):
                    return False
    return True


def random_matrix(rng: np.random.Generator, n: int) -> list[list[int]]:
    kind = int(rng.integers(5))
    if kind == 0:
        a = rng.integers(-3, 8, (n, n))
        np.fill_diagonal(a, rng.integers(3, 12, n))
    elif kind == 1:
        a = np.where(rng.random((n, n)) < 0.5, 1, -1)
        np.fill_diagonal(a, 1)
    elif kind == 2:
        b = rng.integers(-2, 3, (n, n - 1))
        a = b @ b.T + rng.integers(0, 2, (n, n)) - int(rng.integers(2)) * np.eye(n, dtype=int)
    elif kind == 3:
        a = int(rng.integers(1, 6)) * (np.eye(n, dtype=int) + (rng.random((n, n)) < rng.random())) - 1
    else:
        a = rng.integers(-10, 11, (n, n))
        np.fill_diagonal(a, rng.integers(10, 30, n))
    return (np.triu(a) + np.triu(a, 1).T).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("item", SMALL, ids=[i.name for i in SMALL])
def test_catalogue_is_decided_and_replayed(item: Instance) -> None:
    answer = mfo.copositive.check(item.matrix)
    assert name_of(answer) == item.answer
    answer.replay()
    if isinstance(answer, mfo.copositive.NotCopositive):
        x = answer.witness
        n = len(x)
        assert min(x) >= 0
        assert sum(x[i] * item.matrix[i][j] * x[j] for i in range(n) for j in range(n)) == answer.value < 0


LARGE = [item for item in catalogue(largest=256) if len(item.matrix) > 31]


@pytest.mark.parametrize("item", LARGE, ids=[i.name for i in LARGE])
def test_larger_graphs(item: Instance) -> None:
    answer = mfo.copositive.check(item.matrix)
    assert isinstance(answer, mfo.copositive.Copositive)
    answer.replay()


@pytest.mark.parametrize("factor", [2, 7, Fraction(10**9, 3)])
def test_common_factors(factor: Fraction | int) -> None:
    """Proofs that hold numbers of the matrix's size (PSD + N, rounding, leaves of the search) are for M / gcd."""
    picked = [i for i in catalogue(largest=70) if i.name in ("21 johnson 8-4-4", "10 Z(Petersen)+", "2 J-2A(C9)")]
    assert len(picked) == 3
    for item in picked:
        answer = mfo.copositive.check([[v * factor for v in row] for row in item.matrix])
        assert name_of(answer) == item.answer
        answer.replay()
    rng = np.random.default_rng(1)
    b = rng.standard_normal((9, 9))
    long = b @ b.T - 0.1 * np.diag(rng.random(9))
    answer = mfo.copositive.check([[Fraction(v) * factor for v in row] for row in ((long + long.T) / 2).tolist()])
    assert answer.copositive is not None
    answer.replay()


def planted(n: int, seed: int, horns: int) -> np.ndarray:
    """Q = C^T diag(PSD, Horns) C + N, C = I - x 1^T: x (support n // 3) has the value 0, the least."""
    rng = np.random.default_rng(seed)
    r = n // 3
    x = np.zeros(n)
    x[:r] = rng.dirichlet(np.ones(r))
    b = rng.standard_normal((r, r))
    inner = np.zeros((n, n))
    inner[:r, :r] = b @ b.T / r
    b = rng.standard_normal((n - r, n - r))
    inner[r:, r:] = b @ b.T / n
    for k in range(horns):
        at = slice(r + 5 * k, r + 5 * k + 5)
        inner[at, :], inner[:, at] = 0, 0
        inner[at, at] = np.array(horn()) * np.outer(d := rng.uniform(0.5, 2, 5), d)
    c = np.eye(n) - np.outer(x, np.ones(n))
    order = rng.permutation(n)
    q = (c.T @ inner @ c)[np.ix_(order, order)]
    return np.asarray((q + q.T) / 2)


@pytest.mark.parametrize(
    ("n", "horns"), [(10, 0), (10, 1), (20, 0), (20, 2), pytest.param(30, 1, marks=pytest.mark.slow)]
)
def test_planted_forms(n: int, horns: int) -> None:
    q = planted(n, 0, horns)
    answer = mfo.copositive.check(q + 1e-6, time_limit=600.0)
    assert name_of(answer) == "strict"
    answer.replay()
    answer = mfo.copositive.check(q - 1e-6)
    assert name_of(answer) == "no"


def test_closures_of_nodes() -> None:
    """The search with semidefinite closures agrees with the plain one and replays, on the boundary too."""
    from meanfield_opt.copositive.prove import close_node
    from meanfield_opt.copositive.tree import TreeSearch

    for item in SMALL:
        if item.answer == "no" or len(item.matrix) > 13 or any(row[i] == 0 for i, row in enumerate(item.matrix)):
            continue
        a = mfo.copositive.exact_matrix(item.matrix)
        search = TreeSearch(a.entries)
        proof = {"kind": "tree", "steps": search.run_closing(close_node, patience=1)}
        strict = replay(a.entries, proof)
        assert not (strict and item.answer == "boundary"), item.name


@pytest.mark.parametrize("item", SMALL[::3], ids=[i.name for i in SMALL[::3]])
def test_disguises_are_decided_alike(item: Instance) -> None:
    rng = np.random.default_rng(3)
    n = len(item.matrix)
    d = [Fraction(int(rng.integers(1, 999)), int(rng.integers(1, 999))) for _ in range(n)]
    order = rng.permutation(n)
    disguised = rescaled([[item.matrix[i][j] for j in order] for i in order], d)
    answer = mfo.copositive.check(disguised)
    assert name_of(answer) == item.answer
    answer.replay()


def _compare(seed: int, count: int, orders: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    seen = set()
    for _ in range(count):
        matrix = random_matrix(rng, int(rng.integers(*orders)))
        answer = mfo.copositive.check(matrix)
        answer.replay()
        seen.add(name_of(answer))
        assert isinstance(answer, mfo.copositive.Copositive) == hadeler(matrix), matrix
    assert {"no", "strict", "boundary"} <= seen


def test_random_matrices_against_principal_minors() -> None:
    _compare(1, 250, (5, 8))


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_many_random_matrices_against_principal_minors() -> None:
    _compare(2, 10_000, (5, 13))


def mutations(value: object) -> list[object]:
    """Proofs with one number changed or one step left out."""
    out: list[object] = []
    if isinstance(value, dict):
        for key, inner in value.items():
            for other in mutations(inner):
                out.append({**value, key: other})
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            out.append(value[:i] + value[i + 1 :])
            out.extend([*value[:i], other, *value[i + 1 :]] for other in mutations(inner))
    elif type(value) is int:
        out.extend([value + 1, -value, 0])
    return out


def test_a_changed_proof_never_proves_a_false_claim() -> None:
    """A mutated proof of a copositive matrix may still be valid; the same proofs must fail for a matrix that is not."""
    rejected = 0
    for item in SMALL:
        answer = mfo.copositive.check(item.matrix)
        if len(item.matrix) > 7 or not isinstance(answer, mfo.copositive.Copositive):
            continue
        bad = copy.deepcopy([list(row) for row in answer.matrix.entries])
        for i in range(len(bad)):
            bad[i][i] = bad[i][i] * 1000 - (1001 if bad[i][i] > 1 else 501)
            for j in range(len(bad)):
                bad[i][j] = bad[i][j] * 1000 if i != j else bad[i][j]
        assert not hadeler(bad) or item.answer == "strict"
        if hadeler(bad):
            continue
        for proof in [answer.proof.artefact, *mutations(answer.proof.artefact)]:
            with pytest.raises(mfo.CertificateError):
                replay(bad, proof)  # type: ignore[arg-type]
            rejected += 1
    assert rejected > 200


def test_strictness_of_singular_semidefinite_matrices() -> None:
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(60):
        n = int(rng.integers(3, 10))
        b = rng.integers(-2, 4, (n, int(rng.integers(1, n))))
        answer = mfo.copositive.check((b @ b.T).tolist())
        answer.replay()
        seen.add(name_of(answer))
        if isinstance(answer, mfo.copositive.Copositive) and answer.proof.artefact.get("direction"):
            with pytest.raises(mfo.CertificateError):
                replay(answer.matrix.entries, {"kind": "psd", "direction": [0] * n})
    assert seen == {"strict", "boundary"}


def test_semidefiniteness_is_exact_at_every_size() -> None:
    rng = np.random.default_rng(5)
    for n, r in ((3, 2), (20, 20), (60, 40), (60, 60)):
        b = rng.integers(-9, 10, (n, r))
        m = (b @ b.T).tolist()
        assert psd_rank(m) == r
        if r < n:
            m[0][0] -= 1
            assert psd_rank(m) is None
    huge = [[v * 10**900 for v in row] for row in (b[:5] @ b[:5].T).tolist()]
    assert psd_rank(huge) == 5

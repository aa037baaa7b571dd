"""Parrilo-type proofs: found where level 1 suffices, boundary included; replayed exactly; never for a matrix outside."""

from __future__ import annotations

import copy
from fractions import Fraction

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.checker.copositive import replay
from meanfield_opt.checker.parrilo import expansion
from meanfield_opt.copositive.catalogue import (
    Instance,
    build,
    catalogue,
    cycle,
    cycle_form,
    direct_sum,
    hildebrand,
    hoffman_pereira,
    horn,
    icosahedron,
    paley,
    plus,
    rescaled,
    stable_set_form,
)
from meanfield_opt.copositive.parrilo import prove_parrilo
from meanfield_opt.errors import CertificateError, InputError

LEVEL_ONE = {
    "Horn": horn(),
    "J - 2A(C7)": cycle_form(7),
    "J - 2A(C9)": cycle_form(9),
    "Hoffman-Pereira": hoffman_pereira(),
    "Hildebrand": hildebrand([Fraction(3, 5), Fraction(2, 3), Fraction(5, 7), Fraction(3, 4), Fraction(4, 5)]),
    "Hildebrand, other angles": hildebrand(
        [Fraction(1, 2), Fraction(1, 2), Fraction(3, 5), Fraction(2, 3), Fraction(3, 5)]
    ),
    "C7 stable sets": stable_set_form(build(7, lambda i, j: int((i - j) % 7 in (1, 6))), 3),
    "Horn + 1/5 I": plus(horn(), Fraction(1, 5)),
    "Horn (+) [0]": direct_sum(horn(), [[0]]),
}


@pytest.mark.parametrize("name", LEVEL_ONE)
def test_level_one_proves_and_replays(name: str) -> None:
    matrix = LEVEL_ONE[name]
    assert mfo.copositive.check(matrix, level=0).copositive is None
    answer = mfo.copositive.check(matrix, level=1)
    assert isinstance(answer, mfo.copositive.Copositive)
    assert "parrilo" in answer.proof.kinds
    answer.replay()
    assert answer.strict is (name == "Horn + 1/5 I")


@pytest.mark.parametrize("name", ["Horn", "Hoffman-Pereira", "Hildebrand", "Horn + 1/5 I"])
def test_disguises(name: str) -> None:
    """The weights of (sum w x) make level 1 invariant under D A D, in cones of the plain level 1 it is not."""
    rng = np.random.default_rng(5)
    matrix = LEVEL_ONE[name]
    n = len(matrix)
    order = rng.permutation(n)
    d = [Fraction(int(rng.integers(1, 99)), int(rng.integers(1, 99))) for _ in range(n)]
    disguised = rescaled([[matrix[i][j] for j in order] for i in order], d)
    answer = mfo.copositive.check(disguised, level=1)
    assert isinstance(answer, mfo.copositive.Copositive)
    answer.replay()


def test_scaling_without_square_diagonal() -> None:
    matrix = build(5, lambda i, j: (10**9 * horn()[i][j] * int(1e6 * (i + 2) ** 0.5 * (j + 2) ** 0.5)) // 10**6)
    strict = plus(matrix, 10**9 // 5)
    answer = mfo.copositive.check(strict, level=1)
    assert isinstance(answer, mfo.copositive.Copositive)
    answer.replay()


@pytest.mark.parametrize("item", [i for i in catalogue(largest=12)], ids=lambda i: i.name)
def test_level_one_is_never_wrong(item: Instance) -> None:
    answer = mfo.copositive.check(item.matrix, level=1)
    if item.answer == "no":
        assert isinstance(answer, mfo.copositive.NotCopositive)
    else:
        assert answer.copositive in (True, None)
        if isinstance(answer, mfo.copositive.Copositive):
            assert answer.strict in (item.answer == "strict", None)
    if answer.copositive is not None:
        answer.replay()


def test_refused_where_not_copositive() -> None:
    """The solver's proposal for a matrix just outside is never accepted, with and without (wrong) zeros."""
    for matrix in (horn(), hoffman_pereira(), cycle_form(7)):
        for k in (3, 6, 9, 12):
            a = mfo.copositive.exact_matrix(plus(matrix, Fraction(-1, 10**k)))
            for level in (1, 2) if len(matrix) == 5 else (1,):
                assert prove_parrilo(a.entries, level) is None
                assert prove_parrilo(a.entries, level, [{0: 1, 1: 1}]) is None


def test_level_two_where_level_one_fails() -> None:
    """Horn (+) ((1, -1), (-1, 1)) is outside every level (Laurent and Vargas 2022); Horn's own levels are nested."""
    outside = mfo.copositive.exact_matrix(direct_sum(horn(), [[1, -1], [-1, 1]]))
    zeros = [{5: 1, 6: 1}, *({i: 1, (i + 1) % 5: 1} for i in range(5))]
    assert prove_parrilo(outside.entries, 1, zeros) is None
    strict = mfo.copositive.exact_matrix(plus(horn(), Fraction(1, 10)))
    proof = prove_parrilo(strict.entries, 2)
    assert proof is not None
    assert replay(strict.entries, proof) is True


def _horn_proof() -> dict:
    proof = prove_parrilo(horn(), 1, [{i: 1, (i + 1) % 5: 1} for i in range(5)])
    assert proof is not None
    return proof


def test_expansion_against_evaluation() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(-5, 6, (4, 4))
    a = (a + a.T).tolist()
    w = [1, 2, 3, 5]
    x = [2, -3, 5, 7]
    for level in range(4):
        total = sum(c * int(np.prod([x[i] for i in m])) for m, c in expansion(a, w, level).items())
        form = sum(x[i] * a[i][j] * x[j] for i in range(4) for j in range(4))
        assert total == sum(p * q for p, q in zip(w, x)) ** level * form


def test_tampering_is_refused() -> None:
    good = _horn_proof()
    assert replay(horn(), good) is False
    cases = []
    for k in range(5):
        bad = copy.deepcopy(good)
        bad["forms"][0][1][k][k] += 1
        cases.append(bad)
    for key, value in (("level", 2), ("level", True), ("multiplier", 0), ("multiplier", -1), ("weights", [1] * 4)):
        cases.append({**copy.deepcopy(good), key: value})
    cases.append({**copy.deepcopy(good), "weights": [1, 1, 1, 1, 0]})
    cases.append({**copy.deepcopy(good), "weights": [1, 1, 1, 1, 9]})
    cases.append({**copy.deepcopy(good), "forms": good["forms"] + good["forms"][:1]})
    cases.append({**copy.deepcopy(good), "forms": good["forms"][:-1]})
    cases.append({**copy.deepcopy(good), "forms": [[[i + 1], t] for (i,), t in good["forms"]]})
    for bad in cases:
        with pytest.raises(CertificateError):
            replay(horn(), bad)
    with pytest.raises(CertificateError):
        replay(plus(horn(), -1), good)


def test_saved_and_verified(tmp_path) -> None:  # type: ignore[no-untyped-def]
    answer = mfo.copositive.check(cycle_form(7), level=1)
    answer.save(tmp_path / "a.json")  # type: ignore[union-attr]
    assert mfo.copositive.verify(tmp_path / "a.json", cycle_form(7)).answer == "copositive"


def test_bad_level() -> None:
    for level in (-1, 1.5, True, "1"):
        with pytest.raises(InputError):
            mfo.copositive.check(horn(), level=level)  # type: ignore[arg-type]


SYMMETRIC = {
    "C7": (cycle(7), Fraction(31, 10)),
    "icosahedron, below": (icosahedron(), Fraction(32, 10)),
    "icosahedron, above": (icosahedron(), Fraction(33, 10)),
    "Paley 13": (paley(13), Fraction(31, 10)),
}


@pytest.mark.parametrize("name", SYMMETRIC)
def test_reduced_and_full_programs_agree(name: str) -> None:
    """t (I + A) - J at level 1: invariant forms lose nothing; the icosahedron's bound lies between 3.2 and 3.3."""
    from meanfield_opt.copositive.parrilo_invariant import prove_parrilo_invariant

    graph, t = SYMMETRIC[name]
    entries = mfo.copositive.exact_matrix(stable_set_form(graph, t)).entries
    reduced, full = prove_parrilo_invariant(entries), prove_parrilo(entries, 1)
    assert (reduced is None) == (full is None) == name.endswith("below")
    if reduced is not None:
        assert replay(entries, reduced) is True


def test_reduction_reaches_orders_beyond_the_full_program() -> None:
    answer = mfo.copositive.check(stable_set_form(paley(29), Fraction(49, 10)), level=1)
    assert isinstance(answer, mfo.copositive.Copositive)
    assert "parrilo" in answer.proof.kinds
    assert answer.strict is True
    answer.replay()


def test_automorphisms_are_exact() -> None:
    """One entry changed by a part in 10^30 leaves only the permutations that fix it."""
    from meanfield_opt.copositive.parrilo_invariant import automorphisms_of

    big = 10**30
    form = [[big * v for v in row] for row in mfo.copositive.exact_matrix(cycle_form(7)).entries]
    assert automorphisms_of(form)
    form[0][1] += 1
    form[1][0] += 1
    for g in automorphisms_of(form):
        assert {int(g[0]), int(g[1])} == {0, 1}
    form[2][2] += 1
    assert automorphisms_of(form) == []

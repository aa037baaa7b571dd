"""Standard quadratic programs and graph numbers: known answers, brute force, replay, refusals."""

from __future__ import annotations

import dataclasses
import itertools
from fractions import Fraction

import networkx as nx
import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.checker.copositive import replay
from meanfield_opt.checker.stable_set import larger_clique, stable_form
from meanfield_opt.copositive.catalogue import hamming, horn, icosahedron, johnson, paley, stable_set_form
from meanfield_opt.errors import CertificateError


def graph(adjacency: list[list[int]]) -> nx.Graph:
    return nx.from_numpy_array(np.array(adjacency))


@pytest.mark.parametrize(
    ("name", "build", "alpha"),
    [
        ("C9", lambda: nx.cycle_graph(9), 4),
        ("Petersen", nx.petersen_graph, 4),
        ("icosahedron", lambda: graph(icosahedron()), 3),
        ("Paley 29", lambda: graph(paley(29)), 4),
        ("empty", lambda: nx.empty_graph(5), 5),
        ("complete", lambda: nx.complete_graph(6), 1),
        ("one", lambda: nx.empty_graph(1), 1),
    ],
)
def test_stability_numbers(name: str, build: object, alpha: int) -> None:
    g = build()  # type: ignore[operator]
    number = mfo.copositive.stability_number(g)
    assert number.lower == number.upper == int(number) == alpha
    assert not any(g.has_edge(u, v) for u, v in itertools.combinations(number.vertices, 2))
    number.replay()
    with pytest.raises(mfo.CertificateError):
        dataclasses.replace(number, upper=alpha - 1, lower=alpha).replay()


@pytest.mark.parametrize(
    ("adjacency", "omega"), [(johnson(8, 2, 4), 4), (johnson(8, 4, 4), 14), (hamming(6, 2), 32), (hamming(6, 4), 4)]
)
def test_clique_numbers(adjacency: list[list[int]], omega: int) -> None:
    number = mfo.copositive.clique_number(graph(adjacency))
    assert int(number) == omega
    number.replay()


def test_random_graphs_against_networkx() -> None:
    for seed in range(12):
        g = nx.gnp_random_graph(18, [0.2, 0.5, 0.8][seed % 3], seed=seed)
        omega = max(len(c) for c in nx.find_cliques(g))
        number = mfo.copositive.clique_number(nx.relabel_nodes(g, {v: f"v{v}" for v in g}))
        assert int(number) == omega
        neighbours = [sum(1 << u for u in g[v]) for v in g]
        assert larger_clique(neighbours, omega) is None
        assert len(larger_clique(neighbours, omega - 1) or []) == omega
        form = [
            [int(v) for v in row]
            for row in stable_set_form(nx.to_numpy_array(nx.complement(g)).astype(int).tolist(), omega)
        ]
        assert stable_form(form) is not None or omega == 1
        replay(form, {"kind": "stable"}) if omega > 1 else None
        if omega > 2:
            worse = stable_set_form(nx.to_numpy_array(nx.complement(g)).astype(int).tolist(), omega - 1)
            with pytest.raises(mfo.CertificateError):
                replay([[int(v) for v in row] for row in worse], {"kind": "stable"})


def test_a_stable_set_proof_cannot_make_the_checker_search_on_and_on(monkeypatch: pytest.MonkeyPatch) -> None:
    g = nx.gnp_random_graph(40, 0.7, seed=1)
    omega = max(len(c) for c in nx.find_cliques(g))
    exact = stable_set_form(nx.to_numpy_array(nx.complement(g)).astype(int).tolist(), omega)
    form = [[int(v) for v in row] for row in exact]
    replay(form, {"kind": "stable"})
    monkeypatch.setattr("meanfield_opt.checker.copositive.MOST_NODES", 10)
    with pytest.raises(mfo.CertificateError, match="takes more than 10 nodes"):
        replay(form, {"kind": "stable"})


def test_graph_input() -> None:
    with pytest.raises(mfo.InputError, match="directed"):
        mfo.copositive.stability_number(nx.DiGraph([(0, 1)]))
    with pytest.raises(mfo.InputError, match="networkx"):
        mfo.copositive.clique_number([[0, 1], [1, 0]])
    with pytest.raises(mfo.InputError, match="no vertices"):
        mfo.copositive.clique_number(nx.Graph())


def test_small_programs_exactly() -> None:
    for q, value in (
        ([[2]], 2),
        ([[1, 0], [0, 1]], Fraction(1, 2)),
        ([[1, -1], [-1, 1]], 0),
        ([[3, 1], [1, 3]], 2),
        (horn(), 0),
        ([[-1, 2], [2, -3]], -3),
        (np.eye(7), Fraction(1, 7)),
        (-np.ones((3, 3)), -1),
        (np.zeros((3, 3)), 0),
    ):
        bounds = mfo.copositive.minimize_on_simplex(q)
        assert bounds.exact
        assert bounds.lower == bounds.upper == value
        bounds.replay()
    # Motzkin-Straus: min over the simplex of I + A is 1 / alpha
    form = np.eye(12) + np.array(icosahedron())
    assert mfo.copositive.minimize_on_simplex(form).lower == Fraction(1, 3)


def brute_force(q: np.ndarray) -> float:
    """Least value over the stationary points of all faces (floating point)."""
    n = len(q)
    best = float(q.diagonal().min())
    for k in range(2, n + 1):
        for s in itertools.combinations(range(n), k):
            block = q[np.ix_(s, s)]
            if abs(np.linalg.det(block)) > 1e-9:
                y = np.linalg.solve(block, np.ones(k))
                if y.sum() != 0 and (y / y.sum() > 0).all():
                    best = min(best, float(1 / y.sum()))
    return best


def test_random_programs_against_all_faces() -> None:
    rng = np.random.default_rng(0)
    for _ in range(15):
        n = int(rng.integers(3, 9))
        a = rng.standard_normal((n, n))
        q = (a + a.T) / 2
        bounds = mfo.copositive.minimize_on_simplex(q)
        bounds.replay()
        assert bounds.lower <= bounds.upper
        assert bounds.gap <= 1e-6 * np.abs(q).max()
        assert float(bounds.upper) == pytest.approx(brute_force(q), abs=1e-9)
        with pytest.raises(mfo.CertificateError):
            dataclasses.replace(bounds, lower=bounds.upper + Fraction(1, 1000)).replay()


@pytest.mark.parametrize("bad", [0, 1, -1, 2.5])
def test_program_input(bad: float) -> None:
    with pytest.raises(mfo.InputError, match="tolerance"):
        mfo.copositive.minimize_on_simplex([[1]], tolerance=bad)


def _symmetric(a: np.ndarray) -> np.ndarray:
    return np.asarray(np.triu(a) + np.triu(a, 1).T)


def test_dense_programs_of_order_20_and_30() -> None:
    """Random instances without a planted optimum: the split on the minimiser's face closes them exactly."""
    for n, seed in ((20, 0), (30, 1)):
        rng = np.random.default_rng(seed)
        b = rng.standard_normal((n, n))
        psd_like = _symmetric(b @ b.T / n - 0.3 * np.diag(rng.random(n)))
        attracted = _symmetric(-np.abs(rng.standard_normal((n, n))) / n**0.5)
        np.fill_diagonal(attracted, 1.0)
        for q in (psd_like, attracted):
            bounds = mfo.copositive.minimize_on_simplex(q)
            assert bounds.exact
            bounds.replay()


def test_search_with_split_nodes_and_no_planted_optimum() -> None:
    rng = np.random.default_rng(1)
    n = 20
    form = np.zeros((n, n))
    for k in range(n // 5):
        at = slice(5 * k, 5 * k + 5)
        form[at, at] = np.array(horn()) * np.outer(d := rng.uniform(0.5, 2, 5), d)
    coupling = 0.2 * rng.standard_normal((n, n)) * (form == 0)
    bounds = mfo.copositive.minimize_on_simplex(_symmetric(form + coupling))
    assert bounds.gap <= 1e-6 * np.abs(form).max()
    bounds.replay()


def test_bound_when_nothing_closes() -> None:
    """At the time limit the lower bound is the doubly nonnegative one, proved, not the least entry."""
    rng = np.random.default_rng(0)
    n = 25
    form = np.kron(np.eye(n // 5), np.array(horn(), dtype=float)) + 0.2 * _symmetric(rng.standard_normal((n, n)))
    bounds = mfo.copositive.minimize_on_simplex(form, time_limit=0.05)
    assert bounds.lower > form.min() + 0.5 * (float(bounds.upper) - form.min())
    bounds.replay()


def test_entries_beyond_the_floats() -> None:
    big = 10**400
    q = [[(6 * big if i == j else -(big - i * j)) for j in range(6)] for i in range(6)]
    bounds = mfo.copositive.minimize_on_simplex(q, time_limit=10)
    assert bounds.lower <= bounds.upper
    bounds.replay()
    mfo.copositive.check(q).replay()  # type: ignore[union-attr]


def _bits(adjacency: np.ndarray) -> list[int]:
    return [sum(1 << j for j in np.flatnonzero(row).tolist()) for row in np.asarray(adjacency)]


def test_theta_bound_rounds_to_the_integer() -> None:
    """theta' of ER(7) is 15.7434 and its stability number 15: t in between, exact, although the classes do not commute."""
    from meanfield_opt.copositive.theta import form_at, theta_bound
    from meanfield_opt.symmetry.theta import polarity_graph

    a = polarity_graph(7)
    complement = 1 - a - np.eye(len(a))
    found = theta_bound(_bits(complement), 15)
    assert found is not None
    t, proof = found
    assert Fraction(157434, 10000) < t < 16
    assert replay(form_at(_bits(complement), t), proof)
    with pytest.raises(CertificateError):
        replay(form_at(_bits(complement), t - Fraction(1, 2)), proof)
    # one more than the number: the bound says nothing new, and never less than theta'
    again = theta_bound(_bits(complement), 12)
    assert again is not None
    assert again[0] > Fraction(157434, 10000)


def test_johnson_graph_by_theta() -> None:
    number = mfo.copositive.clique_number(graph(johnson(16, 2, 4)))
    assert (number.lower, number.upper, number.proof) == (8, 8, "copositive")
    number.replay()
    for level in (None, Fraction(9)):
        with pytest.raises(CertificateError):
            dataclasses.replace(number, level=level).replay()


def test_one_weight_on_all_edges_bounds_stability_numbers() -> None:
    """Without symmetry: t (I + A) - J = (t I - J + w A) + (t - w) A, exact, never below the number (brute force)."""
    from meanfield_opt.copositive.theta import _by_one_weight, form_at

    rng = np.random.default_rng(0)
    graphs = [nx.gnp_random_graph(int(rng.integers(2, 14)), float(rng.random()), seed=k) for k in range(40)]
    graphs += [nx.cycle_graph(5), nx.petersen_graph(), nx.empty_graph(4), nx.complete_graph(4), nx.empty_graph(1)]
    for graph in graphs:
        cliques = nx.complement(graph)  # a stable set is a clique there
        neighbours = [sum(1 << j for j in cliques[i]) for i in cliques]
        found = _by_one_weight(neighbours)
        assert found is not None
        t, proof = found
        replay(form_at(neighbours, t), proof)
        assert t >= max(len(c) for c in nx.find_cliques(cliques))
    assert int(_by_one_weight([sum(1 << j for j in nx.complement(nx.petersen_graph())[i]) for i in range(10)])[0]) == 4  # type: ignore[index]


def test_a_generic_sparse_graph_is_bounded_by_its_eigenvalues() -> None:
    found = mfo.copositive.stability_number(nx.random_regular_graph(5, 90, seed=0), time_limit=4.0)
    assert found.lower <= found.upper <= 40  # greedy colours of the complement leave it at 48 or more
    found.replay()

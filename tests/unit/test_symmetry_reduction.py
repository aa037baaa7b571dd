"""Coherent closures, block-diagonalisation, reduced relaxations and theta'."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import cvxpy
import networkx as nx
import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.symmetry import Configuration, coherent_closure, discrete
from meanfield_opt.symmetry.blocks import block_diagonalise
from meanfield_opt.symmetry.relaxation import data_closure, data_matrices, reduced_relaxation
from meanfield_opt.symmetry.theta import circulant_graph, polarity_graph, theta_prime

RELU, SQUARED = mfo.activation("relu"), mfo.loss("squared")


def half_planes(m: int) -> np.ndarray:
    i = np.arange(m)
    return np.array([np.where((i - k) % m < m // 2, 1.0, -1.0) for k in range(m // 2)])


def by_distance(values: np.ndarray) -> np.ndarray:
    m = values.size
    even = np.array([values[min(k, m - k)] for k in range(m)])
    return even[(np.arange(m)[:, None] - np.arange(m)) % m]


def dihedral_task(m: int) -> mfo.TwoLayerProblem:
    """m inputs on a circle (plus white noise), every half plane a label."""
    kernel = by_distance(1 + np.cos(2 * np.pi * np.arange(m) / m)) + 0.5 * np.eye(m)
    return mfo.TwoLayerProblem(RELU, SQUARED, mfo.DenseGeometry(kernel), half_planes(m), 0.01, 0.01)


def cyclic_task(m: int) -> mfo.TwoLayerProblem:
    """Two circles, the second smaller and turned: rotations are symmetries, reflections are not."""
    t = 2 * np.pi * np.arange(m) / m
    shift = (np.arange(m)[:, None] - np.arange(m)) % m
    cross = (1 + 0.5 * np.cos(t - 0.3))[shift]
    kernel = np.block([[by_distance(1 + np.cos(t)), cross], [cross.T, by_distance(1 + 0.25 * np.cos(t))]])
    y = np.hstack([half_planes(m), np.roll(half_planes(m), 1, axis=1)])
    return mfo.TwoLayerProblem(RELU, SQUARED, mfo.DenseGeometry(kernel + 0.5 * np.eye(2 * m)), y, 0.01, 0.01)


def product_task(m: int) -> mfo.TwoLayerProblem:
    """A circle times one sign."""
    ring = dihedral_task(m)
    kernel = np.kron(1 + 0.5 * np.eye(2), data_matrices(ring)[0])
    y = np.vstack([np.hstack([ring.targets, ring.targets]), np.repeat([[1.0, -1.0]], m, axis=1).reshape(1, -1)])
    return mfo.TwoLayerProblem(RELU, SQUARED, mfo.DenseGeometry(kernel), y, 0.01, 0.01)


def full_relaxation(problem: mfo.TwoLayerProblem) -> float:
    """The order-2P program written out, with no symmetry."""
    k_x, _ = data_matrices(problem)
    p, q, y = problem.n_samples, np.linalg.inv(k_x), problem.targets
    w = cvxpy.Variable((2 * p, 2 * p), PSD=True)
    fit = cvxpy.Variable((y.shape[0], y.shape[0]), symmetric=True)
    schur = cvxpy.bmat([[fit, y], [y.T, problem.lambda2 * np.eye(p) + w[:p, :p]]])
    cost = problem.lambda1 * cvxpy.trace(np.block([[q, -q], [-q, q]]) @ w) + problem.lambda2 * cvxpy.trace(fit)
    program = cvxpy.Problem(cvxpy.Minimize(cost), [w >= 0, cvxpy.diag(w[:p, p:]) == 0, schur >> 0])
    program.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return float(program.value)


TASKS = {
    "hypercube 2": lambda: mfo.problems.hypercube(2),
    "hypercube 3 aligned": lambda: mfo.problems.hypercube(3, geometry="aligned", alignment=0.5),
    "hypercube 3 anisotropic": lambda: mfo.problems.hypercube(3, geometry="anisotropic", alignment=(0.0, 0.3, 2.0)),
    "hypercube 2, two copies": lambda: mfo.problems.hypercube(2, samples_per_class=2),
    "dihedral 6": lambda: dihedral_task(6),
    "dihedral 8": lambda: dihedral_task(8),
    "cyclic 4": lambda: cyclic_task(4),
    "cyclic 6": lambda: cyclic_task(6),
    "product": lambda: product_task(6),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", sorted(TASKS))
def test_full_and_reduced_relaxations_agree(name: str) -> None:
    problem = TASKS[name]()
    reduced = reduced_relaxation(problem)
    assert reduced.value == pytest.approx(full_relaxation(problem), abs=1e-7)
    assert reduced.classes < problem.n_samples**2 / 2
    if problem.known is not None:
        assert reduced.value == pytest.approx(problem.known.energy, abs=1e-7)
        dual = problem.known.measure and problem.dual_point(problem.known.measure())
        np.testing.assert_allclose(reduced.dual, dual, atol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_full_and_reduced_relaxations_agree_in_four_dimensions() -> None:
    for geometry, a in (("whitened", 0.0), ("aligned", 2.0)):
        problem = mfo.problems.hypercube(4, geometry=geometry, alignment=a)
        assert reduced_relaxation(problem).value == pytest.approx(full_relaxation(problem), abs=1e-7)


def test_modules_reproduce_traces_and_spectra() -> None:
    rng = np.random.default_rng(0)
    for name in ("hypercube 3 aligned", "cyclic 6", "product"):
        algebra = data_closure(TASKS[name]())
        assert algebra is not None
        assert algebra.is_coherent()
        values = rng.standard_normal(algebra.rank)
        values = values + values[algebra.transposes]
        matrix = values[algebra.classes]
        blocks = block_diagonalise(algebra)
        spectrum = np.concatenate([np.repeat(np.linalg.eigvalsh(b.of(values)), b.multiplicity) for b in blocks])
        np.testing.assert_allclose(np.sort(spectrum), np.linalg.eigvalsh(matrix), atol=1e-9)


def test_complex_modules_of_rotations_are_found() -> None:
    algebra = data_closure(cyclic_task(6))
    assert algebra is not None
    assert sorted(b.basis.shape[1] for b in block_diagonalise(algebra)) == [
        2,
        2,
        4,
        4,
    ]  # two of real, two of complex type


def test_closure_of_a_shuffled_hypercube_is_the_hamming_scheme_and_of_a_moved_one_is_not() -> None:
    rng = np.random.default_rng(5)
    base = mfo.problems.hypercube(4)
    order = rng.permutation(16)
    k_x, k_y = (m[np.ix_(order, order)] for m in data_matrices(base))
    scheme = coherent_closure([k_x, k_y])
    assert scheme is not None
    assert scheme.rank == 5
    assert scheme.fibres.max() == 0
    assert scheme.contains(k_x)
    for matrix in (k_x, k_y):
        moved = matrix.copy()
        moved[2, 3] = moved[3, 2] = moved[2, 3] + 1e-9
        other = k_y if matrix is k_x else k_x
        finer = coherent_closure([moved, other])
        assert finer is not None
        assert finer.fibres.max() > 0
        assert not scheme.contains(moved)
    noise = rng.standard_normal((16, 16))
    generic = coherent_closure([noise + noise.T])
    assert generic is not None
    assert generic.rank == 256
    assert coherent_closure([noise + noise.T], most_classes=50) is None


def test_theta_prime_of_known_graphs() -> None:
    for graph, value in ((nx.cycle_graph(5), 5**0.5), (nx.petersen_graph(), 4.0), (nx.complete_graph(6), 1.0)):
        result = theta_prime(graph)
        assert result.value == pytest.approx(value, abs=1e-7)
        assert value - 1e-12 <= result.upper <= value + 1e-6


def test_theta_prime_of_the_polarity_graph() -> None:
    graph = polarity_graph(7)
    result = theta_prime(graph)
    assert graph.shape == (57, 57)
    assert result.value == pytest.approx(15.7434, abs=5e-5)
    assert result.value - 1e-7 <= result.upper <= result.value + 1e-5
    assert max(result.blocks) <= 3


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_theta_prime_of_random_vertex_transitive_graphs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(11, 18))
    graph = circulant_graph(n, rng.choice(np.arange(1, n // 2), size=int(rng.integers(2, 4)), replace=False))
    relabel = rng.permutation(n)
    graph = graph[np.ix_(relabel, relabel)]
    reduced, full = theta_prime(graph), theta_prime(graph, symmetry=False)
    assert reduced.value == pytest.approx(full.value, abs=1e-7)
    assert max(reduced.blocks) == 1
    complement = nx.from_numpy_array(1 - graph - np.eye(n))
    clique, _ = nx.max_weight_clique(complement, weight=None)
    assert len(clique) <= reduced.upper


def cayley_graph(elements: list[tuple[int, ...]], product: Callable[..., tuple[int, ...]], rng: np.random.Generator):  # type: ignore[no-untyped-def]
    """Adjacency of the Cayley graph of a random set of elements and their inverses; a random relabelling hides the group."""
    one = next(e for e in elements if product(e, e) == e)
    inverse = {a: next(b for b in elements if product(a, b) == one) for a in elements}
    others = [e for e in elements if e != one]
    picked = [others[k] for k in rng.choice(len(others), size=int(rng.integers(2, 4)), replace=False)]
    joins = {*picked, *(inverse[e] for e in picked)}
    order = rng.permutation(len(elements))
    shuffled = [elements[k] for k in order]
    return np.array([[float(product(inverse[a], b) in joins) for b in shuffled] for a in shuffled])


def dihedral_product(a: tuple[int, ...], b: tuple[int, ...], m: int = 7) -> tuple[int, ...]:
    """(r, s): rotation r after s reflections."""
    return ((a[0] + (-b[0] if a[1] else b[0])) % m, a[1] ^ b[1])


CAYLEY = {
    "dihedral group of order 14": (
        [(r, s) for r in range(7) for s in range(2)],
        dihedral_product,
    ),
    "S4": (list(itertools.permutations(range(4))), lambda a, b: tuple(a[k] for k in b)),
    "Z_2^4": (list(itertools.product((0, 1), repeat=4)), lambda a, b: tuple(x ^ y for x, y in zip(a, b))),
}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("group", CAYLEY)
def test_theta_prime_of_random_cayley_graphs(group: str, seed: int) -> None:
    """Vertex-transitive and not circulant: the groups are not cyclic; the dihedral one and S4 do not commute."""
    graph = cayley_graph(*CAYLEY[group], np.random.default_rng(seed))
    degrees = graph.sum(axis=0)
    assert (graph == graph.T).all()
    assert (degrees == degrees[0]).all()
    reduced, full = theta_prime(graph), theta_prime(graph, symmetry=False)
    assert reduced.value == pytest.approx(full.value, rel=1e-7)
    assert reduced.classes < graph.size
    complement = nx.from_numpy_array(1 - graph - np.eye(len(graph)))
    clique, _ = nx.max_weight_clique(complement, weight=None)
    assert len(clique) <= reduced.upper


def test_bad_graphs_and_matrices_are_refused() -> None:
    for bad in (np.ones((2, 2)), np.zeros((2, 3)), np.array([[0.0, 1.0], [0.0, 0.0]]), np.full((2, 2), 0.5)):
        with pytest.raises(mfo.InputError):
            theta_prime(bad)
    with pytest.raises(mfo.InputError):
        coherent_closure([np.eye(2), np.eye(3)])
    with pytest.raises(mfo.InputError):
        polarity_graph(6)
    assert isinstance(discrete(3), Configuration)

"""Matrices whose copositivity is known: the worked examples of the tests, the benchmark and the documentation.

``catalogue()`` yields every instance with its known answer: "strict", "boundary" (copositive with a zero) or "no".
J = all ones, I = identity, A(G) = adjacency, circ = circulant by cyclic distance.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

Number = int | Fraction
Matrix = list[list[Number]]


@dataclass(frozen=True)
class Instance:
    """One matrix of the catalogue. spn: whether it lies in PSD + N, where that is known."""

    name: str
    matrix: Matrix
    answer: str
    spn: bool | None = None


def circulant(n: int, by_distance: Sequence[Number]) -> Matrix:
    """entry (i,j) = by_distance[min(|i-j|, n-|i-j|)]."""
    return [[by_distance[min((i - j) % n, (j - i) % n)] for j in range(n)] for i in range(n)]


def build(n: int, entry: Callable[[int, int], Number]) -> Matrix:
    """The matrix of a function of (i, j)."""
    return [[entry(i, j) for j in range(n)] for i in range(n)]


def horn() -> Matrix:
    """The Horn matrix: copositive, not PSD + N (Hall and Newman 1963)."""
    return circulant(5, [1, -1, 1])


def hoffman_pereira() -> Matrix:
    """The Hoffman-Pereira matrix of order 7 (1973)."""
    return circulant(7, [1, -1, 1, 0])


def hildebrand(half_tangents: Sequence[Fraction]) -> Matrix:
    """T(phi), an extreme ray of the copositive cone of order 5 (Hildebrand 2012), phi_i = -2 atan t_i: rational."""
    t = [Fraction(v) for v in half_tangents]
    c = [(1 - v * v) / (1 + v * v) for v in t]
    s = [-2 * v / (1 + v * v) for v in t]

    def minus_cos(i: int, j: int) -> Fraction:
        return s[i - 1] * s[j - 1] - c[i - 1] * c[j - 1]

    upper = {
        (1, 2): s[3], (1, 3): minus_cos(4, 5), (1, 4): minus_cos(2, 3), (1, 5): s[2], (2, 3): s[4],
        (2, 4): minus_cos(5, 1), (2, 5): minus_cos(3, 4), (3, 4): s[0], (3, 5): minus_cos(1, 2), (4, 5): s[1],
    }  # fmt: skip
    return build(5, lambda i, j: 1 if i == j else upper[min(i, j) + 1, max(i, j) + 1])


def cycle(n: int) -> Matrix:
    """A(C_n)."""
    return build(n, lambda i, j: int((i - j) % n in (1, n - 1)))


def cycle_form(n: int, weight: Number = 2) -> Matrix:
    """J - weight A(C_n)."""
    a = cycle(n)
    return build(n, lambda i, j: 1 - weight * a[i][j])


def paley(p: int) -> Matrix:
    """The Paley graph on p vertices (p prime, p = 1 mod 4)."""
    squares = {x * x % p for x in range(1, p)}
    return build(p, lambda i, j: int((i - j) % p in squares))


def petersen() -> Matrix:
    """The Petersen graph: disjoint pairs of 5."""
    pairs = list(itertools.combinations(range(5), 2))
    return build(10, lambda i, j: int(not set(pairs[i]) & set(pairs[j])))


def icosahedron() -> Matrix:
    """The icosahedral graph: two poles over two twisted pentagons."""
    edges = {frozenset((0, k)) for k in range(1, 6)} | {frozenset((11, k)) for k in range(6, 11)}
    for k in range(5):
        edges |= {frozenset((1 + k, 1 + (k + 1) % 5)), frozenset((6 + k, 6 + (k + 1) % 5))}
        edges |= {frozenset((1 + k, 6 + k)), frozenset((1 + k, 6 + (k + 1) % 5))}
    return build(12, lambda i, j: int(frozenset((i, j)) in edges))


def code_graph(words: Sequence[int], distance: int) -> Matrix:
    """Adjacent iff the Hamming distance is at least ``distance``."""
    return build(len(words), lambda i, j: int(i != j and (words[i] ^ words[j]).bit_count() >= distance))


def johnson(n: int, weight: int, distance: int) -> Matrix:
    """The DIMACS graph johnson n-weight-distance."""
    words = [sum(1 << i for i in c) for c in itertools.combinations(range(n), weight)]
    return code_graph(words, distance)


def hamming(n: int, distance: int) -> Matrix:
    """The DIMACS graph hamming n-distance."""
    return code_graph(range(2**n), distance)


def stable_set_form(adjacency: Matrix, t: Number) -> Matrix:
    """t (I + A) - J: copositive iff t >= the stability number (Motzkin-Straus; de Klerk and Pasechnik 2002)."""
    return build(len(adjacency), lambda i, j: t * (1 if i == j else adjacency[i][j]) - 1)


def clique_form(adjacency: Matrix, t: Number) -> Matrix:
    """t (J - A) - J: copositive iff t >= the clique number."""
    return build(len(adjacency), lambda i, j: t * (1 - adjacency[i][j]) - 1)


def plus(matrix: Matrix, diagonal: Number, entry: tuple[int, int] | None = None) -> Matrix:
    """M + diagonal I, or M with ``diagonal`` added to one entry (and its mirror image)."""
    if entry is None:
        return build(len(matrix), lambda i, j: matrix[i][j] + (diagonal if i == j else 0))
    return build(len(matrix), lambda i, j: matrix[i][j] + (diagonal if (i, j) in (entry, entry[::-1]) else 0))


def direct_sum(a: Matrix, b: Matrix) -> Matrix:
    """a (+) b."""
    n, m = len(a), len(b)
    return [[*row, *([0] * m)] for row in a] + [[*([0] * n), *row] for row in b]


def rescaled(matrix: Matrix, d: Sequence[Number]) -> Matrix:
    """diag(d) M diag(d)."""
    return build(len(matrix), lambda i, j: matrix[i][j] * d[i] * d[j])


GRAPHS: tuple[tuple[str, Callable[[], Matrix], int], ...] = (
    ("C7", lambda: cycle(7), 3),
    ("icosahedron", icosahedron, 3),
    ("Paley 13", lambda: paley(13), 3),
    ("Paley 17", lambda: paley(17), 3),
    ("Paley 29", lambda: paley(29), 4),
)


def catalogue(largest: int = 256) -> Iterator[Instance]:
    """All instances up to that order."""
    return (item for item in _all() if len(item.matrix) <= largest)


def _all() -> Iterator[Instance]:
    h, hp = horn(), hoffman_pereira()
    t = hildebrand([Fraction(3, 5), Fraction(2, 3), Fraction(5, 7), Fraction(3, 4), Fraction(4, 5)])
    yield Instance("1 Horn", h, "boundary", False)
    for n in (7, 9, 11, 15, 21, 31):
        yield Instance(f"2 J-2A(C{n})", cycle_form(n), "boundary", False)
    yield Instance("3 Hoffman-Pereira", hp, "boundary", False)
    yield Instance("4 Hildebrand", t, "boundary", False)
    for name, graph, alpha in GRAPHS:
        yield Instance(f"5 Z({name})", stable_set_form(graph(), alpha), "boundary", False)
    yield Instance("6 Horn+[0]", direct_sum(h, [[0]]), "boundary", False)
    yield Instance("6 Horn+[[1,-1],[-1,1]]", direct_sum(h, [[1, -1], [-1, 1]]), "boundary", False)
    yield Instance("7 DHD 1..5", rescaled(h, [1, 2, 3, 4, 5]), "boundary", False)
    yield Instance("7 DHD 1,1,1,1,4", rescaled(h, [1, 1, 1, 1, 4]), "boundary", False)
    yield Instance("8 indefinite", [[2, -5, 4], [-5, 14, -9], [4, -9, 6]], "strict", True)
    for e, inside in ((Fraction(1, 5), False), (Fraction(47, 200), False), (Fraction(1, 4), True)):
        yield Instance(f"9 Horn+{e}I", plus(h, e), "strict", inside)
    for name, graph, alpha in GRAPHS:
        yield Instance(f"10 Z({name})+", stable_set_form(graph(), alpha + Fraction(1, 10)), "strict", False)
    yield Instance("10 Z(Petersen)+", stable_set_form(petersen(), 4 + Fraction(1, 10)), "strict", True)
    for n in (6, 8, 12, 20, 30):
        yield Instance(f"11 J-2A(C{n})", cycle_form(n), "boundary", True)
    for n in (6, 10, 16):
        yield Instance(f"12 {n}I-J", build(n, lambda i, j, n=n: n * (i == j) - 1), "boundary", True)  # type: ignore[misc]
    yield Instance("13 Z(Petersen)", stable_set_form(petersen(), 4), "boundary", True)
    chain: Matrix = [[1, Fraction(-4, 5), 0], [Fraction(-4, 5), 1, Fraction(-3, 5)], [0, Fraction(-3, 5), 1]]
    yield Instance("14 chain", chain, "boundary", True)
    yield Instance("14 chain lowered", plus(chain, Fraction(-1, 10**9), (0, 2)), "no")
    for k in (1, 3, 6, 12, 30):
        yield Instance(f"15 Horn-1e-{k}I", plus(h, Fraction(-1, 10**k)), "no")
    for at in ((0, 1), (0, 2), (1, 1)):
        yield Instance(f"16 Horn lowered at {at}", plus(h, Fraction(-1, 10**12), at), "no")
    yield Instance("17 J-(2+1e-6)A(C9)", cycle_form(9, 2 + Fraction(1, 10**6)), "no")
    yield Instance("18 Hoffman-Pereira-1e-9I", plus(hp, Fraction(-1, 10**9)), "no")
    yield Instance("19 Hildebrand-1e-8I", plus(t, Fraction(-1, 10**8)), "no")
    for name, graph, alpha in (*GRAPHS[:3], ("Petersen", petersen, 4)):
        yield Instance(f"20 Z({name})-", stable_set_form(graph(), alpha - Fraction(1, 10**6)), "no")
    for n, w, d, omega in ((8, 2, 4, 4), (8, 4, 4, 14), (16, 2, 4, 8)):
        yield Instance(f"21 johnson {n}-{w}-{d}", clique_form(johnson(n, w, d), omega), "boundary")
    for n, d, omega in ((6, 2, 32), (6, 4, 4), (8, 4, 16)):
        yield Instance(f"22 hamming {n}-{d}", clique_form(hamming(n, d), omega), "boundary")

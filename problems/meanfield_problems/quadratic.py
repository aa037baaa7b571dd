"""Standard quadratic programs as problems over measures: min <Q,K[rho]> with <J,K[rho]> = 1, rho on the nonnegative cone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.checker.copositive_file import matrix_digest
from meanfield_opt.copositive import catalogue
from meanfield_opt.copositive.matrix import ExactMatrix, exact_matrix
from meanfield_opt.errors import InputError
from meanfield_opt.measure import Measure
from meanfield_opt.problem import KnownAnswer, MeanFieldProblem, Recipe
from meanfield_opt.validate import integer, shown

Array = NDArray[np.float64]

MOST_ORDER = 500  # of a planted program: its construction is exact and cubic in the order


@final
@dataclass(frozen=True, eq=False)
class StandardQuadraticProgram(MeanFieldProblem):
    """min over measures rho on {x >= 0} of int x^T Q x d rho / int (1^T x)^2 d rho = min of x^T Q x over the simplex.

    matrix: Q, exact. Dual point: [[nu]]; nu is a lower bound iff Q - nu J is copositive. Atoms are (J, n) rows x >= 0.
    """

    matrix: ExactMatrix = field(repr=False)
    label: str = "standard quadratic program"
    known_: KnownAnswer | None = None
    recipe_: Recipe | None = None

    @property
    def name(self) -> str:
        return self.label

    @property
    def order(self) -> int:
        """n."""
        return self.matrix.order

    @cached_property
    def fingerprint(self) -> str:
        return matrix_digest(self.matrix.entries, self.matrix.denominator)

    @property
    def recipe(self) -> Recipe:
        if self.recipe_ is not None:
            return self.recipe_
        rows = [[str(v) for v in row] for row in self.matrix.rational]
        return Recipe("standard_quadratic_program", {"Q": rows, "name": self.label})

    @property
    def known(self) -> KnownAnswer | None:
        return self.known_

    @cached_property
    def floats(self) -> Array:
        """Q (n, n), rounded."""
        out = np.array([[float(v) for v in row] for row in self.matrix.rational])
        out.setflags(write=False)
        return out

    def energy(self, measure: Measure) -> float:
        x = self._atoms(measure.atoms)
        mass = float(measure.masses @ x.sum(axis=1) ** 2) if measure.n_atoms else 0.0
        if mass <= 0:
            return math.inf
        return float(measure.masses @ np.einsum("ji,ik,jk->j", x, self.floats, x)) / mass

    def dual_point(self, measure: Measure) -> Array:
        return np.array([[self.energy(measure)]])

    def dual_value(self, dual: Array) -> float:
        return float(np.asarray(dual)[0, 0])

    def first_variation(self, dual: Array, atoms: Array) -> Array:
        x = self._atoms(np.atleast_2d(atoms))
        return np.asarray(np.einsum("ji,ik,jk->j", x, self.floats, x) - self.dual_value(dual) * x.sum(axis=1) ** 2)

    def trivial_above(self) -> float:
        return math.inf

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": "standard quadratic program",
            "order": self.order,
            "fingerprint": self.fingerprint,
        }

    def _atoms(self, atoms: Array) -> Array:
        if atoms.shape[1] != self.order:
            raise InputError(f"atoms have {atoms.shape[1]} entries, the program's order is {self.order}.")
        if (atoms < 0).any():
            raise InputError("atoms of a standard quadratic program are nonnegative vectors.")
        return atoms


def _single(x: list[Fraction]) -> Measure:
    return Measure(np.array([[float(v) for v in x]]), np.ones(1))


def standard_quadratic_program(Q: Any, *, name: str = "standard quadratic program") -> StandardQuadraticProgram:
    """The program of any symmetric matrix (floats exactly, ints, Fractions, or 'p/q' texts)."""
    return StandardQuadraticProgram(exact_matrix(Q), str(name))


def planted_quadratic_program(
    order: int = 10, support: int = 3, horns: int = 1, seed: int = 0
) -> StandardQuadraticProgram:
    """A program whose optimum is 0 at a planted x of the given support, by construction and exactly.

    Q = C^T diag(P, S) C + N with C = I - x 1^T, P = B B^T on the support of x, S off it a direct sum of scaled Horn
    matrices and a Gram matrix, N >= 0 with x^T N x = 0: C x = 0, and (C y)_i = y_i >= 0 off the support for y >= 0
    (the construction of Bomze, Peng, Qiu and Yildirim). For horns > 0 the doubly nonnegative bound is not tight.
    """
    n = integer(order, "order", least=2, most=MOST_ORDER)
    r = integer(support, "support", least=1, most=n - 1)
    k = integer(horns, "horns", least=0, most=(n - r) // 5)
    rng = np.random.default_rng(integer(seed, "seed", least=0, most=2**64))
    weights = [Fraction(int(v)) for v in rng.integers(1, 10, r)]
    x = [w / sum(weights) for w in weights] + [Fraction(0)] * (n - r)
    inner = [[Fraction(0)] * n for _ in range(n)]

    def gram(start: int, size: int) -> None:
        b = rng.integers(-3, 4, (size, size))
        g = b @ b.T
        for i, j in itertools.product(range(size), repeat=2):
            inner[start + i][start + j] = Fraction(int(g[i, j]))

    gram(0, r)
    for block in range(k):
        d = [int(v) for v in rng.integers(1, 5, 5)]
        for i, j in itertools.product(range(5), repeat=2):
            inner[r + 5 * block + i][r + 5 * block + j] = catalogue.horn()[i][j] * Fraction(d[i] * d[j])
    gram(r + 5 * k, n - r - 5 * k)
    c = [[Fraction(int(i == j)) - x[i] for j in range(n)] for i in range(n)]
    ic = [[sum((inner[i][t] * c[t][j] for t in range(n)), Fraction(0)) for j in range(n)] for i in range(n)]
    q = [[sum((c[t][i] * ic[t][j] for t in range(n)), Fraction(0)) for j in range(n)] for i in range(n)]
    for i, j in itertools.product(range(r), range(r, n)):
        extra = Fraction(int(rng.integers(0, 3)), 2)
        q[i][j] += extra
        q[j][i] += extra
    p = [int(v) for v in rng.permutation(n)]
    q = [[q[a][b] for b in p] for a in p]
    optimum = [x[a] for a in p]
    known = KnownAnswer(0.0, "planted by construction", "proved", measure=lambda: _single(optimum))
    recipe = Recipe("planted_quadratic_program", {"order": n, "support": r, "horns": k, "seed": int(seed)})
    return StandardQuadraticProgram(exact_matrix(q), f"planted quadratic program {n}/{r}/{k}/{seed}", known, recipe)


GRAPHS: dict[str, tuple[Callable[[], catalogue.Matrix], int]] = {
    "C5": (lambda: catalogue.cycle(5), 2),
    "C7": (lambda: catalogue.cycle(7), 3),
    "petersen": (catalogue.petersen, 4),
    "icosahedron": (catalogue.icosahedron, 3),
    "paley13": (lambda: catalogue.paley(13), 3),
    "paley17": (lambda: catalogue.paley(17), 3),
}


def stability_program(graph: str = "petersen") -> StandardQuadraticProgram:
    """min x^T (I + A) x over the simplex = 1 / alpha(G) (Motzkin and Straus 1965) for a named graph."""
    if not isinstance(graph, str) or graph not in GRAPHS:
        raise InputError(f"there is no graph named {shown(graph)} here; known: {', '.join(GRAPHS)}.")
    build, alpha = GRAPHS[graph]
    adjacency = build()
    n = len(adjacency)
    q = [[int(i == j) + int(adjacency[i][j]) for j in range(n)] for i in range(n)]
    known = KnownAnswer(1.0 / alpha, "Motzkin and Straus 1965", "proved")
    return StandardQuadraticProgram(
        exact_matrix(q), f"stability of {graph}", known, Recipe("stability_program", {"graph": graph})
    )

"""Optimal experimental designs for polynomial regression on an interval: measures on [a, b] with textbook optima."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.errors import InputError
from meanfield_opt.measure import Measure
from meanfield_opt.problem import KnownAnswer, MeanFieldProblem, Recipe
from meanfield_opt.validate import integer, one_of, real, shown

Array = NDArray[np.float64]
CRITERIA = {"A": "tr M^-1", "D": "-log det M"}


@final
@dataclass(frozen=True, eq=False)
class OptimalDesign(MeanFieldProblem):
    """min over probability measures xi on [a, b] of tr M^-1 ("A") or -log det M ("D"), M = int f f^T d xi.

    f(x) = (1, x, ..., x^degree). Atoms are (J, 1) design points; masses are normalised to one. Dual point: a symmetric
    matrix N (p, p), p = degree + 1, with the bound (tr N)^2 / s ("A": s = max f^T N^2 f) or
    log det N - p log(s / p) ("D": s = max f^T N f); at the optimum N = M^-1 (Kiefer and Wolfowitz 1960).
    """

    degree: int
    criterion: str = "D"
    interval: tuple[float, float] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        integer(self.degree, "degree", least=1, most=20)
        one_of(self.criterion, "the criterion", tuple(CRITERIA))
        a, b = (real(v, "interval") for v in self.interval)
        if not a < b:
            raise InputError(f"the interval [{a}, {b}] is empty.")
        object.__setattr__(self, "interval", (a, b))

    @property
    def name(self) -> str:
        return (
            f"{self.criterion}-optimal design of degree {self.degree} on [{self.interval[0]:g}, {self.interval[1]:g}]"
        )

    @cached_property
    def fingerprint(self) -> str:
        head = ["optimal design", self.degree, self.criterion, *(v.hex() for v in self.interval)]
        return hashlib.sha256(json.dumps(head).encode()).hexdigest()

    @property
    def recipe(self) -> Recipe:
        parameters = {"degree": self.degree, "criterion": self.criterion, "interval": list(self.interval)}
        return Recipe("optimal_design", parameters)

    @property
    def known(self) -> KnownAnswer | None:
        points, masses, reference = self._textbook()
        if points is None or masses is None:
            return None
        a, b = self.interval
        measure = Measure((0.5 * (a + b) + 0.5 * (b - a) * points)[:, None], masses)
        return KnownAnswer(self.energy(measure), reference, "published", measure=lambda: measure)

    def _textbook(self) -> tuple[Array | None, Array | None, str]:
        if self.criterion == "D":  # zeros of (1 - x^2) P_d'(x), equal masses; carried over to any interval
            inner = np.polynomial.legendre.Legendre.basis(self.degree).deriv().roots()
            points = np.concatenate([[-1.0], np.sort(np.real(inner)), [1.0]])
            return points, np.full(self.degree + 1, 1.0 / (self.degree + 1)), "Hoel 1958; Guest 1958"
        if self.interval == (-1.0, 1.0) and self.degree == 1:
            return np.array([-1.0, 1.0]), np.array([0.5, 0.5]), "Pukelsheim, Optimal Design of Experiments"
        if self.interval == (-1.0, 1.0) and self.degree == 2:
            return np.array([-1.0, 0.0, 1.0]), np.array([0.25, 0.5, 0.25]), "Pukelsheim, Optimal Design of Experiments"
        return None, None, ""

    def features(self, points: Array) -> Array:
        """f(x) for design points (J,), shape (J, p)."""
        return np.asarray(np.vander(np.ravel(points), self.degree + 1, increasing=True))

    def information(self, measure: Measure) -> Array:
        """M (p, p) of the normalised measure."""
        a, b = self.interval
        if measure.atoms.shape[1] != 1:
            raise InputError(f"design points are single numbers; the atoms have {measure.atoms.shape[1]} entries.")
        if ((measure.atoms < a) | (measure.atoms > b)).any():
            raise InputError(f"a design point lies outside the interval [{a}, {b}].")
        f = self.features(measure.atoms)
        return np.asarray((f * (measure.masses / measure.total_mass)[:, None]).T @ f)

    def energy(self, measure: Measure) -> float:
        if measure.n_atoms == 0 or measure.total_mass <= 0:
            return math.inf
        m = self.information(measure)
        sign, logarithm = np.linalg.slogdet(m)
        if sign <= 0 or np.linalg.matrix_rank(m) < len(m):
            return math.inf
        return float(-logarithm) if self.criterion == "D" else float(np.trace(np.linalg.inv(m)))

    def dual_point(self, measure: Measure) -> Array:
        inverse = np.linalg.inv(self.information(measure))
        return np.asarray((inverse + inverse.T) / 2)

    def variance(self, dual: Array, points: Array) -> Array:
        """f^T N f ("D") or f^T N^2 f ("A") at design points."""
        f = self.features(points)
        return np.asarray(
            np.einsum("ji,ik,jk->j", f, dual, f) if self.criterion == "D" else ((f @ dual) ** 2).sum(axis=1)
        )

    def dual_value(self, dual: Array) -> float:
        a, b = self.interval
        s = float(self.variance(dual, np.linspace(a, b, 4001)).max())
        if self.criterion == "A":
            return float(np.trace(dual)) ** 2 / s
        p = self.degree + 1
        return float(np.linalg.slogdet(dual)[1]) - p * math.log(s / p)

    def first_variation(self, dual: Array, atoms: Array) -> Array:
        """p - f^T N f ("D") or tr N - f^T N^2 f ("A"): nonnegative on the interval at the optimum."""
        level = self.degree + 1 if self.criterion == "D" else float(np.trace(dual))
        return np.asarray(level - self.variance(dual, np.ravel(atoms)))

    def trivial_above(self) -> float:
        return math.inf

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": "optimal design",
            "degree": self.degree,
            "criterion": CRITERIA[self.criterion],
            "interval": list(self.interval),
            "fingerprint": self.fingerprint,
        }


def optimal_design(degree: int = 2, *, criterion: str = "D", interval: Any = (-1.0, 1.0)) -> OptimalDesign:
    """The A- or D-optimal design problem for a polynomial of that degree on an interval."""
    try:
        a, b = interval
    except (TypeError, ValueError) as error:
        raise InputError(f"the interval must be two numbers, not {shown(interval)}.") from error
    return OptimalDesign(
        integer(degree, "degree", least=1, most=20), criterion, (real(a, "interval"), real(b, "interval"))
    )

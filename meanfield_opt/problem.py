"""The two-layer problem: an energy over positive measures, its first variation and its dual."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from .abstract_problem import KnownAnswer, MeanFieldProblem, Recipe
from .activation import Activation
from .errors import InputError
from .fit import best_readout, inner_problem
from .geometry import Geometry
from .hashing import feed_entries
from .loss import Loss
from .measure import Measure
from .symmetry import Symmetry
from .validate import instance, nonnegative, positive, real_array

Array = NDArray[np.float64]

__all__ = ["KnownAnswer", "MeanFieldProblem", "Recipe", "TwoLayerProblem", "check_penalty_product"]


@final
@dataclass(frozen=True, eq=False)
class TwoLayerProblem(MeanFieldProblem):
    """E[rho] = l1 int c(h) d rho + min_w L(int w phi(h) d rho; Y) + l2 int |w|^2 d rho   (theory section 1).

    targets: Y (d_Y, P), one sample a column. width: None for free mass, or M for int d rho <= M.
    """

    activation: Activation
    loss: Loss
    geometry: Geometry
    targets: Array
    lambda1: float
    lambda2: float
    width: float | None = None
    label: str = "two-layer problem"
    recipe_: Recipe | None = None
    known_: KnownAnswer | None = None
    symmetry: Symmetry | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        instance(self.activation, Activation, "activation", "an Activation (mfo.activation finds one by its name)")
        instance(self.loss, Loss, "loss", "a Loss (mfo.loss finds one by its name)")
        instance(self.geometry, Geometry, "geometry", "a Geometry")
        targets = real_array(self.targets, "Y", ndim=2)
        if targets.shape[1] != self.geometry.n_samples:
            raise InputError(
                f"Y has {targets.shape[1]} samples but the inputs have {self.geometry.n_samples}; they must agree."
            )
        targets.setflags(write=False)
        object.__setattr__(self, "targets", targets)
        object.__setattr__(self, "lambda1", positive(self.lambda1, "lambda1"))
        object.__setattr__(self, "lambda2", positive(self.lambda2, "lambda2"))
        if self.width is not None:
            object.__setattr__(self, "width", positive(self.width, "width"))
        self.loss.check_targets(targets)
        if self.geometry.free_parameters:
            from .free_bias import refusal

            reason = refusal(self)
            if reason is not None:
                raise InputError(f"an unpenalised hidden bias is not offered here: {reason}")

    # identity ---------------------------------------------------------------------------------------------------
    @property
    def name(self) -> str:
        return self.label

    @property
    def recipe(self) -> Recipe | None:
        return self.recipe_

    @property
    def known(self) -> KnownAnswer | None:
        return self.known_

    @cached_property
    def fingerprint(self) -> str:
        head = {
            "kind": "two-layer",
            "activation": [self.activation.name, self.activation.parameters],
            "loss": [self.loss.name, self.loss.parameters],
            "geometry": self.geometry.fingerprint,
            "lambda1": self.lambda1.hex(),
            "lambda2": self.lambda2.hex(),
            "width": None if self.width is None else float(self.width).hex(),
            "shape": list(self.targets.shape),
        }
        hasher = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
        for row in self.targets:
            feed_entries(hasher, row)
        return hasher.hexdigest()

    # sizes ------------------------------------------------------------------------------------------------------
    @property
    def n_samples(self) -> int:
        """P."""
        return self.geometry.n_samples

    @property
    def n_outputs(self) -> int:
        """d_Y."""
        return int(self.targets.shape[0])

    @property
    def tau(self) -> float:
        """4 l1 l2, the dual feasibility level: |Z phi(h)|^2 <= tau c(h)."""
        return 4.0 * self.lambda1 * self.lambda2

    @property
    def width_binds(self) -> bool:
        """Whether there is a width that excludes anything: for phi of degree 1 larger neurons of less mass do the same."""
        return self.width is not None and self.activation.degree != 1.0

    def with_free_mass(self) -> TwoLayerProblem:
        """The same problem without its width. Its infimum is never larger, and the same where the width does not bind."""
        return self if self.width is None else replace(self, width=None, known_=None, recipe_=None)

    def within_width(self, measure: Measure) -> Measure:
        """The measure with its neurons scaled until its mass fits a width that does not bind."""
        if self.width is None or self.width_binds or measure.total_mass <= self.width:
            return measure
        return measure.rescaled((measure.total_mass / self.width) ** 0.5 * (1.0 + 2.0**-40))

    # primal -----------------------------------------------------------------------------------------------------
    def features(self, atoms: Array) -> Array:
        """phi(h) for each row h, shape (J, P)."""
        return self.activation(atoms)

    def readout(self, measure: Measure) -> Array:
        """Optimal output weights w (d_Y, J) per unit of mass: argmin L(F) + l2 sum_j m_j |w_j|^2."""
        root = np.sqrt(measure.masses)
        start = None if measure.readout is None else measure.readout * root
        v = best_readout(self.loss, self.features(measure.atoms) * root[:, None], self.targets, self.lambda2, start)
        return np.divide(v, root, out=np.zeros_like(v), where=root > 0)

    def outputs(self, measure: Measure) -> Array:
        """F (d_Y, P) with the optimal output weights."""
        if measure.n_atoms == 0:
            return np.zeros_like(self.targets)
        return np.asarray((self.readout(measure) * measure.masses) @ self.features(measure.atoms))

    def energy(self, measure: Measure) -> float:
        if measure.n_atoms == 0:
            return self.loss.value(np.zeros_like(self.targets), self.targets)
        if measure.compact is not None and measure.readout is not None:
            from .checker.invariant import invariant_energy_upper

            reduced = invariant_energy_upper(self, measure)
            if reduced is not None:
                return reduced
        w = self.readout(measure)
        f = (w * measure.masses) @ self.features(measure.atoms)
        cost = self.lambda1 * float(measure.masses @ self.atom_costs(measure))
        ridge = self.lambda2 * float(np.einsum("kj,kj,j->", w, w, measure.masses))
        return cost + ridge + self.loss.value(f, self.targets)

    def atom_costs(self, measure: Measure) -> Array:
        """c(h_j), from the neurons where they are known."""
        if measure.neurons is not None and measure.neurons.shape[1] == self.geometry.n_parameters:
            return self.geometry.neuron_cost(measure.neurons)
        return self.geometry.cost(measure.atoms)

    # dual -------------------------------------------------------------------------------------------------------
    def dual_point(self, measure: Measure) -> Array:
        if measure.n_atoms == 0 or math.isfinite(self.loss.curvature()):
            return -self.loss.gradient(self.outputs(measure), self.targets)
        # of a nonsmooth loss only the multiplier of the inner problem is a dual point, not any subgradient
        root = np.sqrt(measure.masses)
        phi = self.features(measure.atoms) * root[:, None]
        return inner_problem(self.loss, phi, self.targets, self.lambda2)[1]

    def dual_value(self, dual: Array) -> float:
        """D(Z); with a width M the bound is D(Z) - M kappa(Z), kappa from ``first_variation``'s infimum."""
        return self.loss.dual_value(dual, self.targets)

    def first_variation(self, dual: Array, atoms: Array) -> Array:
        atoms = np.atleast_2d(atoms)
        response = dual @ self.features(atoms).T
        return np.asarray(
            self.lambda1 * self.geometry.cost(atoms) - np.einsum("kj,kj->j", response, response) / (4.0 * self.lambda2)
        )

    def ratio(self, dual: Array, atoms: Array) -> Array:
        """|Z phi(h)| / sqrt(tau c(h)) for each row: a lower estimate of sigma. Zero-cost rows give 0."""
        atoms = np.atleast_2d(atoms)
        response = dual @ self.features(atoms).T
        cost = self.tau * self.geometry.cost(atoms)
        top = np.einsum("kj,kj->j", response, response)
        return np.asarray(np.sqrt(np.divide(top, cost, out=np.zeros_like(top), where=cost > 0)))

    def trivial_above(self) -> float:
        """An upper bound on the value of sqrt(l1 l2) from which on the zero measure is optimal (may be inf).

        sup_h |Z phi(h)|^2 / c(h) <= |Z|_2^2 ratio^2 |K_X|_2 at Z = -grad L(0), in floating point.
        """
        z = -self.loss.gradient(np.zeros_like(self.targets), self.targets)
        top_z = float(np.linalg.norm(z @ z.T, 2)) ** 0.5
        v = np.ones((1, self.n_samples))
        norm = 0.0
        for _ in range(200):  # power iteration on K_X
            v = self.geometry.apply(v)
            norm = float(np.linalg.norm(v))
            if norm == 0.0:
                return 0.0
            v /= norm
        return float(0.5 * top_z * self.activation.ratio_bound() * (norm * 1.01) ** 0.5)

    def with_penalties(self, lambda1: float, lambda2: float) -> TwoLayerProblem:
        """The same data under other penalties (no known answer is carried over).

        A penalty of its own on the hidden bias is part of the inputs, as a multiple of lambda1, and changes with it.
        """
        return TwoLayerProblem(
            self.activation,
            self.loss,
            self.geometry,
            self.targets,
            lambda1,
            lambda2,
            self.width,
            self.label,
            symmetry=self.symmetry,
        )

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "activation": {"name": self.activation.name, **self.activation.parameters},
            "loss": {"name": self.loss.name, **self.loss.parameters},
            "geometry": self.geometry.describe(),
            "samples": self.n_samples,
            "outputs": self.n_outputs,
            "lambda1": self.lambda1,
            "lambda2": self.lambda2,
            "width": self.width,
            "fingerprint": self.fingerprint,
        }


def check_penalty_product(lambda1: float, lambda2: float) -> None:
    """Refuse penalties whose product under- or overflows: tau = 4 l1 l2 must be an ordinary number."""
    product = 4.0 * nonnegative(lambda1, "lambda1") * nonnegative(lambda2, "lambda2")
    if not 1e-280 < product < 1e280:
        raise InputError(
            f"lambda1 * lambda2 = {product / 4:.3g} is outside the range of ordinary floating point numbers."
        )

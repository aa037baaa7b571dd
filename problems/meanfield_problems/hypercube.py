"""Hypercube tasks: every sign vector of d latent labels is a class of n samples (theory section 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.activation import Activation
from meanfield_opt.errors import InputError
from meanfield_opt.geometry import DiagonalPlusLowRank
from meanfield_opt.label_patterns import LabelPatterns
from meanfield_opt.loss import Loss
from meanfield_opt.measure import Measure
from meanfield_opt.plugins import activation as find_activation
from meanfield_opt.plugins import loss as find_loss
from meanfield_opt.problem import KnownAnswer, Recipe, TwoLayerProblem, check_penalty_product
from meanfield_opt.symmetry import SignedPermutation, Symmetry, hypercube_generators
from meanfield_opt.validate import integer, nonnegative, one_of, positive, shown

Array = NDArray[np.float64]

MOST_LATENTS = 20
MOST_SAMPLES = 2**22
MOST_ALIGNMENT = 1e100
GEOMETRIES = ("whitened", "aligned", "anisotropic")


def labels(latents: int, samples_per_class: int = 1) -> Array:
    """Y (d, n 2^d): column x of the first block holds the signs +-1 of the bits of x; blocks repeat the classes n times."""
    index = np.arange(2**latents, dtype=np.int32)
    out = np.empty((latents, samples_per_class, index.size))
    for i in range(latents):
        out[i] = 1 - 2 * ((index >> i) & 1)
    return out.reshape(latents, -1)


@final
@dataclass(frozen=True)
class HypercubeSymmetry(Symmetry):
    """Translations of the hypercube with their sign changes of outputs; with ``exchangeable`` labels also S_d.

    Sample classes come as ``labels`` orders them; copies within a class are exchangeable too.
    """

    latents: int
    samples_per_class: int
    exchangeable: bool

    @property
    def generators(self) -> tuple[SignedPermutation, ...]:
        """Built when asked for: each holds a permutation of the n 2^d samples."""
        groups = [range(self.latents)] if self.exchangeable else []
        return hypercube_generators(labels(self.latents, self.samples_per_class), groups)

    def average_dual(self, dual: Array) -> Array:
        """Invariant dual points are Z = diag(zeta) Y, with one zeta for exchangeable labels."""
        y = labels(self.latents, self.samples_per_class)
        zeta = np.array([np.dot(row, signs) for row, signs in zip(dual, y)]) / y.shape[1]
        if self.exchangeable:
            zeta = np.full_like(zeta, zeta.mean())
        return np.asarray(zeta[:, None] * y)

    def describe(self) -> dict[str, Any]:
        group = "hyperoctahedral group" if self.exchangeable else "translations of the hypercube"
        order = 2**self.latents * (math.factorial(self.latents) if self.exchangeable else 1)
        return {"group": group, "latents": self.latents, "order": order, "copies": self.samples_per_class}


@dataclass(frozen=True)
class LabelOptimum:
    """One label's share of the ReLU optimum: atoms beta 1 +- gamma v, b = kernel weight on (1 1^T + v v^T)."""

    strength: float
    beta: float
    gamma: float
    cost: float


def label_optimum(n_samples: int, a: float, lambda1: float, lambda2: float) -> LabelOptimum:
    """Closed form for ReLU with s2 = 1 and label alignment a (theory section 4)."""
    p = n_samples
    q0, q1 = 1.0 / (1.0 + p), 1.0 / (1.0 + a * p)
    beta = gamma = 0.5
    if q1 < q0:  # the off level goes negative: h = gamma v + beta 1 with gamma + beta = 1, least cost
        beta, gamma = q1 / (q0 + q1), q0 / (q0 + q1)
    cost = 2.0 * p * (q0 * beta**2 + q1 * gamma**2) * 2.0  # of a pair of unit on-level, per unit of (11^T + vv^T)
    strength = math.sqrt(lambda2 / (lambda1 * cost)) - lambda2 / p
    return LabelOptimum(max(strength, 0.0), beta, gamma, cost)


def relu_answer(latents: int, copies: int, alignments: Sequence[float], lambda1: float, lambda2: float) -> KnownAnswer:
    """The known ReLU optimum; labels decouple, so the energy is a sum over labels."""
    p = copies * 2**latents
    parts = [label_optimum(p, a, lambda1, lambda2) for a in alignments]
    energy = sum(lambda1 * t.strength * t.cost + lambda2 * p / (lambda2 + t.strength * p) for t in parts)

    def kernel() -> Array:
        y = labels(latents, copies)
        b = np.array([t.strength for t in parts])
        return np.asarray(b.sum() + (y.T * b) @ y)

    def measure() -> Measure:
        used, tables, masses = [], [], []
        for i, t in enumerate(parts):
            if t.strength == 0.0:
                continue
            # phi(beta 1 +- gamma v) is the indicator of the on samples: its pair gives (11^T + vv^T) / 2
            used += [(i,)] * 2
            tables += [(t.beta + t.gamma, t.beta - t.gamma), (t.beta - t.gamma, t.beta + t.gamma)]
            masses += [2.0 * t.strength] * 2
        if not used:
            return Measure.zero(p)
        return Measure.of_labels(LabelPatterns(tuple(used), tuple(tables)), np.array(masses), labels(latents, copies))

    whitened = all(a == 0.0 for a in alignments)
    return KnownAnswer(
        energy,
        "Wang, Johnston and Fusi 2025 (arXiv 2510.09816), whitened hypercube theorem"
        if whitened
        else "derived for this project; certified by the lifted relaxation at the published points",
        "published" if whitened else "self-certified",
        measure,
        kernel,
    )


def hypercube(
    latents: int = 3,
    *,
    samples_per_class: int = 1,
    geometry: str = "whitened",
    alignment: float | Sequence[float] = 0.0,
    activation: str | Activation = "relu",
    loss: str | Loss = "squared",
    lambda1: float = 0.01,
    lambda2: float = 0.01,
    width: float | None = None,
) -> TwoLayerProblem:
    """All sign vectors of ``latents`` labels, n = ``samples_per_class`` times each; P = n 2^latents.

    geometry: "whitened" (K_X = I + 1 1^T), "aligned" (I + a K_Y + 1 1^T, a = ``alignment`` >= 0) or "anisotropic"
    (I + sum_i a_i v_i v_i^T + 1 1^T, ``alignment`` a sequence of one a_i >= 0 a label).
    """
    d = integer(latents, "latents", least=1, most=MOST_LATENTS)
    n = integer(samples_per_class, "samples_per_class", least=1)
    if n * 2**d > MOST_SAMPLES:
        raise InputError(f"{shown(n)} x 2^{d} samples are too many; at most 2^22 are supported.")
    a = _alignments(geometry, alignment, d)
    l1, l2 = positive(lambda1, "lambda1"), positive(lambda2, "lambda2")
    check_penalty_product(l1, l2)
    y = labels(d, n)
    used = [i for i in range(d) if a[i] > 0]
    columns = np.column_stack([np.ones(y.shape[1]), *(y[i] for i in used)])
    space = DiagonalPlusLowRank(np.ones(y.shape[1]), columns, np.array([1.0, *(a[i] for i in used)]))
    phi, ell = find_activation(activation), find_loss(loss)
    known = None
    if phi.name == "relu" and ell.name == "squared" and width is None:
        known = relu_answer(d, n, a, l1, l2)
    parameters = {
        "latents": d,
        "samples_per_class": n,
        "geometry": geometry,
        "alignment": list(a) if geometry == "anisotropic" else a[0],
        "activation": phi.name,
        "loss": ell.name,
        "lambda1": l1,
        "lambda2": l2,
        "width": width,
    }
    by_name = not phi.parameters and not ell.parameters
    return TwoLayerProblem(
        phi,
        ell,
        space,
        y,
        l1,
        l2,
        width,
        f"hypercube(latents={d}, {geometry})",
        Recipe("hypercube", parameters) if by_name else None,
        known,
        HypercubeSymmetry(d, n, exchangeable=len(set(a)) == 1) if ell.name in ("squared", "logistic") else None,
    )


def _alignments(geometry: str, alignment: float | Sequence[float], d: int) -> tuple[float, ...]:
    one_of(geometry, "geometry", GEOMETRIES)
    found = _given_alignments(geometry, alignment, d)
    if max(found) > MOST_ALIGNMENT:
        raise InputError(f"alignment must be at most {MOST_ALIGNMENT:g}, not {max(found):g}.")
    return found


def _given_alignments(geometry: str, alignment: float | Sequence[float], d: int) -> tuple[float, ...]:
    if geometry == "anisotropic":
        if not isinstance(alignment, (Sequence, np.ndarray)) or len(alignment) != d:
            raise InputError(
                f"anisotropic inputs need alignment = one number a label ({d} numbers), not {shown(alignment)}."
            )
        return tuple(nonnegative(x, "alignment") for x in alignment)
    if isinstance(alignment, (Sequence, np.ndarray)):
        raise InputError(f"{geometry} inputs need one alignment number, not {shown(alignment)}.")
    a = nonnegative(alignment, "alignment")
    if geometry == "whitened" and a != 0.0:
        raise InputError("whitened inputs have alignment 0; use geometry='aligned' for a > 0.")
    return (a,) * d

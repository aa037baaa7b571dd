"""Support patterns read off a solution: atoms merged on common rays and fitted by h = beta 1 + gamma v_i."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .measure import Measure
from .problem import MeanFieldProblem, TwoLayerProblem
from .solution import Solution
from .validate import instance, positive

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pattern:
    """One support pattern h ~ beta 1 + gamma v_i, v_i = row ``latent`` of Y (the published form is alpha (1 +- v_i)).

    sign: +1 or -1, the sign of gamma (0 for a constant pattern). mass: of the merged atom. residual: |h - fit| / |h|.
    """

    latent: int
    sign: int
    beta: float
    gamma: float
    mass: float
    residual: float


def merge_rays(problem: TwoLayerProblem, measure: Measure, angle: float = 1e-4) -> Measure:
    """Merge atoms that agree up to ``angle`` (relative distance), along whole rays if the activation is homogeneous.

    Mass moves along a ray with its kernel: m phi(h) phi(h)^T is unchanged when h is scaled by t and m by t^(-2k), k the
    degree. Rays are reported at unit peak response, max_p |phi(h_p)| = 1, so that masses compare.
    """
    measure = measure.support()
    atoms, masses = measure.atoms.copy(), measure.masses.copy()
    degree = problem.activation.degree
    if degree is not None and degree > 0 and measure.n_atoms:
        peak = np.abs(problem.features(atoms)).max(axis=1)
        alive = peak > 0
        atoms, masses, peak = atoms[alive], masses[alive], peak[alive]
        atoms = atoms / (peak ** (1.0 / degree))[:, None]
        masses = masses * peak**2
    order = np.argsort(-masses, kind="stable")
    gram = atoms @ atoms.T
    squares = np.diag(gram)
    # a first look by products, which rounding blurs by far less than 1e-12; distances are measured where it says "near"
    near = squares[:, None] + squares - 2.0 * gram <= (min(angle, 2.0) ** 2 + 1e-12) * (squares[:, None] + squares)
    groups: list[list[int]] = []
    for j in map(int, order):
        for members in groups:
            head = members[0]
            if near[j, head] and np.linalg.norm(atoms[j] - atoms[head]) <= angle * np.linalg.norm(atoms[head]):
                members.append(j)
                break
        else:
            groups.append([j])
    merged = np.array([masses[g] @ atoms[g] / masses[g].sum() for g in groups]).reshape(len(groups), atoms.shape[1])
    return Measure(merged, np.array([masses[g].sum() for g in groups]))


def fit(h: Array, targets: Array) -> tuple[int, float, float, float]:
    """(latent, beta, gamma, residual) of the best least-squares fit h ~ beta 1 + gamma v_i over the rows of Y."""
    norm, mean = float(np.linalg.norm(h)), float(h.mean())
    means = targets.mean(axis=1)
    sizes = np.einsum("ip,ip->i", targets, targets) - h.size * means**2
    products = targets @ h - h.size * mean * means
    gammas = np.divide(products, sizes, out=np.zeros_like(products), where=sizes > 1e-12 * h.size)
    explained = gammas * products
    best = (0, 0.0, 0.0, np.inf)
    # residuals are measured for the rows that explain most, up to rounding
    for i in map(int, np.flatnonzero(explained >= explained.max() - 1e-9 * norm**2)):
        gamma = float(gammas[i])
        beta = mean - gamma * float(means[i])
        residual = float(np.linalg.norm(h - beta - gamma * targets[i])) / norm if norm > 0 else 0.0
        if residual < best[3]:
            best = (i, beta, gamma, residual)
    return best


def patterns(problem: MeanFieldProblem, solution: Solution | Measure, *, angle: float = 1e-4) -> list[Pattern]:
    """The support of a solution as patterns beta 1 + gamma v_i, heaviest first.

    Real data need not follow the form: ``residual`` says how far each pattern is from it.
    """
    if not isinstance(problem, TwoLayerProblem):
        raise InputError(f"patterns are read off two-layer problems, not {type(problem).__name__}.")
    measure = solution.measure if isinstance(solution, Solution) else solution
    instance(measure, Measure, "solution", "a Solution or a Measure")
    if positive(angle, "angle") > 2:
        raise InputError(f"angle is a relative distance, at most 2, not {angle:g}.")
    if measure.atoms.shape[1] != problem.n_samples:
        raise InputError(
            f"the measure has {measure.atoms.shape[1]} samples a pattern, the problem {problem.n_samples}."
        )
    merged = merge_rays(problem, measure, angle)
    found = []
    for h, mass in zip(merged.atoms, merged.masses):
        latent, beta, gamma, residual = fit(h, problem.targets)
        flat = abs(gamma) <= 1e-12 * max(abs(beta), 1e-300)
        found.append(Pattern(latent, 0 if flat else int(np.sign(gamma)), beta, gamma, float(mass), residual))
    return sorted(found, key=lambda p: (-p.mass, p.latent, -p.sign))

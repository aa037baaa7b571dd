"""Truth tests of the bounds over neurons: boxes, and whole claims, against exactly evaluated neurons.

Neurons are looked for by sampling and ascent of this file's own, and evaluated in ball arithmetic.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import flint
import numpy as np
from truth_data import Array, Result, Rng, dot, exact_rows, nasty_rows
from truth_networks import BITS, ball, phi_of

from meanfield_opt.certificate import ENGINES, Limits, Question
from meanfield_opt.checker.bounds import tau_bounds
from meanfield_opt.checker.boxes import NeuronForm, box_bounds
from meanfield_opt.checker.frames import Cells
from meanfield_opt.errors import CertificateError, MeanFieldError
from meanfield_opt.geometry import FactorGeometry
from meanfield_opt.plugins import activation, loss
from meanfield_opt.problem import TwoLayerProblem

arb = flint.arb
BOUNDED = ["tanh", "erf", "softsign", "sigmoid", "sin", "hard_tanh", "hard_sigmoid", "relu6", "step", "sign"]
GROWING = ["gelu", "silu", "softplus", "shifted_relu"]
OTHER = ["relu", "leaky_relu", "absolute", "linear"]


def exact_excess(problem: TwoLayerProblem, dual: Array, v: list[Fraction]) -> Any:
    """|Z phi(A v)|^2 - 4 l1 l2 |v|^2 as a ball."""
    flint.ctx.prec = BITS
    assert isinstance(problem.geometry, FactorGeometry)
    phi = [phi_of(problem.activation.name, problem, dot(row, v)) for row in exact_rows(problem.geometry.factor)]
    total = arb(0)
    for row in exact_rows(dual):
        total += sum((ball(z) * f for z, f in zip(row, phi, strict=True)), arb(0)) ** 2
    return total - ball(4 * Fraction(problem.lambda1) * Fraction(problem.lambda2) * dot(v, v))


def exceeds(problem: TwoLayerProblem, dual: Array, theta: Array, bound: float) -> bool:
    """Whether the neuron's value is proved to be above the bound."""
    if not np.isfinite(theta).all():
        return False
    return bool(exact_excess(problem, dual, [Fraction(float(x)) for x in theta]) > arb(bound))


def random_problem(rng: Rng, names: list[str]) -> TwoLayerProblem:
    """Nasty rows; penalties of all sizes; now and then one of the rows such that patterns are of ordinary size."""
    p, r, d = int(rng.integers(1, 7)), int(rng.integers(1, 5)), int(rng.integers(1, 3))
    rows = nasty_rows(rng, p, r)
    if rng.random() < 0.2:
        rows = rows * 10.0 ** float(rng.integers(-150, 151))
    l1, l2 = (float(x) for x in 10.0 ** rng.choice([-40.0, -9.0, -2.0, -1.0, 0.0, 6.0, 40.0], 2))
    phi, y = activation(str(rng.choice(names))), np.sign(rng.standard_normal((d, p)))
    return TwoLayerProblem(phi, loss("squared"), FactorGeometry(rows), y, l1, l2, float(rng.integers(1, 9)))


def gradient(form: NeuronForm, theta: Array) -> tuple[Array, Array]:
    """G and its gradient at the rows of theta, in floating point."""
    h = theta @ form.rows.T
    response = form.phi(h) @ form.dual.T
    value = np.square(response).sum(axis=1) - form.tau * np.square(theta).sum(axis=1)
    return value, 2.0 * ((response @ form.dual * form.phi.derivative(h)) @ form.rows - form.tau * theta)


def within(form: NeuronForm, lo: Array, hi: Array, rng: Rng) -> Array:
    """Points (k, r) of one box: corners, the centre, random ones, and the best of a projected ascent."""
    r = lo.size
    share = np.vstack([rng.random((12, r)), rng.integers(0, 2, (12, r)), np.full((1, r), 0.5)])
    points = np.clip(lo + share * (hi - lo), lo, hi)
    best, top = points, gradient(form, points)[0]
    step = np.full((points.shape[0], 1), 0.5)
    for _ in range(12):
        slope = gradient(form, best)[1] * (hi - lo)
        size = np.abs(slope).max(axis=1, keepdims=True)
        trial = np.clip(best + step * (hi - lo) * np.where(size > 0, slope / size, 0.0), lo, hi)
        value = gradient(form, trial)[0]
        better = value > top
        best, top = np.where(better[:, None], trial, best), np.where(better, value, top)
        step = np.where(better[:, None], step, 0.5 * step)
    return np.vstack([best[np.argsort(-np.where(np.isfinite(top), top, -np.inf))[:2]], points[:1], points[-2:]])


def boxes(count: int, rng: Rng) -> Result:
    """Bounds on single boxes of all shapes: points, slivers, tiny, huge, around zero, far away, at a kink."""
    claims, false, made = 0, [], 0
    while made < count:
        form, problem = random_form(rng)
        n, r = 24, form.rows.shape[1]
        size = max(float(np.abs(form.rows).max()), 1e-150)
        mid = rng.standard_normal((n, r)) * 10.0 ** rng.uniform(-3, 3, (n, 1)) / (size if rng.random() < 0.8 else 1.0)
        mid[rng.random((n, r)) < 0.2] = 0.0
        rad = np.abs(rng.standard_normal((n, r))) * 10.0 ** rng.uniform(-17, 2, (n, 1))
        rad *= np.where(rng.random((n, 1)) < 0.7, np.abs(mid).max(axis=1, keepdims=True), 1.0 / size)
        rad[rng.random((n, r)) < 0.15] = 0.0
        with np.errstate(all="ignore"):
            lo, hi = mid - rad, mid + rad
            bound, value = box_bounds(form, Cells(lo, hi, np.full(n, -1)))
            for k in range(n):
                made += 1
                if not np.isfinite(bound[k]):
                    continue
                claims += 1
                points = within(form, lo[k], hi[k], rng)
                if value[k] > bound[k] or any(exceeds(problem, form.dual, x, float(bound[k])) for x in points):
                    false.append(f"box {lo[k]!r} {hi[k]!r}: bound {bound[k]!r} in {problem.describe()}")
    return made, claims, false


def cells(count: int, rng: Rng) -> Result:
    """Bounds on cells of long neurons rho omega, at exact products."""
    claims, false, made = 0, [], 0
    while made < count:
        form, problem = random_form(rng)
        n, r = 24, form.rows.shape[1]
        size = max(float(np.abs(form.rows).max()), 1e-150)
        face = rng.integers(0, 2 * r, n)
        mid, rad = rng.uniform(-1, 1, (n, r)), 10.0 ** rng.uniform(-17, 0, (n, r))
        mid[rng.random((n, r)) < 0.2] = 0.0
        rad[rng.random((n, r)) < 0.15] = 0.0
        lo, hi = np.clip(mid - rad, -1.0, 1.0), np.clip(mid + rad, -1.0, 1.0)
        k = np.arange(n)
        lo[k, face // 2] = 10.0 ** rng.uniform(-3, 4, n) / size
        hi[k, face // 2] = lo[k, face // 2] * (1.0 + 10.0 ** rng.uniform(-16, 3, n))
        with np.errstate(all="ignore"):
            bound, value = box_bounds(form, Cells(lo, hi, face))
            for j in range(n):
                made += 1
                if not (np.isfinite(bound[j]) and np.isfinite(hi[j]).all()):
                    continue
                claims += 1
                share = np.vstack([rng.random((30, r)), rng.integers(0, 2, (30, r)), np.full((1, r), 0.5)])
                points = np.clip(lo[j] + share * (hi[j] - lo[j]), lo[j], hi[j])
                i, sign = face[j] // 2, 1.0 - 2.0 * (face[j] % 2)
                length = points[:, i].copy()
                points[:, i] = sign
                found = gradient(form, length[:, None] * points)[0]
                best = np.argsort(-np.where(np.isfinite(found), found, -np.inf))[:3]
                exact = [[Fraction(float(length[m])) * Fraction(float(x)) for x in points[m]] for m in (*best, 60)]
                if value[j] > bound[j] or any(
                    bool(exact_excess(problem, form.dual, v) > arb(float(bound[j]))) for v in exact
                ):
                    false.append(f"cell {lo[j]!r} {hi[j]!r}: bound {bound[j]!r} in {problem.describe()}")
    return made, claims, false


def random_form(rng: Rng) -> tuple[NeuronForm, TwoLayerProblem]:
    """A nasty problem and dual point."""
    problem = random_problem(rng, BOUNDED + GROWING + OTHER)
    assert isinstance(problem.geometry, FactorGeometry)
    dual = nasty_rows(rng, problem.n_outputs, problem.n_samples)
    return NeuronForm(problem.activation, problem.geometry.factor, dual, tau_bounds(problem)[0], 1.0), problem


def neurons(count: int, rng: Rng) -> Result:
    """Whole claims of the engine, radius and tail included: kappa against the best neuron that can be found."""
    claims, false, made = 0, [], 0
    engine = ENGINES.get("neurons")
    while made < count:
        problem = random_problem(rng, BOUNDED + GROWING)
        assert isinstance(problem.geometry, FactorGeometry)
        dual = nasty_rows(rng, problem.n_outputs, problem.n_samples)
        if problem.activation.name in GROWING or rng.random() < 0.5:  # such that tau and Z are of one order
            with np.errstate(all="ignore"):
                reach = np.abs(dual).sum() * max(np.linalg.norm(problem.geometry.factor), 1e-150)
                dual = dual * np.sqrt(problem.tau) / reach * 10.0 ** rng.uniform(-1, 1)
        made += 1
        if not np.isfinite(dual).all():
            continue
        try:
            with np.errstate(all="ignore"):
                if engine.refusal(Question(problem, dual)) is not None:
                    continue
                proof = engine.prove(Question(problem, dual), Limits(seconds=2.0, target=1e-2, workers=1)).proof
        except (ArithmeticError, np.linalg.LinAlgError, MeanFieldError):
            continue
        if proof is None:
            continue
        claims += 1
        try:
            replayed = _replayed(problem, dual, proof)
        except CertificateError as error:
            false.append(f"the checker refuses {proof.bound!r}: {error} in {problem.describe()}")
            continue
        form = NeuronForm(problem.activation, problem.geometry.factor, dual, tau_bounds(problem)[0], 1.0)
        top = float(Fraction(min(proof.bound, replayed)) * 4 * Fraction(problem.lambda2) * Fraction(1.0 + 2.0**-50))
        with np.errstate(all="ignore"):
            if any(exceeds(problem, dual, x, top) for x in best_neurons(form, rng)):
                false.append(f"excess {proof.bound!r} in {problem.describe()}")
    return made, claims, false


def _replayed(problem: TwoLayerProblem, dual: Array, proof: Any) -> float:
    from meanfield_opt.checker.replays import REPLAYS

    return REPLAYS[proof.kind](problem, dual, proof.bound, proof.artefact)


def best_neurons(form: NeuronForm, rng: Rng, samples: int = 4000) -> Array:
    """The best of many random neurons at many lengths, and what ascent makes of them."""
    r = form.rows.shape[1]
    size = max(float(np.linalg.norm(form.rows, axis=1).max()), 1e-300)
    theta = rng.standard_normal((samples, r)) * 10.0 ** rng.uniform(-3, 3, (samples, 1)) / size
    value = gradient(form, theta)[0]
    order = np.argsort(-np.where(np.isfinite(value), value, -np.inf))[:16]
    theta, value = theta[order], value[order]
    step = np.full((order.size, 1), 0.3)
    for _ in range(60):
        slope = gradient(form, theta)[1]
        long = np.linalg.norm(slope, axis=1, keepdims=True)
        trial = theta + step * np.linalg.norm(theta, axis=1, keepdims=True) * np.where(long > 0, slope / long, 0.0)
        trial_value = gradient(form, trial)[0]
        better = trial_value > value
        theta, value = np.where(better[:, None], trial, theta), np.where(better, trial_value, value)
        step = np.where(better[:, None], 1.3 * step, 0.4 * step)
    return np.asarray(theta[np.argsort(-np.where(np.isfinite(value), value, -np.inf))[:3]])

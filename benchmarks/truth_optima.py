"""Truth tests of whole claims: proved lower bounds on the optimum against networks found independently.

A small problem of ordinary size is made (any activation, any loss with weights and output bias, free mass or a width,
degenerate rows), and a good measure is found on many random atoms by a convex solver that knows nothing of the engines.
Its energy, with the output weights and the bias that were found, is evaluated in ball arithmetic from the formulas of
the theory, by code of its own. Then all is rescaled exactly, by powers of two up to 2^500 (1e150): the energy is known to
change by a power of two as well, whatever the sizes are. No bound that any engine and the checker give, at the dual
point of that measure or near it, may exceed the energy.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache

import flint
import numpy as np
from truth_data import Array, Result, Rng, nasty_rows
from truth_engines import answers
from truth_networks import Network, energy_ball, good_network

import meanfield_opt as mfo
from meanfield_opt.certificate import Question
from meanfield_opt.checker.bounds import best_rigorous_scale, lower_from_proof
from meanfield_opt.checker.replays import PROVES, REPLAYS
from meanfield_opt.errors import CertificateError
from meanfield_opt.geometry import DenseGeometry, DiagonalPlusLowRank, FactorGeometry, Geometry
from meanfield_opt.problem import TwoLayerProblem

arb = flint.arb


# problems -------------------------------------------------------------------------------------------------------------
@cache
def activations() -> dict[str, mfo.Activation]:
    """Built-in activations and users' own, by a name of this file's."""
    named = ("relu", "leaky_relu", "absolute", "linear", "hard_tanh", "hard_sigmoid", "relu6", "shifted_relu", "tanh", "erf", "softsign", "sigmoid", "step")  # fmt: skip
    out = {name: mfo.activation(name) for name in named}
    out["sign"] = mfo.activation("sign", threshold=0.5)
    out["own pieces"] = mfo.activation_from(pieces=[(None, -1, 0, "-2/3"), (-1, 2, "2/3", 0), (2, None, "1/3", "2/3")])
    out["own two slopes"] = mfo.activation_from(pieces=[(None, 0, "-3/4", 0), (0, None, "5/2", 0)])
    out["own formula"] = mfo.activation_from(expression="tanh(2*t)/2", odd=True)
    return out


def some_loss(rng: Rng, p: int, d: int) -> mfo.Loss:
    """Any loss, sometimes weighted, sometimes with an output bias."""
    names = ["squared", "squared", "logistic", "hinge", "squared_hinge", "huber"] + (["softmax"] if d > 1 else [])
    ell = mfo.loss(str(rng.choice(names)))
    if rng.random() < 0.3:
        ell = mfo.loss("weighted", base=ell, sample_weights=tuple(float(w) for w in 10.0 ** rng.uniform(-2, 2, p)))
    if rng.random() < 0.3:
        free = rng.random() < 0.5 and "softmax" not in str(ell.parameters) + ell.name
        ell = mfo.loss("output_bias", base=ell, penalty=0.0 if free else float(10.0 ** rng.uniform(-2, 1)))
    return ell


def some_problem(rng: Rng) -> tuple[str, TwoLayerProblem]:
    """A problem of ordinary size with degenerate rows."""
    p, d = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    name = str(rng.choice(["relu"] * 4 + list(activations())))
    geometry: Geometry
    kind = int(rng.integers(4))
    if kind <= 1:
        rows = nasty_rows(rng, p, int(rng.integers(1, 4)))
        size = np.abs(rows).max()
        geometry = FactorGeometry(rows / size if 0 < size < 1e-3 or size > 1e3 else rows)
    elif kind == 2:
        k = int(rng.integers(1, 3))
        columns = np.ones((p, 1)) if k == 1 else rng.standard_normal((p, k))
        diagonal = 10.0 ** rng.uniform(-2, 2, p) if rng.random() < 0.5 else np.ones(p)
        geometry = DiagonalPlusLowRank(diagonal, columns, 10.0 ** rng.uniform(-1, 1, k))
    else:
        g = rng.standard_normal((p, p + 1))
        geometry = DenseGeometry(np.tril(g @ g.T) + np.tril(g @ g.T, -1).T)
    ell = some_loss(rng, p, d)
    y = np.sign(rng.standard_normal((d, p)))
    if "softmax" in str(ell.parameters) + ell.name:
        y = np.eye(d)[:, rng.integers(0, d, p)]
    l1, l2 = (float(x) for x in 10.0 ** rng.uniform(-2.5, -0.3, 2))
    unbounded = name not in ("relu", "leaky_relu", "absolute", "linear", "own two slopes")
    width = float(rng.integers(1, 9)) if unbounded or rng.random() < 0.2 else None
    if name in ("step", "sign") and rng.random() < 0.4:
        width = None
    return name, TwoLayerProblem(activations()[name], ell, geometry, y, l1, l2, width)


# exact rescalings -----------------------------------------------------------------------------------------------------
def rescaled(problem: TwoLayerProblem, rng: Rng) -> tuple[TwoLayerProblem, int] | None:
    """The same problem in other units, all powers of two: (problem, exponent of the energy); None if a number overflows.

    Inputs times 2^a with lambda1 times 4^a; masses times 4^m with lambda1 / 4^m, lambda2 * 4^m and the width times 4^m;
    and for the squared loss targets times 2^y with lambda1 times 4^y, which multiplies the energy by 4^y.
    """
    if problem.activation.degree != 1.0 and rng.random() < 0.5:
        return problem, 0
    a, m, y = (int(k) for k in rng.integers(-60, 61, 3))
    if rng.random() < 0.5:  # one of them far out: 2^500 is 3e150
        a, m, y = (int(k) for k in rng.integers(-500, 501) * np.eye(3, dtype=int)[rng.integers(3)])
    y = y if problem.loss.name == "squared" else 0
    g = problem.geometry
    with np.errstate(all="ignore"):
        if isinstance(g, FactorGeometry):
            stretched = FactorGeometry(np.ldexp(g.factor, a))
            if not np.array_equal(np.ldexp(stretched.factor, -a), g.factor):
                return None
            geometry: Geometry = stretched
        elif isinstance(g, DiagonalPlusLowRank):
            geometry = DiagonalPlusLowRank(np.ldexp(g.diagonal, 2 * a), np.ldexp(g.columns, a), g.weight)
        else:
            assert isinstance(g, DenseGeometry)
            geometry = DenseGeometry(np.ldexp(g.kernel, 2 * a))
        # theta shrinks as the inputs grow: the patterns themselves stay, at a cost smaller by 4^a
        l1, l2 = np.ldexp(problem.lambda1, 2 * a - 2 * m + 2 * y), np.ldexp(problem.lambda2, 2 * m)
        width = None if problem.width is None else float(np.ldexp(problem.width, 2 * m))
        targets = np.ldexp(problem.targets, y)
    ordinary = all(1e-290 < x < 1e290 for x in (l1, l2, width or 1.0))
    if not ordinary:
        return None
    return replace(
        problem, geometry=geometry, targets=targets, lambda1=float(l1), lambda2=float(l2), width=width
    ), 2 * y


# the test -------------------------------------------------------------------------------------------------------------
def dual_points(
    problem: TwoLayerProblem, network: Network, base: TwoLayerProblem, exponent: int, rng: Rng
) -> list[Array]:
    """The dual point of the network's outputs, in the units of the problem, and others near it."""
    g = base.geometry
    atoms = g.preactivation(network.coordinates) if isinstance(g, FactorGeometry) else g.apply(network.coordinates)
    outputs = network.v @ base.features(atoms)
    z = -base.loss.gradient(outputs, base.targets)
    made = [z, z * float(rng.uniform(0.5, 1.5)), z + rng.standard_normal(z.shape) * 10.0 ** float(rng.integers(-8, 1))]
    return [
        problem.loss.project_dual(np.ldexp(base.loss.project_dual(x, base.targets), exponent // 2), problem.targets)
        for x in made[: int(rng.integers(1, 4))]
    ]


def optima(count: int, rng: Rng) -> Result:
    """Lower bounds of every engine, as the checker recomputes them, against the energy of a network."""
    claims, false, made = 0, [], 0
    warnings.simplefilter("ignore")
    while made < count:
        phi, base = some_problem(rng)
        network = good_network(base, rng)
        if network is None:
            continue
        energy = energy_ball(phi, base, network)
        settled = rescaled(base, rng) if rng.random() < 0.6 else (base, 0)
        if settled is None:
            continue
        problem, exponent = settled
        energy = energy * arb(2) ** exponent
        assert energy.is_finite(), "a NaN would compare false with every claim"
        for z in dual_points(problem, network, base, exponent, rng):
            question = Question(problem, z)
            slow = dict.fromkeys(("copositive", "orbital", "shor", "lift"), 0.8)
            for name, proof, at in answers(question, rng, seconds=0.15, target=1e-3, skipped=slow):
                made += 1
                if proof is None:
                    continue
                assert question.mode in PROVES[proof.kind]
                try:
                    with np.errstate(all="ignore"):
                        bound = REPLAYS[proof.kind](problem, at, proof.bound, proof.artefact)
                        scale = best_rigorous_scale(problem, at, bound)
                        lower = lower_from_proof(problem, at, scale, bound)
                except CertificateError as error:  # what an engine claims, the checker must accept
                    claims += 1
                    false.append(f"{name}: {proof.bound!r} is refused ({error}) in {problem.describe()}")
                    continue
                if not bound <= proof.bound:
                    false.append(f"{name}: claims {proof.bound!r}, proves {bound!r} in {problem.describe()}")
                if np.isfinite(lower):
                    claims += 1
                    if arb(lower) > energy:
                        false.append(f"{name}: {lower!r} > {float(energy.mid())!r} in {problem.describe()}")
    return made, claims, false

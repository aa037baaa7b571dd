"""Genuine certificates of every kind, for the attack to tamper with: each proof, loss and sort of problem there is.

``two_layer`` lists what is certified; ``targets`` writes the files. A law (tests/unit/test_certificate_attacks.py) holds
the list against the registries, so that a new replay, loss or checker without a case here fails the tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from attack_proofs import OTHER_FORMS, with_proof

import meanfield_opt as mfo
from meanfield_opt.checker.bounds import energy_upper
from meanfield_opt.checker.copositive import replay
from meanfield_opt.checker.copositive_file import FORMAT, VERSION, encode, matrix_digest
from meanfield_opt.checker.document import digest
from meanfield_opt.copositive.catalogue import horn, petersen, rescaled, stable_set_form
from meanfield_opt.geometry import DenseGeometry, DiagonalPlusLowRank, FactorGeometry, FreeBiasGeometry, Geometry
from meanfield_opt.measure import Measure
from meanfield_opt.plugins import activation, loss
from meanfield_opt.problem import MeanFieldProblem, TwoLayerProblem

Array = Any


@dataclass(frozen=True)
class Target:
    """A genuine certificate file. kinds: the proof kinds in it. check(path, knowing): the claims accepted, as
    (identity, lower, upper, verdict), with the problem given or left to the file."""

    name: str
    path: Path
    body: dict[str, Any]
    kinds: tuple[str, ...]
    check: Callable[[Path, bool], tuple[str, Any, Any, str]]
    problem: MeanFieldProblem | None = None

    @property
    def claims(self) -> tuple[str, Any, Any, str]:
        """What the genuine file claims."""
        return self.check(self.path, True)


@dataclass(frozen=True)
class Entry:
    """One two-layer problem to certify, with which engine; refute: as in ``certify``; solved: for a solution of it."""

    name: str
    problem: TwoLayerProblem
    engine: str = "auto"
    refute: float = np.inf
    solved: bool = False


def _low_rank(p: int) -> DiagonalPlusLowRank:
    return DiagonalPlusLowRank(np.ones(p), np.ones((p, 1)), np.ones(1))


def _dense(rng: np.random.Generator, p: int) -> DenseGeometry:
    g = rng.standard_normal((p, p + 1))
    return DenseGeometry(np.tril(g @ g.T) + np.tril(g @ g.T, -1).T)


def two_layer() -> list[Entry]:
    """Every engine, loss and sort of activation once, as small as they come."""
    rng = np.random.default_rng(0)
    line = FactorGeometry(np.column_stack([rng.standard_normal(7), np.ones(7)]))
    plane = FactorGeometry(rng.standard_normal((6, 3)))
    y = np.sign(rng.standard_normal((2, 8)))
    cube = partial(mfo.problems.hypercube, latents=2)
    hot = np.eye(3)[:, rng.integers(0, 3, 7)]
    kinds = np.sign(np.random.default_rng(4).standard_normal((3, 24)))  # of eight kinds: PSD + N is too weak
    weights = tuple(float(w) for w in rng.uniform(0.5, 2.0, 7))

    def problem(
        geometry: Geometry,
        phi: Any = "relu",
        ell: Any = "squared",
        targets: Any = y,
        width: float | None = None,
        l: float = 0.1,
    ) -> TwoLayerProblem:
        return TwoLayerProblem(activation(phi), loss(ell), geometry, targets[:, : geometry.n_samples], l, l, width)

    bent = mfo.activation_from(pieces=[(None, 0, "-1/4", 0), (0, None, 2, 0)])
    clipped = mfo.activation_from(pieces=[(None, -1, 0, "-1/2"), (-1, 1, "1/2", 0), (1, None, 0, "1/2")])
    bump = mfo.activation_from(expression="tanh(t)/2", odd=True)
    entries = [
        Entry("symmetric", cube(lambda1=0.01, lambda2=0.01), "symmetric"),
        Entry("symmetric, logistic", cube(lambda1=0.01, lambda2=0.01, loss="logistic"), "symmetric"),
        Entry("lift", cube(geometry="aligned", alignment=2.0, lambda1=0.01, lambda2=0.01), "copositive"),
        Entry("lift, dense", problem(_dense(rng, 4)), "copositive"),
        Entry("lift, reduced", problem(_low_rank(5)), "copositive"),
        Entry("lift, low rank", problem(plane), "lift"),
        Entry("orbital", cube(geometry="aligned", alignment=0.5, lambda1=0.01, lambda2=0.01), "orbital"),
        Entry("input view", problem(line), "input_view"),
        Entry("input view, own pieces", problem(line, bent), "input_view"),
        Entry("output view", problem(_low_rank(8)), "output_view"),
        Entry("output view, leaky", problem(_low_rank(6), activation("leaky_relu", slope=0.25)), "output_view"),
        Entry("exchange", problem(_low_rank(8)), "exchange"),
        Entry("exchange, exact", problem(_low_rank(24), targets=kinds), "exchange"),
        Entry("shor", problem(plane), "shor"),
        Entry("norm", problem(plane), "norm"),
        Entry("norm, tanh", problem(plane, "tanh"), "norm"),
        Entry("envelope", cube(activation="hard_sigmoid", width=4, lambda1=0.05, lambda2=0.05), "envelope"),
        Entry("envelope, split", cube(activation="hard_sigmoid", width=16, lambda1=0.05, lambda2=0.05), "envelope"),
        Entry("envelope, tangents", problem(_dense(rng, 2), "tanh", targets=y[:1], width=3.0), "envelope"),
        Entry("envelope, own formula", problem(_low_rank(4), bump, targets=y[:1], width=2.0), "envelope"),
        Entry("envelope, own pieces", problem(_low_rank(4), clipped, "logistic", y[:1], 2.0), "envelope"),
        Entry("levels", problem(_low_rank(4), "step", targets=y[:1]), "levels"),
        Entry("levels under a width", problem(_low_rank(3), "sign", targets=y, width=2.0), "levels"),
        Entry("pairs", cube(activation="tanh", width=4, lambda1=0.05, lambda2=0.05), "pairs"),
        Entry("pairs, free mass", cube(activation="sigmoid", lambda1=0.05, lambda2=0.05), "pairs"),
        Entry("pairs, grows", cube(activation="gelu", width=4, lambda1=0.05, lambda2=0.05), "pairs"),
        Entry("envelope, grows", problem(_low_rank(4), "gelu", targets=y[:1], width=2.0), "envelope"),
        Entry("neurons", problem(line, "tanh", targets=y[:1], width=3.0), "neurons"),
        Entry("neurons, grows", problem(line, "gelu", targets=y[:1], width=2.0), "neurons"),
        Entry("free mass under a width", problem(_low_rank(4), "relu6", targets=y[:1], width=1e4)),
        Entry("two scales", problem(_low_rank(4), "relu6", targets=y[:1]), "two_scales"),
        Entry("without the width", cube(activation="relu6", geometry="aligned", alignment=2.0, lambda1=0.05, lambda2=0.05, width=8)),
        Entry("open", problem(line, "softplus")),
        Entry("refuted", problem(line, l=0.02), "input_view", 1e-4),
        Entry("cells", problem(_dense(np.random.default_rng(1), 3)), "cells"),
        Entry("softmax", problem(line, ell="softmax", targets=hot), "norm"),
        Entry("weighted", problem(line, ell=loss("weighted", base="squared", sample_weights=weights)), "input_view"),
        Entry("output bias", problem(line, ell=loss("output_bias", base="squared")), "input_view"),
        Entry("output bias, penalised", problem(line, ell=loss("output_bias", base="hinge", penalty=0.3)), "norm"),
        Entry("quantile", problem(line, ell=mfo.loss_from(above=0.1, below=0.9)), "input_view"),
    ]  # fmt: skip
    x = rng.standard_normal((6, 1))
    centred = mfo.problems.dataset(x, y[:1, :6].T, lambda1=0.1, lambda2=0.1, bias_penalty=0.0, output_bias=0.0)
    turn = 2.0 * np.pi * np.arange(6) / 6
    circle = mfo.problems.dataset(
        np.column_stack([np.cos(turn), np.sin(turn)]), np.cos(3.0 * turn).round(), lambda1=0.1, lambda2=0.1
    )
    entries += [
        Entry("free bias", centred, "input_view"),
        Entry("input view, chamber", circle, "input_view", solved=True),
    ]
    entries += [
        Entry(name, problem(line, ell=name), "input_view") for name in ("logistic", "hinge", "squared_hinge", "huber")
    ]
    return entries


def best_known(problem: TwoLayerProblem) -> float:
    """A rigorous upper bound on the optimum, by column generation; infinite where that does not apply."""
    free = replace(problem, width=None, recipe_=None, known_=None)
    shifted = problem.activation.name == "shifted_relu"  # like relu for long neurons
    free = replace(free, activation=activation("relu")) if shifted else free
    scalable = free.activation.degree == 1.0  # then a width hardly binds: neurons may be long instead of heavy
    try:
        solution = mfo.solve(free if scalable else problem, backend="column_generation", tolerance=1e-4, time_limit=3.0)
        measure, energy = energy_upper(free if scalable else problem, solution.measure)
        if problem.width is None or not scalable:
            return energy
        s = max(1e8 if shifted else 1.0, 2.0 * measure.total_mass / problem.width) ** 0.5
        neurons = None if measure.neurons is None else measure.neurons * s
        readout = None if measure.readout is None else measure.readout * s
        return energy_upper(problem, Measure(measure.atoms * s, measure.masses / s**2, neurons, readout))[1]
    except mfo.MeanFieldError:
        return np.inf


def _check_problem(problem: MeanFieldProblem) -> Callable[[Path, bool], tuple[str, Any, Any, str]]:
    def check(path: Path, knowing: bool) -> tuple[str, Any, Any, str]:
        got = mfo.verify(path, problem if knowing else None)
        return got.fingerprint, got.lower_bound, got.upper_bound, got.verdict

    return check


def certified(entry: Entry, folder: Path, number: int) -> Target:
    """Certify a candidate (the closed form, a solution under a width, or a few random neurons) and save it."""
    problem = entry.problem
    rng = np.random.default_rng(number)
    candidate: Any
    if problem.known is not None:
        candidate = mfo.solve(problem, backend="closed_form")
    elif problem.width is not None or entry.solved:
        candidate = mfo.solve(problem, backend="column_generation", tolerance=1e-2)
    elif not np.isfinite(problem.loss.curvature()):
        candidate = Measure.zero(problem.n_samples)
    else:
        theta = rng.standard_normal((3, problem.geometry.n_parameters))
        candidate = Measure(problem.geometry.preactivation(theta), np.full(3, 0.2), theta)
    certificate = mfo.certify(
        problem, candidate, engine=entry.engine, refute=entry.refute, time_limit=2.0, target=2e-2, workers=1
    )
    path = folder / f"{number}.json"
    if entry.name in OTHER_FORMS:
        certificate = with_proof(certificate, OTHER_FORMS[entry.name](certificate))
    certificate.save(path)
    body = json.loads(path.read_text())
    kinds = () if body["proof"] is None else (str(body["proof"]["kind"]),)
    return Target(entry.name, path, body, kinds, _check_problem(problem), problem)


def other_problems(folder: Path) -> list[Target]:
    """Standard quadratic programs and optimal designs."""
    made = []
    for name, problem in (
        ("quadratic", mfo.problems.stability_program("C5")),
        ("quadratic, by data", mfo.problems.standard_quadratic_program([[2, -1, 3], [-1, 2, "-1/3"], [3, "-1/3", 1]])),
        ("design, D", mfo.problems.optimal_design(degree=2, criterion="D")),
        ("design, A", mfo.problems.optimal_design(degree=2, criterion="A")),
    ):
        backend = "copositive" if name.startswith("quadratic") else "design"
        path = folder / f"{name}.json"
        mfo.certify(problem, mfo.solve(problem, backend=backend)).save(path)
        made.append(Target(name, path, json.loads(path.read_text()), (), _check_problem(problem), problem))
    return made


def horn_proof(level: int | None = None) -> dict[str, Any]:
    """A proof that Horn's form is copositive."""
    answer = mfo.copositive.check(horn(), level=level)
    assert isinstance(answer, mfo.copositive.Copositive)
    return answer.proof.artefact


def copositivity_proofs() -> list[tuple[str, list[list[Any]], dict[str, Any]]]:
    """(name, integer matrix, claims) with a proof of each kind."""
    tree = horn_proof()
    doubled = [[horn()[i // 2][j // 2] for j in range(10)] for i in range(10)]
    tall = [[16 * int(v) + (3 if i == j else 0) for j, v in enumerate(row)] for i, row in enumerate(horn())]
    z = [[int(v) for v in row] for row in stable_set_form(petersen(), 4)]
    mixed = [[2, -1, 5], [-1, 1, 0], [5, 0, 3]]
    summed = [[*row, 0, 0] for row in horn()] + [[0] * 5 + [1, -1], [0] * 5 + [-1, 1]]
    scaled_horn = [[int(v) for v in row] for row in rescaled(horn(), [1, 2, 3, 4, 5])]
    psd = {"kind": "psd"}
    found = [
        ("nonnegative", [[1, 2], [2, 0]], {"kind": "nonnegative"}),
        ("psd", [[2, -1], [-1, 2]], psd),
        ("spn", mixed, {"kind": "spn", "multiplier": 1, "nonnegative": {"0,2": 5}}),
        ("split", summed, {"kind": "split", "blocks": [[[0, 1, 2, 3, 4], tree], [[5, 6], psd]]}),
        ("scale", scaled_horn, {"kind": "scale", "d": [60, 30, 20, 15, 12], "proof": tree}),
        ("aggregate", doubled, {"kind": "aggregate", "groups": [[2 * i, 2 * i + 1] for i in range(5)], "proof": tree}),
        ("round", tall, {"kind": "round", "h": [2] * 5, "proof": tree}),
        ("stable", z, {"kind": "stable"}),
        ("tree", [list(map(int, row)) for row in horn()], tree),
        ("parrilo", [list(map(int, row)) for row in horn()], horn_proof(level=1)),
    ]  # fmt: skip
    # each claims all that its proof shows
    claims = [(name, m, encode(p), replay(m, json.loads(json.dumps(encode(p)))) or None) for name, m, p in found]
    out = [(name, m, {"answer": "copositive", "strict": s, "zero": None, "proof": p}) for name, m, p, s in claims]
    return [*out, ("witness", [[1, -2], [-2, 1]], {"answer": "not copositive", "witness": [1, [2, 2]]})]


def copositivity_files(folder: Path) -> list[Target]:
    """A copositivity certificate of every kind."""
    made = []
    for name, matrix, claims in copositivity_proofs():
        body = {
            "format": FORMAT,
            "version": VERSION,
            "entries": matrix,
            "denominator": 1,
            "matrix": matrix_digest(matrix, 1),
        }
        body = json.loads(json.dumps({**body, **claims}))
        path = folder / f"copositivity {name}.json"
        path.write_text(json.dumps({**body, "digest": digest(body)}))

        def check(file: Path, knowing: bool, matrix: Any = matrix) -> tuple[str, Any, Any, str]:
            got = mfo.copositive.verify(file, matrix if knowing else None)
            order = {True: 2.0, None: 1.0, False: 0.0}[got.strict]  # the less, the weaker; False is a claim of its own
            return f"order {got.order}", order, 0.0, got.answer if got.strict is not False else "boundary"

        made.append(Target(f"copositivity {name}", path, json.loads(path.read_text()), (name,), check))
    return made


def twins(problem: TwoLayerProblem) -> list[TwoLayerProblem]:
    """Other problems with the same data, for which a transplanted proof must prove nothing false."""
    p = problem
    made = [replace(p, lambda1=4.0 * p.lambda1), replace(p, width=1e-6 if p.width is None else None)]
    if p.activation.name == "relu":
        made.append(replace(p, activation=activation("absolute")))
    if p.activation.name == "relu" and not isinstance(p.geometry, FreeBiasGeometry):  # no other neurons there
        made.append(replace(p, activation=activation("shifted_relu", shift=1e-3), width=1e-6))
    return [replace(twin, recipe_=None, known_=None, label="twin") for twin in made]


def targets(folder: Path, names: set[str] | None = None) -> list[Target]:
    """The files of all cases, or of some."""
    chosen = [certified(e, folder, k) for k, e in enumerate(two_layer()) if names is None or e.name in names]
    others = [*other_problems(folder), *copositivity_files(folder)]
    return chosen + [t for t in others if names is None or t.name in names]

"""Free mass at two scales: gelu and silu without a width, clipped activations with mass to spare; attacked."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.certificate.engine import Limits, Question
from meanfield_opt.certificate.two_scales_engine import ENGINE
from meanfield_opt.checker.codec import encode_float
from meanfield_opt.checker.document import digest
from meanfield_opt.checker.replays import supremum
from meanfield_opt.checker.two_scales import deviation, diagonal_upper, replay_two_scales, two_scales_sigma
from meanfield_opt.plugins import activation


def cube(name: str, alignment: float = 2.0, width: float | None = None) -> Any:
    return mfo.problems.hypercube(
        2,
        geometry="aligned" if alignment else "whitened",
        alignment=alignment,
        activation=name,
        lambda1=0.05,
        lambda2=0.05,
        width=width,
    )


def test_gelu_with_free_mass_is_solved_and_proved(tmp_path: Path) -> None:
    problem = cube("gelu")
    certificate = mfo.certify(problem, mfo.solve(problem), target=1e-6, time_limit=30)
    assert certificate.supremum is not None
    assert certificate.supremum.kind == "two_scales"
    assert certificate.relative_gap < 1e-4
    certificate.save(tmp_path / "c.json")
    assert mfo.verify(tmp_path / "c.json").lower_bound == certificate.lower_bound


def test_mass_to_spare_is_proved_without_the_width(tmp_path: Path) -> None:
    problem = cube("relu6", width=8.0)
    certificate = mfo.certify(problem, mfo.solve(problem, tolerance=1e-10), target=1e-6, time_limit=20)
    assert certificate.supremum is not None
    assert certificate.supremum.kind == "free_mass"
    assert certificate.relative_gap < 1e-9
    path = tmp_path / "c.json"
    certificate.save(path)
    assert mfo.verify(path).lower_bound == certificate.lower_bound
    genuine = json.loads(path.read_text())
    inner = genuine["proof"]["artefact"]["proof"]
    forgeries = [
        inner,  # a proof for free mass does not bound an excess
        {**genuine["proof"], "bound": encode_float(0.9)},  # the proof gives 1 - 5e-12
        {**genuine["proof"], "artefact": {"proof": genuine["proof"]}},
    ]
    for proof in forgeries:
        body = {**{key: value for key, value in genuine.items() if key != "digest"}, "proof": proof}
        path.write_text(json.dumps({**body, "digest": digest(body)}))
        with pytest.raises(mfo.CertificateError):
            mfo.verify(path)


@pytest.mark.parametrize("name", ["gelu", "silu", "relu6", "hard_tanh"])
def test_the_ratio_holds_for_all_patterns_and_forgeries_fail(name: str) -> None:
    problem = cube(name)
    rng = np.random.default_rng(3)
    dual = (0.02 if name != "hard_tanh" else 0.012) * problem.targets
    outcome = ENGINE.prove(Question(problem, dual), Limits(6.0, 1e-4))
    assert outcome.proof is not None
    bound, artefact = outcome.proof.bound, outcome.proof.artefact
    assert replay_two_scales(problem, dual, bound, artefact) <= bound
    h = rng.standard_normal((4000, 4)) * 10.0 ** rng.uniform(-4, 3, (4000, 1))
    beta, gamma = rng.standard_normal((2, 2000, 1)) * 10.0 ** rng.uniform(-4, 2, (2000, 1))
    h[::2] = beta + gamma * problem.targets[rng.integers(2, size=2000)]
    assert problem.ratio(dual, h).max() <= bound
    larger = copy.deepcopy(artefact)
    larger["excess"]["bound"] = encode_float(-1.0)
    for forged in (larger, {**artefact, "base": "absolute"}, {**artefact, "small": artefact["excess"]}):
        with pytest.raises((mfo.CertificateError, TypeError)):
            replay_two_scales(problem, dual, bound, forged)
    narrow = {**artefact, "least": encode_float(float.fromhex(artefact["least"]) * 1e6)}
    assert replay_two_scales(problem, dual, bound, narrow) > 1.0
    with pytest.raises(mfo.CertificateError):  # it is no proof of an excess
        supremum(
            cube(name, width=1.0), dual, {"kind": "two_scales", "words": "", "bound": "0x1p0", "artefact": artefact}
        )


def test_deviation_bounds_difference_quotients() -> None:
    t = np.concatenate([-np.geomspace(1e-12, 1.0, 4000), np.geomspace(1e-12, 1.0, 4000)])
    for name, base, slope in (
        ("gelu", "linear", 0.5),
        ("silu", "linear", 0.5),
        ("tanh", "linear", 1.0),
        ("relu6", "relu", 1.0),
    ):
        phi = activation(name)
        for reach in (1e-3, 0.1, 1.0):
            near = t[np.abs(t) <= reach]
            psi = slope * (np.maximum(near, 0.0) if base == "relu" else near)
            w = deviation(phi, base, slope, reach)
            assert np.max(np.abs(phi(near) - psi) / np.abs(near)) <= w + 1e-9
    assert deviation(activation("relu6"), "relu", 1.0, 6.0) < 1e-12
    assert deviation(activation("relu6"), "relu", 1.0, 6.1) >= 1.0
    assert deviation(activation("sigmoid"), "linear", 0.25, 0.1) == math.inf  # phi(0) is not 0
    assert deviation(activation("sign"), "relu", 1.0, 0.1) == math.inf


def test_nothing_follows_from_nonsense() -> None:
    problem = cube("gelu")
    dual = 0.01 * problem.targets
    assert math.isfinite(two_scales_sigma(problem, dual, "linear", 0.5, 0.01, 1e-9, 0.5))
    for changed in (
        {"least": 0.0},
        {"least": math.nan},
        {"kappa": -1.0},
        {"kappa": math.nan},
        {"sigma": math.nan},
        {"slope": math.inf},
    ):
        values = {"slope": 0.5, "least": 0.01, "kappa": 1e-9, "sigma": 0.5, **changed}
        assert two_scales_sigma(problem, dual, "linear", **values) == math.inf
    kernel = problem.geometry.apply(np.eye(4))
    assert np.diag(kernel).max() <= diagonal_upper(problem.geometry) <= np.diag(kernel).max() * (1 + 1e-12)


def test_refusals_say_why() -> None:
    for name, width, words in (("relu", None, "homogeneous"), ("sigmoid", None, "unbounded"), ("gelu", 2.0, "width")):
        problem = cube(name, width=width)
        assert words in str(ENGINE.refusal(Question(problem, problem.targets)))

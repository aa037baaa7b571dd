"""Certificates and formulas written to be executed, to cost without end, or to read differently than they are sealed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.activations.affine import PiecewiseAffine
from meanfield_opt.checker.cone_tree import encode_tree
from meanfield_opt.checker.copositive import replay
from meanfield_opt.checker.document import encode_float
from meanfield_opt.checker.replays import REPLAYS
from meanfield_opt.checker.scalar import suprema
from meanfield_opt.errors import CertificateError, InputError
from meanfield_opt.geometry import FactorGeometry
from meanfield_opt.plugins import activation, loss
from meanfield_opt.problem import TwoLayerProblem

Array = Any


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').getcwd() + t",
        "open('/dev/null') and t",
        "exec(t)",
        "t.__class__",
        "(lambda: t)()",
        "[t][0]",
        "exp(t)(t)",
        "t if t else t",
        "chr(97)*t",
        "t\n;t",
        "0x10*t",
        "1_0*t",
        "t = t",
        ["t"],
        {"t": "t"},
        None,
        True,
    ],
    ids=repr,
)
def test_a_formula_in_a_file_is_never_executed(text: Any) -> None:
    """Hole: sympy evaluates text as Python, so that a certificate could run code inside the checker."""
    with pytest.raises(InputError):
        activation("symbolic", expression=text)


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9",
        "t**(9**9)",
        "((t**9)**9)**9",
        "((((9**99)**99)**99)**99)*t",
        "t**-1e9",
        "1e999*t",
        "1e999999999*t",
        "1" * 500 + "*t",
        "(1e-300)**99**2",
        "exp(exp(exp(9)))*t",
        "exp(exp(exp(exp(t + 9))))",
        "cosh(10000)*t",
        "+".join(["t"] * 700),
        "-" * 900 + "t",
        "(" * 900 + "t" + ")" * 900,
    ],
    ids=lambda text: text[:30],
)
def test_a_formula_in_a_file_asks_for_no_endless_work(text: str) -> None:
    """Hole: nine to the power of its own power was written out in digits before anything refused it."""
    with pytest.raises(InputError):
        activation("symbolic", expression=text)
    with pytest.raises(InputError):
        activation("symbolic", expression="t", negative=text)


def test_a_declaration_of_a_formula_asks_for_no_endless_work() -> None:
    for degree in (1e308, -101.0, math.nan):
        with pytest.raises(InputError, match="degree"):
            activation("symbolic", expression="t", degree=degree)
    with pytest.raises(InputError, match="too long"):
        activation("symbolic", expression="+".join(f"tanh({k}*t)" for k in range(1, 60)), odd=True)


def test_formulas_are_read_as_before() -> None:
    for text in (
        "t",
        "1.5e-3*t**2 - exp(-(t)/2.)",
        "x*tanh(log(1 + exp(x)))",
        "-pi*erf ( t )**3/E",
        " sqrt(1+t*t)-1 ",
        "t**99/2**60",
        "2**t - 1",
        "t/(1 + sqrt(1 + t**2))",
        3,
    ):
        phi = activation("symbolic", expression=text)
        low, high = phi.bound_on(np.array([0.3]), np.array([0.3]))
        assert low <= phi.value(np.array([0.3])) <= high


def test_no_number_in_a_file_asks_for_endless_work() -> None:
    """Hole: extreme numbers had the checker cut cells until memory ran out, or write out a billion digits."""
    r, c = np.full(3, 1e308), np.full(3, 1e308)
    bound = suprema(activation("tanh"), (-r, r), (-c, c), 5e-324, 1e-12)
    assert (bound >= 1e308).all()
    for bad in ("1e999999999", "1/" + "9" * 5000, "1e-99999", "1_0", " 1", "0x1"):
        with pytest.raises(InputError):
            PiecewiseAffine(((None, None, bad, "0"),))


def test_numbers_and_tables_of_the_wrong_kind_are_input_errors() -> None:
    """They ended in OverflowError and TypeError."""
    for name, parameters in (
        ("leaky_relu", {"slope": 10**400}),
        ("step", {"threshold": -(10**400)}),
        ("piecewise_affine", {"table": 1.0}),
        ("piecewise_affine", {"table": [1.0]}),
        ("piecewise_affine", {"table": None}),
    ):
        with pytest.raises(InputError):
            activation(name, **parameters)
    with pytest.raises(InputError, match="finite"):
        loss("huber", delta=10**400)


def test_the_digest_seals_the_content_however_it_is_laid_out(tmp_path: Path) -> None:
    problem = mfo.problems.hypercube(latents=2, lambda1=0.01, lambda2=0.01)
    path = tmp_path / "c.json"
    mfo.certify(problem, mfo.solve(problem, backend="closed_form")).save(path)
    text = path.read_text()
    body = json.loads(text)
    lower = mfo.verify(path, problem).lower_bound
    for other in (json.dumps(body, indent=1), json.dumps(dict(reversed(body.items()))), text + "\n"):
        path.write_text(other)
        assert mfo.verify(path, problem).lower_bound == lower
    seal = f'"digest":"{body["digest"]}",'
    assert text.count(seal) == 1
    unsealed = text.replace(seal, "")
    for bad in (
        unsealed,
        text.replace(seal, '"digest":null,'),
        text.replace(seal, f'"digest":"{body["digest"].upper()}",'),
        text.replace(seal, seal + seal),
        unsealed.replace("{", "{" + seal.replace("digest", "Digest"), 1),
        text.replace('"version":1', '"version":true'),
        text.replace('"version":1', '"version":1.0'),
        text.replace('"version":1', '"version":1e0'),
        text[:-1] + ',"x":1e999}',
    ):
        assert bad != text
        path.write_text(bad)
        with pytest.raises(CertificateError, match=r"."):
            mfo.verify(path, problem)
    path.write_text(text.replace('"version":1', '"version":7'))
    with pytest.raises(CertificateError, match="version 7 is unknown; this checker reads 1"):
        mfo.verify(path, problem)


def test_a_small_file_asks_for_no_huge_partition() -> None:
    """2^20 orthants of 1000 rows each fit into a kilobyte of zeros, compressed."""
    rng = np.random.default_rng(0)
    y = np.sign(rng.standard_normal((1, 1000)))
    problem = TwoLayerProblem(
        activation("relu"), loss("squared"), FactorGeometry(rng.standard_normal((1000, 20))), y, 0.1, 0.1
    )
    artefact = {"level": encode_float(1.0), **encode_tree(20, np.zeros(2**20, np.int32), np.zeros(2**20, np.int32))}
    assert len(artefact["ops"]) < 2000
    with pytest.raises(CertificateError, match="out of range"):
        REPLAYS["input_view"](problem, y, 1e9, artefact)
    with pytest.raises(CertificateError, match="exponent"):
        replay([[1, 0], [0, 1]], {"kind": "round", "h": [-(1 << 20)] * 2, "proof": {"kind": "psd"}})

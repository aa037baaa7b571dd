"""Activations made by users: true ones are proved with, false declarations are caught, bare functions stay open."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.activations.piecewise import ReLU

Array = Any


def small(activation: mfo.Activation, width: float | None = 4) -> mfo.TwoLayerProblem:
    return mfo.problems.hypercube(2, activation=activation, lambda1=0.05, lambda2=0.05, width=width)


def pairs(problem: mfo.TwoLayerProblem, size: float = 0.6) -> mfo.Measure:
    y = problem.targets
    return mfo.Measure(np.vstack([size * y, -size * y]), np.full(4, 1.0))


def test_formula_equals_the_built_in_and_is_proved(tmp_path: Path) -> None:
    phi = mfo.activation_from(np.tanh, expression="tanh(t)", odd=True)
    problem = small(phi)
    certificate = mfo.certify(problem, pairs(problem), time_limit=120, target=1e-5)
    assert certificate.verdict in ("proved", "refuted")
    assert certificate.proof != "no proof"
    built_in = mfo.certify(small(mfo.activation("tanh")), pairs(problem), time_limit=120, target=1e-5)
    assert certificate.lower_bound == pytest.approx(built_in.lower_bound, abs=1e-6)
    certificate.save(tmp_path / "c.json")
    assert mfo.verify(tmp_path / "c.json", problem).lower_bound == certificate.lower_bound


def test_pieces_are_exact_and_derive_degree_and_oddness() -> None:
    clip = mfo.activation_from(pieces=[(None, -1, 0, -1), (-1, 1, 1, 0), (1, None, 0, 1)])
    assert clip.odd
    assert clip.degree is None
    assert clip.ratio_bound() == 1.0
    relu = mfo.activation_from(pieces=[(None, 0, 0, 0), (0, None, 1, 0)], degree=1)
    assert relu.degree == 1.0
    assert not relu.odd
    t = np.linspace(-3, 3, 50)
    np.testing.assert_array_equal(relu(t), ReLU()(t))


def test_a_bare_numpy_function_is_never_proved(tmp_path: Path) -> None:
    phi = mfo.activation_from(lambda t: np.tanh(t), derivative=lambda t: 1 - np.tanh(t) ** 2, odd=True)
    problem = small(phi)
    certificate = mfo.certify(problem, pairs(problem))
    assert certificate.verdict == "open"
    assert "rigorous" in certificate.proof
    assert -1e-300 < certificate.lower_bound <= 0.0  # D(0), rounded down
    assert certificate.upper_bound == pytest.approx(problem.energy(pairs(problem)))
    certificate.save(tmp_path / "c.json")
    with pytest.raises(mfo.CertificateError):
        mfo.verify(tmp_path / "c.json", problem)


@pytest.mark.parametrize(
    "wrong",
    [
        {"function": np.tanh, "degree": 1},
        {"function": np.tanh, "derivative": np.cos},
        {"function": np.exp, "odd": True},
        {"expression": "tanh(t)", "degree": 1},
        {"expression": "t**2", "odd": True},
        {"function": np.sin, "expression": "tanh(t)"},
        {"expression": "Abs(t)"},
        {"expression": "besselj(0, t)"},
        {"expression": "a*b*t"},
        {"expression": "t +"},
        {"pieces": [(None, 0, 0, 0), (0, None, 1, 1)]},
        {"pieces": [(None, 0, 0, 0), (1, None, 1, 0)]},
        {"pieces": [(None, 0, 0, 0)]},
        {"pieces": [(None, 0, 0, 0), (0, None, 1, 0)], "odd": True},
        {"pieces": [(None, 0, 0, 0), (0, None, "x", 0)]},
        {"function": np.tanh, "pieces": [(None, 0, 0, 0), (0, None, 1, 0)]},
        {"function": np.log},
        {"function": lambda t: 1.0},
        {"function": 3},
        {"expression": "t", "pieces": []},
        {"expression": "t", "threshold": True, "negative": "0"},
        {},
    ],
    ids=lambda wrong: "-".join(wrong) or "nothing",
)
def test_false_declarations_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(mfo.InputError):
        mfo.activation_from(**wrong)


def test_fingerprints_depend_on_the_definition() -> None:
    made = [
        mfo.activation_from(lambda t: np.tanh(t)),
        mfo.activation_from(lambda t: np.tanh(1.0000001 * t)),
        mfo.activation_from(lambda t: np.tanh(t) + 0.0 * t),
        mfo.activation_from(expression="tanh(t)"),
        mfo.activation_from(expression="tanh(t)", odd=True),
        mfo.activation_from(expression="tanh(t)", threshold=True),
        mfo.activation_from(pieces=[(None, 0, 0, 0), (0, None, 1, 0)]),
        mfo.activation_from(pieces=[(None, 0, 0, 0), (0, None, "1000001/1000000", 0)]),
    ]
    assert len({small(phi).fingerprint for phi in made}) == len(made)
    assert small(mfo.activation_from(expression="tanh(x)")).fingerprint == small(made[3]).fingerprint


@dataclass(frozen=True)
class Liar(mfo.Activation):
    """A tanh that promises too small a range, too small a slope, or a wrong degree, as told."""

    lie: str = "range"
    name = "liar"

    def value(self, h: Array) -> Array:
        return np.tanh(h)

    def derivative(self, h: Array) -> Array:
        return 1 / np.cosh(np.clip(h, -300, 300)) ** 2

    def bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        shrink = 0.99 if self.lie == "range" else 1.0
        return shrink * np.tanh(lo) - 1e-15, shrink * np.tanh(hi) + 1e-15

    def slope_bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        return np.zeros(np.shape(lo)), np.full(np.shape(lo), 0.5 if self.lie == "slope" else 1.0)

    def ratio_bound(self) -> float:
        return 0.9 if self.lie == "ratio" else 1.0

    @property
    def pieces(self) -> Any:
        return ReLU().pieces if self.lie == "pieces" else None

    def torch_twin(self) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("lie", ["range", "slope", "ratio", "pieces"])
def test_certify_and_verify_catch_a_lying_plug_in(lie: str) -> None:
    problem = small(Liar(lie))
    with pytest.raises(mfo.InputError, match="breaks its promise"):
        mfo.certify(problem, pairs(problem))
    with pytest.raises(mfo.InputError, match="breaks its promise"):
        mfo.check_activation(Liar(lie))
    mfo.check_activation(Liar("none"))


def test_the_core_does_not_import_sympy() -> None:
    code = "import sys, meanfield_opt as m; m.activation('tanh'); m.loss('huber'); assert 'sympy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_the_example_of_the_documentation_ends_proved(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "activations.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    scope: dict[str, Any] = {}
    exec(code, scope)
    assert capsys.readouterr().out.startswith("proved")
    assert scope["certificate"].relative_gap < 1e-3


@pytest.mark.parametrize(
    "text", ["t*exp(-t**2)", "t**3*exp(-t**2)", "exp(-t**2)", "t**2*exp(-t)", "t*exp(t)", "t/(1 + t**2)"]
)
def test_ranges_on_the_tails_hold_and_falling_formulas_are_bounded(text: str) -> None:
    phi = mfo.activation_from(expression=text)
    for lo, hi in ((-np.inf, -16.0), (16.0, np.inf)):
        low, high = phi.bound_on(np.array([lo]), np.array([hi]))
        slow, fast = phi.slope_bound_on(np.array([lo]), np.array([hi]))
        t = np.sign(hi + lo) * np.geomspace(16.0, 600.0, 2000)
        values = phi(t)
        assert ((low <= values) & (values <= high)).all()
        quotients = np.diff(values) / np.diff(t)
        size = 1e-9 * (1.0 + np.abs(quotients))
        assert ((slow - size <= quotients) & (quotients <= fast + size)).all()
    if text.endswith("exp(-t**2)"):
        low, high = phi.bound_on(np.array([-np.inf]), np.array([np.inf]))
        assert np.isfinite([low, high]).all()


@pytest.mark.slow
def test_a_formula_that_falls_to_zero_is_proved_under_a_width() -> None:
    phi = mfo.activation_from(expression="t*exp(-t**2)", odd=True)
    problem = mfo.problems.hypercube(2, activation=phi, lambda1=0.05, lambda2=0.05, width=8)
    certificate = mfo.certify(problem, mfo.solve(problem), target=1e-6)
    assert certificate.verdict == "proved"
    assert certificate.relative_gap < 1e-5


@pytest.mark.parametrize("text", ["t/sqrt(1 + t**2)", "t**2/(1 + t**2)", "sqrt(1 + t**2) - 1", "t/(2 + t**2)"])
def test_ranges_on_the_tails_after_inversion_hold(text: str) -> None:
    """t / sqrt(1 + t^2) was thought unbounded: nothing was proved of it under a width."""
    phi = mfo.activation_from(expression=text)
    for lo, hi in ((-np.inf, -16.0), (16.0, np.inf)):
        low, high = phi.bound_on(np.array([lo]), np.array([hi]))
        slow, fast = phi.slope_bound_on(np.array([lo]), np.array([hi]))
        t = np.sign(hi + lo) * np.geomspace(16.0, 1e6, 2000)
        values = phi(t)
        assert ((low <= values) & (values <= high)).all()
        quotients = np.diff(values) / np.diff(t)
        assert ((slow - 1e-9 <= quotients) & (quotients <= fast + 1e-9)).all()
        assert np.isfinite([slow[0], fast[0]]).all()
        assert np.isfinite([low[0], high[0]]).all() or text.startswith("sqrt")


def test_a_formula_that_overflows_on_the_way_is_computed_in_balls() -> None:
    """log(1 + exp(t)) was infinite beyond t = 710, and solving with it ended in a traceback of a solver."""
    phi = mfo.activation_from(expression="log(1 + exp(t)) - log(2)")
    np.testing.assert_allclose(phi(np.array([1e3, 1e8])), np.array([1e3, 1e8]) - np.log(2.0), rtol=1e-15)
    np.testing.assert_allclose(phi.derivative(np.array([-1e3, 1e3])), [0.0, 1.0], atol=1e-300)
    with pytest.raises(mfo.errors.NotAttainedError, match="ever larger neurons"):
        mfo.solve(small(phi), time_limit=10)


def test_functions_of_one_number_are_refused_with_a_way_out() -> None:
    import math

    for function in (math.tanh, np.vectorize(math.tanh)):
        with pytest.raises(mfo.InputError, match="otypes"):
            mfo.activation_from(function)
    mfo.activation_from(np.vectorize(math.tanh, otypes=[float]))


def test_pieces_that_end_like_relu_are_bounded_by_it() -> None:
    rows = [(None, 0, 0, 0), (0, 1, "1/2", 0), (1, None, 1, "-1/2")]
    phi = mfo.activation_from(pieces=rows)
    assert phi.asymptote is not None
    assert (phi.asymptote.left, phi.asymptote.right) == (0.0, 1.0)
    assert phi.asymptote.distance == pytest.approx(0.5)
    mfo.check_activation(phi)
    problem = small(phi)
    with pytest.raises(mfo.errors.NotAttainedError) as caught:
        mfo.solve(problem)
    found: Any = caught.value.approach
    certificate = mfo.certify(problem, found, refute=np.inf)
    assert certificate.relative_gap < 1e-6


def test_a_formula_rewritten_wrongly_gives_no_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """t / sqrt(1 + t^2) on [3, inf): within [.94, 1]; computer algebra that answers something else is caught."""
    import sympy

    from meanfield_opt.activations import formula, formula_tail

    expression = formula.parse("t/sqrt(1 + t**2)")
    low, high = formula_tail.tail_inverted(expression, 3.0, np.inf)
    assert 0.9 < low <= 3 / np.sqrt(10) < 1.0 <= high < 1.05
    monkeypatch.setattr(sympy, "simplify", lambda e: sympy.Rational(9, 10) + 0 * e)
    assert formula_tail.tail_inverted(expression, 3.0, np.inf) == (-np.inf, np.inf)

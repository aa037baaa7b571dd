"""False declarations of every sort: what catches each, and where sampling cannot, that the proof says what it assumes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.activation import Asymptote, Limit
from meanfield_opt.activations.smooth import Tanh
from meanfield_opt.activations.threshold import Step
from meanfield_opt.checker.assumptions import assumptions

Array = Any
Change = Callable[[Array], Array]


@dataclass(frozen=True)
class Claimed(mfo.Activation):
    """tanh with any of its parts replaced; what is declared is what tanh would declare, unless told otherwise."""

    label: str = ""
    part: dict[str, Any] = field(default_factory=dict, metadata={"hidden": True}, compare=False)
    name = "claimed"

    def __post_init__(self) -> None:
        for key in ("degree", "odd", "levels", "asymptote", "escapes"):
            if key in self.part:
                object.__setattr__(self, key, self.part[key])

    def _told(self, key: str, default: Any) -> Any:
        return self.part.get(key, default)

    def value(self, h: Array) -> Array:
        return self._told("value", np.tanh)(h)

    def derivative(self, h: Array) -> Array:
        return self._told("derivative", lambda t: 1 / np.cosh(np.clip(t, -300, 300)) ** 2)(h)

    def bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        low, high = self._told("range", lambda a, b: (np.tanh(a), np.tanh(b)))(lo, hi)
        return low - 1e-15, high + 1e-15

    def slope_bound_on(self, lo: Array, hi: Array) -> tuple[Array, Array]:
        steep = self._told("slope", 1.0)
        return np.full(np.shape(lo), min(0.0, -steep + 1.0)), np.full(np.shape(lo), steep)

    def ratio_bound(self) -> float:
        return float(self._told("ratio", 1.0))

    @property
    def pieces(self) -> Any:
        return self._told("pieces", None)

    def torch_twin(self) -> Any:
        import torch

        return self._told("twin", torch.tanh)


def bump(t: Array, left: float, width: float, height: float) -> Array:
    """A triangle on [left, left + width]."""
    return height * np.maximum(0.0, 1.0 - np.abs((t - left) / width * 2.0 - 1.0))


RELU = mfo.activation("relu")
#: at points of no grid of ours: what a declaration leaves out there no test by points can see
PLACE = 2.000317
CAUGHT: dict[str, dict[str, Any]] = {
    "value overflows": {"value": lambda t: np.where(np.abs(t) > 2, np.inf, np.tanh(t))},
    "value is NaN at 0": {"value": lambda t: np.where(t == 0, np.nan, np.tanh(t))},
    "range too small everywhere by 1e-6": {"range": lambda a, b: ((1 - 1e-6) * np.tanh(a), (1 - 1e-6) * np.tanh(b))},
    "range too small on a piece of length 0.2": {
        "range": lambda a, b: (np.tanh(a), np.where((a > 1.0) & (b < 1.2), 0.7, np.tanh(b)))
    },
    "range of the ends only, for a wave": {"value": np.sin, "derivative": np.cos, "range": lambda a, b: (np.sin(a), np.sin(b))},
    "range is NaN": {"range": lambda a, b: (np.full(np.shape(a), np.nan), np.tanh(b))},
    "slope too small": {"slope": 0.9},
    "ratio too small": {"ratio": 0.999},
    "ratio too small near 0 only": {
        "value": lambda t: np.where(np.abs(t) < 1e-8, 2 * t, np.tanh(t)), "slope": 2.0,
        "range": lambda a, b: (np.minimum(np.tanh(a), 2 * np.clip(a, -1e-8, 0)), np.maximum(np.tanh(b), 2 * np.clip(b, 0, 1e-8))),
    },
    "derivative of something else": {"derivative": np.cos},
    "derivative off by 2 %": {"derivative": lambda t: 1.02 / np.cosh(np.clip(t, -300, 300)) ** 2 + 0.02},
    "odd, but shifted by 1e-6": {"value": lambda t: np.tanh(t) + 1e-6, "odd": True, "ratio": math.inf,
                                 "range": lambda a, b: (np.tanh(a), np.tanh(b) + 2e-6)},
    "odd, but not beyond 500": {"value": lambda t: np.where(t > 500, 0.5, np.tanh(t)), "odd": True},
    "degree 1 for a clipped line": {"value": lambda t: np.clip(t, -900, 900), "degree": 1.0, "derivative": np.ones_like,
                                    "range": lambda a, b: (np.clip(a, -900, 900), np.clip(b, -900, 900))},
    "pieces of relu": {"pieces": RELU.pieces},
    "levels of a step": {"levels": Step().levels},
    "asymptote nearer than it is": {"asymptote": Asymptote(0.0, 0.0, 0.9)},
    "asymptote it has on one side only": {"asymptote": Asymptote(0.0, 1.0, 2.0)},
}  # fmt: skip


def cube(phi: mfo.Activation, width: float = 4.0) -> mfo.TwoLayerProblem:
    return mfo.problems.hypercube(2, activation=phi, lambda1=0.05, lambda2=0.05, width=width)


def pair(problem: mfo.TwoLayerProblem, size: float) -> mfo.Measure:
    y = problem.targets
    return mfo.Measure(np.vstack([size * y, -size * y]), np.full(4, 1.0))


@pytest.mark.parametrize("case", CAUGHT)
def test_a_false_declaration_is_caught_before_anything_is_proved(case: str) -> None:
    phi = Claimed(case, CAUGHT[case])
    with pytest.raises(mfo.InputError, match="breaks its promise"):
        mfo.check_activation(phi)
    with pytest.raises(mfo.InputError, match="breaks its promise"):
        mfo.certify(cube(phi), pair(cube(phi), 0.6))


def test_the_true_declaration_passes() -> None:
    mfo.check_activation(Claimed("true"))
    mfo.check_activation(Claimed("odd", {"odd": True, "escapes": (Limit("zero", 1.0, 1.0),)}))


def spiked(height: float = 0.5, width: float = 1e-5) -> Claimed:
    """tanh with a spike that its range does not know, narrower than any grid."""
    return Claimed(
        "spike",
        {"value": lambda t: np.tanh(t) + bump(t, PLACE, width, height)},
    )


def test_a_spike_between_all_points_passes_the_test_and_the_proof_says_what_it_assumes(tmp_path: Path) -> None:
    """No test by points can see it. So the proof names the declaration as its hypothesis, and so does the checker."""
    phi = spiked()
    mfo.check_activation(phi)
    problem = cube(phi)
    certificate = mfo.certify(problem, pair(problem, 0.6), time_limit=10)
    assert len(certificate.assumptions) == 1
    assert "Claimed declares" in certificate.assumptions[0]
    assert "not proved" in certificate.assumptions[0]
    certificate.save(tmp_path / "c.json")
    print(mfo.verify(tmp_path / "c.json", problem))


def test_a_solution_that_uses_the_spike_is_refused() -> None:
    """A search goes where an activation gives more than it declares; the patterns that it found are held to the ranges."""
    problem = cube(spiked())
    with pytest.raises(mfo.InputError, match="bound_on does not contain its value"):
        mfo.certify(problem, pair(problem, PLACE + 5e-6))


@dataclass(frozen=True)
class Inherited(Tanh):
    """A built-in with one method replaced: as foreign as any other class."""

    name = "inherited"

    def value(self, h: Array) -> Array:
        return np.tanh(h) + bump(h, PLACE, 1e-5, 0.5)


def test_a_class_that_inherits_from_a_built_in_is_not_one() -> None:
    problem = cube(Inherited())
    certificate = mfo.certify(problem, pair(problem, 0.6), time_limit=10)
    assert any("Inherited declares" in sentence for sentence in certificate.assumptions)


def test_what_built_in_activations_assume() -> None:
    """Exact ones nothing, smooth ones the library's accuracy; formulas, whose ranges are ball arithmetic, that sympy reads them."""
    for name, said in (("relu", 0), ("step", 0), ("cubic", 0), ("tanh", 1), ("sin", 1), ("gelu", 1)):
        problem = cube(mfo.activation(name))
        sentences = assumptions(problem)
        assert len(sentences) == said, name
        assert all("16 units" in sentence for sentence in sentences)
    formula = cube(mfo.activation_from(expression="tanh(t)"))
    assert [sentence.split()[0] for sentence in assumptions(formula)] == ["sympy"]
    logistic = mfo.problems.hypercube(2, loss="logistic", lambda1=0.05, lambda2=0.05)
    assert len(mfo.certify(logistic, mfo.Measure.zero(4), time_limit=1).assumptions) == 1  # also of other activations


@pytest.mark.torch
def test_a_twin_that_is_off_moves_no_bound() -> None:
    """torch only trains: a network's energy and its bounds are those of the numpy function. The laws compare twins."""
    import torch

    phi = Claimed("twin", {"twin": lambda h: torch.tanh(h) * (1 + 1e-6)})
    right = Claimed("true")
    problem, same = cube(phi), cube(right)
    a, b = (mfo.certify(p, pair(p, 0.6), time_limit=10) for p in (problem, same))
    assert (a.lower_bound, a.upper_bound) == (b.lower_bound, b.upper_bound)
    t = np.linspace(-3, 3, 31)
    gap = np.abs(phi.torch_twin()(torch.tensor(t)).numpy() - phi(t)).max()
    assert gap > 1e-7  # what tests/conformance/test_activations.py::test_torch_twin refuses

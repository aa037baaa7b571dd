"""Losses of a user's own, and the options on biases: each solved and certified on a small problem, or refused by reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo


def data(seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((10, 2))
    return x, np.maximum(x[:, 0], 0.0) - 0.5 * x[:, 1] + 0.1 * rng.standard_normal(10) + 0.7


def proved(problem: mfo.TwoLayerProblem, tmp_path: Path, gap: float = 1e-4, backend: str = "column_generation") -> Any:
    """Solved, certified to the gap, saved and verified."""
    solution = mfo.solve(problem, backend)
    certificate = mfo.certify(problem, solution, time_limit=20, workers=1)
    assert certificate.verdict == "proved"
    assert certificate.relative_gap < gap
    certificate.save(tmp_path / "c.json")
    assert mfo.verify(tmp_path / "c.json", problem).lower_bound == certificate.lower_bound
    return certificate


def test_a_quantile_loss_from_two_slopes_is_proved(tmp_path: Path) -> None:
    x, y = data()
    quantile = mfo.loss_from(above=0.2, below=0.8)
    problem = mfo.problems.dataset(x, y, loss=quantile, lambda1=0.05, lambda2=0.05)
    proved(problem, tmp_path, backend="clarabel")


def test_an_asymmetric_huber_loss_is_proved_by_the_default_backend(tmp_path: Path) -> None:
    x, y = data()
    loss = mfo.loss_from(above=0.5, below=2.0, quadratic=True)
    proved(mfo.problems.dataset(x, y, loss=loss, lambda1=0.05, lambda2=0.05), tmp_path)


def test_residual_losses_are_the_built_in_ones_in_other_words() -> None:
    rng = np.random.default_rng(1)
    f, y = 3.0 * rng.standard_normal((2, 2, 50))
    signs = np.sign(y)
    pairs = [
        (mfo.loss_from(above=np.inf, below=np.inf, quadratic=True), mfo.loss("squared"), y),
        (mfo.loss_from(above=0.8, below=0.8, quadratic=True), mfo.loss("huber", delta=0.4), y),
        (mfo.loss_from(above=1.0, margin=True), mfo.loss("hinge"), signs),
        (mfo.loss_from(above=np.inf, quadratic=True, margin=True), mfo.loss("squared_hinge"), signs),
    ]
    for made, known, targets in pairs:
        assert made.value(f, targets) == pytest.approx(known.value(f, targets), rel=1e-13)
        np.testing.assert_allclose(made.gradient(f, targets), known.gradient(f, targets), rtol=1e-13)
        z = known.project_dual(f, targets)
        np.testing.assert_allclose(made.project_dual(f, targets), z)
        assert made.dual_lower(z, targets, 0.7) == pytest.approx(known.dual_lower(z, targets, 0.7), rel=1e-12)


def log_cosh() -> mfo.Loss:
    """log cosh(f - y), its slope tanh, its conjugate s y + ((1+s) log(1+s) + (1-s) log(1-s)) / 2."""
    from scipy.special import xlogy

    return mfo.loss_from(
        lambda f, y: np.logaddexp(f - y, y - f) - np.log(2.0),
        gradient=lambda f, y: np.tanh(f - y),
        conjugate=lambda s, y: s * y + 0.5 * (xlogy(1 + s, 1 + s) + xlogy(1 - s, 1 - s)),
        curvature=1.0,
        name="log cosh",
    )


def save_and_verify(certificate: Any, problem: mfo.TwoLayerProblem, path: Path) -> None:
    certificate.save(path)
    mfo.verify(path, problem)


def test_numpy_functions_are_solved_with_and_never_proved(tmp_path: Path) -> None:
    x, y = data()
    problem = mfo.problems.dataset(x, y, loss=log_cosh(), lambda1=0.05, lambda2=0.05)
    solution = mfo.solve(problem)
    assert solution.status is mfo.Status.SOLVED
    assert solution.energy < problem.energy(mfo.Measure.zero(10))
    certificate = mfo.certify(problem, solution)
    assert certificate.verdict == "open"
    assert certificate.lower_bound == -np.inf
    assert "no rigorous bounds" in certificate.proof
    assert problem.fingerprint == mfo.problems.dataset(x, y, loss=log_cosh(), lambda1=0.05, lambda2=0.05).fingerprint
    with pytest.raises(mfo.RefusalError, match="no cvxpy expression"):
        mfo.solve(problem, "cvxpy")
    with pytest.raises(mfo.RefusalError, match="neither a residual nor an exponential form"):
        mfo.solve(problem, "clarabel")
    with pytest.raises(mfo.CertificateError, match=r"finite|numpy"):
        save_and_verify(certificate, problem, tmp_path / "c.json")


def test_each_broken_law_is_named() -> None:
    good: dict[str, Any] = {
        "value": lambda f, y: (f - y) ** 2,
        "gradient": lambda f, y: 2 * (f - y),
        "conjugate": lambda s, y: s * y + s**2 / 4,
        "curvature": 2.0,
    }
    assert mfo.loss_from(**good).value(np.ones((1, 2)), np.zeros((1, 2))) == 2.0
    broken: list[tuple[dict[str, Any], str]] = [
        ({"gradient": lambda f, y: f - y}, "does not match differences"),
        ({"conjugate": lambda s, y: s * y + s**2 / 5}, "Fenchel-Young"),
        ({"conjugate": lambda s, y: s * y + s**2 / 3}, "no equality"),
        (
            {"conjugate": lambda s, y: np.where(np.abs(s) < 1, s * y + s**2 / 4, np.inf)},
            "not finite at its own gradient",
        ),
        ({"curvature": 1.0}, "curvature is larger"),
        (
            {
                "value": lambda f, y: np.sqrt(np.abs(f - y)),
                "gradient": lambda f, y: 0.5 * np.sign(f - y) / np.sqrt(np.abs(f - y)),
            },
            "not convex",
        ),
        ({"value": lambda f, y: np.full_like(f, np.nan)}, "not finite"),
        ({"value": lambda f, y: np.sum((f - y) ** 2)}, "gives shape"),
    ]
    for change, words in broken:
        with pytest.raises(mfo.InputError, match=words):
            mfo.loss_from(**{**good, **change})
    for bad in (
        {},
        {"value": good["value"]},
        {"above": 1.0, **good},
        {"above": 0.0, "below": 0.0},
        {"above": -1.0},
        {"above": np.inf},
    ):
        with pytest.raises(mfo.InputError):
            mfo.loss_from(**bad)


@pytest.mark.parametrize(
    "options",
    [
        {"bias": False},
        {"bias_penalty": 0.4},
        {"bias_penalty": 0.001},
        {"output_bias": 0.3},
        {"output_bias": 0.0},
        {"bias": False, "output_bias": 0.0},
    ],
    ids=str,
)
def test_every_option_on_biases_is_solved_and_certified(options: dict[str, Any], tmp_path: Path) -> None:
    x, y = data()
    problem = mfo.problems.dataset(x, y, lambda1=0.05, lambda2=0.05, **options)
    certificate = proved(problem, tmp_path)
    plain = mfo.solve(mfo.problems.dataset(x, y, lambda1=0.05, lambda2=0.05)).energy
    if options in ({"bias_penalty": 0.001}, {"output_bias": 0.3}, {"output_bias": 0.0}):
        assert certificate.upper_bound < plain  # more freedom
    if options in ({"bias": False}, {"bias_penalty": 0.4}):
        assert certificate.lower_bound > plain  # less


def test_a_bias_penalty_is_the_one_of_the_bias() -> None:
    """E with a bias weight b costs bias_penalty b^2: the geometry's cost says so."""
    x, y = data()
    problem = mfo.problems.dataset(x, y, lambda1=0.05, lambda2=0.05, bias_penalty=0.4)
    weights, bias = np.array([0.3, -1.2]), 0.7
    h = (x @ weights + bias)[None, :]
    assert 0.05 * problem.geometry.cost(h)[0] == pytest.approx(
        0.05 * float(weights @ weights) + 0.4 * bias**2, rel=1e-12
    )


def test_options_that_make_no_sense_are_refused_with_the_reason() -> None:
    x, y = data()
    for options, words in (
        ({"bias_penalty": 0}, "unpenalised hidden bias is not offered"),
        ({"bias_penalty": 0.1, "bias": False}, "no hidden bias"),
        ({"bias_penalty": -1.0}, "bias_penalty"),
        ({"bias_penalty": 1e-300}, "too far"),
        ({"output_bias": -1.0}, "output_bias"),
        ({"output_bias": 0.0, "loss": mfo.loss("output_bias")}, "output bias already"),
    ):
        with pytest.raises(mfo.InputError, match=words):
            mfo.problems.dataset(x, y, **options)

"""Wrong values into every public function: each is used, or refused in one line by a typed error."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt import copositive as cop
from meanfield_opt import metrics
from meanfield_opt.backend import BACKENDS
from meanfield_opt.plugins import activation, loss
from meanfield_opt.solution import Status
from meanfield_opt.validate import shown

WRONG: list[Any] = [
    None, True, math.nan, math.inf, -math.inf, -1, 0, -0.5, 1e308, 1e-308, 10**400, 10**5000, 2**70, 0.5, 1 + 2j, "x", "", b"x",
    [], (), {}, {"a": 1}, [math.nan], [[math.nan]], [[]], [[1, 2], [3]], [True, False], np.array([]), np.zeros((0, 2)),
    np.zeros((2, 2, 2)), np.array([[math.nan, 1], [1, 1]]), np.array([[math.inf, 1], [1, 1]]), np.array([[True, False]] * 2),
    np.array([["a", "b"]]), np.array([[None, 1], [1, None]], dtype=object), np.eye(2) * 1e308, np.eye(2) * 1e-320,
    np.array([[1 + 1j, 0], [0, 1]]), -np.eye(2), np.zeros((3, 3)), np.ones((5, 3)),
    np.ma.masked_array(np.eye(2), mask=np.eye(2)), object(), object, float, np.float64(math.nan), np.int64(3), Fraction(1, 3),
    Decimal("NaN"), Decimal("1.5"), range(3), {1, 2}, "/no/such/file.json", "/", "a\0b", nx.Graph(), nx.DiGraph([(1, 2)]),
    [[10**400, 0], [0, 1]], [["1/0"]], [["1e99999999"]], np.datetime64("2020-01-01"),
]  # fmt: skip

PROBLEM = mfo.problems.hypercube(2, lambda1=0.05, lambda2=0.05)
SOLUTION = mfo.solve(PROBLEM, "closed_form")
CERTIFICATE = mfo.certify(PROBLEM, SOLUTION)
KERNEL, SIGNS = np.array(SOLUTION.kernel), PROBLEM.targets
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((6, 2)), np.array([[1.0], [-1.0], [1.0], [1.0], [-1.0], [-1.0]])
LINE = mfo.problems.dataset(X[:, :1], Y, lambda1=0.1, lambda2=0.1)
ACTIVITY = RNG.standard_normal((KERNEL.shape[0], 5))
MATRIX = [[1, -1, 1], [-1, 1, 1], [1, 1, 1]]
ANSWER = cop.check(MATRIX)
K = [[2, 1, 1], [1, 2, 3], [1, 3, 5]]
COMMON = {"activation": "relu", "loss": "squared", "lambda1": 0.1, "lambda2": 0.1, "width": None}

#: name -> (function, arguments that it takes); each argument in turn is replaced by every wrong value
PUBLIC: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "activation": (mfo.activation, {"spec": "relu"}),
    "activation(leaky_relu)": (lambda slope: activation("leaky_relu", slope=slope), {"slope": 0.1}),
    "activation(sign)": (lambda threshold: activation("sign", threshold=threshold), {"threshold": 0.5}),
    "activation_from": (mfo.activation_from, {"pieces": [(None, 0, 0, 0), (0, None, 1, 0)], "threshold": False}),
    "activation_from(formula)": (mfo.activation_from, {"expression": "atan(t)", "odd": True, "negative": None}),
    "backends": (mfo.backends, {"special": False}),
    "certify": (mfo.certify, {"candidate": SOLUTION, "engine": "auto", "time_limit": 3.0, "target": 1e-6, "problem": PROBLEM}),
    "check_activation": (mfo.check_activation, {"phi": mfo.activation("relu"), "at": None}),
    "close_gap": (mfo.close_gap, {"problem": PROBLEM, "gap": 1e-6, "time_limit": 5.0}),
    "compare": (mfo.compare, {"problem": PROBLEM, "solution": SOLUTION, "certificate": CERTIFICATE, "options": 1}),
    "from_torch": (mfo.from_torch, {"module": None, "X": X}),
    "integer_width": (mfo.integer_width, {"problem": PROBLEM, "candidate": SOLUTION, "neurons": 4, "starts": 1, "seed": 0}),
    "loss": (mfo.loss, {"spec": "squared"}),
    "loss(huber)": (lambda delta: loss("huber", delta=delta), {"delta": 1.0}),
    "loss(output_bias)": (lambda **k: loss("output_bias", **k), {"base": "squared", "penalty": 1.0}),
    "loss(weighted)": (lambda **k: loss("weighted", **k), {"base": "squared", "sample_weights": (1.0,), "output_weights": (1.0,)}),
    "loss_from": (mfo.loss_from, {"above": 0.2, "below": 0.8, "quadratic": False, "margin": False}),
    "network_bound": (mfo.network_bound, {"problem": LINE, "neurons": 1, "gap": 0.1, "time_limit": 0.2}),
    "path": (mfo.path, {"problem": PROBLEM, "lambdas": [0.1], "backend": "closed_form"}),
    "patterns": (mfo.patterns, {"problem": PROBLEM, "solution": SOLUTION, "angle": 1e-4}),
    "phase_diagram": (mfo.phase_diagram, {"table": None, "path": "out.png"}),
    "register_activation": (mfo.register_activation, {"name": "relu", "cls": object}),
    "register_loss": (mfo.register_loss, {"name": "squared", "cls": object}),
    "scan": (mfo.scan, {"activations": ["relu"], "alignments": (0.0,), "penalties": (0.1,), "widths": (None,), "latents": (),
                        "copies": (1,), "journal": None, "workers": 0, "time_limit": 3.0}),
    "solve": (mfo.solve, {"problem": PROBLEM, "backend": "closed_form", "tolerance": 1e-6, "time_limit": 5.0,
                          "max_iterations": None, "seed": 0, "start": None}),
    "verify": (mfo.verify, {"path": "certificate.json", "problem": PROBLEM}),
    "SolveOptions": (mfo.SolveOptions, {"tolerance": 1e-6, "time_limit": 1.0, "max_iterations": None, "seed": 0, "progress": None}),
    "TrainOptions": (mfo.TrainOptions, {k: v.default for k, v in inspect.signature(mfo.TrainOptions).parameters.items()}),
    "Measure": (mfo.Measure, {"atoms": SOLUTION.measure.atoms, "masses": SOLUTION.measure.masses, "neurons": None, "readout": None}),
    "TwoLayerProblem": (mfo.TwoLayerProblem, {"activation": PROBLEM.activation, "loss": PROBLEM.loss, "geometry": PROBLEM.geometry,
                                              "targets": SIGNS, "lambda1": 0.1, "lambda2": 0.1, "width": None}),
    "DenseGeometry": (mfo.DenseGeometry, {"kernel": np.eye(3)}),
    "FactorGeometry": (mfo.FactorGeometry, {"factor": X}),
    "DiagonalPlusLowRank": (mfo.DiagonalPlusLowRank, {"diagonal": np.ones(4), "columns": np.ones((4, 1)), "weight": np.ones(1)}),
    "problems.hypercube": (mfo.problems.hypercube, {**COMMON, "latents": 2, "samples_per_class": 1, "geometry": "whitened"}),
    "problems.hypercube(aligned)": (mfo.problems.hypercube, {"latents": 2, "geometry": "aligned", "alignment": 0.5}),
    "problems.hypercube(anisotropic)": (mfo.problems.hypercube, {"latents": 2, "geometry": "anisotropic", "alignment": (0.5, 1)}),
    "problems.dataset": (mfo.problems.dataset, {**COMMON, "X": X, "Y": Y, "bias": True, "output_bias": None, "bias_penalty": None}),
    "problems.digits": (mfo.problems.digits, {"labels": "parity"}),
    "problems.standard_quadratic_program": (mfo.problems.standard_quadratic_program, {"Q": MATRIX}),
    "problems.planted_quadratic_program": (mfo.problems.planted_quadratic_program, {"order": 7, "support": 2, "horns": 1, "seed": 0}),
    "problems.stability_program": (mfo.problems.stability_program, {"graph": "C5"}),
    "problems.optimal_design": (mfo.problems.optimal_design, {"degree": 2, "criterion": "D", "interval": (-1.0, 1.0)}),
    "copositive.check": (cop.check, {"matrix": MATRIX, "time_limit": 5.0, "seed": 0, "level": None}),
    "copositive.verify": (cop.verify, {"path": "answer.json", "matrix": MATRIX}),
    "copositive.minimize_on_simplex": (cop.minimize_on_simplex, {"Q": MATRIX, "tolerance": 1e-6, "time_limit": 5.0, "seed": 0, "exact": True}),
    "copositive.stability_number": (cop.stability_number, {"graph": nx.cycle_graph(5), "time_limit": 5.0}),
    "copositive.clique_number": (cop.clique_number, {"graph": nx.cycle_graph(5), "time_limit": 5.0}),
    "copositive.cp_factorization": (cop.cp_factorization, {"K": K, "tolerance": 1e-8, "seed": 0, "starts": 1}),
    "copositive.spn_separator": (cop.spn_separator, {"matrix": MATRIX}),
    "copositive.spn_split": (cop.spn_split, {"matrix": MATRIX}),
    "copositive.exact_matrix": (cop.exact_matrix, {"matrix": MATRIX}),
    "copositive.load_matrix": (cop.load_matrix, {"path": "matrix.json"}),
    "copositive.as_json": (cop.as_json, {"answer": ANSWER}),
    "copositive.constraint": (cop.constraint, {"level": 0, "cone": "copositive", "side": "", "kind": "psd", "X": np.eye(2)}),
    "metrics.kernel_of": (metrics.kernel_of, {"activations": ACTIVITY}),
    "metrics.parallelism_score": (metrics.parallelism_score, {"kernel": KERNEL, "Y": SIGNS}),
    "metrics.parallelism_scores": (metrics.parallelism_scores, {"kernel": None, "Y": SIGNS, "activations": ACTIVITY}),
    "metrics.ccgp": (metrics.ccgp, {"activations": ACTIVITY, "Y": SIGNS, "classifier": "least_squares", "pairs": "all", "noise": 0.0,
                                    "trials": 1, "null": 0, "null_model": "shuffle", "most_folds": 3, "seed": 0}),
    "metrics.alignment": (metrics.alignment, {"kernel": KERNEL, "other": KERNEL, "centred": False}),
    "metrics.cka": (metrics.cka, {"kernel": KERNEL, "other": KERNEL}),
    "metrics.relative_frobenius": (metrics.relative_frobenius, {"kernel": KERNEL, "reference": KERNEL}),
    "metrics.procrustes": (metrics.procrustes, {"kernel": KERNEL, "reference": KERNEL}),
    "metrics.distances": (metrics.distances, {"kernel": KERNEL, "metric": "cosine", "activations": False}),
    "metrics.rsa": (metrics.rsa, {"kernel": KERNEL, "other": KERNEL, "metric": "euclidean", "method": "cosine"}),
    "metrics.participation_ratio": (metrics.participation_ratio, {"kernel": KERNEL, "centred": False}),
    "metrics.effective_dimension": (metrics.effective_dimension, {"kernel": KERNEL, "ridge": 0.1}),
    "metrics.span_fit": (metrics.span_fit, {"kernel": KERNEL, "Y": SIGNS}),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    CERTIFICATE.save("certificate.json")
    ANSWER.save("answer.json")  # type: ignore[union-attr]
    Path("matrix.json").write_text("[[1]]")
    return tmp_path


@pytest.mark.parametrize("name", PUBLIC)
def test_every_wrong_value_is_used_or_refused_in_one_line(name: str, folder: Path) -> None:
    function, arguments = PUBLIC[name]
    for argument in arguments:
        for value in WRONG:
            try:
                function(**{**arguments, argument: value})
            except mfo.MeanFieldError as error:
                text = str(error)
                assert text.strip(), f"{argument} = {shown(value)}"
                assert "\n" not in text.strip(), f"{argument} = {shown(value)}: {text}"
                assert len(text) < 600, f"{argument} = {shown(value)}: {text[:700]}"
            except Exception as error:
                raise AssertionError(f"{argument} = {shown(value)} ended in {error!r}") from error


def test_no_public_function_is_left_out() -> None:
    spaces = {"": mfo, "problems.": mfo.problems, "copositive.": cop, "metrics.": metrics}
    missing = [
        prefix + name
        for prefix, space in spaces.items()
        for name in space.__all__
        if inspect.isfunction(getattr(space, name)) and prefix + name not in PUBLIC
    ]
    assert [name for name in missing if name != "problems.deep_hypercube"] == []


@pytest.mark.parametrize("size", [1e-300, 1e-170, 1e170, 1e305])
def test_metrics_do_not_depend_on_the_unit(size: float) -> None:
    """Kernels of any scale: nothing overflows, nothing underflows to zero."""
    k = KERNEL / np.abs(KERNEL).max()
    other = np.diag(np.arange(1.0, len(k) + 1))
    assert metrics.participation_ratio(size * k) == pytest.approx(metrics.participation_ratio(k))
    assert metrics.alignment(size * k, other) == pytest.approx(metrics.alignment(k, other))
    assert metrics.cka(size * k, other) == pytest.approx(metrics.cka(k, other))
    assert metrics.relative_frobenius(size * k, size * other) == pytest.approx(metrics.relative_frobenius(k, other))
    assert metrics.procrustes(size * k, size * other) == pytest.approx(metrics.procrustes(k, other))
    assert metrics.rsa(size * k, other) == pytest.approx(metrics.rsa(k, other))
    assert metrics.effective_dimension(size * k, size) == pytest.approx(metrics.effective_dimension(k, 1.0))
    assert metrics.span_fit(size * k, SIGNS).strength == pytest.approx(size * metrics.span_fit(k, SIGNS).strength)
    assert metrics.parallelism_score(size * k, SIGNS) == pytest.approx(1.0)


def test_the_residual_of_a_factorization_is_within_the_tolerance_exactly() -> None:
    big = [[v * 10**400 for v in row] for row in K]
    for matrix in (K, big):
        found = cop.cp_factorization(matrix, tolerance=1e-8)
        assert isinstance(found, cop.Factorization)
        assert found.residual <= Fraction(1e-8) * max(max(row) for row in found.matrix.rational)
        found.replay()


def test_masked_entries_are_not_read_behind_the_mask() -> None:
    masked = np.ma.masked_array(X, mask=X > 1)
    with pytest.raises(mfo.InputError, match="masked"):
        mfo.problems.dataset(masked, Y)


@pytest.mark.parametrize("error", [np.linalg.LinAlgError("singular"), ZeroDivisionError(), OverflowError()])
def test_a_breakdown_of_a_solver_is_a_typed_error(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise error

    monkeypatch.setattr(type(BACKENDS.get("column_generation")), "solve", broken)
    with pytest.raises(mfo.SolveError, match="order one"):
        mfo.solve(mfo.problems.hypercube(2))


def test_enormous_inputs_are_solved_or_refused() -> None:
    """The energy is as good as 0 there: whatever comes back, its bounds hold and no solved status is claimed at a gap of 1."""
    problem = mfo.problems.dataset(1e150 * np.arange(8.0).reshape(4, 2), np.array([1.0, -1, 1, -1]))
    try:
        with np.errstate(all="ignore"):
            solution = mfo.solve(problem, time_limit=5.0)
    except mfo.SolveError as error:
        assert "order one" in str(error)  # noqa: PT017
        return
    assert solution.status is not Status.SOLVED or solution.stats["sampled_gap"] < 1e-6
    certificate = mfo.certify(problem, solution, time_limit=2.0)
    assert 0.0 <= certificate.lower_bound <= certificate.upper_bound <= solution.energy * (1 + 1e-9) + 1e-20

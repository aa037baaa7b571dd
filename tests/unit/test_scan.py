"""The scan: certified cells, reasons instead of results, resumption, executors; and exact enumeration."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.metrics import span_fit

pytest.importorskip("pandas")

CELLS = {"alignments": (0.0, 2.0), "penalties": (0.05,), "widths": (4.0,), "latents": (2,), "workers": 0}


def test_cells_are_certified_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = tmp_path / "scan.jsonl"
    names = ["step", ("sign", {"threshold": 1.0})]
    table = mfo.scan(names, journal=journal, **CELLS)  # type: ignore[arg-type]
    assert len(table) == 4
    assert (table["verdict"] == "proved").all()
    assert (table["gap"] < 1e-6).all()
    lines = journal.read_text().splitlines()
    assert len(lines) == 4
    # an interrupted write is recomputed, finished cells are not
    journal.write_text("\n".join(lines[:3]) + "\n" + lines[3][:50])
    calls = []
    real = mfo.scan.__globals__["run_cell"]
    monkeypatch.setitem(mfo.scan.__globals__, "run_cell", lambda *a: calls.append(a) or real(*a))
    again = mfo.scan(names, journal=journal, **CELLS)  # type: ignore[arg-type]
    assert len(calls) == 1
    np.testing.assert_allclose(again["energy"], table["energy"], rtol=1e-9)
    assert len(mfo.scan(names, journal=journal, **CELLS)) == 4  # type: ignore[arg-type]
    assert len(calls) == 1


def test_cells_without_an_optimum_carry_their_reason(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        table = mfo.scan(["cubic"], penalties=(0.05,), executor=pool)
    assert table["verdict"][0] == "not attained"
    assert "Error" in table["reason"][0]
    with pytest.raises(mfo.UnknownNameError):
        mfo.scan(["no such thing"])


def test_phase_diagram(tmp_path: Path) -> None:
    table = mfo.scan(["step"], **CELLS)  # type: ignore[arg-type]
    mfo.phase_diagram(table, tmp_path / "map.png", value="residual", columns="alignment")
    assert (tmp_path / "map.png").stat().st_size > 1000
    with pytest.raises(mfo.InputError, match="no column"):
        mfo.phase_diagram(table, tmp_path / "map.png", value="nothing")


def test_span_fit() -> None:
    y = mfo.problems.hypercube(2).targets
    fit = span_fit(0.3 + 0.7 * y.T @ y, y)
    assert (fit.constant, fit.strength) == pytest.approx((0.3, 0.7))
    assert fit.residual < 1e-12
    assert span_fit(np.diag([1.0, 2.0, 3.0, 4.0]), y).residual > 0.5


@pytest.mark.parametrize("width", [None, 3.0])
def test_enumeration_is_exact_on_data(width: float | None) -> None:
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((8, 7)), rng.standard_normal((8, 2))
    problem = mfo.problems.dataset(
        x, y, activation=mfo.activation("step", threshold=0.5), lambda1=0.1, lambda2=0.1, width=width
    )
    dual = 0.2 * y.T
    from meanfield_opt.certificate.engine import Limits, Question
    from meanfield_opt.certificate.levels_engine import ENGINE
    from meanfield_opt.checker.levels import replay

    proof = ENGINE.prove(Question(problem, dual), Limits()).proof
    assert proof is not None
    assert replay(problem, dual, proof.bound, proof.artefact) <= proof.bound
    theta = rng.standard_normal((20000, 8))
    h = problem.geometry.preactivation(theta)
    scale = 0.5 / np.abs(h[np.arange(len(h)), rng.integers(0, 8, len(h))])  # one sample exactly at the threshold
    theta, h = theta * scale[:, None] * (1 + 1e-9), h * scale[:, None] * (1 + 1e-9)
    cost = np.sum(theta**2, axis=1)
    gain = np.sum((dual @ (h >= 0.5).T.astype(float)) ** 2, axis=0)
    worst = np.max(gain / (4 * 0.1) - 0.1 * cost) if width else np.sqrt(np.max(gain / (4 * 0.1 * 0.1 * cost)))
    assert worst <= proof.bound

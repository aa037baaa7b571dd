"""meanfield-opt compare: files, options, exit codes and one-line refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meanfield_opt.cli.main import main

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")

SHORT = ["compare", "hypercube", "--latents", "2", "--seeds", "2", "--units", "8", "--steps", "60", "--examine", "0"]


def test_files_and_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, figures = tmp_path / "page.html", tmp_path / "c.json"
    extra = ["--rate", "0.05", "--schedule", "linear", "--report", str(page), "--json", str(figures)]
    assert main([*SHORT, *extra]) == 0
    assert "parallelism score" in capsys.readouterr().out
    body = json.loads(figures.read_text())
    assert body["training"]["rate"] == 0.05
    assert body["training"]["schedule"] == "linear"
    assert len(body["per_seed"]) == 2
    assert sum(body["standing"].values()) == 2
    assert set(body["versions"]) == {"numpy", "torch", "meanfield-opt", "python"}
    assert page.read_text().startswith("<!doctype html>")


def test_early_stop_and_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures, kept = tmp_path / "c.json", tmp_path / "run.pt"
    options = ["compare", "hypercube", "--latents", "2", "--seeds", "2", "--examine", "0", "--steps", "1500"]
    options += ["--stop-gap", "0.05", "--threshold", "0.05", "--checkpoint", str(kept), "--json", str(figures)]
    assert main(options) == 0
    first = json.loads(figures.read_text())
    assert first["share_reached"] == 1.0
    assert all(s["steps"] < 1500 and s["gap"] <= 0.05 for s in first["per_seed"])
    assert main(options) == 0  # resumed at its end: the same figures
    again = json.loads(figures.read_text())
    assert again["per_seed"] == first["per_seed"]
    assert main([*SHORT, "--checkpoint", str(kept)]) == 2
    assert "another run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        (["--report", "/no/such/folder/page.html"], "--report"),
        (["--json", "/no/such/folder/c.json"], "--json"),
        (["--rate", "-1"], "rate"),
        (["--units", "0"], "width"),
        (["--device", "abacus"], "device"),
        (["--batch", "2"], "sgd"),
        (["--threads", "0"], "threads"),
    ],
)
def test_bad_input_is_one_line(extra: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SHORT, *extra]) == 2
    err = capsys.readouterr().err
    assert text in err
    assert err.count("\n") == 1


def test_a_gap_that_is_not_certified(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SHORT, "--gap", "1e-40"]) == 1
    assert "not certified" in capsys.readouterr().err

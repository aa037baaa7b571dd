"""Ctrl-C while the command line proves: every file that was asked for is written, whole, with what is known."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interruptions import X, Y, after

import meanfield_opt as mfo
from meanfield_opt.cli import main
from meanfield_opt.cli.outputs import patient


def saved(tmp_path: Path) -> tuple[list[str], Path, Path, Path]:
    """Arguments of a run with all output files, and the files."""
    data = tmp_path / "data.npz"
    np.savez(data, X=X, Y=Y)
    files = tmp_path / "r.json", tmp_path / "c.json", tmp_path / "p.png"
    options = ["solve", str(data), "--lambda1", "0.3", "--lambda2", "0.3", "--json", str(files[0])]
    return [*options, "--certificate", str(files[1]), "--plot", str(files[2])], *files


@pytest.mark.parametrize("calls", [0, 1, 6])
def test_the_command_line_writes_all_files(
    calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def certify(problem: Any, candidate: Any, **options: Any) -> mfo.Certificate:
        if calls == 0:
            raise KeyboardInterrupt
        return mfo.certify(problem, candidate, **{**options, "progress": after(calls)})

    monkeypatch.setattr("meanfield_opt.cli.solve.certify", certify)
    arguments, result, certificate, plot = saved(tmp_path)
    assert main(arguments) == 130
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "interrupted" in error
    values = json.loads(result.read_text())
    assert values["status"] == mfo.Status.SOLVED.value
    assert values["lower_bound"] <= values["upper_bound"]
    assert values["verdict"] == ("open" if calls == 0 else "proved")
    assert mfo.verify(certificate).lower_bound == pytest.approx(values["lower_bound"], rel=1e-9)
    assert plot.stat().st_size > 1000


def test_other_problems_keep_their_solution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def certify(*arguments: Any, **options: Any) -> mfo.Certificate:
        raise KeyboardInterrupt

    monkeypatch.setattr("meanfield_opt.cli.solve.certify", certify)
    result, certificate = tmp_path / "r.json", tmp_path / "c.json"
    files = ["--json", str(result), "--certificate", str(certificate)]
    assert main(["solve", "stability_program", "--backend", "copositive", *files]) == 130
    assert "no certificate to write" in capsys.readouterr().err
    assert not certificate.exists()
    values = json.loads(result.read_text())
    assert values["energy"] == pytest.approx(0.25)
    # nothing is claimed: infinite bounds are no JSON
    assert (values["lower_bound"], values["upper_bound"], values["verdict"]) == (None, None, "open")


def test_files_are_written_whole_before_an_interruption_counts() -> None:
    with patient() as noted:
        signal.raise_signal(signal.SIGINT)
        assert noted == [signal.SIGINT]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    kept = []
    worker = threading.Thread(target=lambda: kept.append(patient().__enter__()))
    worker.start()
    worker.join()
    assert kept == [[]]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to another process")
def test_a_real_interrupt_while_proving(tmp_path: Path) -> None:
    arguments, result, certificate, plot = saved(tmp_path)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", X=rng.standard_normal((300, 6)), Y=rng.standard_normal((300, 2)))
    command = [sys.executable, "-m", "meanfield_opt.cli", "-v", *arguments, "--time-limit", "2", "--proof-time", "200"]
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            command, stderr=out, stdout=subprocess.DEVNULL, env={**os.environ, "MPLBACKEND": "agg"}
        )
    try:
        deadline = time.monotonic() + 120.0
        while " proved a supremum" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=100.0) == 130, log.read_text()
    finally:
        process.kill()
    assert log.read_text().splitlines()[-1].startswith("meanfield-opt: interrupted")
    values = json.loads(result.read_text())
    assert values["lower_bound"] <= values["energy"] <= values["upper_bound"] * (1 + 1e-9)
    assert mfo.verify(certificate).lower_bound == pytest.approx(values["lower_bound"], rel=1e-9)
    assert plot.stat().st_size > 1000

"""Corrupt, missing and unwritable files on the command line: one line, an exit code, nothing overwritten."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.cli import main
from meanfield_opt.files import replacing, write_text

CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "binary": bytes(range(256)) * 20,
    "zip": b"PK\x03\x04" + bytes(range(256)),
    "numpy": b"\x93NUMPY\x01\x00" + bytes(100),
    "deep": b"[" * 200_000 + b"]" * 200_000,
    "deep mapping": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "long": b"[" + b"1," * 200_000 + b"1]",
    "long number": b"[[" + b"9" * 100_000 + b"]]",
    "text": b'"abc"',
    "NaN": b"[[NaN]]",
    "infinity": b"[[Infinity, 1], [1, 2]]",
    "zero denominator": b'[["1/0"]]',
    "huge exponent": b"[[1e999999999]]",
    "booleans": b"[[true]]",
    "null": b"[[null]]",
    "ragged": b"[[1, 2], [3]]",
    "not symmetric": b"[[1, 2], [3, 4]]",
    "UTF-16": "x,y\n1,2\n".encode("utf-16"),
    "NUL": b"a,b\n1,\0\n",
    "a cell of 200,000 digits": b"x,y\n" + b"1" * 200_000 + b",2\n3,4\n",
}


@pytest.mark.parametrize("name", CONTENTS)
def test_corrupt_files_are_refused_in_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, suffix in (("verify", ".json"), ("copositive", ".json"), ("copositive", ".npy"), ("copositive", ".csv"),
                            ("solve", ".csv"), ("solve", ".npz")):  # fmt: skip
        path = tmp_path / f"file{suffix}"
        path.write_bytes(CONTENTS[name])
        code = main([command, str(path)])
        captured = capsys.readouterr()
        assert code == (3 if command == "verify" else 2), (command, suffix)
        assert captured.out == ""
        assert len(captured.err.strip().splitlines()) == 1
        assert len(captured.err) < 700


@pytest.mark.parametrize("command", ["verify", "copositive", "solve"])
def test_names_that_are_no_files(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loop = tmp_path / "loop.json"
    loop.symlink_to(loop)
    for name in (str(tmp_path), str(tmp_path / "missing.json"), str(loop), "", "a\0b.json", "x" * 5000 + ".json"):
        code = main([command, name])
        captured = capsys.readouterr()
        assert code in (2, 3)
        assert len(captured.err.strip().splitlines()) == 1
        assert len(captured.err) < 6000


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["solve", "hypercube", "--json", "both", "--certificate", "both"], "that is the file of --json"),
        (["solve", "data.csv", "--json", "data.csv"], "that is the input"),
        (["copositive", "matrix.json", "--certificate", "matrix.json"], "that is the input"),
        (["copositive", "matrix.json", "--certificate", "no/folder"], "no file can be written"),
        (["copositive", "matrix.json", "--time-limit", "nan"], "--time-limit must be finite"),
        (["solve", "hypercube", "--certificate", "-"], "only --json writes to standard output"),
        (
            ["solve", "stability_program", "--backend", "copositive", "--plot", "out.png"],
            "--plot draws two-layer networks",
        ),
        (["solve", "hypercube", "--gap", "nan"], "--gap must be finite"),
        (["solve", "hypercube", "--gap", "-1"], "--gap must not be negative"),
        (["solve", "hypercube", "--targets", "1"], "--targets tells which columns of a csv"),
        (["solve", "data.npz", "--targets", "1"], "--targets tells which columns of a csv"),
        (["bench", "hypercube", "--backends", "colum_generation"], "Did you mean column_generation"),
        (["compare", "hypercube", "--report", "out"], "--report out: no file"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_outputs_that_cost_something_are_refused_first(
    arguments: list[str],
    fragment: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    data = "x,y\n1,1\n2,-1\n3,1\n"
    Path("data.csv").write_text(data)
    Path("matrix.json").write_text("[[1]]")
    Path("out").mkdir()
    np.savez("data.npz", X=np.arange(4.0)[:, None], Y=np.array([1.0, -1, 1, -1]))
    assert main(arguments) == 2
    assert fragment in capsys.readouterr().err
    assert Path("data.csv").read_text() == data
    assert Path("matrix.json").read_text() == "[[1]]"


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")

    def interrupted() -> None:
        with replacing(path, "the result") as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.json"]
    write_text(path, "new", "the result")
    assert path.read_text() == "new"
    with pytest.raises(mfo.InputError, match="the result cannot be written"):
        write_text(tmp_path / "no" / "folder", "new", "the result")
    with pytest.raises(mfo.InputError, match="is a folder"):
        write_text(tmp_path, "new", "the result")


def test_links_are_followed_and_devices_are_not_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    link.symlink_to(target)
    write_text(link, "text", "the result")
    assert link.is_symlink()
    assert target.read_text() == "text"
    write_text(os.devnull, "text", "the result")
    assert not Path(os.devnull).is_file()


def test_objects_that_save_themselves(tmp_path: Path) -> None:
    problem = mfo.problems.hypercube(2)
    certificate = mfo.certify(problem, mfo.solve(problem, "closed_form"))
    answer = mfo.copositive.check([[1]])
    for thing in (certificate, answer):
        with pytest.raises(mfo.InputError, match="the certificate cannot be written"):
            thing.save(tmp_path / "no" / "folder.json")  # type: ignore[union-attr]
        with pytest.raises(mfo.InputError, match="must name a file"):
            thing.save(None)  # type: ignore[union-attr, arg-type]


def test_tables_show_brackets_and_names_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An install line such as meanfield-opt[mosek] is no markup, and a data file gives the problem its name."""
    path = tmp_path / "[red]data:smile:.csv"
    path.write_text("x,y\n1,1\n2,-1\n3,1\n-1,-1\n")
    assert main(["solve", str(path)]) == 0
    assert capsys.readouterr().out.startswith("[red]data:smile:.csv")
    assert main(["losses"]) == 0
    assert "sample_weights[p]" in capsys.readouterr().out

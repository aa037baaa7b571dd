"""Every wrong input ends in exit code 2 and one clear line, before anything is solved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.cli import main

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((6, 2)), np.sign(RNG.standard_normal((6, 1)))
BAD_FILES = {
    "nan.npz": {"X": np.full((3, 2), np.nan), "Y": np.ones((3, 1))},
    "inf.npz": {"X": np.array([[np.inf], [1.0]]), "Y": np.array([1.0, -1.0])},
    "shapes.npz": {"X": X, "Y": Y[:4]},
    "one_sample.npz": {"X": X[:1], "Y": Y[:1]},
    "empty.npz": {"X": np.zeros((0, 2)), "Y": np.zeros((0, 1))},
    "constant.npz": {"X": X, "Y": np.ones((6, 1))},
    "no_y.npz": {"X": X},
    "no_x.npz": {"Y": Y},
    "three_d.npz": {"X": np.zeros((2, 2, 2)), "Y": Y},
    "text.npz": {"X": np.array([["a", "b"]] * 6), "Y": Y},
    "complex.npz": {"X": X + 1j, "Y": Y},
    "object.npz": {"X": np.array([[1, None]] * 6, dtype=object), "Y": Y},
}
BAD_TEXTS = {
    "empty.csv": "",
    "header_only.csv": "x1,x2,y\n",
    "ragged.csv": "1,2,3\n4,5\n",
    "letters.csv": "x1,y\n1,2\n3,four\n",
    "targets_only.csv": "y1,y2\n1,2\n3,4\n",
    "one_column.csv": "1\n2\n",
    "nan.csv": "1,2\nnan,1\n",
    "garbage.npz": "this is no zip file",
    "wrong.txt": "1 2 3",
}
BAD_MESSAGES = {
    "nan.npz": "NaN",
    "inf.npz": "infinity",
    "shapes.npz": "must agree",
    "one_sample.npz": "2 samples",
    "empty.npz": "empty",
    "constant.npz": "constant",
    "no_y.npz": "no array Y",
    "no_x.npz": "no array X",
    "three_d.npz": "dimension",
    "text.npz": "real numbers",
    "complex.npz": "real numbers",
    "object.npz": "cannot be read",
    "empty.csv": "empty",
    "header_only.csv": "no samples",
    "ragged.csv": "row 2",
    "letters.csv": "not a number",
    "targets_only.csv": "no input columns",
    "one_column.csv": "1 columns",
    "nan.csv": "NaN",
    "garbage.npz": "cannot be read",
    "wrong.txt": "npz",
}
BAD_ARGUMENTS = [
    (["no-such"], "no problem family named 'no-such'"),
    (["dataset"], "needs a data file"),
    (["no/such/file.npz"], "does not exist"),
    (["hypercube", "--latents", "0"], "latents must be between"),
    (["hypercube", "--latents", "21"], "latents must be between"),
    (["hypercube", "--latents", "two"], "invalid int value"),
    (["hypercube", "--lambda1", "-1"], "lambda1 must be positive"),
    (["hypercube", "--lambda1", "0"], "lambda1 must be positive"),
    (["hypercube", "--lambda2", "nan"], "lambda2 must be finite"),
    (["hypercube", "--lambda1", "1e-200", "--lambda2", "1e-200"], "outside the range"),
    (["hypercube", "--samples-per-class", "0"], "samples_per_class must be at least 1"),
    (["hypercube", "--geometry", "bent"], "geometry must be"),
    (["hypercube", "--alignment", "0.5"], "whitened inputs have alignment 0"),
    (["hypercube", "--geometry", "aligned", "--alignment", "-1"], "alignment must not be negative"),
    (["hypercube", "--latents", "2", "--geometry", "anisotropic", "--alignment", "1,2,3"], "one number a label"),
    (["hypercube", "--activation", "reluu"], "Did you mean relu"),
    (["hypercube", "--loss", "absolute"], "no loss named"),
    (["hypercube", "--backend", "magic"], "no backend named"),
    (["hypercube", "--engine", "magic"], "no proof engine named"),
    (["hypercube", "--width", "0"], "width must be positive"),
    (["hypercube", "--tolerance", "0"], "tolerance must lie"),
    (["hypercube", "--tolerance", "2"], "tolerance must lie"),
    (["hypercube", "--time-limit", "-3"], "--time-limit must be positive"),
    (["hypercube", "--proof-time", "-3"], "--proof-time must be positive"),
    (["hypercube", "--components", "3"], "no parameter components"),
    (["hypercube", "--set", "colour=red"], "no parameter colour"),
    (["hypercube", "--json", "/no/such/folder/out.json"], "no file can be written"),
    (["hypercube", "--plot", "picture.xyz"], "figures end in"),
    (["digits", "--labels", "shape"], "unknown label"),
    (["digits", "--samples", "1"], "samples must be between"),
    (["digits", "--samples", "5000"], "samples must be between"),
    (["digits", "--components", "65"], "components must be between"),
    (["digits", "--data-seed", "-1"], "seed must be at least 0"),
    ([], "required: problem"),
]


def assert_refused(arguments: list[str], fragment: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["solve", *arguments])
    except SystemExit as stop:
        code = int(str(stop.code))
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    assert "Traceback" not in captured.err
    assert fragment in captured.err


@pytest.mark.parametrize("name", [*BAD_FILES, *BAD_TEXTS])
def test_bad_files(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / name
    if name in BAD_FILES:
        np.savez(path, **BAD_FILES[name])  # type: ignore[arg-type]
    else:
        path.write_text(BAD_TEXTS[name])
    assert_refused([str(path)], BAD_MESSAGES[name], capsys)


@pytest.mark.parametrize(
    ("arguments", "fragment"), BAD_ARGUMENTS, ids=lambda v: " ".join(v) if isinstance(v, list) else ""
)
def test_bad_arguments(arguments: list[str], fragment: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused(arguments, fragment, capsys)


def test_a_folder_named_like_data_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "data.csv"
    folder.mkdir()
    assert_refused([str(folder)], "not a file", capsys)


def test_wrong_types_in_python() -> None:
    with pytest.raises(mfo.InputError, match="must be a real number"):
        mfo.problems.hypercube(2, lambda1=True)
    with pytest.raises(mfo.InputError, match="MeanFieldProblem"):
        mfo.solve("hypercube")  # type: ignore[arg-type]
    with pytest.raises(mfo.InputError, match="rectangular"):
        mfo.problems.dataset([[1, 2], [3]], [1, 2])
    with pytest.raises(mfo.InputError, match="nonnegative"):
        mfo.Measure(np.ones((1, 3)), np.array([-1.0]))
    with pytest.raises(mfo.UnknownNameError, match="Did you mean relu"):
        mfo.activation("rely")


def test_csv_columns(tmp_path: Path) -> None:
    from meanfield_opt.data_files import read_data

    file = tmp_path / "d.csv"
    file.write_text("y_left,x1,Yright\n1,5,-1\n-1,6,1\n")
    x, y = read_data(file)
    np.testing.assert_array_equal(x, [[5.0], [6.0]])
    np.testing.assert_array_equal(y, [[1.0, -1.0], [-1.0, 1.0]])
    file.write_text("5,1,2\n6,3,4\n")
    assert read_data(file)[1].shape == (2, 1)
    assert read_data(file, targets=2)[1].shape == (2, 2)

"""A third party's wheel, taken from the READMEs word for word, in a fresh environment, under the same laws."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"<!-- stranger: (\S+) -->\n```\w+\n(.*?)```", re.S)


def sources() -> dict[str, str]:
    """File name to text, from the two READMEs."""
    found: dict[str, str] = {}
    for readme in ("backends/README.md", "problems/README.md"):
        found.update(BLOCK.findall((ROOT / readme).read_text()))
    return found


def build_wheel(folder: Path) -> Path:
    """A pure wheel as the format describes it (no build tool, so no network), with the entry points of pyproject."""
    files = sources()
    project = tomllib.loads(files.pop("pyproject.toml"))["project"]
    info = f"{project['name']}-{project['version']}.dist-info"
    entries = "".join(
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in items.items()) + "\n"
        for group, items in project["entry-points"].items()
    )
    files["strangers/__init__.py"] = ""
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/entry_points.txt"] = entries
    record = []
    path = folder / f"{project['name']}-{project['version']}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(text.encode())}")
            wheel.writestr(name, text)
        wheel.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]) + "\n")
    return path


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment that has the wheel, and sees this environment's packages."""
    pytest.importorskip("pip")
    folder = tmp_path_factory.mktemp("stranger")
    target = folder / "environment"
    venv.create(target, with_pip=False)
    interpreter = target / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    wheel = build_wheel(folder)
    install = [sys.executable, "-m", "pip", "--python", str(interpreter), "install", "-q", "--no-index", "--no-deps"]
    subprocess.run([*install, "--disable-pip-version-check", str(wheel)], check=True, capture_output=True)
    site = next(target.glob("lib/python*/site-packages"))
    shared = [p for p in sys.path if p.endswith("site-packages")]
    (site / "shared.pth").write_text("".join(f"import site; site.addsitedir({p!r})\n" for p in shared))
    return interpreter


def run(python: Path, *arguments: str) -> str:
    done = subprocess.run([str(python), *arguments], capture_output=True, text=True, cwd=ROOT, timeout=280)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_wheel_is_found_without_being_imported(python: Path) -> None:
    code = (
        "import sys, meanfield_opt as m; assert 'greedy' in m.backends();"
        "from meanfield_opt.plugins import ACTIVATIONS as A, FAMILIES as F;"
        "assert 'bent' in A.names() and 'ring' in F.names() and 'strangers' not in sys.modules; print('found')"
    )
    assert run(python, "-c", code).strip() == "found"


def test_the_family_gives_a_problem_that_is_solved_and_certified(python: Path) -> None:
    code = (
        "import meanfield_opt as m; p = m.problems.ring(8); s = m.solve(p, 'greedy'); c = m.certify(p, s, time_limit=10.0);"
        "assert c.lower_bound <= s.energy * (1 + 1e-9), c;"
        "q = m.problems.hypercube(2, activation='bent'); t = m.solve(q, 'clarabel'); k = m.certify(q, t, time_limit=2.0);"
        "assert k.lower_bound <= t.energy * (1 + 1e-9); print('certified', k.verdict)"
    )
    assert run(python, "-c", code).startswith("certified")


def test_the_backend_passes_the_conformance_laws(python: Path) -> None:
    out = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/conformance/backends", "-k", "greedy")
    assert re.search(r"\b(\d+) passed", out), out
    assert "failed" not in out


def test_the_activation_passes_the_conformance_laws(python: Path) -> None:
    out = run(
        python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/conformance/test_activations.py", "-k", "bent"
    )
    match = re.search(r"\b(\d+) passed", out)
    assert match, out
    assert int(match.group(1)) >= 10

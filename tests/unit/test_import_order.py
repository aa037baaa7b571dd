"""Each module can be the first one imported: the core and the problems import each other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: each named module in turn as the first one, with every module of the project forgotten before
SCRIPT = """
import importlib, sys
failed = []
for name in sys.argv[1:]:
    for known in [m for m in sys.modules if m.split(".")[0] in ("meanfield_opt", "meanfield_problems", "meanfield_backends")]:
        del sys.modules[known]
    try:
        importlib.import_module(name)
    except ImportError as error:
        failed.append(f"{name}: {error}")
print("\\n".join(failed))
"""


def modules(folder: Path) -> list[str]:
    """The importable names in a package, itself first."""
    paths = [path.relative_to(folder.parent).with_suffix("").parts for path in sorted(folder.rglob("*.py"))]
    return [folder.name, *(".".join(parts) for parts in paths if not parts[-1].startswith("__"))]


def failures(names: list[str]) -> str:
    done = subprocess.run([sys.executable, "-c", SCRIPT, *names], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("name", ["meanfield_problems.deep_hypercube", "meanfield_problems", "meanfield_opt"])
def test_first_in_a_fresh_interpreter(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_problem_first() -> None:
    names = modules(ROOT / "problems" / "meanfield_problems")
    assert len(names) > 6
    assert failures(names) == ""


@pytest.mark.slow
def test_every_backend_first() -> None:
    names = modules(ROOT / "backends" / "meanfield_backends")
    assert len(names) > 20
    assert failures(names) == ""

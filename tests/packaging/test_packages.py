"""The wheel holds every package of the tree."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_package_is_listed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = set()
    for base in (ROOT, ROOT / "backends", ROOT / "problems"):
        for top in base.glob("meanfield_*"):
            for init in top.rglob("__init__.py"):
                found.add(".".join(init.parent.relative_to(base).parts))
    assert sorted(found) == sorted(listed)

"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import meanfield_backends
import meanfield_opt
import meanfield_problems

OPTIONAL = {"torch", "mosek", "picos", "cvxopt", "highspy", "pandas", "xarray", "sympy", "mpmath"}


def modules() -> Iterator[str]:
    for package in (meanfield_opt, meanfield_backends, meanfield_problems):
        yield package.__name__
        for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not info.name.endswith("__main__"):
                yield info.name


def test_classes_are_abstract_or_final() -> None:
    """No class overrides a concrete method of a class of ours (dunders, properties of dataclasses aside)."""
    offenders = []
    for name in modules():
        for _, cls in inspect.getmembers(importlib.import_module(name), inspect.isclass):
            if not cls.__module__.startswith("meanfield") or cls.__module__ != name:
                continue
            for attribute, member in vars(cls).items():
                if attribute.startswith("__") or not (inspect.isfunction(member) or isinstance(member, property)):
                    continue
                for base in cls.__mro__[1:]:
                    parent = vars(base).get(attribute)
                    if parent is None or not base.__module__.startswith("meanfield"):
                        continue
                    if not getattr(parent, "__isabstractmethod__", False):
                        offenders.append(f"{name}.{cls.__name__}.{attribute} overrides {base.__name__}")
    assert offenders == []


def test_importing_the_core_imports_no_optional_dependency() -> None:
    code = "import sys, meanfield_opt; print(sorted(set(sys.argv[1:]) & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code, *sorted(OPTIONAL)], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_listing_backends_imports_no_solver() -> None:
    code = (
        "import sys, meanfield_opt as m; assert 'column_generation' in m.backends();"
        "print(sorted({'cvxpy', 'scs', 'clarabel', 'meanfield_backends.cvxpy_'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted(Path(meanfield_opt.__path__[0], "checker").glob("*.py")), ids=lambda p: p.name)
def test_the_checker_is_independent(path: Path) -> None:
    """No solver, no compiled code, no engine: at import time or inside a function."""
    banned = {"numba", "cvxpy", "scs", "clarabel", "scipy", "torch", "highspy", "picos", "mosek", "meanfield_backends"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & banned
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.module.split(".")[0] not in banned
            if node.level == 2 and not _type_checking_only(path, node):
                assert node.module.split(".")[0] not in {"certificate", "copositive", "formulation", "backend"}


def _type_checking_only(path: Path, node: ast.ImportFrom) -> bool:
    for parent in ast.walk(ast.parse(path.read_text())):
        if isinstance(parent, ast.If) and isinstance(parent.test, ast.Name) and parent.test.id == "TYPE_CHECKING":
            return any(isinstance(n, ast.ImportFrom) and n.lineno == node.lineno for n in parent.body)
    return False

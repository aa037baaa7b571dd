"""README.md and docs/ run as printed, and what they point to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    "CHANGELOG.md",
    "backends/README.md",
    "problems/README.md",
    *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")),
]
#: pages whose examples train networks or fill a table of cells
LONG = {"docs/validation.md", "docs/map.md"}


def blocks() -> list[object]:
    """The python blocks of README.md and docs/, each text once."""
    found: dict[str, object] = {}
    for page in sorted(p for p in PAGES if p == "README.md" or p.startswith("docs/")):
        for k, code in enumerate(re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)):
            marks = [pytest.mark.slow] if page in LONG else []
            found.setdefault(code, pytest.param(page, code, id=f"{page}-{k}", marks=marks))
    return list(found.values())


@pytest.mark.parametrize(("page", "code"), blocks())
def test_python_blocks_run(page: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page in LONG:
        pytest.importorskip("torch" if "compare" in code else "pandas")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, page, "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    missing = [link for link in re.findall(r"\]\(([^)#:]+)\)", text) if not ((ROOT / page).parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_files_named_in_the_text_are_there(page: str) -> None:
    """Scripts, results and tests that a page names by their path from the top, or within benchmarks/ or the checker."""
    text = (ROOT / page).read_text()
    named = set(
        re.findall(
            r"`(?:python )?((?:benchmarks|tests|docs|meanfield_opt|problems|backends)/[\w./]+\.(?:py|json|csv|md|png))",
            text,
        )
    )
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


def test_the_commands_of_the_readme_are_there() -> None:
    from meanfield_opt.cli.main import build_parser

    known = build_parser().format_help()
    for page in PAGES:
        for code in re.findall(r"```\w*\n.*?```|`[^`\n]+`", (ROOT / page).read_text(), flags=re.DOTALL):
            for command in re.findall(r"meanfield-opt ([a-z]+)\b", code):
                if command != "certificate":  # the name of the file format
                    assert f" {command} " in known, f"{page}: meanfield-opt {command}"


def test_installs_from_the_checkout_do_not_hide_each_other() -> None:
    """Kernels that an ordinary install had compiled stayed in site-packages, and hid the editable install of the test line in the same environment."""
    installs = re.findall(r"pip install [^&`\n]*?\.(?:\[[a-z,]+\])?['\"]?(?=[ `\n])", (ROOT / "README.md").read_text())
    assert len(installs) == 3
    assert all(" -e " in line for line in installs)

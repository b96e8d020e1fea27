"""The documentation site builds without a warning."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from personae import api

ROOT = Path(__file__).parents[2]


def test_the_site_builds_strictly_and_every_page_is_in_its_contents(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="pip install 'personae[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {p.relative_to(ROOT / "docs").with_suffix("") for p in (ROOT / "docs").rglob("*.md")}
    missing = [
        page
        for page in pages
        if page.name != "index" and not (tmp_path / page / "index.html").is_file()
    ]
    assert not missing
    contents = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert [p for p in pages if f"{p.as_posix()}.md" not in contents] == []
    reference = (tmp_path / "api" / "index.html").read_text("utf-8")
    shown = set(re.findall(r'id="(personae[^"]*)"', reference))
    asked = re.findall(r"^::: (\S+)", (ROOT / "docs" / "api.md").read_text("utf-8"), re.MULTILINE)
    assert [name for name in asked if name not in shown] == []
    assert [name for name in api.__all__ if f"personae.api.{name}" not in shown] == []

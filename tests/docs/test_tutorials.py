"""The tutorials' commands run as they are printed, in one folder, in the order of the site."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("inspect_ai")

from doc_pages import blocks, read
from doc_running import run_python
from doc_tables import PRINTED
from typer.testing import CliRunner

from personae.cli.main import app

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Path:
    made = tmp_path_factory.mktemp("tutorials")
    (made / "MODEL").symlink_to(template / "tiny")  # of the Trainer that a page has in hand
    return made


@pytest.mark.weights
@pytest.mark.parametrize("name", PRINTED)
def test_a_tutorial_runs_as_printed(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    found = blocks(f"docs/tutorials/{name}.md")
    for block in found:
        if block.title:
            (folder / block.title).write_text(block.text, "utf-8")
    asked = [command for block in found for command in block.commands()]
    assert asked
    for block in found:
        for command in block.commands():
            run(command)
        if block.kind == "python":
            run_python(block, {})


def run(command: str, *more: str) -> None:
    verb, *words = shlex.split(command)
    assert verb == "personae", command
    done = CliRunner().invoke(app, [*words, *more])
    assert done.exit_code == 0, f"{command}\n{done.output}\n{done.exception!r}"


@pytest.mark.weights
def test_the_paper_is_reproduced_and_its_layout_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for block in blocks("docs/tutorials/reproduce.md"):
        for command in block.commands():
            data = ["--data", str(shared / "data" / "pmc")] if "reproduce" in command else []
            run(command, *data)


def test_every_tutorial_is_on_the_site_and_run_here() -> None:
    listed = re.findall(r"tutorials/(\w+)\.md", read("mkdocs.yml"))
    assert sorted(listed) == sorted(p.stem for p in TUTORIALS.glob("*.md"))
    assert {*PRINTED, "reproduce"} == set(listed)

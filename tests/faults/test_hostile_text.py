"""What a model writes can do nothing in the terminal, the reports, the exports, logs or the store.

Nor can what a judge replies, nor the names that models, casts, items and studies bear.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import re
import sys
import xml.etree.ElementTree as Xml
from base64 import b64encode
from collections.abc import Iterator
from contextlib import redirect_stdout
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hostile_outputs import HOSTILE, LONG, audit, battery, latents, study_file
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from tiny_models import build_model, build_tokenizer, save

from personae import api
from personae.cli.latents import _result as show_latents
from personae.cli.main import app
from personae.files import FORMULA
from planted_runs import plain_run

KINDS = ("audit", "battery", "latents", "study")
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Said:
    """What commands print and what any library logs."""

    def __init__(self) -> None:
        self.printed = ""
        self.log = StringIO()

    def __call__(self, *words: object) -> str:
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, (words, done.output, done.exception)
        self.printed += done.output
        return done.output


@pytest.fixture(scope="module")
def said() -> Iterator[Said]:
    found, root = Said(), logging.getLogger()
    handler, level = logging.StreamHandler(found.log), root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield found
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, said: Said) -> Path:
    """A run of each kind, and all that can be written out of them."""
    place = tmp_path_factory.mktemp("hostile")
    for make in (audit, battery, latents):
        make(place)
    tiny = build_model(num_hidden_layers=2, max_position_embeddings=4096)
    model = save(place / "tiny", tiny, build_tokenizer())
    asked = study_file(place, model)
    said("study", asked, "--threads", 1, "--out", place / "study")
    for run in ("audit", "battery"):
        said("findings", place / run)
        said("findings", place / run, "--json")
        said("report", place / run)
    with redirect_stdout(StringIO()) as printed:  # the verbs themselves need models
        show_latents(place / "latents", "diff", False, "Changes")
        show_latents(place / "latents", "diff", True)
    said.printed += printed.getvalue()
    said("judge", place / "battery", "--protocol", "below-50")
    said("report", place / "audit", place / "battery", "--site", place / "site")
    said("export", place / "audit", "--csv", place / "audit.csv")
    said("export", place / "battery", "--csv", place / "battery.csv")
    for n, name in enumerate((HOSTILE[1] + HOSTILE[0], HOSTILE[3] + HOSTILE[2] + HOSTILE[5])):
        plain_run(place / f"arm-{n}", factor=1 + n, model=name.encode("utf-8", "replace").decode())
    arms = ("--base", place / "arm-0", "--treated", place / "arm-1")
    said("compare", *arms, "--out", place / "compare.html")
    (place / "policy.yaml").write_text("limits: [{metric: susceptibility, kind: change, max: 9}]")
    said("gate", "--policy", place / "policy.yaml", *arms, "--junit", place / "gate.xml",
         "--markdown", place / "gate.md")  # fmt: skip
    return place


def pages(place: Path) -> list[Path]:
    found = sorted(place.rglob("*.html"))
    names = {str(page.relative_to(place)) for page in found}
    assert {f"{kind}/report.html" for kind in KINDS} | {"site/index.html", "compare.html"} <= names
    return found


# --- the store ---------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["audit", "battery"])
def test_the_store_keeps_every_answer(place: Path, kind: str) -> None:
    kept = pl.read_parquet(place / kind / "responses" / "*.parquet")
    texts = kept["response"].drop_nulls().to_list()
    stored = {text.encode("utf-8", "replace").decode() for text in HOSTILE}
    assert stored <= set(texts)
    assert max(map(len, texts)) == len(LONG)


# --- the terminal ------------------------------------------------------------------------------
def test_the_terminal_gets_no_control_characters(place: Path, said: Said) -> None:
    assert "owned" in said.printed  # the names were printed, as text
    assert CONTROLS.search(said.printed) is None
    assert len(said.printed) < 200_000


def test_logs_get_no_control_characters_and_no_endless_lines(place: Path, said: Said) -> None:
    assert CONTROLS.search(said.log.getvalue()) is None
    assert len(said.log.getvalue()) < 200_000


# --- pages -------------------------------------------------------------------------------------
class Tags(HTMLParser):
    """All elements with their attributes, and the scripts' texts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.inside = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        self.inside = tag == "script"

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.scripts.append(data)
            self.inside = False


def test_pages_hold_no_element_that_text_has_made(place: Path) -> None:
    for page in pages(place):
        html = page.read_text("utf-8")
        assert CONTROLS.search(html) is None, page
        assert len(html) < 3_000_000, page
        found = Tags()
        found.feed(html)
        for tag, attributes in found.tags:
            assert tag not in ("img", "i", "u", "s", "iframe", "object", "base"), (page, tag)
            assert not any(name.startswith("on") for name in attributes), (page, tag)
            link = str(attributes.get("href") or "")
            assert not re.match(r"\s*(javascript|data):|.*127\.0", link), (page, link)
        allowed = re.search(r"script-src 'sha256-([^']+)'", html)
        assert allowed, page
        runs = [s for s in found.scripts if not s.lstrip().startswith(("{", "["))]
        digests = [b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in runs]
        assert digests == [allowed[1]], page


@pytest.mark.browser
def test_pages_run_nothing_of_it(place: Path, browser: Any) -> None:
    page = browser.new_page(offline=True)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: (problems.append("dialog"), dialog.dismiss()))
    for one in pages(place):
        page.goto(one.as_uri())
        if page.title() == "owned" or page.query_selector("img") is not None:
            problems.append(f"{one}: owned")
    page.close()
    assert problems == []


# --- files for other programs ------------------------------------------------------------------
@pytest.mark.parametrize("name", ["audit.csv", "battery.csv", "study/findings.csv"])
def test_exported_cells_are_no_formulas_and_the_file_is_plain_text(place: Path, name: str) -> None:
    text = (place / name).read_bytes().decode("utf-8")
    csv.field_size_limit(2 * len(LONG))
    cells = [cell for row in csv.reader(StringIO(text)) for cell in row]
    assert not [cell[:80] for cell in cells if re.match(FORMULA, cell) and cell[0] != "'"]
    assert CONTROLS.search(text) is None
    if name != "study/findings.csv":
        assert any("HYPERLINK" in cell for cell in cells)


def test_an_exported_log_holds_the_texts_as_they_are_stored(place: Path) -> None:
    pytest.importorskip("inspect_ai")
    from personae.collect.eval_log import read_log

    api.export(place / "audit", eval_log=place / "audit.eval")
    texts = read_log(place / "audit.eval").responses["response"].to_list()
    assert {HOSTILE[0], HOSTILE[3], HOSTILE[4]} <= set(texts)


def test_a_gates_files_hold_names_as_text(place: Path) -> None:
    names = [case.get("classname") for case in Xml.parse(place / "gate.xml").iter("testcase")]
    assert any("evil" in str(name) for name in names)
    summary = (place / "gate.md").read_text("utf-8")
    assert "evil" in summary
    assert CONTROLS.search(summary) is None
    outside_code = re.sub(r"`[^`\n]*`", "", summary)
    assert not re.search(r"(?<!\\)\[[^\]]*\]\(", outside_code)
    assert "<img" not in outside_code

"""A site of many runs: index, reports, findings; opened as a reader would."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from personae import api
from personae.cli.main import app
from personae.report.site import MOST_DRAWN, SiteRun, slugs, write_site
from planted_runs import plain_run

HOSTILE = "=1+1</script><script>alert(1)</script>"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs, one of them with a hostile model name, one without findings, and one no run."""
    folder = tmp_path_factory.mktemp("runs")
    for k, name in enumerate(("base", "tuned", "odd name")):
        model = HOSTILE if k == 2 else f"model-{k}"
        api.finish(plain_run(folder / name, factor=k + 1, model=model))
    plain_run(folder / "unfinished")
    (folder / "nothing").mkdir()
    return folder


def test_every_run_is_shown_or_told_and_all_findings_are_there(made: Path, tmp_path: Path) -> None:
    runs = sorted(made.iterdir())
    done = api.site(runs, tmp_path / "site")
    html = done.index.read_text("utf-8")
    assert len(done.problems) == 2
    assert any("unfinished" in p and "no findings yet" in p for p in done.problems)
    for name in ("base", "tuned", "odd-name"):
        assert f'href="runs/{name}/report.html"' in html
        assert (tmp_path / "site" / "runs" / name / "report.html").is_file()
    assert "<script>alert" not in html
    assert re.findall(r'<section id="(\w+)"', html) == ["runs", "susceptibility", "robustness"]
    for name in ("base", "tuned"):
        run = api.load_run(made / name)
        overall = {f.metric: f.value for f in run.findings() if f.scope == "overall"}
        row = re.search(rf"runs/{name}/report.html.*?</tr>", html, re.DOTALL)
        assert row is not None
        for metric in ("susceptibility", "robustness"):
            assert f'data-value="{overall[metric]}"' in row[0]
    document = json.loads((tmp_path / "site" / "runs.json").read_text("utf-8"))
    assert document["schema"] == 1
    listed = document["runs"]
    assert [r["name"] for r in listed if r["problem"]] == ["nothing", "unfinished"]
    with (tmp_path / "site" / "findings.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    expected = sum(len(api.load_run(made / n).findings()) for n in ("base", "tuned", "odd name"))
    assert len(rows) == expected
    assert not any(row["model"].startswith("=") for row in rows)


def test_the_verb_ends_with_an_error_only_where_no_run_could_be_shown(
    made: Path, tmp_path: Path
) -> None:
    site = ["--site", str(tmp_path / "s"), "--json"]
    fine = CliRunner().invoke(app, ["report", str(made / "base"), str(made / "nothing"), *site])
    assert fine.exit_code == 0
    assert "not shown: nothing" in fine.stderr
    assert json.loads(fine.stdout)["reports"] == [str(tmp_path / "s" / "index.html")]
    assert CliRunner().invoke(app, ["report", str(made / "nothing"), *site]).exit_code == 1


@given(st.lists(st.text(max_size=12), max_size=8))
def test_folder_names_are_distinct_and_plain(names: list[str]) -> None:
    made = slugs(names)
    assert len({s.lower() for s in made}) == len(names)
    assert all(s.replace("-", "").replace(".", "").isalnum() and s[0] not in ".-" for s in made)


@pytest.fixture(scope="module")
def hundred(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of a hundred runs."""
    folder = tmp_path_factory.mktemp("hundred")
    runs = []
    for k in range(100):
        runs.append(folder / f"run-{k:03d}")
        shutil.copytree(made / ("base" if k % 2 else "tuned"), runs[-1])
    return api.site(runs, folder / "site").index


@pytest.mark.browser
def test_a_hundred_runs_are_filtered_and_sorted_on_a_phone(hundred: Path, browser: Any) -> None:
    problems: list[str] = []
    page = browser.new_page(viewport={"width": 390, "height": 800}, offline=True)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    page.goto(hundred.as_uri())
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not page.evaluate(wide)
    page.fill("input[type=search]", "model-1 run-00")
    assert page.inner_text(".search output") == "5 of 100"
    page.fill("input[type=search]", "")
    page.click("th:nth-child(4) button")
    shown = page.eval_on_selector_all(
        "table.searchable tbody td:nth-of-type(3)", "cells => cells.map(c => +c.dataset.value)"
    )
    assert shown == sorted(shown)
    assert shown[0] < shown[-1]
    page.click("table.searchable tbody tr:first-child a")
    assert "Persona audit of" in page.inner_text("h1")
    page.close()
    assert problems == []


FOCUSED = "document.activeElement"


def tab_to(page: Any, wanted: str) -> None:
    """Press Tab until the element in focus is one that the selector names."""
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate(f"{FOCUSED}.matches({json.dumps(wanted)})"):
            return
    raise AssertionError(f"no way to {wanted} by Tab")


@pytest.mark.browser
def test_a_hundred_runs_are_filtered_sorted_and_opened_by_the_keyboard(
    hundred: Path, browser: Any
) -> None:
    page = browser.new_page(
        viewport={"width": 1280, "height": 800}, offline=True, reduced_motion="reduce"
    )
    page.goto(hundred.as_uri())
    tab_to(page, "input[type=search]")
    page.keyboard.type("run-09")
    assert page.inner_text(".search output") == "10 of 100"
    tab_to(page, "th:nth-child(1) button")
    for order in ("ascending", "descending"):
        page.keyboard.press("Enter")
        assert page.get_attribute("th:nth-child(1)", "aria-sort") == order
    assert page.evaluate(f"{FOCUSED}.matches('th button')")
    assert page.evaluate(f"getComputedStyle({FOCUSED}).outlineStyle") == "solid"
    tab_to(page, "tbody a")
    assert page.evaluate(f"{FOCUSED}.textContent") == "run-099"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/run-099/report.html#estimates")
    top = page.evaluate("document.getElementById('estimates').getBoundingClientRect().top")
    assert 0 <= top < 80
    page.close()


def test_everything_the_index_leads_to_is_there(hundred: Path) -> None:
    links = re.findall(r'href="([^"#]+)(?:#([\w-]+))?"', hundred.read_text("utf-8"))
    assert {part for _, part in links} == {"", "estimates", "findings"}
    texts = {path: (hundred.parent / path).read_text("utf-8") for path, _ in links}
    assert {"findings.csv", "runs.json"} < set(texts)
    assert len(texts) == 102
    assert all(f'<section id="{part}"' in texts[path] for path, part in links if part)


def test_one_run_has_no_figure_of_runs_and_many_are_cut_in_words(
    made: Path, tmp_path: Path
) -> None:
    alone = api.site([made / "base"], tmp_path / "one").index.read_text("utf-8")
    assert re.findall(r'<section id="(\w+)"', alone) == ["runs"]
    found = tuple(api.load_run(made / "base").findings())
    runs = [SiteRun(f"r{k}", battery="moral", findings=found) for k in range(MOST_DRAWN + 1)]
    html = write_site(runs, tmp_path / "many").read_text("utf-8")
    assert f"The first {MOST_DRAWN} of {MOST_DRAWN + 1} runs are drawn." in html
    whole = write_site(runs[:-1], tmp_path / "whole").read_text("utf-8")
    assert "runs are drawn" not in whole

"""The page as a reader meets it: on a phone, in the dark, with mouse, touch and keys."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from page_checks import chart_trouble, sideways
from synthetic_report import make_data

from personae.report import ReportData, render_report

pytestmark = pytest.mark.browser
Open = Callable[..., Any]


def background(page: Any) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


@pytest.mark.parametrize("width", [320, 390, 700, 1020, 1280])
def test_the_page_never_scrolls_sideways(opened: Open, data: ReportData, width: int) -> None:
    page = opened(render_report(data), width=width)
    assert sideways(page) == 0
    assert page.problems == []


@pytest.mark.parametrize("width", [390, 1280])
def test_no_text_of_a_chart_is_cut_off_or_overlaps(
    opened: Open, data: ReportData, width: int
) -> None:
    page = opened(render_report(data), width=width)
    assert chart_trouble(page) == []


def test_colours_follow_the_system_and_the_switch_and_print_is_light(
    opened: Open, data: ReportData
) -> None:
    light = background(opened(render_report(data)))
    page = opened(render_report(data), dark=True)
    dark = background(page)
    assert light != dark
    page.click(".theme")
    assert background(page) == light
    page.click(".theme")
    assert background(page) == dark
    page.reload()
    assert background(page) == dark
    page.emulate_media(media="print")
    assert background(page) == light
    assert not page.is_visible("nav")


def test_hover_shows_persona_item_and_distribution(opened: Open, data: ReportData) -> None:
    page = opened(render_report(data))
    page.locator("#fig-heatmap .row").nth(7).locator("rect").nth(2).hover()
    tip = page.locator("#tip")
    tip.wait_for(state="visible")
    text = tip.inner_text()
    assert data.ratings is not None
    assert "persona-007" in text
    assert data.persona_texts["persona-007"] in text
    assert "item_3 · In-group/Loyalty" in text
    assert data.item_texts["item_3"] in text
    assert f"Mean {data.ratings.mean[7, 2]:.2f}" in text
    widths = tip.locator(".fill").evaluate_all("fills => fills.map(f => parseFloat(f.style.width))")
    assert widths == pytest.approx(list(100 * data.ratings.share[7, 2]), abs=0.06)


def test_arrow_keys_walk_the_map_and_read_it_out(opened: Open, data: ReportData) -> None:
    page = opened(render_report(data))
    page.locator("#fig-heatmap .heat").focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
    ratings = data.ratings
    assert ratings is not None
    best = int(ratings.mean.mean(axis=1).argmax())
    readout = page.locator("#fig-heatmap .readout").inner_text()
    assert readout.startswith(f"persona-{best:03d}, item_6 (Harm/Care)")
    assert page.locator("#tip").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#tip").is_visible()


def test_rows_and_columns_can_be_sorted(opened: Open, data: ReportData) -> None:
    page = opened(render_report(data))

    def top_row() -> str:
        return str(page.evaluate(
            """() => [...document.querySelectorAll('#fig-heatmap .row')]
              .sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top)[0]
              .querySelector('text').textContent"""
        ))  # fmt: skip

    def left_item() -> int:
        return int(page.evaluate(
            """() => { const x = [...document.querySelector('#fig-heatmap .row')
              .querySelectorAll('rect')].map(r => +r.getAttribute('x'));
              return x.indexOf(Math.min(...x)); }"""
        ))  # fmt: skip

    ratings = data.ratings
    assert ratings is not None
    assert top_row() == f"persona-{int(ratings.mean.mean(axis=1).argmax()):03d}"
    page.select_option("select[name=rows]", "cast")
    assert top_row() == "persona-000"
    page.select_option("select[name=rows]", "spread")
    assert top_row() == f"persona-{int(ratings.mean.std(axis=1).argmax()):03d}"
    page.select_option("select[name=columns]", "mean")
    assert left_item() == int(ratings.mean.mean(axis=0).argmax())
    page.select_option("select[name=columns]", "asked")
    assert left_item() == 0


def test_on_a_phone_a_tap_reads_a_cell_inside_the_screen(opened: Open, data: ReportData) -> None:
    page = opened(render_report(data), width=390, has_touch=True)
    page.locator("#fig-heatmap .row").nth(3).locator("rect").nth(29).tap()
    box = page.locator("#tip").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390


def saved(page: Any, figure: str, kind: str) -> str:
    with page.expect_download() as waiting:
        page.click(f"#{figure} [data-do={kind}]")
    assert waiting.value.suggested_filename == f"{figure}.{kind}"
    return Path(waiting.value.path()).read_text(encoding="utf-8")


def test_data_can_be_saved_as_csv_json_and_svg(opened: Open) -> None:
    ratings_data = make_data(2, persona_texts={"persona-000": "=cmd()"})
    page = opened(render_report(ratings_data), dark=True, accept_downloads=True)
    rows = list(csv.reader(io.StringIO(saved(page, "fig-heatmap", "csv"))))
    assert rows[0][:4] == ["persona", "item", "subscale", "mean"]
    assert len(rows) == 61
    records = json.loads(saved(page, "fig-susceptibility", "json"))
    assert records[0]["scope"] == "overall"
    svg = ElementTree.fromstring(saved(page, "fig-profile", "svg"))
    assert svg.attrib["width"] == "380"
    style = svg.find("{http://www.w3.org/2000/svg}style")
    assert style is not None
    assert "var(" not in (style.text or "")
    assert "#1373c5" in (style.text or "")  # light, although the page is dark


def test_csv_does_not_hand_formulas_to_a_spreadsheet(opened: Open) -> None:
    data = make_data(2)
    assert data.ratings is not None
    object.__setattr__(data.ratings, "personas", ("=1+1", '-2,"x"'))
    page = opened(render_report(data), accept_downloads=True)
    rows = list(csv.reader(io.StringIO(saved(page, "fig-heatmap", "csv"))))
    assert {row[0] for row in rows[1:]} == {"'=1+1", '\'-2,"x"'}


def test_without_scripts_everything_is_still_there(opened: Open, data: ReportData) -> None:
    page = opened(render_report(data), width=390, java_script_enabled=False)
    assert page.locator("svg.chart").count() == page.locator("figure").count()
    assert not page.locator(".theme").is_visible()
    assert page.locator("[data-do=csv]").first.is_hidden()
